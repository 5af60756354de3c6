"""A table of sessions and a NAS that tells it, as tests of sessions use them."""

from __future__ import annotations

from sekisho.model.customers import Prefix
from sekisho.model.sessions import Accounting, AccountingKind, SessionEnd
from sekisho.sessions.changes import Changes, Over
from sekisho.sessions.columns import code_of
from sekisho.sessions.table import Table

START, INTERIM, STOP, ON = AccountingKind.START, AccountingKind.INTERIM, AccountingKind.STOP, AccountingKind.NAS_ON
ADDRESS, OTHER, HOME = Prefix.parse("192.0.2.7"), Prefix.parse("192.0.2.8"), Prefix.parse("2001:db8:7::/56")
T = 1_700_000_000.0


class Field:
    """A table, and what it gave."""

    def __init__(self):
        self.table = Table()
        self.changes = Changes()

    def tell(self, kind, at=0.0, session="s1", user="hana", prefixes=(ADDRESS,), customer="c-1", nas="bras", **more):
        if kind is not START:
            more.setdefault("seconds", int(at))
        self.changes = Changes()
        self.table.apply(Accounting(kind, nas, T + at, session, user, tuple(prefixes), **more), customer, self.changes)
        return self.changes

    def restart(self, at, nas="bras"):
        self.changes = Changes()
        ended = self.table.restarted(Accounting(ON, nas, T + at))
        return self.table.end(ended, T + at, SessionEnd.NAS_RESTART, self.changes)

    def holder(self, prefix=ADDRESS):
        return self.table.holder(code_of(prefix))

    def ends(self):
        return [fact.end for fact in self.changes.facts if isinstance(fact, Over)]
