"""Target `transfers`: messages of a hostile primary, against the slow path of the product, which reads each record by itself."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any
from unittest import mock

from sekisho.lists import zonetransfer
from sekisho.lists.rows import Tally
from sekisho.lists.zonetransfer import ZoneReader
from sekisho.model.errors import FeedError
from sekisho.model.lists import Scope
from support.fuzzing.mutator import EVERY
from support.fuzzing.texts import Text, check_names, said_of
from support.slowpath import all_odd_records, outcome

_ZONE = "rpz.test"


class Transfers(Text):
    """Messages of a primary: one mutated message of a transfer, full or incremental."""

    name = "transfers"
    kinds = EVERY

    def __init__(self, messages: Sequence[bytes]) -> None:
        super().__init__()
        self.messages = messages

    def seeds(self) -> list[bytes]:
        return list(self.messages)

    def tokens(self) -> list[bytes]:
        soa = b"\3rpz\4test\0\0\6\0\1\0\0\1\x2c\0\x1a\1a\0\1b\0\0\0\0\7\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1"
        blocked = b"\3bad\xc0\x0c\0\5\0\1\0\0\1\x2c\0\1\0"
        return [
            b"\xc0\x0c",
            b"\xc0\0",
            b"\3rpz\4test\0",
            soa,
            blocked,
            b"\0\5\0\1",
            b"\0\1\0\1",
            b"\1*",
            b"\x08rpz-drop\0",
            b"\7rpz\4test\0",
            b"\6rpz-ip",
        ]

    def features(self, data: bytes) -> set[Any]:
        touched: set[Any] = set()
        for asked in (None, 6):
            results = []
            for slow in (False, True):
                reader = ZoneReader(b"\3rpz\4test\0", Tally("zone", sealed=False), asked=asked)
                error = ""
                with mock.patch.object(zonetransfer, "scan_records", all_odd_records) if slow else contextlib.nullcontext():
                    try:
                        reader.feed(data)
                    except FeedError as found:
                        error = str(found)
                if not error:
                    for part in (reader, *reader.differences):
                        check_names(part.rows)
                results.append((error, reader.done, reader.serial, outcome(reader.rows, reader.tally)))
                if not slow:
                    touched |= said_of(reader.rows, reader.tally, Scope.EXACT)
                    touched |= {(asked, error), (asked, reader.state, len(reader.differences))}
            if not results[0][0] and not results[1][0]:
                assert results[0] == results[1], "scanner and module do not read the transfer alike"
        return touched


def transfer_messages() -> list[bytes]:
    """A full transfer, an incremental one, and one that says nothing is new."""
    import dns.message
    import dns.rrset

    def message(*records: str) -> bytes:
        made = dns.message.make_response(dns.message.make_query("rpz.test.", "AXFR", id=1))
        for record in records:
            owner, rtype, data = record.split(" ", 2)
            made.answer.append(dns.rrset.from_text(f"{owner}.", 300, "IN", rtype, data))
        return made.to_wire()

    old, new = "rpz.test SOA a. b. 6 1 1 1 1", "rpz.test SOA a. b. 7 1 1 1 1"
    rows = ["bad.rpz.test CNAME .", "*.worse.rpz.test CNAME rpz-drop.", "d.rpz.test A 192.0.2.1", "e.rpz.test TXT x", "rpz.test NS n."]
    return [message(new, *rows, new), message(new, old, rows[0], new, *rows[1:3], new), message(new), message(new, *rows)]
