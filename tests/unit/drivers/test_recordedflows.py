"""Recorded packets of exporters, beside the traffic in them."""

from __future__ import annotations

from sekisho.config.flows import FlowExporter
from sekisho.drivers.recordedflows import Exports
from sekisho.drivers.recordings import Owners, Reading, Recorded
from sekisho.flows.layout import Total
from unit.flows.packets import EXPORTER, a_set, ipfix, number, template
from unit.flows.test_natevents import BLOCK, block


def test_blocks_of_ports_in_a_recording_are_no_traffic_and_nothing_of_them_stays() -> None:
    recorded = Recorded(60.0)
    known = FlowExporter.model_validate({"address": EXPORTER, "port_blocks": True})
    exports = Exports(Reading(Owners((), (), {}), recorded, exporters=[known]))
    exports.take(1e9, number(EXPORTER), 2055, ipfix([a_set(2, template(256, BLOCK)), a_set(256, block() + block(4))]))
    assert exports._desk.totals[Total.NAT_PASSED] == 2
    assert not exports._desk.blocks.any()
    assert recorded.nobody == 0
