"""Compiling what reads lists and builds snapshots, before the first list: a list of a name in every form there is."""

from __future__ import annotations

import numpy as np

from sekisho.lists import idn
from sekisho.lists.compile import compile_feed, finish, guard_for
from sekisho.lists.names import compacted
from sekisho.lists.rows import Tally
from sekisho.model.lists import ListDefinition, ListFormat, Scope
from sekisho.snapshot.build import build

_NAMES = {
    ListFormat.DOMAINS: "# one of them twice\nwarm.example\nother.example\nwarm.example\n",
    ListFormat.HOSTS: "0.0.0.0 warm.example\n",
    ListFormat.ADBLOCK: "! one name\n||warm.example^\n",
    ListFormat.CSV: "name\nwarm.example\n",
    ListFormat.JSON: '[{"name": "warm.example"}]',
    ListFormat.RPZ: "$TTL 60\n@ SOA . . 1 60 60 60 60\nwarm.example CNAME .\n",
}
_ZONE = "rpz.example"


def warm_up() -> None:
    """Compile it, in this process. Takes tens of seconds the first time, a fraction of a second later."""
    # Brings dnspython, which a start without zones needs not.
    from sekisho.lists.zonetransfer import ZoneReader  # noqa: PLC0415

    key = (np.uint64(1), np.uint64(2))
    for form, text in _NAMES.items():
        definition = _definition(form)
        made = compile_feed(definition, text.encode(), key, file="warm", never_block=(idn.to_wire("never.example"),))
        compacted(made.compiled)
        build(1, [(definition, made.compiled)], [], [], key)
    definition = _definition(ListFormat.AXFR)
    reader = ZoneReader(idn.to_wire(_ZONE), Tally("warm", sealed=False))
    reader.feed(_transfer(idn.to_wire(_ZONE), idn.to_wire("warm.example")))
    finish(definition, reader.rows, key, guard_for(definition, key), reader.tally)


def _definition(form: ListFormat) -> ListDefinition:
    column = "name" if form in (ListFormat.CSV, ListFormat.JSON) else None
    zone = _ZONE if form in (ListFormat.RPZ, ListFormat.AXFR) else None
    return ListDefinition("warm", 0, "c2", "warm", form, None if zone else Scope.SUBTREE, column=column, zone=zone)


def _transfer(zone: bytes, name: bytes) -> bytes:
    """A transfer in one message (RFC 5936): SOA, one name that does not exist, SOA."""
    counts = b"\0\0\x84\0\0\0\0\x03\0\0\0\0"
    soa = zone + b"\0\x06\0\x01\0\0\0\x3c\0\x16\0\0" + b"\0\0\0\x01" * 5
    trigger = name[:-1] + zone + b"\0\x05\0\x01\0\0\0\x3c\0\x01\0"
    return counts + soa + trigger + soa
