"""The tests' own tools: a missing peer is said plainly, and in CI is a failure."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sekisho.drivers import upstreamsockets
from support import free_port, net, netns, require_binary, wait_until


def test_a_program_that_is_there_is_found() -> None:
    assert require_binary("sh").endswith("/sh")


def test_a_missing_peer_skips_and_names_the_package() -> None:
    with pytest.raises(pytest.skip.Exception, match="no-such-peer is not installed; on Debian: apt-get install no-such-peer"):
        require_binary("no-such-peer", environ={})


@pytest.mark.parametrize("ci", ["true", "True", "1", "yes", "YES"])
def test_in_ci_a_missing_peer_is_a_failure(ci: str) -> None:
    with pytest.raises(pytest.fail.Exception, match="what is missing is a failure"):
        require_binary("no-such-peer", environ={"CI": ci})


@pytest.mark.parametrize("ci", ["", "0", "false", "no"])
def test_where_ci_is_denied_a_missing_peer_skips(ci: str) -> None:
    with pytest.raises(pytest.skip.Exception):
        require_binary("no-such-peer", environ={"CI": ci})


@pytest.mark.parametrize("ci", ["true", "1"])
def test_in_ci_no_test_of_the_kernel_skips_for_want_of_root(ci: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(pytest.fail.Exception, match="not root"):
        netns.require_root()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9"])
def test_a_free_port_can_be_bound_for_udp_and_tcp(host: str) -> None:
    port = free_port(host)
    with socket.socket() as stream, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
        stream.bind((host, port))
        datagram.bind((host, port))


def test_waiting_gives_back_what_came_about() -> None:
    answers = iter(["", "", "here"])
    assert wait_until(lambda: next(answers)) == "here"


def test_waiting_in_vain_names_what_was_waited_for() -> None:
    with pytest.raises(AssertionError, match=r"the flood did not come about in 0\.05 s; last value: 0"):
        wait_until(lambda: 0, deadline=0.05, what="the flood")


def test_a_port_is_given_to_one_process_of_tests_alone_and_none_is_one_the_plane_asks_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both look for one from the same number on."""
    code = "from itertools import count; from support import net; net._next = count(700); print(net.free_port(), flush=True); input()"
    environ = {**os.environ, "PYTHONPATH": str(Path(net.__file__).parent.parent)}
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        theirs = int(other.stdout.readline())
        monkeypatch.setattr(net, "_next", itertools.count(700))
        ours = free_port()
        other.stdin.write(b"\n")
        other.stdin.close()
    assert theirs < ours
    assert net._FIRST + net._PORTS <= upstreamsockets._FIRST_PORT
