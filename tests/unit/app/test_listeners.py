"""Where clients ask: bound once, shared by the workers, handed to whoever serves."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator

import pytest

from sekisho.drivers import listeners
from sekisho.drivers.listeners import bind_listeners, name_listeners
from sekisho.drivers.notify import Notifier, NotifyChannel, inherited_sockets
from sekisho.drivers.processes import spawn
from sekisho.model.errors import UnavailableError
from support import free_port


@pytest.fixture
def bound() -> Iterator[list[tuple[str, socket.socket]]]:
    found = bind_listeners([("127.0.0.1", 0), ("127.0.0.2", 0)], workers=2)
    yield found
    for _, one in found:
        one.close()


def test_an_address_has_one_tcp_socket_and_one_udp_socket_a_worker(bound) -> None:
    assert [name for name, _ in bound] == ["tcp-0", "udp-0-0", "udp-0-1", "tcp-1", "udp-1-0", "udp-1-1"]
    assert len({one.getsockname() for _, one in bound[:3]}) == 1


def test_a_query_waits_in_the_socket_until_somebody_serves(bound) -> None:
    sockets = [one for name, one in bound if name.startswith("udp-0")]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"query", sockets[0].getsockname())
    waiting = []
    for one in sockets:
        one.settimeout(0.2)
        try:
            waiting.append(one.recv(512))
        except TimeoutError:
            continue
    assert waiting == [b"query"]


def test_an_address_another_process_serves_is_refused_with_advice(bound) -> None:
    port = bound[0][1].getsockname()[1]
    with pytest.raises(UnavailableError, match=rf"127.0.0.1:{port}: another process serves this address"):
        bind_listeners([("127.0.0.1", port)], workers=1)


def test_any_port_is_one_that_both_transports_have_free(monkeypatch) -> None:
    """The first port that TCP has free is taken by another's UDP."""
    seen = []

    def refuse_first(host: str, port: int) -> None:
        seen.append(port)
        if len(seen) == 1:
            raise OSError(errno.EADDRINUSE, "taken")

    monkeypatch.setattr(listeners, "_refuse_if_taken", refuse_first)
    found = bind_listeners([("127.0.0.1", 0)], workers=1)
    try:
        assert len(seen) == 2
        assert {one.getsockname()[1] for _, one in found} == {seen[1]}
    finally:
        for _, one in found:
            one.close()


def test_a_udp_port_shared_by_so_reuseport_is_not_joined_by_mistake() -> None:
    port = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", port))
        with pytest.raises(UnavailableError, match="another process serves"):
            bind_listeners([("127.0.0.1", port)], workers=1)


def test_nothing_stays_bound_when_one_address_cannot_be() -> None:
    port = free_port()
    with pytest.raises(UnavailableError, match="no such address"):
        bind_listeners([("127.0.0.1", port), ("192.0.2.1", port)], workers=2)
    for _, one in bind_listeners([("127.0.0.1", port)], workers=1):
        one.close()


def test_inherited_sockets_are_told_apart_by_the_kernel_not_by_their_names(bound) -> None:
    named = name_listeners(one for _, one in bound)
    assert list(named.items()) == bound


def test_a_socket_of_another_kind_is_refused() -> None:
    one, two = socket.socketpair()
    with one, two, pytest.raises(UnavailableError, match="neither UDP nor TCP"):
        name_listeners([one])


def test_sockets_meant_for_another_process_are_left_alone() -> None:
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"}
    assert inherited_sockets(environ, pid=2) == ()
    assert environ == {}


def test_inherited_sockets_keep_their_names_and_are_closed_to_children(bound, tmp_path) -> None:
    code = (
        "import os, sys; sys.path[:0] = sys.argv[1:]\n"
        "from sekisho.drivers.notify import inherited_sockets\n"
        "for one in inherited_sockets():\n"
        "    print(one.fd, one.name, os.get_inheritable(one.fd), 'LISTEN_FDS' in os.environ, one.open().getsockname()[0])"
    )
    handed = [(name, one.fileno()) for name, one in bound if name.startswith("udp")]
    with (tmp_path / "said").open("w") as said:
        pid = spawn([sys.executable, "-W", "ignore", "-c", code, *sys.path], os.environ, handed, said.fileno())
    assert os.waitpid(pid, 0)[1] == 0
    assert (tmp_path / "said").read_text().splitlines() == [
        f"{3 + index} {name} False False 127.0.0.{1 + index // 2}" for index, (name, _) in enumerate(handed)
    ]


def test_readiness_and_status_reach_the_manager() -> None:
    with NotifyChannel() as channel:
        notifier = Notifier({"NOTIFY_SOCKET": channel.address})
        notifier.status("compiling\n3 of 9")
        notifier.ready("serving")
        notifier.watchdog()
        notifier.stopping()
        taken = list(channel.take())
    assert [words for _, words in taken] == [
        {"STATUS": "compiling 3 of 9"},
        {"READY": "1", "STATUS": "serving"},
        {"WATCHDOG": "1"},
        {"STOPPING": "1"},
    ]
    assert {pid for pid, _ in taken} == {os.getpid()}


def test_nothing_is_left_of_the_channel_however_its_process_ends() -> None:
    with NotifyChannel() as channel:
        assert channel.address.startswith("@"), "a name that is no file, which sd_notify(3) spells so"
    Notifier({"NOTIFY_SOCKET": channel.address}).ready()  # nobody is there any more, and that is no failure


def test_a_stranger_who_sends_without_end_does_not_keep_the_reader_busy() -> None:
    with NotifyChannel() as channel, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        stranger.connect("\0" + channel.address[1:])
        stranger.send(b"X=1")
        taken = 0
        for _ in channel.take():
            taken += 1
            stranger.send(b"X=1")
        assert taken > 1, "the reader came back, with one waiting still"


def test_without_a_manager_nothing_is_said_and_nothing_fails() -> None:
    Notifier({}).ready()
    Notifier({"NOTIFY_SOCKET": "/nowhere/at/all"}).ready()


def test_the_watchdog_is_fed_at_half_its_patience() -> None:
    assert Notifier({"WATCHDOG_USEC": "20000000"}).watchdog_seconds == 10
    assert Notifier({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())}).watchdog_seconds == 10
    assert Notifier({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "1"}).watchdog_seconds is None
    assert Notifier({}).watchdog_seconds is None
