"""Events out of a running checkpoint to real receivers: a web server that fails, rsyslog, a file; and kill -9 in between.

Whatever was acknowledged reaches every sink, and what is new to a receiver comes in the order of the record.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from peers.conftest import LISTS, SOURCES
from scenarios.harness import Checkpoint, Customer, Resolver, folders, running, write_site
from scenarios.harness.checkpoint import CONTROL
from support import free_port, require_binary, wait_until

pytestmark = [pytest.mark.peers, pytest.mark.slow]

SECRET = "a secret of thirty-two octets..."
RSYSLOG = """\
global(workDirectory="{folder}" maxMessageSize="16k")
module(load="imtcp")
module(load="imudp")
module(load="imuxsock" SysSock.Use="off")
template(name="parsed" type="string"
  string="%inputname%\\t%syslogfacility-text%.%syslogseverity-text%\\t%timereported:::date-rfc3339%\\t%app-name%\\t%msgid%\\t%structured-data%\\t%msg%\\n")
ruleset(name="all") {{ action(type="omfile" file="{folder}/messages" template="parsed" flushOnTXEnd="on") }}
input(type="imtcp" address="127.0.0.1" port="{port}" ruleset="all")
input(type="imudp" address="127.0.0.1" port="{port}" ruleset="all")
input(type="imuxsock" socket="{folder}/log" useSpecialParser="off" ignoreTimestamp="off" ruleset="all")
"""


@dataclass
class Receivers:
    """The processes events go to, and what each has."""

    folder: Path
    hook_port: int = field(default_factory=lambda: free_port("127.0.0.1"))
    syslog_port: int = field(default_factory=lambda: free_port("127.0.0.1"))
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        if name == "hooks":
            script = Path(__file__).with_name("hooks.py")
            argv = [sys.executable, str(script), str(self.hook_port), str(self.folder / "hooks"), SECRET]
        else:
            config = self.folder / "rsyslog.conf"
            config.write_text(RSYSLOG.format(folder=self.folder, port=self.syslog_port))
            argv = [require_binary("rsyslogd"), "-n", "-f", str(config), "-i", str(self.folder / "rsyslog.pid")]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

    def stop(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        process = self.processes.pop(name)
        process.send_signal(how)
        process.wait(30)

    def sinks(self) -> list[dict[str, object]]:
        (self.folder / "secret").write_text(f"{SECRET}\n")
        return [
            {"id": "desk", "kind": "webhook", "url": f"http://127.0.0.1:{self.hook_port}/", "secret": str(self.folder / "secret")},
            {"id": "siem", "kind": "syslog", "to": f"tcp://127.0.0.1:{self.syslog_port}"},
            {"id": "archive", "kind": "file", "path": str(self.folder / "events.jsonl"), "rotate_count": 20, "keep": 100},
        ]

    def hooked(self) -> list[int]:
        return numbers((self.folder / "hooks").read_bytes().splitlines())

    def messages(self) -> list[list[str]]:
        """What rsyslog made of each message: input, priority, time, application, id, structured data, text."""
        path = self.folder / "messages"
        whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
        return [line.split("\t") for line in whole.splitlines()]

    def logged(self, by: str = "imtcp") -> list[int]:
        return numbers(message[-1].encode() for message in self.messages() if message[0] == by)

    def filed(self) -> list[int]:
        files = list(self.folder.glob("events.jsonl.*"))
        ordered = [*sorted(files, key=lambda path: -int(path.suffix[1:])), self.folder / "events.jsonl"]
        return [one for path in ordered if path.exists() for one in numbers(path.read_bytes().splitlines())]


def numbers(lines: Any) -> list[int]:
    return [int(json.loads(line)["id"]) for line in lines]


@pytest.fixture
def receivers(tmp_path: Path) -> Iterator[Receivers]:
    one = Receivers(tmp_path)
    try:
        yield one
    finally:
        for name in list(one.processes):
            one.stop(name, signal.SIGKILL)


@contextlib.contextmanager
def telling(base: Path, sinks: list[dict[str, object]]) -> Iterator[Checkpoint]:
    with Resolver().running() as resolver, folders(base) as (folder, runtime):
        events = {"source": "urn:sekisho:test", "sinks": sinks}
        site = write_site(folder, runtime, [resolver.port], lists=LISTS, sources=SOURCES, events=events)
        with running(site) as checkpoint:
            yield checkpoint


def turn(checkpoint: Checkpoint, customers: list[Customer]) -> list[int]:
    """Each customer out and back in: two acts each, all acknowledged."""
    acts = [checkpoint.api.post("/v1/optouts", customer=one.id, list="c2")["number"] for one in customers]
    return acts + [checkpoint.api.delete("/v1/optouts", customer=one.id, list="c2")["number"] for one in customers]


def in_order(seen: list[int]) -> bool:
    """Whether what was new came in the order of the record; what came again may stand anywhere behind its first time."""
    first_time = list(dict.fromkeys(seen))
    return first_time == sorted(first_time)


def test_nothing_is_lost_and_the_order_is_kept_while_everybody_dies_in_turn(receivers: Receivers) -> None:
    receivers.start("hooks")
    receivers.start("rsyslog")
    acknowledged: list[int] = []
    with telling(receivers.folder, receivers.sinks()) as checkpoint:
        customers = [checkpoint.customer("gunma") for _ in range(3)]
        for round_number in range(3):
            acknowledged += turn(checkpoint, customers)
            down = ("hooks", "rsyslog")[round_number % 2]
            receivers.stop(down, signal.SIGKILL if down == "hooks" else signal.SIGTERM)
            acknowledged += turn(checkpoint, customers)
            ready = checkpoint.kill(CONTROL)
            receivers.start(down)
            checkpoint.wait_ready(CONTROL, ready + 1)
            acknowledged += turn(checkpoint, customers)

        def caught_up() -> bool:
            sinks = checkpoint.sekisho("status")["sinks"]
            return all(one["behind"] == 0 and not one["error"] for one in sinks)

        wait_until(caught_up, deadline=120, what="every sink at the end of the record", interval=0.3)
        wait_until(lambda: set(acknowledged) <= set(receivers.logged()), deadline=120, what="rsyslog to have written it all")
    last = max(acknowledged)
    assert len(set(acknowledged)) == len(acknowledged) == 54
    for name, seen in (("webhook", receivers.hooked()), ("syslog", receivers.logged()), ("file", receivers.filed())):
        assert set(seen) == set(range(1, last + 1)), f"{name}: every act of this record is an event"
        assert in_order(seen), name
    assert receivers.filed() == list(range(1, last + 1)), "the file has each once"
    hooked = [json.loads(line) for line in (receivers.folder / "hooks").read_bytes().splitlines()]
    assert len(hooked) > len(set(receivers.hooked())), "the receiver that broke off after taking was told again"
    for customer in customers:
        of_one = list(dict.fromkeys((int(one["id"]), one["type"]) for one in hooked if one.get("partitionkey") == customer.id))
        kinds = [kind for _, kind in of_one if "optout" in kind]
        assert kinds == ["jp.sekisho.optout.added.v1", "jp.sekisho.optout.removed.v1"] * 9


def test_rsyslog_reads_every_field_of_a_message_by_every_way(receivers: Receivers) -> None:
    receivers.start("rsyslog")
    wait_until((receivers.folder / "log").exists, what="rsyslog's socket")
    ways = {
        "imtcp": f"tcp://127.0.0.1:{receivers.syslog_port}",
        "imudp": f"udp://127.0.0.1:{receivers.syslog_port}",
        "imuxsock": f"unix://{receivers.folder}/log",
    }
    sinks: list[dict[str, object]] = [{"id": name, "kind": "syslog", "to": to, "facility": "local5"} for name, to in ways.items()]
    with telling(receivers.folder, sinks) as checkpoint:
        customer = checkpoint.customer("gunma")
        number = checkpoint.api.post("/v1/optouts", customer=customer.id, list="c2")["number"]
        wait_until(lambda: all(number in receivers.logged(name) for name in ways), what="the message by every way")
    for name in ways:
        (found,) = [one for one in receivers.messages() if one[0] == name and one[4] == "optout.added"]
        event = json.loads(found[6])
        assert found[1] == "local5.notice"
        assert dt.datetime.fromisoformat(found[2]) == dt.datetime.fromisoformat(event["time"])
        assert found[3] == "sekisho"
        assert found[5] == f'[meta sequenceId="{number}"]'
        assert (event["source"], event["subject"]) == ("urn:sekisho:test", customer.id)


def test_a_reload_puts_a_sink_in_force_and_standard_output_has_its_lines(receivers: Receivers) -> None:
    with telling(receivers.folder, []) as checkpoint:
        customer = checkpoint.customer("gunma")
        checkpoint.site.edit(events={"sinks": [{"id": "journal", "kind": "stdout", "types": ["optout"]}]})
        checkpoint.sekisho("reload")
        number = checkpoint.api.post("/v1/optouts", customer=customer.id, list="c2")["number"]
        wait_until(lambda: f'"id":"{number}"' in checkpoint.log, what="the line")
        wait_until(lambda: "journal: stdout to standard output, 0 behind" in checkpoint.say("status"), what="the sink that has told all")
        lines = [json.loads(line) for line in checkpoint.log.splitlines() if line.startswith('{"specversion"')]
        assert [one["type"] for one in lines] == ["jp.sekisho.optout.added.v1"], "only the types it asked for"
        checkpoint.site.edit(
            events={"sinks": [{"id": "desk", "kind": "webhook", "url": f"http://user:topsecret@127.0.0.1:{free_port('127.0.0.1')}/"}]}
        )
        checkpoint.sekisho("reload")
        shown = wait_until(lambda: next((one for one in checkpoint.sekisho("status")["sinks"] if one["error"]), None), what="why it fails")
        assert re.search(r"127\.0\.0\.1:\d+/ cannot be reached", shown["error"])
        assert shown["behind"] == number
        said = checkpoint.say("status")
        assert "FAILING since" in said
        assert "topsecret" not in said + checkpoint.log
