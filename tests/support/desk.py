"""Measures in virtual time: the daemon's own `Measures` over a record in memory, a plane and a post that only remember."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

from sekisho.app.control_measures import Measures
from sekisho.app.control_standing import Alike
from sekisho.config.sections import MeasureSettings
from sekisho.ledger.state import State
from sekisho.model.errors import LedgerError
from sekisho.model.events import RecordedAct
from sekisho.model.measures import NONE
from support.spans import PLAIN


class Ledger:
    """A record in memory that can be full."""

    def __init__(self, recorded=()):
        self.recorded = []
        self.state = State()
        self.full = False
        for one in recorded:
            self._take(one)

    def _take(self, one):
        self.recorded.append(one)
        self.state.apply(one)

    async def append(self, act, actor, now):
        if self.full:
            raise LedgerError("the ledger could not be written; make room")
        one = RecordedAct(len(self.recorded) + 1, round(now * 1e6) / 1e6, actor, act)
        self._take(one)
        return one


class Plane:
    """What was last told of each customer."""

    def __init__(self):
        self.rows = {}
        self.told = 0

    async def enforce_all(self, given):
        for customer, what in given.items():
            await self.enforce(customer, what)

    async def enforce(self, customer, what):
        self.told += 1
        if what == NONE:
            self.rows.pop(customer, None)
        else:
            self.rows[customer] = what

    def enforced(self):
        return self.rows


class Post:
    """The notices that were ordered, each once; delivered when a test says so."""

    def __init__(self):
        self.orders = {}
        self.delivered_at = {}

    async def order(self, order):
        self.orders.setdefault(order.key, order)

    def delivered(self, order):
        assert order.key in self.orders, "it is asked for a notice that was never ordered"
        return self.delivered_at.get(order.key)


class People:
    """Customers by id."""

    def __init__(self, packs, customers, measures, notices=None):
        self.customers = {one.id: one for one in customers}
        self.site = SimpleNamespace(packs=packs, settings=SimpleNamespace(measures=measures, notices=notices, lines=None))

    def find(self, identity):
        return self.customers.get(identity)

    def alike(self):
        shared = [replace(one, id="") for one in self.customers.values()]
        return Alike(list(self.customers), list(range(len(shared))), shared, frozenset())


class Desk:
    """All of it together."""

    def __init__(self, packs, customers, *, mode="enforce", calendar=PLAIN, notices=None, **settings):
        self.people = People(packs, customers, MeasureSettings(mode=mode, **settings), notices)
        self.ledger, self.plane, self.post, self.calendar = Ledger(), Plane(), Post(), calendar
        self.measures = self._measures()

    def _measures(self):
        return Measures(self.ledger, lambda: self.people, self.plane, self.post, self.calendar)

    def restart(self):
        """Another process: the record is folded anew, and what the tables held is lost."""
        self.ledger = Ledger(self.ledger.recorded)
        self.plane = Plane()
        self.measures = self._measures()

    @property
    def book(self):
        return self.ledger.state.measures

    def kinds(self):
        return [one.act.kind for one in self.ledger.recorded]

    def told(self):
        """Occasions, in order."""
        return [one.occasion.value for one in self.post.orders.values()]
