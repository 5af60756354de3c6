"""A process that compiles feeds and tells the octets of each and of the memory it took: a format and what its feed is made of, a line.

Apart from the tests' own process, whose memory is not its own: what the kernel counts is all there is, whoever asked for it.
"""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path

from sekisho.lists.compile import compile_feed
from sekisho.model.errors import FeedError
from sekisho.model.lists import ListDefinition, ListFormat, Scope
from sekisho.snapshot.digest import key_of

KEY = key_of(bytes(16))
MIB = 1 << 20
SHORT = {
    ListFormat.DOMAINS: b"a\n",
    ListFormat.HOSTS: b"::1 a.b\n",
    ListFormat.ADBLOCK: b"||a^\n",
    ListFormat.CSV: b"a\n",
    ListFormat.JSON: b'"a"\n',
}
"""Lines as short as a name's can be, again and again."""
DISTINCT = {
    ListFormat.DOMAINS: b"%x.b\n",
    ListFormat.HOSTS: b"::1 %x.b\n",
    ListFormat.ADBLOCK: b"||%x.b^\n",
    ListFormat.CSV: b"%x.b\n",
    ListFormat.JSON: b'"%x.b"\n',
    ListFormat.ADDRESSES: b"1::%x\n",
    ListFormat.RPZ: b"%x.b A 1.1.1.1\n",
}
"""Short lines each of which is an entry of its own."""
QUICK = frozenset({ListFormat.DOMAINS, ListFormat.HOSTS, ListFormat.ADBLOCK})
"""Formats whose lines compiled code reads."""
HEADS = {ListFormat.CSV: b"a\n", ListFormat.RPZ: b"@ SOA . . 1 1 1 1 1\n"}


def feed(form: ListFormat, kind: str) -> bytes:
    """Some 16 MiB of text, 1 MiB where each line takes a microsecond or ten."""
    match kind:
        case "newlines":
            text = b"\n" * (16 * MIB)
        case "elements":
            text = b"[[" + b"[]," * (16 * MIB // 3) + b"[]]]"
        case "short":
            line = SHORT[form]
            text = line * ((16 if form in QUICK else 1) * MIB // len(line))
        case "distinct":
            text = b"".join(DISTINCT[form] % number for number in range(MIB if form in QUICK else MIB // 32))
        case _:
            text = b"x" * (16 * MIB)
    return HEADS.get(form, b"") + text


def memory(field: str) -> int:
    """Bytes that are resident: now (`VmRSS`), or at most since this was asked to be forgotten (`VmHWM`)."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii"))
    assert found
    return int(found[1]) * 1024


def peak(form: ListFormat, text: bytes) -> int:
    """Bytes that compiling a feed takes beside its text."""
    column = "name" if form is ListFormat.JSON else None
    definition = ListDefinition("list", 0, "c2", "list", form, Scope.EXACT, column=column, zone="b" if form is ListFormat.RPZ else None)
    ctypes.CDLL(None).malloc_trim(0)
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", "ascii")
    try:
        compile_feed(definition, text, KEY, file="list")
    except FeedError:
        if form is not ListFormat.CSV:
            raise
    return memory("VmHWM") - before


def main() -> None:
    for form in ListFormat:
        if form is not ListFormat.AXFR:
            # Machine code, the guard, what is imported late: not the feed's.
            peak(form, HEADS.get(form, b"") + DISTINCT[form] % 1 + DISTINCT[form] % 1)
    for line in sys.stdin:
        form, kind = line.split()
        text = feed(ListFormat(form), kind)
        print(len(text), peak(ListFormat(form), text), flush=True)


if __name__ == "__main__":
    main()
