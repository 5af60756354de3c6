"""Who held an address at a time, of the sessions that may have: certain, or not, and then why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sekisho.model.customers import Prefix
from sekisho.model.sessions import Ports, Session, SessionEnd

_AGED = "the ports were allocated to a session and never given back: they ended by their age, and how long it had them is not known"


@dataclass(frozen=True, slots=True)
class Claim:
    """A session had a prefix from `since` to `until` (None: it still has). `ports` None: all of them."""

    session: Session
    prefix: Prefix
    ports: Ports | None
    since: float
    until: float | None
    number: int
    told: float | None = None
    """When the ports were allocated to it last; None: not by an event."""
    aged: bool = False
    """The NAS never took them back: they ended by their age."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`claim` where it is certain whose session it was; else `why` it is not. `ambiguous`: it was somebody's.

    `shared`: customers had parts of the address by ports, so who holds a prefix around it did not have it.
    """

    claim: Claim | None
    why: str = ""
    ambiguous: bool = False
    shared: bool = False


def is_certain(claim: Claim, at: float) -> bool:
    """Whether it is known that the session went on at that time.

    One that was lost, or whose address turned up elsewhere, is known of until it was last heard of; and that it had ports which ended by
    their age, until they were last told of.
    """
    if claim.aged and claim.told is not None and at > claim.told:
        return False
    if claim.session.end in {SessionEnd.TIMEOUT, SessionEnd.REPLACED}:
        return at <= claim.session.seen
    return True


def holder_at(claims: Sequence[Claim], at: float, port: int | None) -> Verdict:
    """Of all that claim an address, the one who held it. `claims` are of one address, at `at` (UNIX seconds)."""
    over = [claim for claim in claims if claim.aged and claim.until is not None and claim.until <= at]
    found = _holder([claim for claim in claims if claim not in over], at, port)
    if (
        found.claim is None
        and not found.ambiguous
        and any(port is None or claim.ports is None or claim.ports.holds(port) for claim in over)
    ):
        return Verdict(None, _AGED, ambiguous=True)
    return found


def _holder(claims: Sequence[Claim], at: float, port: int | None) -> Verdict:
    if not claims:
        return Verdict(None, "no session held the address then")
    longest = max(claim.prefix.length for claim in claims)
    near = [claim for claim in claims if claim.prefix.length == longest]
    if port is None and any(claim.ports is not None for claim in near):
        return Verdict(None, "several customers share the address by ports, and no port is given", ambiguous=True)
    fitting = [claim for claim in near if claim.ports is None or (port is not None and claim.ports.holds(port))]
    if not fitting:
        return Verdict(None, "no session held that port of the address then", shared=True)
    certain = [claim for claim in fitting if is_certain(claim, at)]
    people = {(claim.session.customer, claim.session.user) for claim in certain}
    if len(people) > 1:
        return Verdict(None, "sessions of several users claim the address then", ambiguous=True)
    if not certain and any(claim.aged for claim in fitting):
        return Verdict(None, _AGED, ambiguous=True)
    if not certain:
        return Verdict(None, "the session that had the address was not heard of any more then", ambiguous=True)
    return Verdict(max(certain, key=lambda claim: claim.since))
