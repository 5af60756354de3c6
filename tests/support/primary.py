"""A primary on loopback that hands out one zone by AXFR: enough to transfer from, and nothing more."""

from __future__ import annotations

import contextlib
import socketserver
import struct
import threading
from collections.abc import Iterator, Sequence

import dns.message
import dns.rdatatype
import dns.rrset


class Primary(socketserver.ThreadingTCPServer):
    """`records` are (owner, "TYPE data") without the SOA; both may be changed while it runs."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, zone: str, records: Sequence[tuple[str, str]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.zone = zone
        self.records = list(records)
        self.serial = 1
        self.transfers = 0

    @property
    def source(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    @contextlib.contextmanager
    def running(self) -> Iterator[Primary]:
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


class _Handler(socketserver.StreamRequestHandler):
    server: Primary

    def handle(self) -> None:
        while len(head := self.rfile.read(2)) == 2:
            query = dns.message.from_wire(self.rfile.read(struct.unpack("!H", head)[0]))
            soa = (self.server.zone, f"SOA a. b. {self.server.serial} 1 1 1 1")
            records = [soa]
            if query.question[0].rdtype == dns.rdatatype.AXFR:
                self.server.transfers += 1
                records = [soa, *self.server.records, soa]
            answer = dns.message.make_response(query)
            for owner, data in records:
                rtype, _, rdata = data.partition(" ")
                answer.answer.append(dns.rrset.from_text(owner, 300, "IN", rtype, rdata))
            wire = answer.to_wire()
            self.wfile.write(struct.pack("!H", len(wire)) + wire)
