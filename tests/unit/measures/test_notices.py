"""Which notice goes where, when it is tried again, and when it counts as delivered."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.measures.notices import (
    GIVE_UP,
    STEPS,
    Admission,
    GiveUp,
    Limit,
    Send,
    Wait,
    admit,
    channels,
    deemed_at,
    next_step,
    retry_at,
)
from sekisho.model.clauses import Deemed, DeliveryRule
from sekisho.model.measures import NoticeOrder, Occasion
from sekisho.model.notices import Channel, Notice, NoticeState

T0 = 1_700_000_000.0
ALL = frozenset({Channel.EMAIL, Channel.WEB, Channel.WEBHOOK})


def order(customer="c-1", occasion=Occasion.BEFORE, observe=False):
    return NoticeOrder("m-1", customer, "gunma/17", occasion, T0, observe)


def notice(identity="n-1", **changes):
    one = Notice(identity, "c-1", "m-1", "gunma/17", Occasion.BEFORE, Channel.EMAIL, "c@example.com", T0, next_at=T0)
    return dataclasses.replace(one, **changes)


def test_a_personal_notice_goes_by_every_channel_there_is():
    assert channels(order(), "c@example.com", ALL) == [(Channel.EMAIL, "c@example.com"), (Channel.WEB, ""), (Channel.WEBHOOK, "")]


def test_an_announcement_is_posted_and_fills_nobodys_mailbox():
    assert channels(order("", Occasion.ANNOUNCEMENT), None, ALL) == [(Channel.WEB, ""), (Channel.WEBHOOK, "")]


def test_a_customer_no_channel_leads_to_is_on_record_as_such():
    assert channels(order(), None, frozenset({Channel.EMAIL})) == [(Channel.NONE, "")]


def test_an_observed_measure_tells_the_customer_nothing():
    assert channels(order(observe=True), "c@example.com", ALL) == [(Channel.OBSERVE, "")]


def test_a_crash_between_a_try_and_its_outcome_leads_to_one_more_and_no_further():
    first = next_step(notice(state=NoticeState.TRIED, attempts=1), T0 + 1)
    assert first == Send(2, unconfirmed=True)
    second = next_step(notice(state=NoticeState.TRIED, attempts=2, uncertain=True), T0 + 2)
    assert isinstance(second, GiveUp)


def test_a_refused_retry_of_an_unconfirmed_send_is_tried_again_and_says_so():
    waiting = notice(state=NoticeState.DEFERRED, attempts=2, uncertain=True, next_at=T0 + 60)
    assert next_step(waiting, T0 + 30) == Wait(T0 + 60)
    assert next_step(waiting, T0 + 60) == Send(3, unconfirmed=True)


def test_waits_grow_and_end():
    waits = [retry_at(notice(), attempt, T0) - T0 for attempt in range(1, 9)]
    assert all(step <= wait <= step * 1.1 for step, wait in zip([*STEPS, *[STEPS[-1]] * 3], waits, strict=True))
    failing = notice(state=NoticeState.DEFERRED, attempts=20, next_at=T0 + GIVE_UP + 1, detail="not reached")
    assert next_step(failing, T0 + GIVE_UP + 1) == GiveUp("20 attempts failed; the last: not reached")
    untried = notice()
    assert next_step(untried, T0 + GIVE_UP + 1) == Send(1, unconfirmed=False), "held for long, but never tried"


def test_a_clock_set_back_holds_no_notice_for_long():
    waiting = notice(state=NoticeState.DEFERRED, attempts=1, next_at=T0 + 60)
    assert next_step(waiting, T0 - 365 * 86400) == Send(2, unconfirmed=False)


LIMIT = Limit(4, 86400.0)


def test_few_notices_go_one_by_one_and_many_as_one():
    few = [notice(f"n-{number}") for number in range(3)]
    assert admit(few, [], LIMIT, T0) == Admission(single=tuple(few))
    many = [notice(f"n-{number}") for number in range(50)]
    assert admit(many, [], LIMIT, T0) == Admission(digest=tuple(many))


def test_over_the_limit_notices_wait_for_a_place():
    mailed = [T0 - 86000, T0 - 500, T0 - 400, T0 - 300]
    assert admit([notice()], mailed, LIMIT, T0) == Admission(until=T0 - 86000 + 86400)
    assert admit([notice()], mailed, LIMIT, T0 + 401) == Admission(single=(notice(),))


@given(st.lists(st.tuples(st.floats(0, 7200), st.integers(1, 40)), max_size=60), st.integers(1, 6))
def test_a_flood_of_findings_never_becomes_a_flood_of_mail(bursts, count):
    """Whatever comes and whenever: no window has more mails than the limit, and nothing is lost."""
    limit = Limit(count, 3600.0)
    now, mailed, waiting, told, number = T0, [], [], 0, 0
    for gap, burst in [*bursts, (3600.0, 0), (3600.0, 0)]:
        now += gap
        waiting += [notice(f"n-{number + index}") for index in range(burst)]
        number += burst
        admission = admit(waiting, mailed, limit, now)
        if admission.until is not None:
            assert now < admission.until <= now + 3600
            continue
        went = [*admission.single, *admission.digest]
        mailed += [now] * (len(admission.single) + bool(admission.digest))
        told += len(went)
        waiting = [one for one in waiting if one not in went]
    assert told == number
    assert waiting == []
    for start in mailed:
        assert sum(start <= at < start + 3600 for at in mailed) <= count


@pytest.mark.parametrize(
    ("rules", "channel", "expected"),
    [
        ([DeliveryRule("gunma/3-2", "email", Deemed.ACCEPTED)], Channel.EMAIL, T0 + 5),
        ([DeliveryRule("gunma/3-3", "web", Deemed.READABLE)], Channel.WEB, T0 + 5),
        ([DeliveryRule("smartconnect-panel/4-2", "email", Deemed.SENT)], Channel.EMAIL, T0),
        ([DeliveryRule("vectant/37-3", "email", Deemed.SENT)], Channel.WEB, T0 + 5),
        ([], Channel.EMAIL, T0 + 5),
        ([DeliveryRule("gunma/3-2", "email", Deemed.ACCEPTED)], Channel.WEBHOOK, None),
    ],
)
def test_a_notice_counts_as_delivered_as_the_pack_says(rules, channel, expected):
    assert deemed_at(rules, channel, T0, T0 + 5) == expected
