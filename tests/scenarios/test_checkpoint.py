"""Both processes as an operator runs them: each dies alone, and nobody notices but the log."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import dns.message
import pytest

from scenarios.harness.sinks import files
from sekisho.app.demo_site import BOTH, C2_LIST, C2_NAME, CHILD_ABUSE_LIST, CHILD_ABUSE_NAME, HARMLESS_NAME, OPTING_OUT, STRANGER
from support import wait_until
from support.checkpoint import Checkpoint, running

pytestmark = pytest.mark.slow

CONTROL, PLANE = "sekisho.app.control", "sekisho.app.plane"


@pytest.fixture(scope="module")
def checkpoint() -> Iterator[Checkpoint]:
    with running() as one:
        yield one


def test_the_plane_answers_on_by_the_last_good_snapshot_while_the_control_plane_is_dead(checkpoint: Checkpoint) -> None:
    ready = checkpoint.log.count("sekishod: ready")
    dead = checkpoint.kill(CONTROL)
    while checkpoint.pid(CONTROL) in (0, dead):
        assert checkpoint.ask(BOTH.address, C2_NAME).blocked
        assert checkpoint.ask(BOTH.address, HARMLESS_NAME).answered
    wait_until(lambda: checkpoint.log.count("sekishod: ready") > ready, what="the control plane again")
    assert checkpoint.ask(BOTH.address, CHILD_ABUSE_NAME).blocked


def test_a_query_waits_in_the_socket_while_the_plane_restarts(checkpoint: Checkpoint) -> None:
    before = checkpoint.log.count("sekisho-plane: ready")
    dead = checkpoint.kill(PLANE)
    # Once it is waited for no thread of it is left that could take the query along.
    wait_until(lambda: not Path(f"/proc/{dead}").exists(), what="the end of the plane")
    query = dns.message.make_query(HARMLESS_NAME, "A")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((BOTH.address, 0))
        client.settimeout(60)
        client.sendto(query.to_wire(), (checkpoint.site.host, checkpoint.site.port))
        answer = dns.message.from_wire(client.recv(4096))
    assert answer.id == query.id
    assert answer.answer
    wait_until(lambda: checkpoint.log.count("sekisho-plane: ready") > before, what="the plane to say it is ready")


def test_an_opt_out_is_in_force_at_once_and_survives_kill_9(checkpoint: Checkpoint) -> None:
    """gunma/別記-3: at any time, and back in."""
    assert checkpoint.ask(OPTING_OUT.address, C2_NAME).blocked
    assert checkpoint.sekisho("optout", "add", OPTING_OUT.id, C2_LIST)["in_force"]
    ready = checkpoint.log.count("sekishod: ready")
    checkpoint.kill(CONTROL)
    assert checkpoint.ask(OPTING_OUT.address, C2_NAME).answered
    wait_until(lambda: checkpoint.log.count("sekishod: ready") > ready, what="the control plane again")
    assert checkpoint.ask(OPTING_OUT.address, C2_NAME).answered
    assert checkpoint.sekisho("explain", "--customer", OPTING_OUT.id, "--name", C2_NAME)["verdict"] == "answered"
    checkpoint.sekisho("optout", "remove", OPTING_OUT.id, C2_LIST)
    assert checkpoint.ask(OPTING_OUT.address, C2_NAME).blocked


def test_nobody_opts_out_of_the_child_abuse_list(checkpoint: Checkpoint) -> None:
    """nbnet/21-1: there is no opt-out."""
    refusal = checkpoint.sekisho("optout", "add", OPTING_OUT.id, CHILD_ABUSE_LIST, code=1)
    assert "nbnet/21-1" in str(refusal)
    assert checkpoint.ask(OPTING_OUT.address, CHILD_ABUSE_NAME).blocked


def test_a_stranger_is_refused(checkpoint: Checkpoint) -> None:
    assert checkpoint.ask(STRANGER, HARMLESS_NAME).refused


def test_matches_reach_metrics_and_the_record(checkpoint: Checkpoint) -> None:
    key = f'sekisho_list_matches_total{{list="{C2_LIST}"}}'
    before = checkpoint.metrics()[key]
    checkpoint.ask(BOTH.address, C2_NAME)
    assert checkpoint.metrics()[key] == before + 1
    event = wait_until(
        lambda: next((one for one in checkpoint.sekisho("events", "--customer", BOTH.id)["events"] if one["list"] == C2_LIST), None),
        what="the match on the record",
    )
    assert (event["customer"], event["clause"]) == (BOTH.id, "gunma/別記-1")


def test_a_query_that_matched_nothing_leaves_no_trace(checkpoint: Checkpoint) -> None:
    """gunma/29, nbnet/42: its name is in no log, ledger, metric, state file or answer of the API."""
    mark = f"mark{uuid.uuid4().hex}"
    for name in (f"{mark}.example.com", f"nx.{mark}.example.com"):
        for rdtype in ("A", "TXT"):
            assert checkpoint.ask(BOTH.address, name, rdtype).answered
    said = [checkpoint.sekisho(*verb) for verb in (("status",), ("events",), ("lists", "show"), ("customers", "show", BOTH.id))]
    assert mark not in str(said)
    assert mark not in str(checkpoint.metrics())
    for place, content in files(checkpoint.site.folder, checkpoint.site.runtime):
        assert mark.encode() not in content.lower(), f"{place} has the name"


def test_stopping_the_supervisor_stops_both(checkpoint: Checkpoint) -> None:
    with running() as other:
        pids = [wait_until(lambda module=module: other.pid(module)) for module in (CONTROL, PLANE)]
        os.kill(other.supervisor, signal.SIGTERM)
        for pid in pids:
            wait_until(lambda pid=pid: not Path(f"/proc/{pid}").exists(), what="the end of both processes")


def test_the_demo_holds_every_expectation() -> None:
    argv = [sys.executable, "-m", "sekisho.app.demo", "--any-port"]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Every expectation held." in done.stdout
    assert "NOT" not in done.stdout
