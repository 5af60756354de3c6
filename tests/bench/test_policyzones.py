"""A policy zone of a million names: how long a full transfer takes, what memory, and a difference of one in a hundred.

One secondary on loopback that reads and counts; every message is signed. `uptime` says how busy the machine was.
"""

from __future__ import annotations

import base64
import os
import resource
import socket
import threading
import time
from pathlib import Path

import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsigkeyring
import pytest

from bench.settings import NAMES
from sekisho.config.policyzones import PolicyZones
from sekisho.drivers.policyprimary import Primary, serving
from sekisho.lists.compile import compile_feed
from sekisho.model.lists import Action, ActionKind, ListDefinition, ListFormat, Scope
from sekisho.rpz.listzone import ListContent, difference, list_content
from sekisho.rpz.zone import Timers, Zone
from sekisho.snapshot.digest import key_of

LIMIT = 20.0
"""Seconds a full transfer may take."""
NAME, ORIGIN = "list-c2.rpz.test", b"\x07list-c2\x03rpz\x04test\0"
KEY = key_of(bytes(range(16)))
SECRET = base64.b64encode(b"a secret of 32 octets, for tests").decode()


def content(moved: int) -> ListContent:
    """A list whose first names, `moved` of them, are others."""
    definition = ListDefinition(id="c2", order=0, category="c2", source="c2", format=ListFormat.DOMAINS, scope=Scope.SUBTREE)
    text = "".join(f"h{number + (NAMES if number < moved else 0)}.x{number % 977}.example\n" for number in range(NAMES))
    compiled = compile_feed(definition, text.encode(), KEY, file="c2").compiled
    return list_content(compiled, Action(ActionKind.NXDOMAIN), KEY, ORIGIN, 60)


def transfer(port: int, serial: int | None) -> tuple[int, int, float]:
    """Records, octets and seconds of a transfer: whole, or from a serial."""
    query = dns.message.make_query(NAME, "AXFR" if serial is None else "IXFR")
    if serial is not None:
        query.authority.append(dns.rrset.from_text(f"{NAME}.", 0, "IN", "SOA", f". . {serial} 0 0 0 0"))
    query.use_tsig(dns.tsigkeyring.from_text({"one.key.test": SECRET}))
    wire = query.to_wire()
    began, records, octets, last = time.monotonic(), 0, 0, b""
    with socket.create_connection(("127.0.0.1", port)) as stream, stream.makefile("rb") as reader:
        stream.sendall(len(wire).to_bytes(2, "big") + wire)
        # The apex' SOA ends a message, before its TSIG: of a whole zone the second one, of a difference the fourth.
        seen, wanted = 0, 2 if serial is None else 4
        while seen < wanted:
            last = reader.read(int.from_bytes(reader.read(2), "big"))
            seen += last.count(b"\x09localhost\0\x0ahostmaster")
            records += int.from_bytes(last[6:8], "big")
            octets += len(last)
    return records, octets, time.monotonic() - began


def peak() -> int:
    """MiB the process had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


@pytest.mark.slow
def test_a_million_names_are_transferred_in_time_and_a_hundredth_of_them_by_a_difference(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    settings = PolicyZones.model_validate(
        {
            "zone": "rpz.test",
            "listen": ["127.0.0.1:0"],
            "keys": [{"name": "one.key.test", "secret_file": "secret"}],
            "secondaries": [{"id": "one", "address": "127.0.0.1", "key": "one.key.test"}],
        },
        context={"folder": tmp_path},
    )
    before, after = content(0), content(NAMES // 100)
    next(before.blocks())
    zone = Zone(ORIGIN, NAME, Timers(), 1, before)
    primary = Primary(settings)
    with serving(primary) as (thread, (port,)):
        thread.call(lambda: primary.serve(zone))
        held = peak()
        records, octets, seconds = transfer(port, None)
        grew = peak() - held
        began = time.monotonic()
        change = difference(before, after)
        compared = time.monotonic() - began
        assert change is not None
        done = threading.Event()
        thread.call(lambda: (zone.put(after, change, 2), done.set()))
        assert done.wait(10)
        some, few, soon = transfer(port, 1)
    print(
        f"\nload {os.getloadavg()[0]:.1f}: {records} records, {octets / 1e6:.1f} MB in {seconds:.2f} s; peak grew by {grew} MiB"
        f"\n1 % changed: compared in {compared:.2f} s, {some} records, {few / 1e6:.2f} MB in {soon:.3f} s"
    )
    assert records == 2 * NAMES + 3
    assert some == 4 * (NAMES // 100) + 4
    assert few < octets / 20
    assert grew < 64
    assert seconds < LIMIT
