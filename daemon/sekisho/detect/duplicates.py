"""One ID in more sessions at the same time than it may have (`nbnet/19-22`, `vectant/18-2-16`, `gunma/8`).

Owns the decision. Sessions are side by side only where each was heard of after the others began, and for longer than the
grace: an old session whose end was lost with a reconnect is heard of no more, and neither are those of a NAS that stopped
answering. The last to begin need not be heard of again before its first Interim-Update is due. A NAS that sends none says by a
Stop alone that a session is over: until then the session goes on, as long as the NAS is heard of anything. Pure: handed sessions and time.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sekisho.model.measures import Evidence
from sekisho.model.sessions import Session


class Word(NamedTuple):
    """What the word of a NAS is worth."""

    due: float
    """Seconds within which it tells of a session again; math.inf: it sends no Interim-Updates."""
    heard: float
    """When anything was heard of it last (UNIX seconds)."""


@dataclass(frozen=True, slots=True)
class Doubled:
    """A customer whose ID is in too many sessions. Evidence names no address."""

    customer: str
    evidence: Evidence


def doubled(
    sessions: Iterable[Session],
    allowed: Callable[[str], int],
    grace: float,
    silent: float,
    word: Callable[[str], Word],
    now: float,
) -> Mapping[str, Doubled]:
    """Customers with too many sessions side by side at `now`, by id.

    `sessions`: those that go on, of any number of IDs; `allowed`: how many a customer's ID may have; grace and silent: seconds.
    `word`: of a NAS, by its name.
    """
    by_user: dict[tuple[str, str], list[Live]] = defaultdict(list)
    for one in sessions:
        live = Live(one, word(one.nas), now)
        if one.customer is not None and one.until is None and now - live.known <= silent:
            by_user[one.customer, one.user].append(live)
    found: dict[str, Doubled] = {}
    for (customer, _), ours in by_user.items():
        if len(ours) < 2:
            continue
        most, since = _side_by_side(ours, grace)
        may = allowed(customer)
        before = found.get(customer)
        if most > may and (before is None or int(before.evidence["sessions"]) < most):
            lasted = max(one.known for one in ours) - since
            evidence = {"sessions": most, "allowed": may, "side_by_side_seconds": round(lasted), "grace_seconds": round(grace)}
            found[customer] = Doubled(customer, evidence | {"nas": len({one.session.nas for one in ours})})
    return found


@dataclass(frozen=True, slots=True)
class Live:
    """A session that goes on, as far as is known at `now`."""

    session: Session
    word: Word
    """Of its NAS."""
    now: float

    @property
    def known(self) -> float:
        """Until when it is known to have gone on (UNIX seconds)."""
        return max(self.word.heard, self.session.seen) if self.word.due == math.inf else self.session.seen

    def goes_on(self, last: Session, grace: float) -> bool:
        """Whether it went on for the grace after `last` had begun; `last` itself, whether it still does."""
        began = last.since
        if self.session is last and self.now - began < self.word.due:
            return True
        return self.session.since <= began < self.known and self.known >= began + grace


def _side_by_side(sessions: list[Live], grace: float) -> tuple[int, float]:
    """The largest number of sessions that were side by side for longer than the grace, and since when."""
    best, since = 1, 0.0
    for last in sessions:
        together = sum(one.goes_on(last.session, grace) for one in sessions)
        if together > best:
            best, since = together, last.session.since
    return best, since
