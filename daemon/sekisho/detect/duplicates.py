"""One ID in more sessions at the same time than it may have (`nbnet/19-22`, `vectant/18-2-16`, `gunma/8`).

Owns the decision. Sessions are side by side only where each was heard of after the others began, and for longer than the
grace: an old session whose end was lost with a reconnect is heard of no more, and neither are those of a NAS that stopped
answering. Nobody is found for what nobody said. Pure: handed sessions and time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sekisho.model.measures import Evidence
from sekisho.model.sessions import Session


@dataclass(frozen=True, slots=True)
class Doubled:
    """A customer whose ID is in too many sessions. Evidence names no address."""

    customer: str
    evidence: Evidence


def doubled(sessions: Iterable[Session], allowed: Callable[[str], int], grace: float, silent: float, now: float) -> Mapping[str, Doubled]:
    """Customers with too many sessions side by side at `now`, by id.

    `sessions`: those that go on, of any number of IDs; `allowed`: how many a customer's ID may have; grace and silent: seconds.
    """
    by_user: dict[tuple[str, str], list[Session]] = defaultdict(list)
    for one in sessions:
        if one.customer is not None and one.until is None and now - one.seen <= silent:
            by_user[one.customer, one.user].append(one)
    found: dict[str, Doubled] = {}
    for (customer, _), ours in by_user.items():
        if len(ours) < 2:
            continue
        most, since = _side_by_side(ours, grace)
        may = allowed(customer)
        before = found.get(customer)
        if most > may and (before is None or int(before.evidence["sessions"]) < most):
            lasted = max(one.seen for one in ours) - since
            evidence = {"sessions": most, "allowed": may, "side_by_side_seconds": round(lasted), "grace_seconds": round(grace)}
            found[customer] = Doubled(customer, evidence | {"nas": len({one.nas for one in ours})})
    return found


def _side_by_side(sessions: list[Session], grace: float) -> tuple[int, float]:
    """The largest number of sessions that were side by side for longer than the grace, and since when."""
    best, since = 1, 0.0
    for last in sessions:
        together = sum(1 for one in sessions if one.since <= last.since and one.seen >= last.since + grace and one.seen > last.since)
        if together > best:
            best, since = together, last.since
    return best, since
