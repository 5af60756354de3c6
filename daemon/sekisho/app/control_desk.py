"""The desk of notices within the daemon: what it is made of, what notices are about, and what operators ask of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sekisho.app import control_attention
from sekisho.app.control_channels import Channels
from sekisho.app.control_core import Core
from sekisho.app.control_notices import Desk
from sekisho.app.control_people import People
from sekisho.drivers.ledger import Ledger
from sekisho.ledger.state import State
from sekisho.measures.notices import Attempt, Outcome, unreachable_finding
from sekisho.model.errors import RefusedError
from sekisho.model.measures import Finding
from sekisho.model.notices import Channel, Notice, NoticeState

if TYPE_CHECKING:
    # Brings the templates' language with it: imported when the first notice is made.
    from sekisho.measures.about import Subject

Json = dict[str, Any]

SHOWN = 10_000
"""Notices of one answer at most."""


class RecordSubjects:
    """What notices are about, by the record: attention calls, measures, emergencies, interruptions."""

    def __init__(self, state: State) -> None:
        self._state = state

    def subject(self, notice: Notice) -> Subject | None:
        from sekisho.measures.about import Subject, of_measure  # noqa: PLC0415 - see above

        call = self._state.notices.calls.get(notice.subject)
        if call is not None:
            return Subject(since=call.at, address=call.address if call.port is None else f"{call.address} ({call.port})")
        measure = self._state.measures.get(notice.subject)
        if measure is not None:
            return of_measure(measure)
        emergency = self._state.measures.emergency
        if emergency is not None and emergency.id == notice.subject:
            return Subject(emergency.since, emergency.until, reason=emergency.reason)
        found = self._state.measures.interruptions.get(notice.subject)
        return None if found is None else Subject(found.since, found.until, what=found.what, reason=found.reason)


class UnreachableFindings:
    """Implements `control_deskparts.Unreachable`: a bounce is a finding where the customer's terms say so; `found` takes it."""

    def __init__(self, people: Callable[[], People], found: Callable[[Finding], Awaitable[object]]) -> None:
        self._people = people
        self._found = found

    async def unreachable(self, customer: str, at: float, attempt: Attempt) -> None:
        people = self._people()
        holder = people.find(customer)
        finding = unreachable_finding(people.site.packs, holder, at, attempt) if holder is not None else None
        if finding is not None:
            await self._found(finding)


def open_desk(
    ledger: Ledger,
    people: Callable[[], People],
    state: Path,
    clock: Callable[[], float],
) -> Desk:
    """The desk of a daemon with its channels. `state` is the state folder."""
    fold = ledger.state.notices
    channels = Channels(
        lambda: people().site.settings.notices,
        lambda: people().site.packs,
        lambda customer: people().find(customer),
        RecordSubjects(ledger.state),
        state,
        clock,
    )
    desk = Desk(ledger, fold, channels, lambda customer: people().find(customer), clock)
    desk.sent = lambda notice: control_attention.sent(ledger, notice, clock())
    return desk


def show(core: Core, customer: str | None, state: str | None, limit: int) -> Json:
    """Notices, the newest first, and customers mail does not reach. Raises RefusedError."""
    if state is not None and state not in set(NoticeState):
        raise RefusedError(f"there is no state {state}; notices are {', '.join(NoticeState)}")
    fold = core.state.notices
    found = [one for one in reversed(fold.notices.values()) if customer in {None, one.customer} and state in {None, one.state}]
    unreachable = [
        {"customer": identity, "address": bounce.address, "since": bounce.at, "detail": bounce.detail}
        for identity, bounce in fold.unreachable.items()
        if customer in {None, identity}
    ]
    return {"notices": [_body(one) for one in found[:limit]], "more": len(found) > limit, "unreachable": unreachable[:SHOWN]}


async def bounced_address(core: Core, address: str, actor: str) -> Json:
    """An operator says that an address does not work. Raises RefusedError if it is nobody's."""
    told = await _bounced(core, address, Attempt(Outcome.BOUNCED, "an operator says that mail comes back"), "", actor)
    if not told:
        raise RefusedError("no notice went to this address, and no customer has it; see `sekisho customers show CUSTOMER`")
    return {"bounced": told}


async def bounced_report(core: Core, message: str, actor: str) -> Json:
    """A delivery report came back. Raises RefusedError if it is none; recipients unknown here are told as such."""
    from sekisho.measures.bounces import read_report  # noqa: PLC0415 - rarely needed, and it brings much with it

    told: list[Json] = []
    for one in read_report(message.encode("utf-8", "surrogateescape")):
        attempt = Attempt(Outcome.BOUNCED, f"a delivery report says {one.status or 'failed'}", 0, one.status)
        told += await _bounced(core, one.address, attempt, one.notice, actor) or [{"customer": None, "notice": None, "known": False}]
    return {"bounced": told}


async def _bounced(core: Core, address: str, attempt: Attempt, notice_id: str, actor: str) -> list[Json]:
    """Record the bounce for each customer whose address it is: of the last notice that went there, where there is one."""
    fold = core.state.notices
    named = fold.notices.get(notice_id)
    if named is not None and named.channel is Channel.EMAIL:
        last = {named.customer: named}
        address = named.address
    else:
        last = {one.customer: one for one in fold.to_address(address)}
    told: list[Json] = []
    for customer in dict.fromkeys([*last, *([] if named is not None else core.people.with_email(address))]):
        notice = last.get(customer)
        sent = notice is not None and notice.state in {NoticeState.SENT, NoticeState.FAILED}
        identity = notice.id if notice is not None and sent else ""
        bounce = fold.unreachable.get(customer)
        fresh = (
            bounce is None or bounce.address.casefold() != address.casefold() or (notice is not None and notice.state is NoticeState.SENT)
        )
        if fresh:
            await core.desk.bounced(customer, address, attempt, identity, actor)
        told.append({"customer": customer, "notice": identity or None, "known": not fresh})
    return told


def _body(notice: Notice) -> Json:
    return {
        "notice": notice.id,
        "customer": notice.customer or None,
        "about": notice.subject or None,
        "clause": notice.clause,
        "occasion": str(notice.occasion),
        "channel": str(notice.channel),
        "address": notice.address or None,
        "state": str(notice.state),
        "queued": notice.queued_at,
        "since": notice.since,
        "attempts": notice.attempts,
        "unconfirmed": notice.uncertain,
        "next": notice.next_at if notice.state is NoticeState.DEFERRED else None,
        "deemed": notice.deemed_at,
        "told_by": notice.told_by or None,
        "detail": notice.detail,
    }
