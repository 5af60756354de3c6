"""A real systemd: the product installed as `systemd/README.md` says, started, killed, stopped, and found at work."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.rcode
import pytest

from scenarios.harness.site import CONSENT
from support import require_binary, wait_until
from support.clock import FakeClock
from support.machine import Machine, keep_compiled, machine

pytestmark = pytest.mark.slow

UNITS = Path(__file__).resolve().parents[2] / "systemd"
CONTROL, PLANE, SOCKET = "sekishod.service", "sekisho-plane.service", "sekisho-plane.socket"
RELIEF = "sekisho-plane-relief.service"
LISTED, SEALED = "listed.example", "sealed.example"
SITE = {
    "sekisho.yaml": {
        "version": 1,
        "listen": ["127.0.0.1:53", "[::1]:53"],
        "upstream": {"address": ["127.0.0.1:5300"]},
        "terms": ["gunma", "nbnet"],
        "lists": "lists.yaml",
        "customers": "customers.yaml",
        "metrics": "127.0.0.1:9153",
        "workers": 2,
        "cache": {"mib": 8},
    },
    "lists.yaml": {
        "version": 1,
        "lists": [
            {"id": "c2", "category": "c2", "source": "c2.txt", "format": "domains", "scope": "subtree"},
            {"id": "abuse", "category": "child-abuse", "source": "abuse.txt", "format": "domains", "scope": "exact", "sealed": True},
        ],
    },
    "customers.yaml": {
        "version": 1,
        "customers": [
            {
                "id": "c-1",
                "terms": ["gunma", "nbnet"],
                "prefixes": ["127.0.0.2", "::1"],
                "consent": CONSENT,
                "exempt": ["gunma/19-2", "nbnet/22-2-5"],  # a test asks without pause
            }
        ],
    },
}


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with the product installed, configured and started: what the README says, in its order."""
    with machine(tmp_path_factory.mktemp("machine")) as one:
        for row in re.findall(r"^\| (`[^|]+) \| `(/[^`]+)` \|$", (UNITS / "README.md").read_text(), re.MULTILINE):
            install(one, re.findall(r"`([^`]+)`", row[0]), row[1])
        commands = re.search(r"^```sh\n(systemd-sysusers.*?)```$", (UNITS / "README.md").read_text(), re.MULTILINE | re.DOTALL)
        assert commands is not None
        lines = commands.group(1).splitlines()
        one.run("sh", "-ec", lines[0])
        for name, document in SITE.items():
            (one.root / "etc/sekisho" / name).write_text(json.dumps(document))
        (one.root / "etc/sekisho/c2.txt").write_text(f"{LISTED}\n")
        (one.root / "etc/sekisho/abuse.txt").write_text(f"{SEALED}\n")
        keep_compiled(one, "sekisho")
        for line in lines[1:]:
            one.run("sh", "-ec", line)
        assert [one.show(unit, "NRestarts")["NRestarts"] for unit in (CONTROL, PLANE)] == ["0", "0"], "neither needed a second start"
        yield one


def install(one: Machine, names: list[str], place: str) -> None:
    for name in names:
        target = one.root / place.lstrip("/") / (name if place.endswith("/") else "")
        if not target.parent.name.endswith(".d") or place.startswith("/usr/lib/"):  # `lines:` is not used
            target.write_text((UNITS / name).read_text())


def ask(one: Machine, name: str, *, host: str = "127.0.0.1", tcp: bool = False) -> dns.message.Message:
    with asked(one, name, host, tcp=tcp) as client:
        return answer(client, tcp=tcp)


def asked(one: Machine, name: str, host: str = "127.0.0.1", *, tcp: bool = False) -> socket.socket:
    """A customer's socket by which a query was sent."""

    def make() -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        client = socket.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
        client.bind(("::1" if ":" in host else "127.0.0.2", 0))
        client.settimeout(60)
        client.connect((host, 53))
        return client

    client: socket.socket = one.inside(make)
    wire = dns.message.make_query(name, "A", use_edns=0).to_wire()
    client.sendall((len(wire).to_bytes(2, "big") if tcp else b"") + wire)
    return client


def answer(client: socket.socket, *, tcp: bool = False) -> dns.message.Message:
    return dns.message.from_wire(client.recv(65535)[2 if tcp else 0 :])


def is_blocked(one: Machine, name: str, **how: Any) -> bool:
    return ask(one, name, **how).rcode() == dns.rcode.NXDOMAIN


def status(one: Machine) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(one.run("sekisho", "--config", "/etc/sekisho/sekisho.yaml", "--json", "status"))
    return told


def is_active(one: Machine, unit: str) -> bool:
    return one.show(unit, "ActiveState")["ActiveState"] == "active"


def owned(one: Machine, path: str) -> str:
    return one.run("stat", "--format=%U:%G %a", path).strip()


def test_everything_is_ready_when_systemctl_says_so_and_runs_shut_in(there: Machine) -> None:
    for unit in (CONTROL, PLANE):
        found = there.show(unit, "ActiveState", "SubState", "StatusText", "MainPID", "Result")
        assert (found["ActiveState"], found["SubState"], found["Result"]) == ("active", "running", "success")
        assert found["StatusText"]
        process = dict(line.split(":", 1) for line in (there.root / f"proc/{found['MainPID']}/status").read_text().splitlines())
        user = there.run("id", "--user", "sekisho").strip()
        assert set(process["Uid"].split()) == {user}
        assert (process["NoNewPrivs"].strip(), process["Seccomp"].strip()) == ("1", "2")
        assert {int(process[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    for host in ("127.0.0.1", "::1"):
        for tcp in (False, True):
            assert is_blocked(there, LISTED, host=host, tcp=tcp)
            assert is_blocked(there, SEALED, host=host, tcp=tcp)
    # A worker's sign of life is of the wall clock, which another test may just have set.
    wait_until(lambda: status(there)["plane"]["workers_alive"] == 2, what="both workers")


def test_folders_are_the_daemons_and_no_file_of_it_is_anybody_elses(there: Machine) -> None:
    assert owned(there, "/etc/sekisho") == "root:sekisho 750"
    assert owned(there, "/var/lib/sekisho") == "sekisho:sekisho 700"
    assert owned(there, "/var/cache/sekisho") == "sekisho:sekisho 700"
    assert owned(there, "/run/sekisho") == "sekisho:sekisho 751"
    assert owned(there, "/run/sekisho/plane") == "sekisho:sekisho 750"
    assert owned(there, "/var/log/sekisho") == "sekisho:sekisho 750"
    others = there.run(
        "find", "/var/lib/sekisho", "/run/sekisho", "/var/cache/sekisho", "(", "!", "-user", "sekisho", "-o", "-perm", "/007", ")"
    )
    assert set(others.split()) <= {"/run/sekisho"}, "nobody else's, and nobody else's to read"


def test_queries_wait_while_the_plane_is_killed_and_started_again(there: Machine) -> None:
    before = there.show(PLANE, "MainPID", "NRestarts")
    for tcp in (False, True):
        there.run("systemctl", "kill", "--signal=KILL", PLANE)
        with asked(there, LISTED, tcp=tcp) as client:
            assert answer(client, tcp=tcp).rcode() == dns.rcode.NXDOMAIN
        assert is_active(there, SOCKET)
    wait_until(lambda: is_active(there, PLANE), what="the plane to be ready again")
    after = there.show(PLANE, "MainPID", "NRestarts")
    assert after["MainPID"] != before["MainPID"]
    assert int(after["NRestarts"]) == int(before["NRestarts"]) + 2


def test_a_plane_that_was_stopped_is_started_by_the_first_query(there: Machine) -> None:
    there.run("systemctl", "stop", PLANE)
    assert there.show(PLANE, "ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}
    assert is_blocked(there, LISTED)
    wait_until(lambda: is_active(there, PLANE), what="the plane to be ready")


def test_a_second_plane_serves_while_the_first_is_replaced(there: Machine) -> None:
    """The last two commands of an upgrade, as the README has them, while a customer asks without pause; and the relief is one."""
    commands = re.search(
        r"^```sh\nsudo -u sekisho.*?(systemctl restart sekishod.*?)```$", (UNITS / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert commands is not None
    before = [there.show(unit, "MainPID")["MainPID"] for unit in (CONTROL, PLANE)]
    waits: list[float] = []
    done = threading.Event()

    def go_on_asking() -> None:
        while not done.is_set():
            for tcp in (False, True):
                began = time.monotonic()
                with asked(there, LISTED, tcp=tcp) as client:
                    assert answer(client, tcp=tcp).rcode() == dns.rcode.NXDOMAIN
                waits.append(time.monotonic() - began)

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(go_on_asking)
        try:
            for line in commands.group(1).splitlines():
                there.run("sh", "-ec", line)
                assert is_active(there, RELIEF) == ("start" in line.split("&&")[1])
        finally:
            done.set()
        asking.result()
    assert len(waits) > 20
    after = [there.show(unit, "MainPID")["MainPID"] for unit in (CONTROL, PLANE)]
    assert all(int(one) for one in after)
    assert not set(before) & set(after), "both are other processes"
    there.run("systemctl", "start", RELIEF)
    there.run("systemctl", "kill", "--signal=STOP", PLANE)  # it holds the sockets, and takes nothing from them
    try:
        assert all(is_blocked(there, LISTED) for _ in range(20)), "by the relief alone"
    finally:
        there.run("systemctl", "kill", "--signal=CONT", PLANE)
        there.run("systemctl", "stop", RELIEF)


@contextlib.contextmanager
def added(one: Machine, lines: str) -> Iterator[None]:
    """More lines in both services, which are started anew with them."""
    folders = [one.root / f"run/systemd/system/{unit}.d" for unit in (CONTROL, PLANE)]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "test.conf").write_text(f"[Service]\n{lines}\n")
    one.run("systemctl", "daemon-reload")
    one.run("systemctl", "restart", CONTROL, PLANE)
    try:
        yield
    finally:
        for folder in folders:
            (folder / "test.conf").unlink()
        one.run("systemctl", "daemon-reload")


def test_a_process_that_hangs_is_ended_by_the_watchdog_and_started_again(there: Machine) -> None:
    """With less patience than the units have, which a test cannot wait for."""
    with added(there, "WatchdogSec=3"):
        before = {unit: there.show(unit, "MainPID")["MainPID"] for unit in (CONTROL, PLANE)}
        for pid in before.values():
            there.run("kill", f"-{signal.SIGSTOP.value}", pid)
        for unit, pid in before.items():
            wait_until(
                lambda unit=unit, pid=pid: there.show(unit, "MainPID")["MainPID"] not in ("0", pid) and is_active(there, unit), what=unit
            )
            assert "Watchdog timeout" in there.journal(unit)
        assert is_blocked(there, LISTED)


def test_a_clock_that_is_set_keeps_nobody_from_telling_the_watchdog(there: Machine) -> None:
    require_binary("faketime")
    clock = FakeClock(there.root / "etc/sekisho/clock")
    told = clock.environ | {"FAKETIME_TIMESTAMP_FILE": "/etc/sekisho/clock"}
    with added(there, "\n".join(f"Environment={key}={value}" for key, value in told.items())):
        pids = {unit: there.show(unit, "MainPID")["MainPID"] for unit in (CONTROL, PLANE)}
        for offset, words in (("+1d", "forward"), ("-1d", "back")):
            clock.set(offset)
            wait_until(lambda words=words: any(f"the clock was set {words}" in one for one in status(there)["warnings"]), what=words)
            for unit in pids:
                seen = patted(there, unit)
                wait_until(lambda unit=unit, seen=seen: patted(there, unit) > seen, what=f"{unit} to tell that it lives")
            assert is_blocked(there, LISTED)
        assert {unit: there.show(unit, "MainPID")["MainPID"] for unit in pids} == pids


def patted(one: Machine, unit: str) -> int:
    """When systemd heard last that the process lives, microseconds of the monotonic clock."""
    return int(one.show(unit, "WatchdogTimestampMonotonic")["WatchdogTimestampMonotonic"])


def test_a_reload_reads_the_files_again(there: Machine) -> None:
    pid = there.show(CONTROL, "MainPID")["MainPID"]
    (there.root / "etc/sekisho/c2.txt").write_text(f"{LISTED}\nmore.example\n")
    there.run("systemctl", "reload", CONTROL)
    wait_until(lambda: is_blocked(there, "more.example"), what="the name that was added")
    assert there.show(CONTROL, "MainPID")["MainPID"] == pid


def test_workers_and_addresses_that_the_socket_unit_has_not_are_told(there: Machine) -> None:
    path = there.root / "etc/sekisho/sekisho.yaml"
    good = path.read_text()
    there.run("systemctl", "restart", CONTROL, PLANE)
    said = status(there)["warnings"]
    assert not [one for one in said if "sekisho-plane.socket" in one], "as shipped nothing differs"
    path.write_text(json.dumps(SITE["sekisho.yaml"] | {"listen": ["127.0.0.1:53", "[::1]:53", "127.0.0.3:53"], "workers": 3}))
    try:
        there.run("systemctl", "restart", CONTROL, PLANE)
        wait_until(lambda: status(there)["plane"]["workers_alive"] == 2, what="the workers there are sockets for")
        said = [one for one in status(there)["warnings"] if "systemctl edit sekisho-plane.socket" in one]
        assert [("`workers: 3`" in one, "names 127.0.0.3:53" in one) for one in said] == [(False, True), (True, False), (True, False)]
        assert "sockets-differ" in there.journal(PLANE)
        assert is_blocked(there, LISTED)
    finally:
        path.write_text(good)
        there.run("systemctl", "restart", CONTROL, PLANE)


def test_the_key_of_the_lists_is_a_credential_of_both(there: Machine) -> None:
    """Without one sekishod has made a key, and the plane has found it; then it is handed over, and nobody keeps it."""
    assert owned(there, "/var/lib/sekisho/list.key") == "sekisho:sekisho 600"
    (there.root / "etc/credstore").mkdir(mode=0o700, exist_ok=True)
    key = there.root / "etc/credstore/list-key"
    key.write_bytes(os.urandom(16))
    key.chmod(0o600)
    (there.root / "var/lib/sekisho/list.key").unlink()
    there.run("systemctl", "restart", CONTROL, PLANE)
    assert is_blocked(there, SEALED)
    assert is_blocked(there, LISTED)
    assert not (there.root / "var/lib/sekisho/list.key").exists()


def test_the_plane_answers_on_while_the_daemon_is_stopped(there: Machine) -> None:
    pid = there.show(PLANE, "MainPID")["MainPID"]
    there.run("systemctl", "stop", CONTROL)
    assert there.show(CONTROL, "ActiveState", "Result", "ExecMainStatus") == {
        "ActiveState": "inactive",
        "Result": "success",
        "ExecMainStatus": "0",
    }
    assert is_blocked(there, LISTED)
    there.run("systemctl", "start", CONTROL)
    assert there.show(PLANE, "MainPID")["MainPID"] == pid


def test_a_start_that_was_refused_is_tried_again_after_a_while_and_it_is_enough_to_mend_what_is_wrong(there: Machine) -> None:
    path = there.root / "etc/sekisho/customers.yaml"
    good = path.read_text()
    path.write_text(good.replace('"prefixes"', '"prefixs"'))
    there.run("systemctl", "restart", "--no-block", CONTROL)
    waits = {"SubState": "stop-post", "ExecMainStatus": "78"}
    wait_until(lambda: there.show(CONTROL, *waits) == waits, what="the pause after a configuration that was refused")
    assert "faults in the configuration" in there.journal(CONTROL)
    assert is_blocked(there, LISTED)
    path.write_text(good)
    there.run("systemctl", "kill", "--kill-whom=control", CONTROL)  # the rest of the pause
    wait_until(lambda: is_active(there, CONTROL), what="the daemon to be started again by itself")


def test_both_are_started_with_the_machine(there: Machine) -> None:
    """What `systemctl enable` enabled is what a boot starts."""
    there.run("systemctl", "stop", SOCKET, PLANE, CONTROL)
    there.run("systemctl", "start", "multi-user.target")
    wait_until(lambda: all(is_active(there, unit) for unit in (SOCKET, PLANE, CONTROL)), what="all units to be active")
    assert is_blocked(there, LISTED)
