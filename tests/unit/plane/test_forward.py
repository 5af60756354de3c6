"""A query's way through cache and resolvers, in virtual time: hits, expiry, stale answers, time-outs, failover."""

from __future__ import annotations

from collections.abc import Iterator

import dns.edns
import dns.message
import dns.rcode
import pytest

from sekisho.model.counters import LATENCY_BOUNDS_US, Counter
from sekisho.plane import cache as packets
from sekisho.plane.forward import fail_socket
from sekisho.plane.worker import PENDING, S_TIMEOUT
from support.plane import CUSTOMER, OPTED_OUT, SECOND, START, UNCOMPILED, Plane, numbered, query, reply_to, sockaddr

pytestmark = UNCOMPILED

ADDRESS = "@ 300 IN A 198.51.100.7"
SOA = "example 600 IN SOA ns.example. hostmaster.example. 1 2 3 4 120"


@pytest.fixture
def plane() -> Iterator[Plane]:
    with Plane() as one:
        yield one


def parsed(found: bytes | None) -> dns.message.Message:
    assert found is not None
    return dns.message.from_wire(found)


def ttls(found: bytes | None) -> list[int]:
    answer = parsed(found)
    return [section.ttl for section in (*answer.answer, *answer.authority, *answer.additional)]


def codes(found: bytes | None) -> list[int]:
    return [int(option.code) for option in parsed(found).options if isinstance(option, dns.edns.EDEOption)]


def refuse_all(plane: Plane) -> None:
    """Both resolvers time out until they are held to be down."""
    plane.desk.settings[S_TIMEOUT] = SECOND // 2
    for number in range(3):
        plane.ask(query(f"down-{number}.example"))
    plane.wait(0.6)
    plane.wait(0.6)
    plane.asked()


def test_a_second_query_is_answered_from_the_cache_with_the_ttl_counted_down(plane: Plane) -> None:
    plane.resolve(query("www.example"), None, ADDRESS)
    for age in (0, 1, 100, 299):
        plane.now = START + age * SECOND
        assert ttls(plane.ask(query("WWW.example", identity=age), OPTED_OUT)) == [300 - age]
    assert plane.steps() == {"forward": 1, "cache": 4}
    plane.now = START + 300 * SECOND
    assert plane.ask(query("www.example")) is None, "an expired answer is asked for again"
    assert len(plane.asked()) == 1


def test_a_name_is_blocked_though_its_answer_is_in_the_cache(plane: Plane) -> None:
    """gunma/別記-1: the verdict comes before the cache, so what one customer may have reaches no other."""
    assert ttls(plane.resolve(query("second.example"), None, ADDRESS, source=OPTED_OUT)) == [300]
    assert parsed(plane.ask(query("second.example"), CUSTOMER)).rcode() == dns.rcode.NXDOMAIN
    assert ttls(plane.ask(query("second.example"), OPTED_OUT)) == [300]


def test_each_record_counts_down_by_itself_and_the_lowest_ends_the_entry(plane: Plane) -> None:
    plane.resolve(query("www.example"), None, ADDRESS, "other.example 60 IN A 198.51.100.8")
    plane.now += 59 * SECOND
    assert ttls(plane.ask(query("www.example"))) == [241, 1]
    plane.now += SECOND
    assert plane.ask(query("www.example")) is None


@pytest.mark.parametrize("rcode", [0, 3])
def test_a_negative_answer_is_kept_as_long_as_its_soa_says(plane: Plane, rcode: int) -> None:
    """RFC 2308 section 5: the lower of the SOA's TTL and its MINIMUM."""
    plane.ask(query("none.example"))
    ((number, question),) = plane.asked()
    plane.respond(number, reply_to(question, rcode=rcode, authority=[SOA]).to_wire())
    plane.now += 119 * SECOND
    assert parsed(plane.ask(query("none.example"))).rcode() == rcode
    plane.now += SECOND
    assert plane.ask(query("none.example")) is None


@pytest.mark.parametrize("rcode", [0, 3])
def test_a_negative_answer_without_soa_is_not_kept(plane: Plane, rcode: int) -> None:
    plane.ask(query("none.example"))
    ((number, question),) = plane.asked()
    plane.respond(number, reply_to(question, rcode=rcode).to_wire())
    assert plane.ask(query("none.example")) is None


def test_servfail_and_refused_are_not_kept(plane: Plane) -> None:
    for rcode in (2, 5):
        plane.ask(query("bad-day.example"))
        ((number, question),) = plane.asked()
        assert plane.respond(number, reply_to(question, ADDRESS, rcode=rcode).to_wire())
    assert plane.total(Counter.CACHE_STORED) == 0


def test_no_answer_is_kept_longer_than_a_day(plane: Plane) -> None:
    plane.resolve(query("www.example"), None, "@ 604800 IN A 198.51.100.7")
    plane.now += 86399 * SECOND
    assert ttls(plane.ask(query("www.example"))) == [604800 - 86399]
    plane.now += SECOND
    assert plane.ask(query("www.example")) is None


def test_what_makes_answers_differ_keeps_them_apart(plane: Plane) -> None:
    variants = [
        query("www.example"),
        query("www.example", "AAAA"),
        query("www.example", edns=0, want_dnssec=True),
        query("www.example", flags=0x0110),
        query("www.example", flags=0),
        query("ww.wexample"),
    ]
    for packet in variants:
        assert plane.ask(packet) is None
    assert len(plane.asked()) == len(variants)


def test_edns_alone_does_not_split_the_cache(plane: Plane) -> None:
    plane.resolve(query("www.example"), None, ADDRESS)
    assert plane.ask(query("www.example", edns=0, payload=4096)) is not None


def test_where_the_resolver_is_told_who_asks_answers_are_each_customers_own() -> None:
    with Plane(S_SCOPED=1) as plane:
        plane.resolve(query("www.example"), None, ADDRESS)
        assert plane.ask(query("www.example"), CUSTOMER) is not None
        assert plane.ask(query("www.example"), OPTED_OUT) is None


def test_proxy_v2_tells_the_resolver_the_clients_address() -> None:
    with Plane(S_PROXY=1) as plane:
        plane.desk.listeners[0] = 99
        own = sockaddr("203.0.113.1", 53)
        plane.desk.proxies[: len(own)] = memoryview(own)
        plane.ask(query("www.example"), CUSTOMER, port=40001)
        ((_, datagram),) = plane.asked()
        assert datagram[:16] == b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c"
        assert datagram[16:28] == bytes((192, 0, 2, 2, 203, 0, 113, 1)) + (40001).to_bytes(2, "big") + (53).to_bytes(2, "big")
        assert dns.message.from_wire(datagram[28:]).question[0].to_text() == "www.example. IN A"
        six = sockaddr("2001:db8::53", 53)
        plane.desk.proxies[: len(six)] = memoryview(six)
        plane.ask(query("www.example", "AAAA"), "2001:db8:1::7", port=7)
        ((_, datagram),) = plane.asked()
        assert datagram[12:16] == b"\x21\x22\0\x24"
        assert datagram[16:32].hex() == "20010db8000100000000000000000007"
        assert datagram[32:52].hex() == "20010db8000000000000000000000053" + "0007" + "0035"


def test_a_resolver_that_does_not_answer_is_passed_over_for_the_next(plane: Plane) -> None:
    plane.ask(query("www.example"))
    ((first, _),) = plane.asked()
    assert plane.wait(1.9) == []
    assert not plane.asked()
    assert plane.wait(0.1) == []
    ((second, question),) = plane.asked()
    assert (first // 2, second // 2) == (0, 1)
    assert parsed(plane.respond(second, reply_to(question, ADDRESS).to_wire())[0]).answer
    assert (plane.total(Counter.UPSTREAM_TIMEOUTS), plane.total(Counter.UPSTREAM_FAILOVERS)) == (1, 1)


def test_the_first_resolvers_late_answer_is_taken_for_none(plane: Plane) -> None:
    plane.ask(query("www.example"))
    ((first, question),) = plane.asked()
    plane.wait(2.1)
    assert plane.respond(first, reply_to(question, ADDRESS).to_wire()) == []
    assert plane.total(Counter.UPSTREAM_MISMATCHED) == 1


def test_when_no_resolver_answers_the_client_is_told_servfail_with_the_reason(plane: Plane) -> None:
    plane.ask(query("www.example", edns=0, identity=77))
    assert plane.wait(2.1) == []
    (found,) = plane.wait(2.1)
    assert (parsed(found).id, parsed(found).rcode(), codes(found)) == (77, dns.rcode.SERVFAIL, [23])
    assert plane.total(Counter.UPSTREAM_SERVFAIL) == 1
    assert plane.wait(10) == []


def test_a_resolver_that_failed_three_times_is_left_alone_for_two_seconds(plane: Plane) -> None:
    for number in range(3):
        plane.ask(query(f"{number}.example"))
    plane.wait(2.1)
    plane.asked()
    plane.ask(query("next.example"))
    ((number, _),) = plane.asked()
    assert number // 2 == 1
    plane.now += 3 * SECOND
    plane.ask(query("later.example"))
    ((number, question),) = plane.asked()
    assert number // 2 == 0
    plane.ask(query("meanwhile.example"))
    ((other, _),) = plane.asked()
    assert other // 2 == 1, "one query alone finds out whether it is back"
    plane.respond(number, reply_to(question, ADDRESS).to_wire())
    plane.ask(query("after.example"))
    ((number, _),) = plane.asked()
    assert number // 2 == 0


def test_a_resolver_whose_port_is_closed_is_passed_over_at_once_though_an_expired_answer_is_held(plane: Plane) -> None:
    plane.resolve(query("www.example"), None, ADDRESS)
    plane.now += 400 * SECOND
    plane.ask(query("www.example"))
    ((first, _),) = plane.asked()
    fail_socket(*plane.tables, plane.desk, first, plane.now, plane.now // SECOND)
    ((second, question),) = plane.asked()
    assert second // 2 == 1
    (found,) = plane.respond(second, reply_to(question, ADDRESS).to_wire())
    assert ttls(found) == [300]
    assert plane.total(Counter.CACHE_STALE) == 0


@pytest.mark.parametrize(("rcode", "error"), [(0, 3), (3, 19)])
def test_while_resolvers_fail_an_expired_answer_is_served_and_says_so(plane: Plane, rcode: int, error: int) -> None:
    """RFC 8767; RFC 8914 has a code of its own for a stale NXDOMAIN."""
    plane.ask(query("www.example"))
    ((number, question),) = plane.asked()
    plane.respond(number, reply_to(question, *([ADDRESS] if not rcode else []), rcode=rcode, authority=[SOA] if rcode else []).to_wire())
    plane.now += 1000 * SECOND
    assert plane.ask(query("www.example", edns=0)) is None, "the resolver is asked first"
    (found,) = plane.wait(2.1)
    assert (parsed(found).rcode(), ttls(found), codes(found)) == (rcode, [30], [error])
    refuse_all(plane)
    at_once = plane.ask(query("www.example", edns=0))
    assert (parsed(at_once).rcode(), ttls(at_once), codes(at_once)) == (rcode, [30], [error])
    assert plane.total(Counter.CACHE_STALE) >= 2


def test_a_resolver_that_says_servfail_does_not_take_a_stale_answer_away(plane: Plane) -> None:
    plane.resolve(query("www.example"), None, ADDRESS)
    plane.now += 400 * SECOND
    plane.ask(query("www.example"))
    ((number, question),) = plane.asked()
    (found,) = plane.respond(number, reply_to(question, rcode=2).to_wire())
    assert (parsed(found).rcode(), ttls(found)) == (0, [30])


def test_an_answer_too_stale_is_not_served(plane: Plane) -> None:
    plane.resolve(query("www.example"), None, ADDRESS)
    plane.now += (300 + 3600) * SECOND
    assert plane.ask(query("www.example")) is None
    plane.wait(2.1)
    (found,) = plane.wait(2.1)
    assert parsed(found).rcode() == dns.rcode.SERVFAIL


def test_policy_comes_before_a_stale_answer(plane: Plane) -> None:
    plane.resolve(query("second.example"), None, ADDRESS, source=OPTED_OUT)
    plane.now += 1000 * SECOND
    refuse_all(plane)
    assert parsed(plane.ask(query("second.example"), CUSTOMER)).rcode() == dns.rcode.NXDOMAIN
    assert ttls(plane.ask(query("second.example"), OPTED_OUT)) == [30]


def test_any_is_sent_to_tcp_and_not_to_the_resolver(plane: Plane) -> None:
    """RFC 8482 section 4.4."""
    assert plane.ask(query("www.example", "ANY")) is not None
    assert not plane.asked()


def test_the_cache_is_bounded_and_the_oldest_goes_first() -> None:
    with Plane(upstreams=1, sockets=1, cache_bytes=65536) as plane:
        for number in range(1500):
            plane.resolve(query(f"host-{number}.example"), None, ADDRESS)
        entries, used = packets.usage(plane.cache)
        assert used <= 65536
        assert 100 < entries < 1500
        assert plane.ask(query("host-1499.example")) is not None
        assert plane.ask(query("host-0.example")) is None
        assert plane.total(Counter.CACHE_EVICTED) > 0
        assert plane.total(Counter.CACHE_STORED) == 1500


def test_more_queries_than_can_be_outstanding_are_dropped_and_counted() -> None:
    with Plane(upstreams=1, sockets=4, S_TRIES=1) as plane:
        one = query("00000.example")
        for number in range(PENDING + 5):
            assert plane.ask(numbered(one, number)) is None
            if number % 16 == 0:
                plane.asked()
        assert plane.total(Counter.PENDING_FULL) == 5
        plane.now += 3 * SECOND
        # More answers than a batch holds: they leave through the descriptor as the rows fill, here one that is none.
        plane.wait(0)
        assert plane.total(Counter.UPSTREAM_TIMEOUTS) == PENDING
        assert plane.total(Counter.UPSTREAM_SERVFAIL) == PENDING
        plane.resolve(query("again.example"), None, ADDRESS)
        assert plane.ask(query("again.example")) is not None, "every place was given back"
        assert not plane.desk.ids.any(), "every id too"


def test_latencies_are_counted_in_their_buckets(plane: Plane) -> None:
    for number, micros in enumerate((1, 250, 251, 999, 2_000_000)):
        plane.ask(query(f"{number}.example"))
        ((socket, question),) = plane.asked()
        plane.now += micros * 1000
        plane.respond(socket, reply_to(question, ADDRESS).to_wire())
    found = {bound: int(count) for bound, count in zip((*LATENCY_BOUNDS_US, 0), plane.desk.latency, strict=True) if count}
    assert found == {250: 2, 500: 1, 1000: 1, 2500000: 1}
    assert plane.total(Counter.LATENCY_SUM_US) == 1 + 250 + 251 + 999 + 2_000_000
