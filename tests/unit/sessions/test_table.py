"""The table of sessions: each way accounting comes in, and what it makes of who is on line."""

from __future__ import annotations

import pytest

from sekisho.model.customers import Prefix
from sekisho.model.sessions import CGN, Accounting, Ports, SessionEnd, Share
from sekisho.sessions.changes import Changes, Held, Named, Opened, Over, Released, Revived
from sekisho.sessions.columns import code_of
from sekisho.sessions.holding import Claim, holder_at, is_certain
from sekisho.sessions.mape import Rule, share_of
from sekisho.sessions.table import Table
from unit.sessions.fields import ADDRESS, HOME, INTERIM, OTHER, START, STOP, Field, T


@pytest.fixture
def field():
    return Field()


def test_a_log_in_gives_the_customer_the_prefixes_and_a_log_out_takes_them(field):
    assert field.tell(START, prefixes=(ADDRESS, HOME)).moves == {code_of(ADDRESS): "c-1", code_of(HOME): "c-1"}
    assert field.tell(STOP, 60).moves == {code_of(ADDRESS): None, code_of(HOME): None}
    assert (len(field.table), field.holder(), field.ends()) == (0, None, [SessionEnd.STOP])


def test_a_start_told_again_changes_nothing(field):
    field.tell(START)
    changes = field.tell(START, 0.9)
    assert not changes.moves
    assert not [fact for fact in changes.facts if isinstance(fact, Opened | Held | Over)]


def test_a_start_that_comes_after_its_stop_makes_no_ghost(field):
    field.tell(STOP, 1)
    assert not field.tell(START, 0).facts
    assert len(field.table) == 0


def test_a_stop_of_an_earlier_session_with_the_same_id_leaves_the_new_one(field):
    field.tell(START, 0)
    field.tell(STOP, 50)
    field.tell(START, 100)
    field.tell(STOP, 50)
    assert field.holder() == "c-1"


@pytest.mark.parametrize("at", [50, 50.25, 51])
def test_who_logs_in_again_at_once_by_the_same_session_id_is_on_line(field, at):
    field.tell(START, 0)
    field.tell(STOP, 50)
    assert [fact.since - T for fact in field.tell(START, at).facts if isinstance(fact, Opened)] == [at]
    assert not field.tell(STOP, at + 0.5, seconds=50).facts, "the Stop of before, told again"
    assert (field.holder(), len(field.table)) == ("c-1", 1)
    field.tell(STOP, at + 1, seconds=1)
    assert (field.holder(), len(field.table)) == (None, 0)


def test_a_start_of_before_the_stop_that_was_overtaken_by_it_makes_no_ghost(field):
    field.tell(START, 0)
    field.tell(STOP, 50)
    for at in (0, 49.9):
        assert not field.tell(START, at).facts
    assert not field.tell(INTERIM, 50.5).facts
    field.tell(STOP, 100, "s2")
    assert not field.tell(START, 100.5, "s2").facts, "of a session nothing was heard of before"
    assert len(field.table) == 0


def test_a_session_of_no_time_whose_start_is_told_again_by_whole_seconds_makes_no_ghost(field):
    field.tell(START, 7)
    field.tell(STOP, 7, seconds=0)
    assert not field.tell(START, 7).facts


def test_an_address_moves_to_the_later_session_and_the_one_before_is_over(field):
    field.tell(START, 0, "s1", customer="c-1")
    changes = field.tell(START, 100, "s2", "taro", customer="c-2")
    assert changes.moves == {code_of(ADDRESS): "c-2"}
    assert field.ends() == [SessionEnd.REPLACED]
    assert field.tell(STOP, 101, "s1").moves == {}
    assert (field.holder(), field.table.replaced) == ("c-2", 1)


def test_late_news_do_not_take_an_address_back(field):
    field.tell(START, 0, "s1")
    field.tell(START, 100, "s2", "taro", customer="c-2")
    field.tell(INTERIM, 90, "s1")
    assert field.holder() == "c-2"
    field.tell(INTERIM, 200, "s1")
    assert field.holder() == "c-1", "later news do: the access server says so"
    assert any(isinstance(fact, Revived) for fact in field.changes.facts)


def test_an_unknown_users_session_is_nobodys_and_frees_what_another_held(field):
    field.tell(START, 0, "s1", customer="c-1")
    assert field.tell(START, 100, "s2", "nobody", customer=None).moves == {code_of(ADDRESS): None}
    assert (field.holder(), field.table.unknown) == (None, 1)


def test_another_user_under_the_same_session_id_is_another_session(field):
    field.tell(START, 0)
    field.tell(START, 100, user="taro", customer="c-2")
    assert field.ends() == [SessionEnd.REPLACED]
    assert field.holder() == "c-2"
    assert len(field.table) == 1


@pytest.mark.parametrize("customer", ["c-1", None])
def test_a_user_who_is_told_later_than_the_session_is_known_from_then_on(field, customer):
    field.tell(START, 0, user="", customer=None)
    changes = field.tell(INTERIM, 60, user="hana", customer=customer)
    assert [(fact.customer, fact.user) for fact in changes.facts if isinstance(fact, Named)] == [(customer, "hana")]
    (session,) = field.table.each()
    assert (session.user, session.customer, field.holder()) == ("hana", customer, customer)
    assert [user for _, _, user, _ in field.table.names()] == ["hana"], "whose it is, is found again after a reload"
    assert [user for _, _, user in field.table.sessions_unknown("hana")] == ([] if customer else ["hana"])
    assert field.table.sessions_unknown("") == []
    assert not [fact for fact in field.tell(INTERIM, 120, user="", customer=None).facts if isinstance(fact, Named)]
    assert field.holder() == customer


def test_late_news_of_another_users_session_by_the_same_id_say_nothing_of_whose_this_is(field):
    field.tell(START, 0)
    field.tell(START, 100, user="taro", customer="c-2")
    assert not field.tell(INTERIM, 90).facts
    assert field.holder() == "c-2"


@pytest.mark.parametrize(("before", "after"), [("", "hana"), ("hana", "")])
def test_a_session_taken_for_lost_goes_on_though_only_once_its_user_is_told(field, before, after):
    people = {"": None, "hana": "c-1"}
    field.tell(START, 0, user=before, customer=people[before])
    field.table.end(field.table.overdue(T + 5000, [600.0], T), T + 5000, SessionEnd.TIMEOUT, field.changes)
    changes = field.tell(INTERIM, 6000, user=after, customer=people[after])
    assert any(isinstance(fact, Revived) for fact in changes.facts)
    assert [(session.user, session.customer) for session in field.table.each()] == [("hana", "c-1")]


def test_a_second_address_family_is_added_and_an_address_of_the_same_takes_the_place(field):
    field.tell(START)
    field.tell(INTERIM, 10, prefixes=(HOME,))
    assert set(field.table.prefixes_of("c-1")) == {code_of(ADDRESS), code_of(HOME)}
    changes = field.tell(INTERIM, 20, prefixes=(OTHER,))
    assert changes.moves == {code_of(ADDRESS): None, code_of(OTHER): "c-1"}
    field.tell(INTERIM, 30, prefixes=())
    assert set(field.table.prefixes_of("c-1")) == {code_of(OTHER), code_of(HOME)}


def test_a_nas_that_restarts_ends_its_sessions_once_and_not_those_begun_since(field):
    field.tell(START, 0, "s1")
    field.tell(START, 0, "s9", "taro", (OTHER,), "c-2", nas="other")
    assert field.restart(100) == 1
    field.tell(START, 101, "s2")
    assert field.restart(101.5) == 0, "the same news with another delay"
    assert (field.holder(), field.holder(OTHER)) == ("c-1", "c-2")


def test_what_is_not_heard_of_is_overdue_by_its_own_nas_and_not_while_nobody_listened(field):
    field.tell(START, 0)
    field.tell(START, 0, "s9", "taro", (OTHER,), "c-2", nas="silent")
    limits = [600.0, float("inf")]
    assert field.table.overdue(T + 599, limits, T) == []
    assert len(field.table.overdue(T + 601, limits, T)) == 1
    assert field.table.overdue(T + 601, limits, T + 300) == []


def test_a_session_taken_for_lost_goes_on_when_it_is_heard_of_and_its_octets_are_counted_once(field):
    field.tell(START, 0)
    field.tell(INTERIM, 60, down=1000, up=10)
    field.table.end(field.table.overdue(T + 5000, [600.0], T), T + 5000, SessionEnd.TIMEOUT, field.changes)
    assert len(field.table) == 0
    changes = field.tell(INTERIM, 6000, down=1500, up=20)
    assert changes.usage == [("c-1", 500, 10, 5940.0)]
    assert field.holder() == "c-1"


def test_a_session_that_began_is_told_from_one_that_only_goes_on(field):
    def told(changes):
        return [one.id for one in changes.begun], [one.id for one in changes.resumed]

    assert told(field.tell(START)) == (["s1"], [])
    assert told(field.tell(INTERIM, 60)) == ([], [])
    assert told(field.tell(INTERIM, 60, "s2", prefixes=(OTHER,))) == ([], ["s2"]), "its Start was lost, or was before us"
    field.table.end(field.table.overdue(T + 5000, [600.0], T), T + 5000, SessionEnd.TIMEOUT, field.changes)
    assert told(field.tell(INTERIM, 6000)) == ([], ["s1"])
    assert told(field.tell(START, 6000, "s2", prefixes=(OTHER,), seconds=0)) == (["s2"], [])


def test_octets_are_of_the_time_since_the_session_was_last_told_of_not_since_the_line_was(field):
    field.tell(START, 0)
    field.tell(STOP, 600, down=1000)
    field.tell(START, 90_000, "s2", seconds=0)
    assert field.tell(INTERIM, 90_600, "s2", down=9000, seconds=590).usage == [("c-1", 9000, 0, 590.0)], "as the NAS's clock has it"
    assert field.tell(INTERIM, 91_200, "s2", down=9000 + 1, up=2, seconds=None).usage == [("c-1", 1, 2, 600.0)]
    field.tell(START, 200_000, "s3", customer="c-2", prefixes=(OTHER,))
    assert field.tell(INTERIM, 200_050, "s3", customer="c-2", down=5, seconds=None).usage == [("c-2", 5, 0, 50.0)]


def test_octets_are_the_growth_since_the_last_report(field):
    field.tell(START, 0)
    assert field.tell(INTERIM, 60, down=1000, up=10).usage == [("c-1", 1000, 10, 60.0)]
    assert field.tell(INTERIM, 60.5, down=1000, up=10, seconds=60).usage == []
    assert field.tell(STOP, 120, down=1001, up=10).usage == [("c-1", 1, 0, 60.0)]


def test_what_was_used_before_we_listened_is_not_counted(field):
    assert field.tell(INTERIM, 9000, down=1 << 40, up=1).usage == []
    assert field.tell(INTERIM, 9060, down=(1 << 40) + 5, up=1).usage == [("c-1", 5, 0, 60.0)]
    assert field.tell(INTERIM, 300, "s2", down=7, up=8, seconds=300).usage == [("c-1", 7, 8, 300.0)], "its Start was lost on the way"


def test_a_request_that_was_overtaken_counts_nothing(field):
    field.tell(START, 0)
    field.tell(INTERIM, 600, down=1000, up=10)
    assert field.tell(INTERIM, 601, down=500, up=5, seconds=300).usage == []
    assert field.tell(INTERIM, 660, down=1100, up=10, seconds=660).usage == [("c-1", 100, 0, 60.0)]


def test_parts_of_an_address_are_several_sessions_and_overlapping_ones_are_not(field):
    shared = Prefix.parse("203.0.113.1")
    for number, (first, last) in enumerate(((1024, 2047), (2048, 3071)), 1):
        field.tell(START, number, f"s{number}", f"u{number}", (), f"c-{number}", shares=(Share(shared, Ports(first, last)),))
        assert not field.changes.moves, "no port in the plane"
    assert len(field.table) == 2
    field.tell(START, 10, "s3", "u3", (), "c-3", shares=(Share(shared, Ports(2000, 2100)),))
    assert field.ends() == [SessionEnd.REPLACED] * 2


def test_a_block_a_cgn_reported_is_no_log_in(field):
    shares = (Share(Prefix.parse("203.0.113.1"), Ports(1024, 2047)),)
    field.tell(START)
    for number, nas in enumerate((f"{CGN}192.0.2.1", f"{CGN}2001:db8::1")):
        told = field.tell(START, 1, f"block-{number}", "c-1", (), nas=nas, shares=shares)
        assert told.begun == told.ended == [], "nobody logs in, and nobody's session is over"
    assert [one.nas for one in field.table.blocks()] == [f"{CGN}2001:db8::1"]
    assert [one.id for one in field.table.logins("c-1")] == ["s1"]
    assert field.table.several() == []
    field.tell(START, 2, "s2", prefixes=(OTHER,))
    assert [one.id for one in field.table.several()] == ["s1", "s2"]
    assert field.tell(STOP, 3, "block-1", "c-1", (), nas=f"{CGN}2001:db8::1").ended == []
    assert [one.id for one in field.table.several()] == ["s1", "s2"]
    field.tell(STOP, 4, "s2", prefixes=())
    assert field.table.several() == []


def test_the_session_around_an_address_is_that_with_the_longest_prefix(field):
    field.tell(START, 0, "s1", prefixes=(Prefix.parse("192.0.2.0/24"), HOME))
    field.tell(START, 0, "s2", "eri", customer="c-2")
    assert [found and found.id for found in map(field.table.around, (ADDRESS, OTHER, Prefix.parse("198.51.100.1")))] == ["s2", "s1", None]
    assert field.table.around(Prefix(HOME.value + 5, 128)).id == "s1"


def test_the_ports_of_a_map_e_customer_follow_from_the_prefix():
    """RFC 7597 appendix A, example 1."""
    rule = Rule(Prefix.parse("2001:db8::/40"), Prefix.parse("192.0.2.0/24"), 16, 6)
    share = share_of([rule], Prefix.parse("2001:db8:12:3400::/56"))
    assert isinstance(share, Share)
    assert share.prefix == Prefix.parse("192.0.2.18")
    ranges = list(share.ports.ranges())
    assert ranges[:2] == [(1232, 1235), (2256, 2259)]
    assert (len(ranges), ranges[-1]) == (63, (64720, 64723))
    assert share.ports.holds(1233)
    assert share.ports.holds(64723)
    assert not share.ports.holds(1236)
    assert not share.ports.holds(208)


def claim(customer="c-1", since=0.0, until=None, seen=0.0, ports=None, end=None, prefix=ADDRESS):
    field = Field()
    field.tell(START, customer=customer, user=customer or "nobody")
    (session,) = field.table.each()
    session = type(session)("bras", "s", customer or "nobody", customer, since, seen, end=end, until=until)
    return Claim(session, prefix, ports, since, until, 1)


def test_who_held_an_address_is_certain_or_nobody():
    held = claim(until=100, seen=100, end=SessionEnd.STOP)
    assert holder_at([held], 50, None).claim == held
    lost = claim(until=5000, seen=40, end=SessionEnd.TIMEOUT)
    assert is_certain(lost, 40)
    assert holder_at([lost], 50, None).ambiguous
    later = claim("c-2", since=45)
    assert holder_at([lost, later], 50, None).claim == later
    assert holder_at([held, later], 50, None).ambiguous, "two say so"
    assert holder_at([claim(ports=Ports(0, 99)), claim("c-2", ports=Ports(100, 199))], 50, None).ambiguous
    assert holder_at([claim(ports=Ports(0, 99))], 50, 100).claim is None


def test_a_table_filled_from_its_facts_is_the_same(field):
    field.tell(START, 0, prefixes=(ADDRESS, HOME))
    opened = next(fact for fact in field.changes.facts if isinstance(fact, Opened))
    again = Table()
    again.restore(opened, [fact for fact in field.changes.facts if isinstance(fact, Held)])
    assert list(again.each()) == list(field.table.each())
    assert again.holder(code_of(HOME)) == "c-1"
    changes = Changes()
    again.apply(Accounting(STOP, "bras", T + 9, "s1", "hana"), "c-1", changes)
    assert {fact.code for fact in changes.facts if isinstance(fact, Released)} == {code_of(ADDRESS), code_of(HOME)}


def test_a_stop_that_comes_late_without_octets_counts_none_however_often_it_is_told(field):
    """Another session took the address; the NAS then tells of the first one's end with counters that began anew."""
    field.tell(START, down=988, up=988, seconds=16, at=16)
    field.tell(START, at=20, session="s2", user="ken", customer="c-2", seconds=0)
    assert field.ends() == [SessionEnd.REPLACED]
    for _ in range(2):
        assert not field.tell(STOP, at=8, down=0, up=0).usage
