"""From which address a primary answers and tells of changes, where it listens at several, or at all there are."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import dns.message
import dns.query
import dns.tsig
import dns.tsigkeyring
import pytest
import structlog.testing

from sekisho.config.policyzones import PolicyZones
from sekisho.drivers.policyprimary import Primary, PrimaryThread, serving
from sekisho.rpz.zone import Few, Timers, Zone
from support import has_ipv6, wait_until

NAME = "pass.rpz.test"
SECRET = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
KEYS = dns.tsigkeyring.from_text({"one.key.test": SECRET})
ELSEWHERE = "192.0.2.53"
"""A documentation address: from a socket of 127/8 the kernel sends nothing there."""
needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")


@dataclass
class Site:
    """A primary with one zone."""

    primary: Primary
    thread: PrimaryThread
    ports: tuple[int, ...]
    zone: Zone

    def change(self) -> None:
        done = threading.Event()

        def put() -> None:
            self.zone.put(self.zone.content, None, self.zone.serial + 1)
            self.primary.notifier.changed(self.zone)
            done.set()

        self.thread.call(put)
        assert done.wait(60)

    def asked(self, host: str, source: str, *, tcp: bool = False) -> None:
        """A secondary asks for the serial, at the first address that is listened on at `host` or at all."""
        hosts = [one.host for one in self.primary.settings.listen]
        port = self.ports[hosts.index(host) if host in hosts else 0]
        query = dns.message.make_query(NAME, "SOA")
        ask = dns.query.tcp if tcp else dns.query.udp
        assert ask(query, host, port=port, source=source, timeout=60).answer


@contextlib.contextmanager
def site(folder: Path, listen: Sequence[str], *secondaries: dict[str, object]) -> Iterator[Site]:
    (folder / "secret").write_text(SECRET)
    document = {
        "zone": "rpz.test",
        "listen": list(listen),
        "keys": [{"name": "one.key.test", "secret_file": "secret"}],
        "secondaries": [{"id": f"s{number}", "unsigned": "key" not in one} | one for number, one in enumerate(secondaries)],
    }
    primary = Primary(PolicyZones.model_validate(document, context={"folder": folder}))
    primary.notifier.pauses = (0.05,) * 1000
    zone = Zone(b"\x04pass\x03rpz\x04test\0", NAME, Timers(), 1, Few(), clients=True)
    with serving(primary) as (thread, ports):
        thread.call(lambda: primary.answers.zones.update({dns.name.from_text(NAME): zone}))
        yield Site(primary, thread, ports, zone)


@contextlib.contextmanager
def hearing(host: str) -> Iterator[tuple[socket.socket, str]]:
    """A secondary that hears of changes, and where."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind((host, 0))
        one.settimeout(60)
        port = one.getsockname()[1]
        yield one, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def heard(one: socket.socket, serial: int) -> tuple[str, int]:
    """Where the first NOTIFY of a version came from."""
    while True:
        wire, source = one.recvfrom(4096)
        if dns.message.from_wire(wire, keyring=KEYS).answer[0][0].serial == serial:
            return source[:2]


@pytest.mark.parametrize("tcp", [False, True])
def test_a_change_is_told_from_the_address_the_secondary_asked_at_last(tmp_path: Path, tcp: bool) -> None:
    with hearing("127.0.0.9") as (one, notify):
        secondary = {"address": "127.0.0.9", "notify": notify}
        with site(tmp_path, ["127.0.0.2:0", "127.0.0.3:0"], secondary) as served:
            for number, host in enumerate(("127.0.0.3", "127.0.0.2", "127.0.0.3")):
                served.asked(host, "127.0.0.9", tcp=tcp)
                served.change()
                place = served.ports[0 if host == "127.0.0.2" else 1]
                assert heard(one, number + 2) == (host, place)


def test_who_did_not_ask_yet_is_told_from_the_address_the_route_gives(tmp_path: Path) -> None:
    """To 127.0.0.1 the kernel goes from there, though another comes first."""
    with (
        hearing("127.0.0.1") as (one, notify),
        site(tmp_path, ["127.0.0.2:0", "127.0.0.1:0"], {"address": "127.0.0.1", "notify": notify}) as served,
    ):
        served.change()
        assert heard(one, 2) == ("127.0.0.1", served.ports[1])


def test_else_from_the_first_of_the_family(tmp_path: Path) -> None:
    with (
        hearing("127.0.0.9") as (one, notify),
        site(tmp_path, ["127.0.0.2:0", "127.0.0.3:0"], {"address": "127.0.0.9", "notify": notify}) as served,
    ):
        served.change()
        assert heard(one, 2) == ("127.0.0.2", served.ports[0])


@needs_ipv6
def test_each_family_is_told_by_its_own(tmp_path: Path) -> None:
    """Also whoever asks by one and is told by the other."""
    with hearing("::1") as (six, notify6), hearing("127.0.0.9") as (four, notify4):
        secondaries = ({"address": "127.0.0.9", "notify": notify6}, {"address": "::1", "notify": notify4})
        with site(tmp_path, ["127.0.0.2:0", "[::1]:0", "127.0.0.3:0"], *secondaries) as served:
            served.asked("127.0.0.3", "127.0.0.9")
            served.asked("::1", "::1")
            served.change()
            assert heard(six, 2) == ("::1", served.ports[1])
            assert heard(four, 2) == ("127.0.0.2", served.ports[0])


@pytest.mark.parametrize(
    ("any_", "host", "source"), [("0.0.0.0:0", "127.0.0.7", "127.0.0.9"), pytest.param("[::]:0", "::1", "::1", marks=needs_ipv6)]
)
def test_where_all_addresses_are_listened_on_the_one_that_was_asked_answers_and_tells(
    tmp_path: Path, any_: str, host: str, source: str
) -> None:
    """The kernel alone would answer from 127.0.0.9, the address the route to it has, and dnspython not take it."""
    with hearing(source) as (one, notify), site(tmp_path, [any_], {"address": source, "notify": notify}) as served:
        served.asked(host, source)
        served.change()
        assert heard(one, 2) == (host, served.ports[0])


def test_what_cannot_be_sent_is_not_counted_told_once_and_tried_again(tmp_path: Path) -> None:
    """From 127/8 nothing goes elsewhere; the other secondary hears of all."""
    with hearing("127.0.0.9") as (one, notify), structlog.testing.capture_logs() as logs:
        secondaries = ({"address": ELSEWHERE, "notify": ELSEWHERE}, {"address": "127.0.0.9", "notify": notify})
        with site(tmp_path, ["127.0.0.2:0"], *secondaries) as served:
            tries = 0
            tell = served.primary.notifier.send

            def count(wire: bytes, to: object) -> None:
                nonlocal tries
                tries += getattr(to, "id", "") == "s0"
                tell(wire, to)  # type: ignore[arg-type]

            served.primary.notifier.send = count
            served.change()
            wait_until(lambda: tries >= 3, what="it to be tried again")
            heard(one, 2)
            served.change()
            heard(one, 3)
            number = tries
            wait_until(lambda: tries > number, what="the next version to be tried")
            told = [line for line in logs if line["event"] == "policy-notify-not-sent"]
            assert [(line["secondary"], line["host"], line["log_level"]) for line in told] == [("s0", ELSEWHERE, "warning")]
    with hearing("127.0.0.9") as (one, notify), site(tmp_path, ["127.0.0.2:0"], secondaries[0]) as served:
        served.primary.notifier.pauses = (0.01,) * 3
        served.change()
        counts = served.primary.notifier.counts
        wait_until(lambda: counts["given-up"] == 1, what="it to be given up")
        assert counts["sent"] == 0


def acknowledgement(wire: bytes, *, signed: bool) -> bytes:
    query = dns.message.from_wire(wire, keyring=KEYS)
    answer = dns.message.make_response(query)
    if not signed:
        answer.tsig = None
    return answer.to_wire()


def test_an_acknowledgement_comes_from_where_it_was_told_and_is_signed_if_that_was(tmp_path: Path) -> None:
    with hearing("127.0.0.9") as (one, notify), hearing("127.0.0.9") as (other, _):
        secondary = {"address": "127.0.0.9", "notify": notify, "key": "one.key.test"}
        with site(tmp_path, ["127.0.0.2:0"], secondary) as served:
            counts = served.primary.notifier.counts
            served.change()
            wire, source = one.recvfrom(4096)
            other.sendto(acknowledgement(wire, signed=True), source)
            one.sendto(acknowledgement(wire, signed=False), source)
            # The primary reads in the order of arrival: once it has told again after these it has passed them over.
            query = dns.message.make_query(NAME, "SOA")
            query.use_tsig(KEYS)
            for _ in range(3):
                dns.query.udp(query, "127.0.0.2", port=served.ports[0], source="127.0.0.9", timeout=60)
            assert counts["acknowledged"] == 0
            one.sendto(acknowledgement(wire, signed=True), source)
            wait_until(lambda: counts["acknowledged"] == 1, what="the acknowledgement, of the first time it was told")
