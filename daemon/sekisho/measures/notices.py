"""Which notice goes to whom by which channel, how often it is tried, and when it counts as delivered.

Pure: what has been sent and tried is the fold's (`ledger.notices`), handing over is the drivers'.

Each send is recorded before it is made and again with its outcome. Where the outcome is unknown - the
process died, or the connection broke off after the whole of it was handed over - the notice is sent once
more, marked `unconfirmed`; if that outcome is unknown too it is given up, so that nobody gets it a third time.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sekisho.model.clauses import Deemed, DeliveryRule, MeasureRule, Pack, Rule
from sekisho.model.customers import Customer
from sekisho.model.measures import Detector, Finding, NoticeOrder, Occasion
from sekisho.model.notices import Channel, Notice, NoticeState

STEPS = (60.0, 300.0, 900.0, 3600.0, 4 * 3600.0)
"""Seconds between attempts; the last goes on. RFC 5321 section 4.5.4.1 asks for half an hour or more after the first ones."""
GIVE_UP = 3 * 86400.0
"""Seconds after which a notice that cannot be sent is given up."""
SPREAD = 0.1
"""Share by which a wait is longer at most, so that what failed together does not come back together."""
ANNOUNCED = frozenset({Occasion.ANNOUNCEMENT, Occasion.EMERGENCY, Occasion.C2_BLOCK})
"""What may concern everybody."""


class Outcome(enum.StrEnum):
    """What came of one attempt."""

    SENT = "sent"
    DEFERRED = "deferred"
    """Not taken for now."""
    BOUNCED = "bounced"
    """The receiver's address does not work."""
    REFUSED = "refused"
    """It will not be taken, for another reason than its address."""
    UNKNOWN = "unknown"
    """It may have been taken."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one attempt; `detail` has no address and no content of the notice in it."""

    outcome: Outcome
    detail: str = ""
    code: int = 0
    """The reply code of SMTP or HTTP, 0 for none."""
    status: str = ""
    """The enhanced status code (RFC 3463), such as 5.1.1."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `count` mails to one customer within `window` seconds."""

    count: int
    window: float


@dataclass(frozen=True, slots=True)
class Send:
    """Hand it over now, as the attempt of this number."""

    attempt: int
    unconfirmed: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """Not before `until`."""

    until: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    detail: str


Step = Send | Wait | GiveUp


def channels(order: NoticeOrder, email: str | None, configured: Collection[Channel]) -> list[tuple[Channel, str]]:
    """Where a notice goes: channel and address.

    To a customer by mail, on the customer's page and to the operator's own system, as far as each is there;
    what concerns everybody is posted, and nobody's mailbox is filled with it.
    """
    if order.observe:
        return [(Channel.OBSERVE, "")]
    ways: list[tuple[Channel, str]] = []
    if order.customer and email and Channel.EMAIL in configured:
        ways.append((Channel.EMAIL, email))
    ways.extend((channel, "") for channel in (Channel.WEB, Channel.WEBHOOK) if channel in configured)
    return ways or [(Channel.NONE, "")]


def next_step(notice: Notice, now: float) -> Step:
    """What is to be done about an open notice whose last attempt, if any, is over."""
    if notice.state is NoticeState.TRIED and notice.uncertain:
        return GiveUp("two attempts broke off before their outcome was known; it may have been delivered")
    if now - notice.queued_at > GIVE_UP and notice.attempts:
        return GiveUp(f"{notice.attempts} attempts failed; the last: {notice.detail or 'outcome unknown'}")
    if notice.state is NoticeState.DEFERRED and now < notice.next_at <= now + STEPS[-1] * (1 + SPREAD):
        return Wait(notice.next_at)
    return Send(notice.attempts + 1, notice.uncertain or notice.state is NoticeState.TRIED)


def retry_at(notice: Notice, attempt: int, now: float) -> float:
    """When the next attempt is, after attempt number `attempt` failed at `now`."""
    step = STEPS[min(attempt, len(STEPS)) - 1]
    share = (sum(notice.id.encode()) * 37 + attempt * 11) % 101 / 100
    return now + step * (1 + SPREAD * share)


def after_unknown(notice: Notice) -> bool:
    """Whether one more attempt may follow an attempt with an unknown outcome."""
    return not notice.uncertain


@dataclass(frozen=True, slots=True)
class Admission:
    """What of a customer's waiting mail goes now: each `single` by itself, or `digest` as one; `until`: what is held waits."""

    single: tuple[Notice, ...] = ()
    digest: tuple[Notice, ...] = ()
    until: float | None = None


def admit(waiting: Sequence[Notice], mailed: Iterable[float], limit: Limit, now: float) -> Admission:
    """What of the mail that waits for one address goes out at `now`, where `mailed` are the times of the last mails.

    As long as a place is left over each goes by itself; otherwise all go as one digest; without a place all wait
    for the oldest mail to be `window` seconds past.
    """
    # A time ahead of the clock is one from before the clock was set back: it holds a place, and no longer than others.
    recent = sorted(min(at, now) for at in mailed if at > now - limit.window)
    room = limit.count - len(recent)
    if not waiting:
        return Admission()
    if room <= 0:
        return Admission(until=recent[-limit.count] + limit.window)
    if len(waiting) < room or len(waiting) == 1:
        return Admission(single=tuple(waiting))
    return Admission(digest=tuple(waiting))


def deemed_at(rules: Iterable[Rule], channel: Channel, began: float, accepted: float) -> float | None:
    """When a notice counts as delivered under the rules of the clause's pack (`gunma/3`, `smartconnect-panel/4`, `vectant/37`).

    `began`: when it was sent off; `accepted`: when the receiver's server took it, or the page could be read.
    Where the document says nothing it counts from its arrival. None: by this channel it never counts.
    """
    if channel not in {Channel.EMAIL, Channel.WEB, Channel.OBSERVE}:
        return None
    rule = next((one for one in rules if isinstance(one, DeliveryRule) and one.channel == channel), None)
    return began if rule is not None and rule.deemed is Deemed.SENT else accepted


def unreachable_finding(packs: Mapping[str, Pack], customer: Customer, at: float, told: Attempt) -> Finding | None:
    """Mail to a customer bounced: the finding, where the customer's terms make that a ground (`smartconnect-panel/17-1-2`)."""
    rules = (rule for pack in customer.terms if pack in packs for rule in packs[pack].rules)
    rule = next((one for one in rules if isinstance(one, MeasureRule) and one.detector is Detector.UNREACHABLE), None)
    if rule is None:
        return None
    evidence: dict[str, float | int | str] = {"channel": "email", "reply": told.code, "status": told.status}
    return Finding(Detector.UNREACHABLE, rule.clause, customer.id, at, evidence=evidence)
