"""Real primaries, Knot DNS and BIND, serving a policy zone over AXFR, IXFR and NOTIFY with TSIG."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sekisho.drivers.feeds import Feeds
from sekisho.drivers.liststore import ListStore
from sekisho.drivers.transfer import Base, transfer
from sekisho.lists import idn
from sekisho.model.errors import FeedError
from sekisho.model.lists import ActionKind, ListDefinition, ListFormat, Trigger, TsigKey
from sekisho.snapshot.digest import digest_name, key_of
from sekisho.snapshot.entries import CompiledList
from support import free_port, require_binary, wait_until

pytestmark = pytest.mark.peers

KEY = key_of(bytes(range(16)))
ZONE = "policy.rpz.test"
SECRET = base64.b64encode(b"a secret of 32 octets, for tests").decode()
NAMES = 3000
"""Enough that a transfer takes more than one message."""

KNOT = """
server:
    rundir: "{folder}"
    listen: 127.0.0.1@{port}
database:
    storage: "{folder}"
log:
  - target: stderr
    any: info
key:
  - id: sekisho.key.test
    algorithm: hmac-sha256
    secret: {secret}
remote:
  - id: sekisho
    address: 127.0.0.1@{notify}
    key: sekisho.key.test
acl:
  - id: transfer
    key: sekisho.key.test
    action: transfer
template:
  - id: default
    storage: "{folder}"
    semantic-checks: off
    zonefile-load: difference
    journal-content: changes
zone:
  - domain: {zone}
    file: zone
    acl: transfer
    notify: sekisho
"""

BIND = """
options {{
    directory "{folder}"; pid-file none; session-keyfile none; managed-keys-directory "{folder}"; key-directory "{folder}";
    listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
    recursion no; dnssec-validation no; notify explicit; notify-delay 0; minimal-responses yes;
}};
controls {{ }};
key "sekisho.key.test" {{ algorithm hmac-sha256; secret "{secret}"; }};
zone "{zone}" {{
    type primary; file "{folder}/zone"; ixfr-from-differences yes; check-names ignore;
    allow-transfer {{ key "sekisho.key.test"; }};
    also-notify {{ 127.0.0.1 port {notify} key "sekisho.key.test"; }};
}};
"""


@dataclass
class Primary:
    """A primary with one zone, and the definition of a list that transfers it."""

    folder: Path
    process: subprocess.Popen[bytes]
    definition: ListDefinition

    def publish(self, serial: int, records: str) -> None:
        write_zone(self.folder, serial, records)
        self.process.send_signal(signal.SIGHUP)

    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8", "replace")


def write_zone(folder: Path, serial: int, records: str) -> None:
    many = "".join(f"host{number}.c2.example CNAME .\n*.host{number}.c2.example CNAME .\n" for number in range(NAMES))
    head = f"$TTL 300\n@ SOA localhost. hostmaster.{ZONE}. {serial} 3600 600 604800 300\n@ NS localhost.\n"
    aside = folder / "zone.new"
    aside.write_text(f"$ORIGIN {ZONE}.\n{head}{many}{records}")
    aside.rename(folder / "zone")


RECORDS = """
let.phish.example CNAME rpz-passthru.
*.phish.example CNAME *.
drop.example CNAME rpz-drop.
tcp.example CNAME rpz-tcp-only.
data.example A 192.0.2.1
data.example AAAA 2001:db8::1
*.garden.test.example CNAME *.walled.example.
32.1.2.0.192.rpz-nsip CNAME .
test CNAME .
"""


@pytest.fixture(params=["knotd", "named"])
def primary(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Primary]:
    program = require_binary(request.param)
    port, notify = free_port(), free_port()
    folder = tmp_path / "primary"
    folder.mkdir()
    write_zone(folder, 100, RECORDS)
    template = KNOT if request.param == "knotd" else BIND
    (folder / "conf").write_text(template.format(folder=folder, port=port, notify=notify, secret=SECRET, zone=ZONE))
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    definition = ListDefinition(
        id="policy",
        order=0,
        category="c2",
        source=f"127.0.0.1:{port}",
        format=ListFormat.AXFR,
        zone=ZONE,
        tsig=TsigKey("sekisho.key.test", "hmac-sha256", str(secret)),
        timeout=60.0,
        notify=f"127.0.0.1:{notify}",
    )
    arguments = ["-c", str(folder / "conf")] if request.param == "knotd" else ["-g", "-c", str(folder / "conf")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, *arguments], stdout=log, stderr=subprocess.STDOUT, cwd=folder)
    served = Primary(folder, process, definition)
    try:
        wait_until(lambda: is_served(port, served), what=f"{program} serving {ZONE}")
        yield served
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def is_served(port: int, primary: Primary) -> bool:
    """Whether the primary answers for the zone's SOA."""
    if primary.process.poll() is not None:
        pytest.fail(f"the primary ended:\n{primary.log()}")
    wire = b"\x12\x34\0\0\0\1\0\0\0\0\0\0" + idn.to_wire(ZONE) + b"\0\6\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.2)
        try:
            asking.sendto(wire, ("127.0.0.1", port))
            answer = asking.recv(4096)
        except OSError:
            return False
    return answer[3] & 15 == 0 and answer[7] == 1


def meaning(compiled: CompiledList, name: str) -> dict[Trigger, ActionKind]:
    """What the list does with a name, by trigger."""
    row = compiled.find(*digest_name(idn.to_wire(name), KEY))
    if row is None:
        return {}
    found = {}
    for trigger, column in ((Trigger.EXACT, compiled.exact), (Trigger.BELOW, compiled.below)):
        if compiled.triggers[row] & trigger:
            found[trigger] = compiled.actions[int(column[row]) - 1].kind
    return found


def as_base(zone) -> Base:
    return Base(zone.result.compiled, zone.result.report, zone.serial)


def contents(compiled: CompiledList) -> dict[bytes, list[object]]:
    """A list by name: triggers and actions."""
    actions = (None, *compiled.actions)
    return {
        compiled.name(row): [int(compiled.triggers[row]), actions[compiled.exact[row]], actions[compiled.below[row]]]
        for row in range(len(compiled))
    }


def test_a_zone_is_transferred_whole_and_every_action_keeps_its_meaning(primary: Primary) -> None:
    zone = asyncio.run(transfer(primary.definition, KEY, None))
    assert zone is not None
    assert zone.serial == 100
    compiled, report = zone.result.compiled, zone.result.report
    assert report.entries == NAMES + 6
    assert meaning(compiled, "host7.c2.example") == {Trigger.EXACT: ActionKind.NXDOMAIN, Trigger.BELOW: ActionKind.NXDOMAIN}
    assert meaning(compiled, "let.phish.example") == {Trigger.EXACT: ActionKind.PASSTHRU}
    assert meaning(compiled, "phish.example") == {Trigger.BELOW: ActionKind.NODATA}
    assert meaning(compiled, "drop.example") == {Trigger.EXACT: ActionKind.DROP}
    assert meaning(compiled, "tcp.example") == {Trigger.EXACT: ActionKind.TCP_ONLY}
    assert meaning(compiled, "data.example") == {Trigger.EXACT: ActionKind.LOCAL_DATA}
    assert meaning(compiled, "garden.test.example") == {Trigger.BELOW: ActionKind.CHASE}
    assert dict(report.kinds) == {"rpz-nsip trigger": 1}
    assert report.refused == 1, "`test` is a public suffix"


def test_a_change_comes_as_differences_and_ends_where_a_whole_transfer_does(primary: Primary, monkeypatch: pytest.MonkeyPatch) -> None:
    first = asyncio.run(transfer(primary.definition, KEY, None))
    assert first is not None
    assert asyncio.run(transfer(primary.definition, KEY, as_base(first))) is None, "nothing changed yet"
    changed = RECORDS.replace("drop.example CNAME rpz-drop.", "new.example CNAME rpz-drop.").replace("data.example A 192.0.2.1\n", "")
    primary.publish(101, changed + "data.example TXT added\nexample CNAME .\n")
    second = wait_until(lambda: asyncio.run(transfer(primary.definition, KEY, as_base(first))), what="the new serial")
    assert second.serial == 101
    whole = asyncio.run(transfer(primary.definition, KEY, None))
    assert whole is not None
    assert contents(second.result.compiled).keys() == contents(whole.result.compiled).keys()
    assert {k: v for k, v in contents(second.result.compiled).items() if b"data" not in k} == {
        k: v for k, v in contents(whole.result.compiled).items() if b"data" not in k
    }
    assert meaning(second.result.compiled, "drop.example") == {}
    assert meaning(second.result.compiled, "new.example") == {Trigger.EXACT: ActionKind.DROP}
    counts = [(item.result.report.entries, item.result.report.refused, item.result.report.unkept) for item in (second, whole)]
    assert counts[0] == counts[1]
    rtypes = [
        {record.rtype for action in item.result.compiled.actions if action.kind is ActionKind.LOCAL_DATA for record in action.records}
        for item in (second, whole)
    ]
    assert rtypes == [{28, 16}, {28, 16}]
    assert b"\4drop\7example" not in second.result.compiled.names.tobytes(), "a deleted name is kept nowhere"


def test_differences_are_what_was_sent(primary: Primary, monkeypatch: pytest.MonkeyPatch) -> None:
    first = asyncio.run(transfer(primary.definition, KEY, None))
    assert first is not None
    primary.publish(101, RECORDS + "new.example CNAME .\n")

    def refuse(*_arguments: object) -> None:
        raise AssertionError("the zone was transferred as a whole")

    monkeypatch.setattr("sekisho.drivers.transfer._finished", refuse)
    second = wait_until(lambda: asyncio.run(transfer(primary.definition, KEY, as_base(first))), what="the new serial")
    assert second.result.report.entries == NAMES + 7


def test_a_wrong_secret_is_said_to_be_one(primary: Primary, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text(base64.b64encode(b"not the secret the primary knows").decode())
    tsig = TsigKey("sekisho.key.test", "hmac-sha256", str(wrong))
    with pytest.raises(FeedError, match="TSIG key"):
        asyncio.run(transfer(replace(primary.definition, tsig=tsig), KEY, None))


def test_no_key_where_the_primary_wants_one_is_refused_in_a_sentence(primary: Primary) -> None:
    with pytest.raises(FeedError, match=r"refused with (REFUSED|NOTAUTH)"):
        asyncio.run(transfer(replace(primary.definition, tsig=None), KEY, None))


def test_a_sealed_zone_keeps_digests_only(primary: Primary) -> None:
    zone = asyncio.run(transfer(replace(primary.definition, sealed=True), KEY, None))
    assert zone is not None
    compiled = zone.result.compiled
    assert meaning(compiled, "host7.c2.example")
    assert not len(compiled.names)
    assert not len(compiled.offsets)
    assert "host7" not in repr(zone)
    assert all("c2" not in fault.message for fault in zone.result.report.faults)


def test_notify_brings_a_change_at_once(primary: Primary, tmp_path: Path) -> None:
    async def scenario() -> None:
        store = ListStore(tmp_path / "state", KEY, feeds=Feeds())
        changed: asyncio.Queue[str] = asyncio.Queue()
        definition = replace(primary.definition, refresh=86400.0)
        task = asyncio.create_task(store.run([definition], changed.put))
        try:
            async with asyncio.timeout(90):
                assert await changed.get() == "policy"
                assert store.status("policy", 0.0).serial == 100
                primary.publish(101, RECORDS + "new.example CNAME .\n")
                assert await changed.get() == "policy"
            status = store.status("policy", 0.0)
            assert (status.serial, status.entries, status.last_error) == (101, NAMES + 7, "")
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await store.close()
        again = ListStore(tmp_path / "state", KEY)
        assert await again.define([definition]) == []
        assert again.status("policy", 0.0).serial == 101

    asyncio.run(scenario())


def test_a_primary_that_is_down_leaves_the_last_good_zone_in_force(
    primary: Primary, tmp_path: Path, wait_until: Callable[..., object]
) -> None:
    async def scenario() -> None:
        store = ListStore(tmp_path / "state", KEY)
        await store.define([primary.definition])
        assert await store.refresh("policy", 1000.0)
        os.kill(primary.process.pid, signal.SIGTERM)
        await asyncio.to_thread(primary.process.wait, 60)
        assert not await store.refresh("policy", 2000.0)
        status = store.status("policy", 2000.0)
        assert "check that the primary is up" in status.last_error
        assert status.entries == NAMES + 6
        assert status.age == 1000.0

    asyncio.run(scenario())
