"""RADIUS accounting with a million sessions: a start, packets a second that are answered, and a storm of log-ins.

The daemon runs as it does elsewhere, on real sockets and a real disk; what is answered is on disk and in force.
Not collected by default; `pytest tests/bench/test_radius.py -s` prints the figures.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.settings import RADIUS_SECONDS, SESSIONS, pick
from sekisho.drivers.sessionhistory import SessionHistory
from support import free_port, wait_until
from support.accountingload import AccountingLoad, write_sessions
from support.radius import INTERIM, SECRET, START, attribute, integer, octets, told

RATE = 5000
SUSTAINED = 0.98 * RATE
"""Answered a second where RATE are offered, until the last answer: nothing piles up."""
STORM = pick(100_000, 10_000)
STORM_RATE = 100_000 / 60
POOL = 10 << 24


@dataclass
class Daemon:
    process: subprocess.Popen[bytes]
    folder: Path
    port: int

    def said(self, word: str) -> bool:
        return word in (self.folder / "log").read_text(errors="replace")

    def mib(self, pid: int | None = None) -> float:
        pages = int(Path(f"/proc/{pid or self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)

    def cpu(self) -> tuple[float, float]:
        """Seconds of processor time, of the control plane and of the listener."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in (self.process.pid, *children)]
        control, *others = [(int(one[11]) + int(one[12])) / os.sysconf("SC_CLK_TCK") for one in fields]
        return control, sum(others)

    def used(self, before: tuple[float, float], packets: int) -> str:
        """Processor time a packet since `before`."""
        control, listener = ((now - then) / packets * 1e6 for now, then in zip(self.cpu(), before, strict=True))
        return f"{control + listener:.0f} us CPU a packet, {listener:.0f} of it the listener's"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    (folder / "customers.csv").write_text("id,terms\n" + "".join(f"c{number},gunma\n" for number in range(SESSIONS)))
    (folder / "secret").write_bytes(SECRET)
    (folder / "state").mkdir()
    write_sessions(folder / "state" / "sessions.db", SESSIONS, POOL)
    return folder


@pytest.fixture(scope="module")
def daemon(folder: Path) -> Iterator[Daemon]:
    port = free_port()
    settings = {
        "version": 1,
        "listen": [f"127.0.0.1:{free_port()}"],
        "upstream": {"address": "127.0.0.1:5300"},
        "state": "state",
        "runtime": "run",
        "terms": ["gunma"],
        "customers": "customers.csv",
        "metrics": "off",
        "radius": {"listen": [f"127.0.0.1:{port}"], "nas": [{"id": "bras", "address": "127.0.0.1", "secret_file": "secret"}]},
    }
    (folder / "sekisho.yaml").write_text(json.dumps(settings))
    began = time.monotonic()
    with (folder / "log").open("wb") as log:
        argv = [sys.executable, "-m", "sekisho.app.control", "--config", str(folder / "sekisho.yaml")]
        process = subprocess.Popen(argv, stdout=log, stderr=log)
    one = Daemon(process, folder, port)
    try:
        wait_until(lambda: one.said("ready") or process.poll() is not None, 900, "the daemon is ready", 0.1)
        assert process.poll() is None, (folder / "log").read_text()[-2000:]
        print(f"\n{SESSIONS:,} sessions restored, daemon ready after {time.monotonic() - began:.1f} s, {one.mib():,.0f} MiB")
        yield one
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        process.kill()
        process.wait()


def said(load: AccountingLoad, what: str, seconds: float, used: str) -> str:
    many = len(load.took)
    return (
        f"{what}: {many:,} answered in {seconds:.1f} s ({many / seconds:,.0f}/s), p50 {load.percentile(0.5):.1f} ms,"
        f" p99 {load.percentile(0.99):.1f} ms, {load.again} told again, {used}; load {os.getloadavg()[0]:.1f}"
    )


def test_interim_updates(daemon: Daemon) -> None:
    """As many as come of a million sessions, spread over them."""

    def bodies() -> Iterator[bytes]:
        turn = 0
        while True:
            number = turn * 7919 % SESSIONS
            used = octets(turn * 1000, turn * 5000) + integer(46, 300 + turn // SESSIONS)
            turn += 1
            yield told(INTERIM, f"s{number}", f"c{number}", attribute(8, (POOL + number).to_bytes(4)) + used)

    for rate in (RATE, 4 * RATE):
        load, before = AccountingLoad(daemon.port), daemon.cpu()
        seconds = load.run(bodies(), int(rate * RADIUS_SECONDS), rate)
        print("\n" + said(load, f"Interim-Updates, {rate:,} a second offered", seconds, daemon.used(before, load.sent)))
        assert len(load.took) == load.sent
        if rate == RATE:
            assert len(load.took) / seconds >= SUSTAINED, f"{len(load.took) / seconds:,.0f} answered a second of {rate:,} offered"


def test_a_storm_of_log_ins_loses_nothing(daemon: Daemon) -> None:
    """An access server has lost its lines: its customers log in again, with other addresses, in a minute."""

    def bodies() -> Iterator[bytes]:
        for number in range(STORM):
            where = attribute(8, (POOL + (number + 1) % SESSIONS).to_bytes(4))
            yield told(START, f"again{number}", f"c{number % SESSIONS}", where)

    load, before = AccountingLoad(daemon.port), daemon.cpu()
    seconds = load.run(bodies(), STORM, STORM_RATE)
    assert len(load.took) == STORM
    print(
        "\n"
        + said(load, f"{STORM:,} log-ins at {STORM_RATE:,.0f} a second", seconds, daemon.used(before, STORM))
        + f", {daemon.mib():,.0f} MiB"
    )
    history = SessionHistory.open(daemon.folder / "state" / "sessions.db")
    assert history._reader.execute("SELECT count(*) FROM sessions WHERE id LIKE 'again%'").fetchone() == (STORM,)
