"""Sockets that a plane is handed, and what of them is otherwise than configured."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from sekisho.app import plane_sockets
from sekisho.app.plane_sockets import differences, open_sockets
from sekisho.config.packets import PacketSettings, parse_packet_settings
from sekisho.config.values import Endpoint
from sekisho.drivers.notify import Inherited
from sekisho.drivers.sharedfiles import SOCKETS
from support.waiting import end_of_waiting

SOCKET_UNIT = Path(__file__).resolve().parents[3] / "systemd" / "sekisho-plane.socket"


def settings(listen: str = "[127.0.0.1, '[::1]:53']", workers: str = "auto") -> PacketSettings:
    text = f"{{version: 1, upstream: {{address: '127.0.0.1:5300'}}, listen: {listen}, workers: {workers}}}"
    return parse_packet_settings(text, "sekisho.yaml")


def handed(*addresses: str, workers: int = 2, tcp: bool = True, udp: bool = True) -> dict[str, Endpoint]:
    found = {}
    for index, host in enumerate(addresses):
        if tcp:
            found[f"tcp-{index}"] = Endpoint(host, 53)
        for number in range(workers if udp else 0):
            found[f"udp-{index}-{number}"] = Endpoint(host, 53)
    return found


def told(one: PacketSettings, places: dict[str, Endpoint], cores: int = 2) -> list[str]:
    return list(differences(one, places, one.workers or cores))


def test_what_is_as_configured_is_not_spoken_of() -> None:
    assert told(settings(), handed("127.0.0.1", "::1")) == []
    assert told(settings(workers="2"), handed("127.0.0.1", "::1"), cores=8) == []
    assert told(settings("'127.0.0.1:0'"), handed("127.0.0.1")) == [], "any port will do"
    assert told(settings("'[2001:db8:0::1]'"), handed("2001:db8::1")) == []
    assert told(settings(), handed("127.0.0.1", "::1"), cores=1) == [], "more than a core each, which nobody asked for"


def test_another_number_of_workers_than_asked_for_is_told_of_each_address() -> None:
    said = told(settings(workers="4"), handed("127.0.0.1", "::1"))
    assert [("`workers: 4`" in one, "2" in one) for one in said] == [(True, True)] * 2
    assert ["127.0.0.1:53" in one for one in said] == [True, False]
    assert len(told(settings(workers="1"), handed("127.0.0.1", "::1"))) == 2
    [auto] = told(settings("127.0.0.1"), handed("127.0.0.1"), cores=8)
    assert "`workers: auto` (8 cores)" in auto


def test_an_address_of_listen_at_which_nothing_is_answered_is_told() -> None:
    [said] = told(settings(), handed("127.0.0.1"))
    assert "`listen:` names [::1]:53" in said
    assert "UDP and TCP" in said
    [said] = told(settings("127.0.0.1"), handed("127.0.0.1", tcp=False))
    assert "for TCP: nothing is answered" in said
    [said] = told(settings("127.0.0.1"), handed("127.0.0.1", udp=False))
    assert "for UDP: nothing is answered" in said
    assert any("127.0.0.1:5353" in one for one in told(settings("'127.0.0.1:5353'"), handed("127.0.0.1")))


def test_an_address_that_listen_does_not_name_is_told() -> None:
    [said] = told(settings("127.0.0.1"), handed("127.0.0.1", "::1"))
    assert "queries at [::1]:53 are answered" in said


def test_sockets_that_are_inherited_are_compared_and_those_bound_here_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    found, said = open_sockets(settings("'127.0.0.1:0'", workers="3"))
    assert (len(found), said) == (4, [])
    copies = [os.dup(one.fileno()) for one in found.values()]
    monkeypatch.setattr(plane_sockets, "inherited_sockets", lambda: [Inherited(one, "dns") for one in copies[:-1]])
    again, said = open_sockets(settings("'127.0.0.1:0'", workers="3"))
    assert list(again) == ["tcp-0", "udp-0-0", "udp-0-1"]
    assert ["datagram sockets handed over, 2" in one for one in said] == [True]
    for one in [*found.values(), *again.values(), socket.socket(fileno=copies[-1])]:
        one.close()


def test_what_a_plane_said_of_them_is_read_and_nothing_of_another_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert plane_sockets.told(tmp_path) == []
    plane_sockets.tell(tmp_path, ["one", "two"])
    assert plane_sockets.told(tmp_path) == ["one", "two"]
    plane_sockets.tell(tmp_path, [])
    assert plane_sockets.told(tmp_path) == []
    plane_sockets.tell(tmp_path / "missing", ["a folder that takes nothing keeps no plane from its work"])
    plane_sockets.tell(tmp_path, ["a resolver's"])
    owner = os.fstat
    monkeypatch.setattr(os, "fstat", lambda fd: os.stat_result((*owner(fd)[:4], owner(fd).st_uid + 1, *owner(fd)[5:])))
    assert plane_sockets.told(tmp_path) == []


def test_a_link_or_a_pipe_in_its_place_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "list.key").write_text("secret")
    (tmp_path / SOCKETS).symlink_to(tmp_path / "list.key")
    assert plane_sockets.told(tmp_path) == []
    (tmp_path / SOCKETS).unlink()
    os.mkfifo(tmp_path / SOCKETS)
    with end_of_waiting():
        assert plane_sockets.told(tmp_path) == []
    pipe = os.open(tmp_path / SOCKETS, os.O_RDWR)
    os.write(pipe, b"planted\n")
    assert plane_sockets.told(tmp_path) == []
    os.close(pipe)


def test_the_unit_that_is_shipped_has_the_addresses_of_the_default() -> None:
    lines = [line.partition("=") for line in SOCKET_UNIT.read_text().splitlines()]
    listen = {str(one) for one in parse_packet_settings("{version: 1, upstream: {address: '192.0.2.53'}}", "sekisho.yaml").listen}
    assert {place for key, _, place in lines if key == "ListenStream"} == listen
    assert {place for key, _, place in lines if key == "ListenDatagram"} == listen
