"""The fold of notices and attention calls: what is known after each act, and after a checkpoint."""

from __future__ import annotations

import json

from sekisho.ledger.notices import KEEP, KEEP_KEYS, Notices
from sekisho.model.events import CustomerAdded, RecordedAct
from sekisho.model.noticeacts import AttentionMoved, AttentionOpened, NoticeDeferred, NoticeFailed, NoticeQueued, NoticeSent, NoticeTried
from sekisho.model.notices import CallState, NoticeState

T0 = 1_700_000_000.0


def queued(notice="n-1", customer="c-1", channel="email", digest_of=(), order="m-1/before/1"):
    occasion = "digest" if digest_of else "before"
    return NoticeQueued(notice, customer, "m-1", "gunma/17", occasion, channel, "c@example.com", list(digest_of), order)


def fold(*acts, into=None):
    """The fold of (seconds after T0, act)."""
    notices = into or Notices()
    for number, (after, act) in enumerate(acts, 1):
        notices.apply(RecordedAct(number, T0 + after, "sekishod", act))
    return notices


def test_a_notice_is_open_until_its_outcome_is_known():
    notices = fold((0, queued()), (1, NoticeTried("n-1", "c-1", 1)))
    assert [one.state for one in notices.open()] == [NoticeState.TRIED]
    fold((2, NoticeDeferred("n-1", "c-1", T0 + 60, "later")), into=notices)
    assert [(one.state, one.next_at, one.attempts) for one in notices.open()] == [(NoticeState.DEFERRED, T0 + 60, 1)]
    fold((61, NoticeTried("n-1", "c-1", 2)), (62, NoticeSent("n-1", "c-1", T0 + 62)), into=notices)
    assert list(notices.open()) == []
    assert (notices.notices["n-1"].state, notices.notices["n-1"].deemed_at) == (NoticeState.SENT, T0 + 62)
    assert notices.counted == {"email/queued": 1, "email/sent": 1}


def test_what_a_digest_tells_is_settled_with_it():
    notices = fold((0, queued("n-1")), (1, queued("n-2", order="m-2/before/1")), (2, queued("n-3", digest_of=["n-1", "n-2"], order="")))
    assert [one.id for one in notices.open()] == ["n-3"]
    assert notices.notices["n-1"].told_by == "n-3"
    fold((3, NoticeTried("n-3", "c-1", 1)), (4, NoticeSent("n-3", "c-1", T0 + 4)), into=notices)
    assert {one.state for one in notices.notices.values()} == {NoticeState.SENT}
    assert notices.notices["n-2"].deemed_at == T0 + 4
    assert notices.mailed == {"c-1": [T0 + 3]}, "one mail went out"


def test_a_bounce_makes_the_customer_unreachable_until_mail_goes_through():
    notices = fold((0, queued()), (1, NoticeTried("n-1", "c-1", 1)), (2, NoticeFailed("n-1", "c-1", "bounced", "550", "c@example.com")))
    assert notices.unreachable["c-1"].address == "c@example.com"
    fold((3, queued("n-2", channel="web", order="x")), (4, NoticeSent("n-2", "c-1", T0)), into=notices)
    assert "c-1" in notices.unreachable, "a page was posted, no mail went through"
    fold((5, queued("n-3", order="y")), (6, NoticeSent("n-3", "c-1", T0)), into=notices)
    assert notices.unreachable == {}


def test_a_bounce_after_the_mail_was_taken_is_a_failed_notice():
    notices = fold(
        (0, queued()),
        (1, NoticeTried("n-1", "c-1", 1)),
        (2, NoticeSent("n-1", "c-1", T0)),
        (9, NoticeFailed("n-1", "c-1", "bounced", "5.1.1")),
    )
    assert notices.notices["n-1"].state is NoticeState.FAILED
    assert notices.unreachable["c-1"].address == "c@example.com"


def test_an_attention_call_goes_from_open_to_closed_and_the_line_may_have_another_then():
    opened = AttentionOpened("a-1", "c-1", "gunma/38", "192.0.2.1", T0 - 60, "report", 4711)
    notices = fold((0, opened))
    assert notices.open_call("c-1", "192.0.2.1").id == "a-1"
    assert notices.open_call("c-1", "192.0.2.9") is None
    fold((1, AttentionMoved("a-1", "c-1", "sent")), (2, AttentionMoved("a-1", "c-1", "closed", "router replaced")), into=notices)
    assert (notices.calls["a-1"].state, notices.calls["a-1"].reason) == (CallState.CLOSED, "router replaced")
    assert notices.open_call("c-1", "192.0.2.1") is None


def everything():
    return fold(
        (0, queued("n-1")),
        (1, queued("n-2", order="m-2/before/1")),
        (2, queued("n-3", digest_of=["n-1", "n-2"], order="")),
        (3, NoticeTried("n-3", "c-1", 1)),
        (4, NoticeDeferred("n-3", "c-1", T0 + 99, "broke off", uncertain=True)),
        (5, queued("n-4", "c-2", order="m-3/lifted/1")),
        (6, NoticeTried("n-4", "c-2", 1, unconfirmed=True)),
        (7, NoticeFailed("n-4", "c-2", "bounced", "550", "c@example.com")),
        (8, AttentionOpened("a-1", "c-1", "gunma/38", "192.0.2.1", T0, "r")),
        (9, AttentionOpened("a-2", "c-2", "gunma/38", "192.0.2.2", T0, "r")),
        (10, AttentionMoved("a-2", "c-2", "closed")),
        (11, CustomerAdded("c-9", {})),
    )


def test_a_checkpoint_carries_the_whole_fold():
    before = everything()
    after = Notices()
    after.load(json.loads(json.dumps(list(before.dump()))))
    assert vars(after) == vars(before)
    later = [(20, NoticeSent("n-3", "c-1", T0 + 20)), (KEEP_KEYS + 30, queued("n-9", order="z"))]
    assert list(fold(*later, into=after).dump()) == list(fold(*later, into=before).dump()), "and goes on alike"


def test_what_is_settled_is_forgotten_in_time_and_what_is_open_never():
    notices = everything()
    fold((KEEP + 8, queued("n-8", order="k")), into=notices)
    assert set(notices.notices) == {"n-1", "n-2", "n-3", "n-8"}, "n-3 is open, and with it what it tells"
    assert notices.ordered_at("m-3/lifted/1") == T0 + 5, "that it was told is known for longer"
    fold((KEEP_KEYS + 20, queued("n-9", order="l")), into=notices)
    assert notices.ordered_at("m-3/lifted/1") is None
    assert set(notices.calls) == {"a-1"}
