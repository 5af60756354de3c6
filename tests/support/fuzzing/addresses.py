"""Target `addresses`: a feed of addresses and prefixes, each line against what `ipaddress` makes of it."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from sekisho.lists import addresslist
from sekisho.lists.compile import compile_feed
from sekisho.lists.rows import Rows, Tally
from sekisho.lists.scan import octets
from sekisho.model.lists import ListDefinition, ListFormat, Scope
from support.fuzzing.lists import Feed
from support.fuzzing.texts import said_of
from support.plane import KEY

_BOM = b"\xef\xbb\xbf"
_FULL_EVERY = 16
_KEPT = "203.0.113.77"
_LINES = [
    b"192.0.2.1",
    b"198.51.100.0/24 ; a net",
    b"2001:db8::/48",
    b"2001:db8:1::7\t! one",
    b"# c",
    b"192.0.2.1/24",
    b"::ffff:192.0.2.1",
    b"0.0.0.0/0",
    b"::1/129",
    b"fe80::1%lo0",
    b"10.0.0.0/255.0.0.0",
    b"www.example",
]
_TOKENS = [b"/24", b"/32", b"/128", b"/0", b"/", b"::", b":", b"%lo0", b"256", b"0x7f", b"01", b"ffff", b"/255.255.255.0", b"\x1c", b"\x85"]


class AddressFeed(Feed):
    """A feed of addresses: its format has no scanner, and its names are prefixes."""

    def __init__(self) -> None:
        super().__init__(ListFormat.ADDRESSES, addresslist, "", b"#;!", _LINES, _TOKENS, alone=True)

    def features(self, data: bytes) -> set[Any]:
        rows, tally = self._read(data, Scope.EXACT)
        self._check_lines(data, Scope.EXACT, rows, tally)
        lines = data.removeprefix(_BOM).split(b"\n")
        wanted = [(number, key) for number, line in enumerate(lines, 1) if (key := _key(line)) is not None]
        assert [(int(rows.lines[row]), rows.name(row)) for row in range(rows.count)] == wanted, "a prefix is not the one of its line"
        if self.judged % _FULL_EVERY == 0:
            self._compile(data)
        return said_of(rows, tally, Scope.EXACT) | {("length", key[1], key[12:14] == b"\xff\xff") for _, key in wanted}

    def _read(self, data: bytes, scope: Scope) -> tuple[Rows, Tally]:
        rows, tally = Rows(1, 1), Tally("feed", sealed=False)
        addresslist.read(octets(data), rows, tally)
        return rows, tally

    def _is_silent(self, line: bytes) -> bool:
        return not _word(line)

    def _compile(self, data: bytes) -> None:
        """The whole way, open and sealed, with a good line at the end that must be kept."""
        counts = []
        for sealed in (False, True):
            definition = ListDefinition("fuzz", 0, "c2", "feed", ListFormat.ADDRESSES, sealed=sealed)
            with self.guarded():
                made = compile_feed(definition, data + b"\n" + _KEPT.encode(), KEY, file="feed")
            self.check_kept(made, _key(_KEPT.encode()) or b"")
            assert not sealed or _KEPT not in repr(made.report), "a sealed list's line is told"
            counts.append((made.report.entries, made.report.skipped, made.report.refused))
        assert counts[0] == counts[1], "a sealed list is read otherwise"


def _word(line: bytes) -> str:
    """What stands before a comment."""
    return re.split(r"[#;!]", line[:4096].decode("ascii", "replace"), maxsplit=1)[0].strip()


def _key(line: bytes) -> bytes | None:
    """The key of the prefix on a line: its length among 128, the address with IPv4 mapped (RFC 4291 section 2.5.5.2)."""
    try:
        found = ipaddress.ip_network(_word(line))
    except ValueError:
        return None
    mapped, more = (bytes(10) + b"\xff\xff", 96) if found.version == 4 else (b"", 0)
    return bytes((17, found.prefixlen + more)) + mapped + found.network_address.packed + b"\2IP\0"
