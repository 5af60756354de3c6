"""Sessions that are over, as far as news that come late need them."""

from __future__ import annotations

from dataclasses import dataclass

from sekisho.model.sessions import Accounting, AccountingKind, SessionEnd
from sekisho.sessions.changes import WHOLE, Changes, Heard, Held, Opened, Over, Released
from sekisho.sessions.columns import code_of
from sekisho.sessions.counters import SLACK, Reading, carries, growth, is_late, reading

YOUNG = 600
"""A session first heard of at this age (seconds) or younger lost its Start on the way: its octets are counted. Those of an
older one were used before we listened.
"""


@dataclass(slots=True)
class Past:
    """One session that is over."""

    number: int
    user: str
    customer: str | None
    since: float
    seen: float
    until: float
    end: SessionEnd
    down: int
    up: int
    seconds: int
    wide: bool
    is_begun: bool = True
    """Something was heard of it before its Stop."""

    def has_told(self, told: Accounting) -> bool:
        """Whether a Start or Interim-Update is of this session, and comes late."""
        if told.kind is AccountingKind.START and self.is_begun and self.end in {SessionEnd.STOP, SessionEnd.NAS_RESTART}:
            # The next session may have its name at once, and the clock of a NAS may tell whole seconds.
            return told.at < self.until or told.at <= self.since
        return told.at <= self.until + (SLACK if self.end is SessionEnd.STOP else 0.0)

    def has_stopped(self, told: Accounting, since: float) -> bool:
        """Whether a Stop is this session's, told again, and not that of the next one with its name, which began at `since`."""
        is_same = self.end is SessionEnd.STOP and told.at <= self.until + SLACK and told.seconds == self.seconds
        return is_same and told.seconds is not None and told.seconds > told.at - since + SLACK

    def goes_on(self, told: Accounting) -> bool:
        """Whether later news are of this session, which is not over then.

        After its NAS restarted it is another by the same name, unless the session's time says that it began before.
        """
        is_users = told.user == self.user or not (told.user and self.user)
        if told.kind is not AccountingKind.INTERIM or not is_users or self.end is SessionEnd.STOP:
            return False
        return self.end is not SessionEnd.NAS_RESTART or (told.seconds is not None and told.at - told.seconds < self.until - SLACK)

    def settle(self, told: Accounting, changes: Changes) -> None:
        """Its last octets, told by a Stop that came late."""
        known = Reading(self.down, self.up, self.seconds, self.wide, self.seen)
        shown = reading(known, told)
        found = None if is_late(known, shown) else growth(known, shown)
        if found is None:
            return
        self.down, self.up, self.wide = shown.down, shown.up, shown.wide
        self.seconds = self.seconds if shown.seconds < 0 else shown.seconds
        changes.facts.append(Heard(self.number, self.seen, self.down, self.up, self.seconds, self.wide))
        if self.customer is not None and (found.down or found.up):
            changes.usage.append((self.customer, *found))


def never_seen(number: int, told: Accounting, customer: str | None, changes: Changes) -> Past:
    """A Stop of a session nothing was heard of: it goes to the record, from its beginning to its end."""
    seconds = -1 if told.seconds is None else told.seconds
    since = told.at - max(0, seconds)
    down, up = told.down or 0, told.up or 0
    opened = Opened(number, told.nas, told.session, told.user, customer, since, told.at, down, up, seconds, told.wide)
    changes.facts.append(opened)
    changes.facts += [Held(number, code_of(prefix), WHOLE, since) for prefix in told.prefixes]
    changes.facts += [Held(number, code_of(one.prefix), one.ports, since) for one in told.shares]
    changes.facts += [Released(number, code_of(prefix), told.at) for prefix in told.prefixes]
    changes.facts += [Released(number, code_of(one.prefix), told.at, one.ports.first) for one in told.shares]
    changes.facts.append(Over(number, told.at, SessionEnd.STOP))
    if customer is not None and (down or up) and 0 <= seconds <= YOUNG and carries(max(down, up), seconds):
        changes.usage.append((customer, down, up, float(seconds)))
    return Past(number, told.user, customer, since, told.at, told.at, SessionEnd.STOP, down, up, seconds, told.wide, is_begun=False)
