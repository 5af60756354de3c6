"""Listening for dnstap: resolvers that come and go, what is counted of what they tell, and what is not believed."""

from __future__ import annotations

import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from sekisho.config.dnstap import Counted, DnstapSettings
from sekisho.config.prefixes import parse_prefix
from sekisho.dnstap.control import Control
from sekisho.dnstap.frames import MOST
from sekisho.drivers.customercounts import CustomerCounts
from sekisho.drivers.dnstap import Tap
from sekisho.drivers.dnstapseen import Seen
from sekisho.drivers.tablerows import CustomerRow
from sekisho.model.dnstap import Ended, Tally
from sekisho.model.errors import UnavailableError
from support import wait_until
from support.dnstap import RESOLVER_QUERY, RESPONSE, Sender, message
from support.plane import ALLOWED, CUSTOMER, OPTED_OUT
from support.published import Site, published

AT = 1_700_000_000.0


class Listening:
    """A tap on the tables of a site."""

    def __init__(self, site: Site, path: Path, **settings: object) -> None:
        self.site, self.path, self.seen = site, path, Seen(wanted=True)
        self.settings = DnstapSettings.model_construct(**({"socket": path, "group": None} | settings))
        self.tap = Tap(site.folder, self.settings, self.seen)
        self.counts = CustomerCounts(site.folder, self.seen)
        self.senders: list[Sender] = []
        self.tap.start()

    def close(self) -> None:
        for sender in self.senders:
            sender.close()
        self.tap.close()

    def sender(self, **how: object) -> Sender:
        self.senders.append(Sender(self.path, **how))  # type: ignore[arg-type]
        return self.senders[-1]

    def queries(self) -> dict[int, int]:
        return {int(row): int(self.seen.queries[row]) for row in np.flatnonzero(self.seen.queries)}

    def tally(self, which: Tally) -> int:
        return int(self.seen.tallies[which])

    def until(self, condition: Callable[[], object], what: str) -> None:
        wait_until(condition, deadline=120, what=what)

    def resolver(self) -> Sender:
        before = self.seen.streams
        sender = self.sender().start()
        self.until(lambda: self.seen.streams == before + 1, "the stream")
        return sender


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with published(tmp_path_factory.mktemp("tables")) as one:
        yield one


@pytest.fixture
def tap(site: Site, tmp_path: Path) -> Iterator[Listening]:
    one = Listening(site, tmp_path / "dnstap.sock")
    try:
        yield one
    finally:
        one.close()


def test_queries_of_several_resolvers_are_counted_by_customer(tap: Listening) -> None:
    first, second = tap.resolver(), tap.resolver()
    first.send(message(CUSTOMER), message(OPTED_OUT), message(CUSTOMER))
    second.send(message(CUSTOMER), message("192.0.2.199"), message(ALLOWED.partition("/")[0]), message(CUSTOMER, RESOLVER_QUERY))
    tap.until(lambda: tap.tally(Tally.OTHER) and tap.tally(Tally.COUNTED) == 4, "all frames")
    assert tap.queries() == {1: 3, 2: 1}
    assert tap.tally(Tally.NOBODY) == 2
    first.close()
    second.control(Control.STOP)
    answer = second.answer()
    assert answer is not None
    assert answer.type is Control.FINISH
    tap.until(lambda: tap.seen.streams == 0, "the ends")
    assert (tap.seen.ended[Ended.CUT], tap.seen.ended[Ended.STOPPED]) == (1, 1)


def test_a_resolver_that_waits_for_no_answer_is_counted_and_frames_may_come_in_pieces(tap: Listening) -> None:
    sender = tap.sender(ready=False)
    sender.control(Control.START)
    data = struct.pack(">I", len(message(CUSTOMER))) + message(CUSTOMER)
    for cut in range(1, len(data), 7):
        sender.socket.sendall(data[:cut])
        sender.socket.sendall(data[cut:])
    tap.until(lambda: tap.tally(Tally.COUNTED) == len(range(1, len(data), 7)), "every frame")
    assert not tap.tally(Tally.DAMAGED)


def test_customers_who_come_later_are_counted_in_tables_that_grew(tap: Listening, site: Site) -> None:
    resolver = tap.resolver()
    for number in range(200):
        site.writer.put_customer(CustomerRow(f"later-{number}", (parse_prefix(f"2001:db8:7:{number:x}::/64"),), 0, 0))
    resolver.send(message(CUSTOMER), message("2001:db8:7:c7::1"))
    tap.until(lambda: tap.tally(Tally.COUNTED) == 2, "both")
    row = site.writer.row_of("later-199")
    assert row is not None
    assert tap.queries() == {1: 1, row: 1}


def test_lost_frames_are_counted_by_reason_and_the_stream_goes_on(tap: Listening) -> None:
    resolver = tap.resolver()
    resolver.send(message(CUSTOMER)[:-3], b"\xff", message(None), message(CUSTOMER, family=2), message(CUSTOMER))
    tap.until(lambda: tap.tally(Tally.COUNTED) == 1, "the good one")
    assert (tap.tally(Tally.DAMAGED), tap.tally(Tally.ADDRESSLESS)) == (2, 2)
    assert tap.seen.streams == 1


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (struct.pack(">I", MOST + 1), Ended.OVERSIZED),
        (bytes(4) + struct.pack(">II", 4, Control.READY), Ended.DAMAGED),
        (bytes(4) + struct.pack(">II", 4, 99), Ended.DAMAGED),
    ],
)
def test_a_stream_that_makes_no_sense_is_ended(tap: Listening, said: bytes, why: Ended) -> None:
    resolver = tap.resolver()
    resolver.socket.sendall(said)
    assert resolver.answer() is None
    tap.until(lambda: tap.seen.ended[why] == 1, "the end")
    assert tap.tap.is_alive


def test_another_content_type_is_refused_and_data_before_a_start_too(tap: Listening) -> None:
    assert tap.sender(content_type=b"protobuf:other").answer() is None
    sender = tap.sender(ready=False)
    sender.send(message(CUSTOMER))
    assert sender.answer() is None
    tap.until(lambda: tap.seen.ended[Ended.DAMAGED] == tap.seen.ended[Ended.REFUSED] == 1, "both ends")
    assert not tap.queries()


def test_more_connections_than_may_be_are_turned_away(site: Site, tmp_path: Path) -> None:
    tap = Listening(site, tmp_path / "few.sock", connections=1)
    try:
        resolver = tap.resolver()
        assert tap.sender(ready=False).answer() is None
        resolver.send(message(CUSTOMER))
        tap.until(lambda: tap.tally(Tally.COUNTED) == 1, "the first one's query")
        assert tap.seen.ended[Ended.CROWDED] == 1
    finally:
        tap.close()


def test_where_responses_are_counted_queries_are_not(site: Site, tmp_path: Path) -> None:
    tap = Listening(site, tmp_path / "responses.sock", count=Counted.RESPONSES)
    try:
        tap.resolver().send(message(CUSTOMER), message(CUSTOMER, RESPONSE), message(CUSTOMER, RESPONSE))
        tap.until(lambda: tap.tally(Tally.COUNTED) == 2, "the responses")
        assert tap.queries() == {1: 2}
    finally:
        tap.close()


def test_nothing_of_a_query_stays_in_memory(tap: Listening) -> None:
    resolver = tap.resolver()
    resolver.send(message(CUSTOMER, wire=b"\x06secret\x07example\x00"))
    tap.until(lambda: tap.tally(Tally.COUNTED) == 1, "the query")
    (stream,) = tap.tap._streams.values()
    wait_until(lambda: not stream.filled, what="the buffer emptied")
    assert not stream.data.any()


def test_the_socket_is_the_groups_alone_and_goes_at_the_end(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "one.sock"
    tap = Listening(site, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    with pytest.raises(UnavailableError, match="somebody else listens"):
        Tap(site.folder, tap.settings, Seen())
    tap.tap.close()
    assert not path.exists()
    path.write_text("precious")
    with pytest.raises(UnavailableError, match="no socket"):
        Tap(site.folder, tap.settings, Seen())
    assert path.read_text() == "precious"
    with pytest.raises(UnavailableError, match="cannot be made"):
        Tap(site.folder, tap.settings.model_copy(update={"socket": tmp_path / "nowhere" / "s"}), Seen())


def test_a_window_has_what_resolvers_told_of_and_what_they_left_unanswered(tap: Listening) -> None:
    rows = np.array([1], np.int64)
    resolver = tap.resolver()
    resolver.send(message(CUSTOMER), message(CUSTOMER, RESPONSE))
    tap.until(lambda: tap.tally(Tally.RESPONDED) == 1, "the first")
    assert tap.counts.window(AT, 100) is None
    tap.counts.lines(rows)
    resolver.send(*[message(CUSTOMER)] * 10, *[message(CUSTOMER, RESPONSE)] * 3)
    tap.until(lambda: tap.tally(Tally.RESPONDED) == 4, "the rest")
    window = tap.counts.window(AT, 110)
    assert window is not None
    assert (int(window.counts[1]), window.load.queries, window.whole) == (10, 10, True)
    (line,) = tap.counts.lines(rows)
    assert line.pattern is not None
    assert (line.pattern.unanswered, line.pattern.elsewhere, line.pattern.new) == (7, 10, 0)
    resolver.send(*[message(CUSTOMER, RESPONSE)] * 2)
    tap.until(lambda: tap.tally(Tally.RESPONDED) == 6, "late responses")
    (line,) = tap.counts.lines(rows)
    assert line.pattern is not None
    assert line.pattern.unanswered == 0
    resolver.close()
    tap.until(lambda: tap.seen.streams == 0, "the end")
    window = tap.counts.window(AT, 120)
    assert window is not None
    assert not window.whole, "who asks nothing where nobody tells of it is not calm"
