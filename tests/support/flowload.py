"""Flow records at a rate, as two exporters send them: NetFlow v9 and IPFIX over UDP, thirty records a datagram.

`python -m support.flowload PORT RATE SECONDS CUSTOMERS BASE` is a process of its own. Each record is of one of so many customers with
the addresses from BASE on, and of OCTETS octets. Datagrams are numbered, templates are told again every few seconds, and the last
datagram of each exporter comes a moment after all others, so that what was lost before it shows as a gap. Prints a line of JSON.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import struct
import sys
import time
from dataclasses import dataclass

import numpy as np

from unit.flows.packets import V4_FIELDS, a_set, ipfix, template, v9

FIELDS = (*V4_FIELDS, (2, 4), (10, 4), (14, 4), (21, 4), (22, 4), (5, 1), (61, 1), (136, 1), (60, 1))
"""Sixteen fields, as routers tell them."""
RECORDS = 30
OCTETS = 9000
FAR = 0xCB007107
PACKETS = 17_000
"""Different datagrams of one exporter: half a million customers each."""
TELL_EVERY = 5.0
LAST = 1.0
"""Seconds before the datagram that shows what was lost."""


def contents(chance: np.random.Generator, many: int, customers: int, base: int) -> list[bytes]:
    """Records of `FIELDS`: two of three towards a customer, the third from one."""
    far, rest = struct.pack("!I", FAR), struct.pack("!HHBBI", 443, 40000, 6, 0x1B, OCTETS) + bytes(4 * 5 + 4)
    near = [struct.pack("!I", base + one) for one in chance.integers(0, customers, many).tolist()]
    return [(far + one if place % 3 else one + far) + rest for place, one in enumerate(near)]


@dataclass
class Exporter:
    """One exporter: a socket, datagrams to be sent again and again, and the number the next one has."""

    version: int
    socket: socket.socket
    packets: list[bytearray]
    number: int = 0
    sent: int = 0
    """Records."""
    datagrams: int = 0
    told: float = -1e9

    @classmethod
    def of(cls, version: int, port: int, customers: int, base: int) -> Exporter:
        chance = np.random.default_rng(version)
        make = v9 if version == 9 else ipfix
        many = min(PACKETS, max(20, customers // RECORDS))
        records = contents(chance, many * RECORDS, customers, base)
        packets = [bytearray(make([a_set(256, b"".join(records[at : at + RECORDS]))])) for at in range(0, len(records), RECORDS)]
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.connect(("127.0.0.1", port))
        return cls(version, one, packets)

    def send(self, now: float) -> None:
        """The next datagram, and before it the template if it is time."""
        if now - self.told > TELL_EVERY:
            self.told = now
            if self.version == 9:
                self.socket.send(v9([a_set(0, template(256, FIELDS))], self.number))
                self.number = self.number + 1 & 0xFFFFFFFF
            else:
                self.socket.send(ipfix([a_set(2, template(256, FIELDS))], self.number))
            self.datagrams += 1
        packet = self.packets[self.sent // RECORDS % len(self.packets)]
        # The sequence of NetFlow v9 counts datagrams (RFC 3954 section 5.1), that of IPFIX records (RFC 7011 section 3.1).
        struct.pack_into("!I", packet, 12 if self.version == 9 else 8, self.number)
        self.socket.send(packet)
        self.datagrams += 1
        self.number = self.number + (1 if self.version == 9 else RECORDS) & 0xFFFFFFFF
        self.sent += RECORDS


def main() -> None:
    port, rate, seconds, customers = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    base = int(ipaddress.IPv4Address(sys.argv[5]))
    exporters = [Exporter.of(version, port, customers, base) for version in (9, 10)]
    count = max(2, int(rate * seconds / RECORDS))
    began, sent = time.monotonic(), 0
    while sent < count:
        now = time.monotonic()
        due = min(count, int((now - began) * rate / RECORDS))
        for turn in range(sent, due):
            exporters[turn % 2].send(now)
        sent = max(sent, due)
        time.sleep(0.001)
    took = time.monotonic() - began
    time.sleep(LAST)
    for one in exporters:
        one.send(time.monotonic())
    sent, datagrams = sum(one.sent for one in exporters), sum(one.datagrams for one in exporters)
    by_version = {one.version: one.sent for one in exporters}
    print(json.dumps({"sent": sent, "datagrams": datagrams, "seconds": took, "by_version": by_version}))


if __name__ == "__main__":
    main()
