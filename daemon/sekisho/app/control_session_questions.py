"""What operators ask about sessions: who is on line, and who held an address at a time.

The second question is about a person: it is on the record with who asked and why before its answer is given.
Attention calls ask it too; what accounting does not know of is looked for among the fixed addresses.
"""

from __future__ import annotations

import ipaddress
import itertools
from typing import Any

from sekisho.api.requests import BadRequestError
from sekisho.app.control_attention import FixedAddresses, Holder, Holding
from sekisho.app.control_core import Core
from sekisho.app.control_sessions import Sessions
from sekisho.app.control_taken import MOST
from sekisho.drivers.localtime import spoken
from sekisho.drivers.radiusrefused import sentence
from sekisho.model.customers import Prefix
from sekisho.model.errors import RefusedError
from sekisho.model.noticeacts import LookedUp
from sekisho.model.sessions import Session
from sekisho.sessions.holding import Claim, holder_at

Json = dict[str, Any]

AHEAD = 5.0
"""Seconds by which the clock of who asks may be before ours."""


class HeldAddresses:
    """Whose an address was, by the record of sessions; by the customers' fixed prefixes where no session held it."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._fixed = FixedAddresses(core)

    def whose(self, address: str, at: float, port: int | None) -> Holder:
        core = self._core
        found = holder_at(core.sessions.history.claims(Prefix.parse(address), at), at, port)
        if found.shared:
            return Holder(Holding.UNKNOWN, None, found.why)
        if found.claim is None:
            return Holder(Holding.AMBIGUOUS, None, found.why) if found.ambiguous else self._fixed.whose(address, at, port)
        identity = found.claim.session.customer
        if identity is None:
            return Holder(Holding.UNKNOWN, None, "a user who is no customer held the address")
        customer = core.people.find(identity)
        if customer is None:
            return Holder(Holding.UNKNOWN, None, f"{identity}, who held the address, is no customer any more")
        return Holder(Holding.FOUND, customer)


async def at(core: Core, address: str, when: float | None, port: int | None, reason: str, actor: str) -> Json:
    """Who held an address at a time (UNIX seconds; None: now). Raises RefusedError, BadRequestError, LedgerError."""
    now = core.clock()
    if when is not None and when > now + AHEAD:
        raise BadRequestError(f"{spoken(when)} is still to come, and nobody knows who will hold {address} then; give a time that is past")
    moment = now if when is None else when
    prefix = _address(address)
    claims = core.sessions.history.claims(prefix, moment)
    found = holder_at(claims, moment, port)
    by, customer, holding, why = "session", None, Holding.UNKNOWN, found.why
    if found.claim is not None:
        customer = found.claim.session.customer
        holding = Holding.FOUND if customer is not None else Holding.UNKNOWN
        why = "" if customer is not None else "the user is no customer: add the user name to a customer's `logins`"
    elif found.ambiguous:
        holding = Holding.AMBIGUOUS
    elif not found.shared:
        fixed = FixedAddresses(core).whose(address, moment, port)
        if fixed.holding is not Holding.UNKNOWN:
            by, holding, why = "fixed", fixed.holding, fixed.why
            customer = fixed.customer.id if fixed.customer is not None else None
    outcome = str(holding)
    await core.ledger.append(LookedUp(address, port, moment, reason or "sessions at", "", customer or "", outcome), actor, now)
    return {
        "address": address,
        "port": port,
        "at": moment,
        "outcome": outcome,
        "customer": customer,
        "by": by if holding is Holding.FOUND else None,
        "why": why,
        "session": _claim_body(found.claim) if found.claim is not None else None,
        "claims": [_claim_body(claim) for claim in claims],
    }


def show(core: Core, customer: str | None, user: str | None, nas: str | None, limit: int, *, unknown: bool, ended: bool) -> Json:
    """Live sessions, and how the access servers do. Raises RefusedError, LedgerError."""
    sessions, now = core.sessions, core.clock()
    if ended:
        if customer is None:
            raise RefusedError("sessions that are over are shown of one customer; name the customer, or ask `sekisho sessions at ADDRESS`")
        found = sessions.history.sessions_of(customer, limit + 1)
    elif customer is not None:
        found = sorted(sessions.live(customer), key=lambda one: one.since, reverse=True)
        found = [one for one in found if user in {None, one.user} and nas in {None, one.nas}]
    else:
        found = list(itertools.islice(sessions.table.each(unknown=unknown, user=user, nas=nas), limit + 1))
    return standing(sessions) | {
        **_heard(sessions, now),
        "sessions": [_body(one) | {"silent": one.until is None and sessions.is_silent(one, now)} for one in found[:limit]],
        "more": len(found) > limit,
        "known": core.people.is_known(customer),
    }


def standing(sessions: Sessions) -> Json:
    """Counts, and what is wrong."""
    packets: dict[str, dict[str, int]] = {}
    for (kind, outcome), count in sorted(sessions.radius.counts.items()):
        packets.setdefault(outcome, {})[kind] = count
    return {
        "live": len(sessions.table),
        "unknown": sessions.table.unknown,
        "replaced": sessions.table.replaced,
        "waiting": sessions.history.waiting,
        "unfolded": sessions.history.unfolded,
        "listening": [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in sessions.radius.addresses],
        "nas": sessions.table.on_nas(),
        "packets": packets,
        "faults": faults(sessions),
    }


def _heard(sessions: Sessions, now: float) -> Json:
    """When each NAS last told of sessions, since the daemon's start, and whose packets were refused of late."""
    radius = sessions.radius
    return {
        "heard": [{"nas": name, "at": radius.heard.get(name)} for name in sessions.listened_to()],
        "refused": [
            {
                "nas": one.nas or None,
                "source": one.source,
                "reason": one.why.value,
                "why": sentence(one.why),
                "packets": one.packets,
                "last": one.last,
            }
            for one in radius.refusals.lately(now)
        ],
    }


def refused(sessions: Sessions, now: float) -> list[str]:
    """A sentence for each NAS none of whose packets is taken. It names no address: `sessions show` does."""
    return [
        f"RADIUS of NAS {one.nas} is refused: {sentence(one.why)}; `sekisho sessions show` says since when and from where"
        for one in sessions.radius.refusals.standing(sessions.radius.heard, now)
    ]


def faults(sessions: Sessions) -> list[str]:
    found = [*([sessions.fault] if sessions.fault else []), *([sessions.radius.failure] if sessions.radius.failure else [])]
    found += sessions.radius.faults
    if sessions.history.failing is not None:
        found.append(
            f"sessions cannot be written to {sessions.history.path} ({sessions.history.failing}): RADIUS is not answered; see that its "
            "disk has room and works"
        )
    taken = sessions.taken()
    if taken:
        one, most = taken[0], len(taken) >= MOST
        many = "1 address" if len(taken) == 1 else f"{len(taken):,}{' or more' if most else ''} addresses"
        whose = one.customer if one.customer is not None else "a user who is no customer"
        found.append(
            f"sessions have {many} of other customers' fixed prefixes, such as {one.prefix} of {one.owner}, which is on the line of "
            f"{whose}: what is asked from there is theirs and not {one.owner}'s; take it out of the prefixes of {one.owner}, or out of the "
            "NAS's pool"
        )
    clash = sessions.clash()
    if clash is not None:
        address, customer = clash
        found.append(
            f"several customers share {address} by ports, and it is in a fixed prefix of {customer}: who asks from there is nobody's, so "
            f"that no list and no measure of {customer} reaches them; take it out of the prefixes of {customer}"
        )
    return found


def _address(text: str) -> Prefix:
    try:
        return Prefix.parse(str(ipaddress.ip_address(text)))
    except ValueError:
        raise RefusedError(f"{text!r} is no address; write 192.0.2.7 or 2001:db8::7") from None


def _body(one: Session) -> Json:
    return {
        "nas": one.nas,
        "id": one.id,
        "user": one.user,
        "customer": one.customer,
        "since": one.since,
        "seen": one.seen,
        "until": one.until,
        "end": one.end.value if one.end is not None else None,
        "prefixes": [str(prefix) for prefix in one.prefixes],
        "shares": [
            {"address": str(share.prefix).partition("/")[0], "ports": [list(ports) for ports in share.ports.ranges()]}
            for share in one.shares
        ],
        "down": one.down,
        "up": one.up,
    }


def _claim_body(claim: Claim) -> Json:
    body = _body(claim.session)
    del body["prefixes"], body["shares"]
    ports = [list(one) for one in claim.ports.ranges()] if claim.ports is not None else None
    # `held_end` is of the ports: of the session its `end` tells.
    ended = "age" if claim.aged else None
    return body | {"prefix": str(claim.prefix), "ports": ports, "held_since": claim.since, "held_until": claim.until, "held_end": ended}
