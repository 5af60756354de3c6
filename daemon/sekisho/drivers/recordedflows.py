"""Recorded packets of exporters - NetFlow v5, v9, IPFIX - to counts by customer, by the collector's own decoder.

Owns the desk of a reading. A record counts at the time its packet was recorded, as it does with the daemon, and of an address that
customers share by ports it is of whoever had the port then.
"""

from __future__ import annotations

import numpy as np

from sekisho.config.flows import FlowExporter
from sekisho.drivers.flowsetup import exporter_rows
from sekisho.drivers.recordings import Reading
from sekisho.flows import layout
from sekisho.flows.decode import decode
from sekisho.flows.layout import Total
from sekisho.flows.templates import keep_v5
from sekisho.model.usage import Source

PORTS = frozenset({2055, 4739})
"""Where exporters send to: NetFlow's usual port, and IPFIX's (RFC 7011, section 10.3.4)."""
_LOW = (1 << 64) - 1


class Exports:
    """The exporters of one recording: those of the configuration as they are there, any others by what they say themselves."""

    def __init__(self, reading: Reading) -> None:
        known = [*reading.exporters[: layout.EXPORTERS - 1], FlowExporter.model_validate({"address": "::/0"})]
        desk = self._desk = layout.make_desk()
        desk.exporters[:], desk.defaults[:], desk.interfaces[:] = exporter_rows(known)
        # Who had which ports then is on record.
        desk.exporters[:, layout.E_BLOCKS] = 0
        desk.cells[layout.C_EXPORTERS] = len(known)
        keep_v5(desk)
        self._reading = reading

    def take(self, at: float, address: int, port: int, packet: bytes) -> None:
        """A packet from an exporter, recorded at `at`."""
        desk = self._desk
        desk.cells[layout.C_RECORDS] = 0
        data = np.frombuffer(packet + bytes(8), np.uint8)
        decode(desk, data, 0, len(packet), np.uint64(address >> 64), np.uint64(address & _LOW), port, 0, int(at))
        for row in desk.records[: desk.cells[layout.C_RECORDS]].tolist():
            facts, owners = row[layout.R_FACTS], self._reading.owners
            from_port, to_port = _ports(facts)
            source = 0 if facts & layout.FACT_NOT_UP else owners.row(row[0] << 64 | row[1], at, from_port)
            target_address = row[2] << 64 | row[3]
            target = 0 if facts & layout.FACT_NOT_DOWN else owners.row(target_address, at, to_port)
            self._add(at, source, target, target_address, row)

    def _add(self, at: float, source: int, target: int, address: int, row: list[int]) -> None:
        recorded, owners = self._reading.recorded, self._reading.owners
        octets, reverse, opened = row[layout.R_OCTETS], row[layout.R_REVERSE], row[layout.R_OPENED]
        if not source and not target:
            recorded.nobody += 1
        if source:
            bucket = owners.bucket(address) if opened else 0
            mail = bool(row[layout.R_FACTS] & layout.FACT_MAIL)
            recorded.carry(Source.FLOWS, at, source, reverse, octets, opened, mail=mail, bucket=bucket)
        if target:
            recorded.carry(Source.FLOWS, at, target, octets, reverse)

    def notes(self) -> list[str]:
        """What of the packets could not be used."""
        totals = self._desk.totals
        said = []
        bad, early, lost = int(totals[layout.FAULTS :].sum()), int(totals[Total.EARLY]), int(totals[Total.LOST])
        if bad:
            said.append(f"{bad:,} packets of exporters are bad, and were left out")
        if early:
            said.append(f"{early:,} sets of flow records came before their template and cannot be read; begin the recording earlier")
        if lost:
            said.append(f"{lost:,} packets or records of exporters are missing in the recording")
        return said


def _ports(facts: int) -> tuple[int, int]:
    """The source's and the target's, by which a shared address is somebody's; 0: there are none."""
    if not facts & layout.FACT_PORTS:
        return 0, 0
    return facts >> layout.SOURCE_PORT & 0xFFFF, facts >> layout.TARGET_PORT & 0xFFFF
