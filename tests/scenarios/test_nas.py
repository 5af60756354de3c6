"""A line is slowed by its NAS under a measure, through the real daemon, which may die at any moment in between."""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import coaserver, free_port, radius
from support.waiting import wait_until
from unit.control.sites import Folder
from unit.control.test_daemon import Process

CLAUSE = "network-service/16-15"
CUSTOMER = {"id": "c-1", "terms": "network-service", "prefixes": ["192.0.2.1"], "plan": {"down_mbps": 100, "up_mbps": 50}}
RATE = (14988, 8)
SLOW, FULL = ["5000k/10000k"], ["50000k/100000k"]


@contextlib.contextmanager
def daemon(folder: Folder) -> Iterator[Process]:
    process = Process(folder)
    try:
        process.wait_for(b"READY=1")
        yield process
    finally:
        process.close()


def sekisho(folder: Folder, *arguments: str) -> dict[str, Any]:
    argv = [sys.executable, "-m", "sekisho.cli.main", "--config", str(folder.config), "--json", *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def site(path: Path, port: int, nas: dict[str, object] | None = None, **more: object) -> Folder:
    folder = Folder(path)
    folder.customers([CUSTOMER])
    folder.write("secret", coaserver.SECRET.decode())
    one = {"id": "bng-1", "address": f"127.0.0.1:{port}", "secret_file": "secret", "vendor": "mikrotik", "networks": ["192.0.2.0/24"]}
    coa = {"nas": [one | (nas or {})], "timeout": "200ms", "retries": 1, "backoff": "200ms", "backoff_max": "500ms", **more}
    folder.set(terms=["network-service"], measures={"mode": "enforce"}, coa=coa)
    return folder


def rates(server: coaserver.CoaServer) -> list[list[str]]:
    return [asked.text(RATE) for asked in server.requests]


def remembered(folder: Folder) -> int:
    """How many acknowledged limits are in the memory on disk."""
    with contextlib.closing(sqlite3.connect(f"file:{folder.path / 'state' / 'nas.db'}?mode=ro", uri=True)) as database:
        ((found,),) = database.execute("SELECT count(*) FROM held WHERE certain")
        return int(found)


def stand(folder: Folder) -> dict[str, Any]:
    (nas,) = sekisho(folder, "nas", "show")["nas"]
    answer: dict[str, Any] = nas
    return answer


def test_a_measure_slows_the_line_through_every_death_of_the_daemon_until_it_is_lifted(tmp_path: Path) -> None:
    with coaserver.running(coaserver.silence) as server:
        folder = site(tmp_path, server.port)
        with daemon(folder) as process:
            measure = sekisho(folder, "suspend", "c-1", "--clause", CLAUSE, "--reason", "a storm of connections")["id"]
            wait_until(lambda: server.asked, what="the NAS to be asked")
            process.end(signal.SIGKILL)
        asked = len(server.requests)
        assert set(map(tuple, rates(server))) == {tuple(SLOW)}
        server.reply = coaserver.ack
        with daemon(folder) as process:
            wait_until(lambda: len(server.requests) > asked, what="what was not answered to be asked again")
            wait_until(lambda: stand(folder)["acknowledged"] == 1, what="the limit to be acknowledged")
            wait_until(lambda: remembered(folder) == 1, what="that to be written down")
            process.end(signal.SIGKILL)
        asked = len(server.requests)
        with daemon(folder) as process:
            assert stand(folder)["acknowledged"] == 1
            assert len(server.requests) == asked, "what was acknowledged is remembered"
            server.reply = coaserver.silence
            sekisho(folder, "measures", "lift", measure, "--reason", "it stopped")
            wait_until(lambda: len(server.requests) > asked, what="the NAS to be asked for full speed")
            process.end(signal.SIGKILL)
        asked = len(server.requests)
        server.reply = coaserver.ack
        with daemon(folder) as process:
            wait_until(lambda: len(server.requests) > asked, what="the limit to be taken back")
            wait_until(lambda: not stand(folder)["lifting"], what="that to be acknowledged")
            process.end()
        assert rates(server)[-1] == FULL
        assert all(one.genuine for one in server.asked)


@pytest.mark.parametrize("held", [True, False])
def test_what_is_only_observed_is_shown_as_it_would_be_sent(tmp_path: Path, held: bool) -> None:
    with coaserver.running() as server:
        folder = site(tmp_path, server.port, **({} if held else {"mode": "observe"}))
        if held:
            folder.set(measures={"mode": "observe"})
        with daemon(folder) as process:
            sekisho(folder, "suspend", "c-1", "--clause", CLAUSE, "--reason", "a storm of connections")
            shown = wait_until(lambda: sekisho(folder, "nas", "show", "bng-1")["observed" if held else "lines"], what="what would be sent")
            process.end()
        request = shown[0] if held else shown[0]["next"]
        assert (request["kind"], request["message"]) == ("limit", "CoA-Request")
        assert {"name": "Mikrotik-Rate-Limit", "value": SLOW[0]} in request["attributes"]
        assert server.asked == []


def test_a_session_that_accounting_tells_of_is_slowed_at_its_start_and_anew_after_the_nas_restarts(tmp_path: Path) -> None:
    with coaserver.running() as server:
        folder = site(tmp_path, server.port, nas={"accounting": "bras-1", "networks": []})
        port = free_port()
        folder.write("accounting-secret", radius.SECRET.decode())
        told = {"id": "bras-1", "address": "127.0.0.1", "secret_file": "accounting-secret"}
        folder.set(radius={"listen": [f"127.0.0.1:{port}"], "nas": [told]})
        with daemon(folder) as process, contextlib.closing(radius.Nas(port)) as bras:
            measure = sekisho(folder, "suspend", "c-1", "--clause", CLAUSE, "--reason", "a storm of connections")["id"]
            bras.tell(radius.START, "s-1", "c-1", radius.address("198.51.100.7"))
            wait_until(lambda: stand(folder)["acknowledged"] == 1, what="the session to be slowed")
            bras.tell(radius.ON)
            bras.tell(radius.START, "s-1", "c-1", radius.address("198.51.100.8"))
            wait_until(lambda: len(server.requests) >= 2, what="the session by the same name to be slowed")
            wait_until(lambda: stand(folder)["acknowledged"] == 1, what="that to be acknowledged")
            sekisho(folder, "measures", "lift", measure, "--reason", "it stopped")
            wait_until(lambda: rates(server)[-1] == FULL, what="full speed")
            process.end()
    assert [one.text(44) for one in server.requests] == [["s-1"]] * len(server.requests)
    assert [rate for rate, _ in itertools.groupby(rates(server))] == [SLOW, FULL]
