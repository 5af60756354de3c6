"""Metrics of flow records. Labels are closed sets: the reasons of the model, and no exporter's address."""

from __future__ import annotations

from collections.abc import Callable

from sekisho.model.flows import BlockOutcome, FlowFault
from sekisho.model.observation import FlowObservation
from sekisho_exporters.families import Family, Samples


def _flow(name: str, kind: str, text: str, value: Callable[[FlowObservation], float]) -> Family:
    """One sample where flow records are collected, else none."""
    return Family(name, kind, text, lambda seen: [((), value(seen.flows))] if seen.flows is not None else [])


def _faults(flows: FlowObservation | None) -> Samples:
    return [((fault.value,), flows.faults.get(fault.value, 0)) for fault in FlowFault] if flows is not None else []


def _blocks(flows: FlowObservation | None) -> Samples:
    return [((one.value,), flows.blocks.get(one.value, 0)) for one in BlockOutcome] if flows is not None else []


FLOW_FAMILIES: tuple[Family, ...] = (
    _flow("sekisho_flow_packets_total", "counter", "Packets of flow records received.", lambda one: one.packets),
    _flow("sekisho_flow_records_total", "counter", "Flow records decoded.", lambda one: one.records),
    _flow("sekisho_flow_records_nobody_total", "counter", "Flow records of no customer.", lambda one: one.nobody),
    _flow(
        "sekisho_flow_records_shared_total",
        "counter",
        "Flow records of no customer whose address several share by ports.",
        lambda one: one.shared,
    ),
    _flow("sekisho_flow_records_unusable_total", "counter", "Flow records without an address or octets.", lambda one: one.unusable),
    _flow("sekisho_flow_gaps_total", "counter", "Times the sequence of an exporter leapt ahead.", lambda one: one.gaps),
    _flow("sekisho_flow_lost", "gauge", "Records or packets of exporters that did not arrive, since the start.", lambda one: one.lost),
    _flow("sekisho_flow_early_total", "counter", "Sets of flow records that came before their template.", lambda one: one.early),
    _flow("sekisho_flow_dropped_total", "counter", "Packets of flow records the kernel dropped.", lambda one: one.dropped),
    Family(
        "sekisho_flow_bad_total",
        "counter",
        "Packets of flow records that were of no use, by reason.",
        lambda seen: _faults(seen.flows),
        ("reason",),
    ),
    Family(
        "sekisho_flow_port_blocks_total",
        "counter",
        "Records of address translation that exporters sent, by what became of them.",
        lambda seen: _blocks(seen.flows),
        ("outcome",),
    ),
    _flow("sekisho_flow_sessions", "gauge", "Exporters' sessions known, by address, port, version and domain.", lambda one: one.sessions),
    _flow("sekisho_flow_failing", "gauge", "1 while flow records cannot be received.", lambda one: one.failing),
)
"""In the order they are shown."""
