"""The tests' own tools: a missing peer is said plainly, and in CI is a failure."""

from __future__ import annotations

import socket

import pytest

from support import free_port, require_binary, wait_until


def test_a_program_that_is_there_is_found() -> None:
    assert require_binary("sh").endswith("/sh")


def test_a_missing_peer_skips_and_names_the_package() -> None:
    with pytest.raises(pytest.skip.Exception, match="no-such-peer is not installed; on Debian: apt-get install no-such-peer"):
        require_binary("no-such-peer", environ={})


def test_in_ci_a_missing_peer_is_a_failure() -> None:
    with pytest.raises(pytest.fail.Exception, match="a missing peer is a failure"):
        require_binary("no-such-peer", environ={"CI": "true"})


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
