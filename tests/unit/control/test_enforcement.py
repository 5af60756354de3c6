"""What measures put on customers' rows: at once, over every change of a row, and under the right clause."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import numpy as np
import pytest

from sekisho.app import control_snapshots
from sekisho.app.control_enforcement import NONE, Enforcements, combine, garden_of
from sekisho.app.control_measures import Measures
from sekisho.app.control_saved import SavedSnapshot
from sekisho.app.control_snapshots import Snapshots
from sekisho.app.control_tables import Tables
from sekisho.config.settings import parse_settings
from sekisho.drivers.site import load_site
from sekisho.drivers.tablerows import BulkRows, CustomerRow
from sekisho.drivers.tables import TableWriter
from sekisho.lists.idn import to_wire
from sekisho.model.clauses import Clause, Extent, MeasureRule, NoticeTime, Record
from sekisho.model.errors import RefusedError
from sekisho.model.measures import Detector, Effect, Enforcement
from sekisho.model.verdicts import GARDEN_TTL
from sekisho.snapshot import layout
from unit.control.sites import ACTOR, CONSENT, run

SILENCE, SUSPEND, LIMIT = "gunma/x-1", "gunma/x-2", "gunma/x-3"
GROUNDS = {SUSPEND: {Effect.WALLED_GARDEN}, SILENCE: {Effect.SILENCE}, LIMIT: {Effect.LIMIT_DNS}}
SILENCED = Enforcement(silenced=True, by=(SILENCE,))
GARDENED = Enforcement(garden=True, by=(SUSPEND,))


def measured(path):
    """The site of `path`, whose first pack has clauses of measures too."""
    site = load_site(path)
    pack = site.packs["gunma"]
    rules = [
        MeasureRule(
            clause, "misuse", Detector.OPERATOR, effect, Extent.FULL, NoticeTime.BEFORE, urgent=False, lead=None, period=None,
            extension=False, release_delay=None, termination_after=None, termination_clause=None, fees_continue=True,
            record=Record((), 1.0), rate=5, burst=10,
        )
        for clause, effects in GROUNDS.items()
        for effect in effects
    ]  # fmt: skip
    more = tuple(Clause(rule.clause, rule.clause, "停止", "Suspension", (rule,)) for rule in rules)
    return replace(site, packs=site.packs | {"gunma": replace(pack, clauses=pack.clauses + more)})


@pytest.fixture(autouse=True)
def _measures(monkeypatch):
    monkeypatch.setattr("unit.control.sites.load_site", measured)
    monkeypatch.setattr("sekisho.app.control_reload.load_site", measured)
    # What is tested here is the tables; the record, which knows nothing of these measures, would take them back.
    for name in ("settle", "touch", "reconcile", "tick"):
        monkeypatch.setattr(Measures, name, nothing)


async def nothing(*_):
    pass


async def explained(control, customer="c-1", name="www.example.com"):
    return await control.explain(customer=customer, address=None, port=0, name=name, qtype="A", tcp=False)


async def verdict(control, customer="c-1", name="www.example.com"):
    body = await explained(control, customer, name)
    return body["verdict"], body["clause"]


async def enforce(control, what, customer="c-1"):
    await control.core.tables.enforce(customer, what)


# --- On the row ----------------------------------------------------------------------------------------


def test_a_measure_is_on_the_row_when_told_and_off_it_when_ended(folder):
    async def scenario(control):
        seen = [await verdict(control)]
        for what in (SILENCED, GARDENED, Enforcement()):
            await enforce(control, what)
            seen.append(await verdict(control))
        return seen, await verdict(control, "c-2")

    seen, other = run(folder, scenario)
    assert seen == [("answered", None), ("silenced", SILENCE), ("gardened", SUSPEND), ("answered", None)]
    assert other == ("answered", None), "nobody else is touched"


def test_explain_names_every_clause_of_what_is_in_force(folder):
    what = Enforcement(silenced=True, garden=True, budget=(5, 10), by=(LIMIT, SUSPEND, SILENCE))

    async def scenario(control):
        await enforce(control, what)
        return await explained(control), await control.show_customer("c-1"), await control.show_customer("c-2")

    body, shown, other = run(folder, scenario)
    told = {
        "silenced": True,
        "garden": True,
        "budget": {"rate": 5, "burst": 10},
        "rate": None,
        "mail": None,
        "clauses": [LIMIT, SUSPEND, SILENCE],
    }
    assert body["measures"] == shown["measures"] == told
    assert other["measures"] is None
    assert (body["verdict"], body["clause"], body["clause_words"]["en"]) == ("silenced", SILENCE, "Suspension")
    assert SILENCE in body["summary"]
    assert SILENCE in body["steps"][-1]["outcome"]


def test_nothing_that_changes_a_row_drops_a_measure(folder):
    record = {"id": "c-1", "terms": ["nbnet", "gunma"], "consent": CONSENT, "prefixes": ["192.0.2.1"]}

    async def scenario(control):
        await enforce(control, GARDENED)
        seen = []
        for change in (
            lambda: control.add_opt_out("c-1", "c2", until=None, by=None, actor=ACTOR),
            lambda: control.remove_opt_out("c-1", "c2", by=None, actor=ACTOR),
            lambda: control.add_exception("c2", "c2.example", subtree=True, reason="", actor=ACTOR),
            lambda: control.reload(actor=ACTOR),
            lambda: control.add_customer(record, replace=True, actor=ACTOR),
            lambda: control.reload(actor=ACTOR),
        ):
            await change()
            seen.append(await verdict(control))
        await enforce(control, Enforcement())
        return seen, await verdict(control)

    assert run(folder, scenario) == ([("gardened", SUSPEND)] * 6, ("answered", None))


def test_whoever_is_unknown_now_has_the_measure_once_added(folder):
    record = {"id": "c-9", "terms": ["gunma"], "consent": CONSENT, "prefixes": ["192.0.2.9"]}

    async def scenario(control):
        await enforce(control, SILENCED, "c-9")
        await control.add_customer(record, replace=False, actor=ACTOR)
        seen = [await verdict(control, "c-9")]
        await control.remove_customer("c-9", actor=ACTOR)
        await enforce(control, GARDENED, "c-9")
        await control.add_customer(record, replace=False, actor=ACTOR)
        return [*seen, await verdict(control, "c-9")]

    assert run(folder, scenario) == [("silenced", SILENCE), ("gardened", SUSPEND)]


def test_what_is_in_force_at_the_start_is_on_the_first_rows(folder):
    record = {"id": "c-9", "terms": ["gunma"], "consent": CONSENT, "prefixes": ["192.0.2.9"]}

    async def scenario(control):
        await control.add_customer(record, replace=False, actor=ACTOR)
        core = control.core
        given = {"c-1": SILENCED, "c-2": GARDENED, "c-9": GARDENED, "c-77": SILENCED}
        plane = folder.path / "run" / "plane"
        writer, saved = TableWriter(plane), SavedSnapshot(folder.path / "state/snapshot")
        again = Tables(writer, Snapshots(writer, core.reader, core.state, core.lists, core.key, saved), core.people, core.state, given)
        await again.start(core.clock())
        await saved.finish()
        core.tables = again
        return [await verdict(control, customer) for customer in ("c-1", "c-2", "c-9", "c-4")]

    assert run(folder, scenario) == [("silenced", SILENCE), ("gardened", SUSPEND), ("gardened", SUSPEND), ("answered", None)]


@pytest.mark.parametrize("budget", [(0, 5), (5, 0), (-1, 1), (1 << 32, 1)])
def test_a_budget_no_row_can_have_is_refused_and_changes_nothing(folder, budget):
    async def scenario(control):
        await enforce(control, SILENCED)
        with pytest.raises(RefusedError, match="cannot be enforced"):
            await enforce(control, Enforcement(budget=budget, by=(LIMIT,)))
        return await verdict(control)

    assert run(folder, scenario) == ("silenced", SILENCE)


def test_many_at_once_leave_the_others_their_turn_and_are_all_on_their_rows(folder, monkeypatch):
    monkeypatch.setattr("sekisho.app.control_tables._TURN", 1)
    limit = Enforcement(budget=(5, 10), by=(LIMIT,))

    async def scenario(control):
        tables = control.core.tables
        turns = []
        many = asyncio.create_task(tables.enforce_all({f"c-{number}": limit for number in range(1, 6)}))
        await asyncio.sleep(0)
        while not many.done():
            turns.append(tables._writer._loaded().rows["rate"].tolist().count(5))
            await asyncio.sleep(0)
        with pytest.raises(RefusedError):
            await tables.enforce_all({"c-1": Enforcement(), "c-2": Enforcement(budget=(0, 0))})
        return turns, tables._writer._loaded().rows["rate"].tolist().count(5)

    turns, after = run(folder, scenario)
    assert turns == [1, 2, 3, 4, 5]
    assert after == 5


def test_very_many_are_one_load_of_the_tables_and_a_measure_meanwhile_counts(folder, monkeypatch):
    monkeypatch.setattr("sekisho.app.control_tables.MANY", 2)
    limit = Enforcement(budget=(5, 10), by=(LIMIT,))

    async def scenario(control):
        tables = control.core.tables
        gate = Gate(tables._writer.load_customers)
        monkeypatch.setattr(tables._writer, "load_customers", gate)
        with pytest.raises(RefusedError):
            await tables.enforce_all({f"c-{number}": Enforcement(budget=(0, number)) for number in range(1, 5)})
        before = tables._writer._head[layout.HEAD_GENERATION].item()
        many = asyncio.create_task(tables.enforce_all({f"c-{number}": limit for number in range(1, 6)}))
        await gate.at()
        await enforce(control, SILENCED)
        gate.open.set()
        await many
        rows = tables._writer._loaded().rows["rate"].tolist().count(5)
        return rows, await verdict(control), tables._writer._head[layout.HEAD_GENERATION].item() - before, len(tables.enforced())

    assert run(folder, scenario) == (4, ("silenced", SILENCE), 1, 5)


def test_who_else_carries_it_out_has_done_so_before_all_are_loaded_for_it(folder, monkeypatch):
    """A million rows take seconds, and the kernel's entries beside them many times as long as alone."""
    monkeypatch.setattr("sekisho.app.control_tables.MANY", 2)
    order = []

    async def scenario(control):
        tables = control.core.tables
        load = tables._writer.load_customers
        monkeypatch.setattr(tables._writer, "load_customers", lambda *given: (order.append("loaded"), load(*given)))
        tables.followers.append(lambda some: order.append(("told", len(some))))

        async def carried_out():
            order.append("carried out")

        tables.before_loads.append(carried_out)
        await tables.enforce_all({f"c-{number}": SILENCED for number in range(1, 6)})
        return len(tables.enforced())

    assert run(folder, scenario) == 5
    assert order == [("told", 5), "carried out", "loaded"]


# --- While tables change -------------------------------------------------------------------------------


class Gate:
    """A step of another thread that waits until it is let on."""

    def __init__(self, step):
        self.step, self.reached, self.open = step, threading.Event(), threading.Event()

    def __call__(self, *args, **more):
        self.reached.set()
        assert self.open.wait(30)
        return self.step(*args, **more)

    async def at(self):
        await asyncio.to_thread(self.reached.wait, 30)


@pytest.mark.parametrize("after", [False, True], ids=["before the rows are laid out", "when they are and are not in force"])
def test_a_measure_does_not_wait_for_customers_that_are_loaded_anew_and_is_on_both_tables(folder, monkeypatch, after):
    async def scenario(control):
        writer = control.core.tables._writer
        gate = Gate(writer._put_in_force if after else writer.load_customers)
        monkeypatch.setattr(writer, "_put_in_force" if after else "load_customers", gate)
        reloading = asyncio.create_task(control.reload(actor=ACTOR))
        await gate.at()
        await enforce(control, SILENCED, "c-1")
        await enforce(control, GARDENED, "c-2")
        during = await verdict(control), await verdict(control, "c-2"), reloading.done()
        gate.open.set()
        await reloading
        return during, (await verdict(control), await verdict(control, "c-2"))

    during, then = run(folder, scenario)
    assert during == (("silenced", SILENCE), ("gardened", SUSPEND), False)
    assert then == (("silenced", SILENCE), ("gardened", SUSPEND))


def test_a_measure_does_not_wait_for_a_snapshot_that_is_being_built(folder, monkeypatch):
    async def scenario(control):
        tables = control.core.tables
        gate = Gate(control_snapshots.make)
        monkeypatch.setattr(control_snapshots, "make", gate)
        building = asyncio.create_task(tables.rebuild(control.core.clock()))
        await gate.at()
        await enforce(control, SILENCED)
        during = await verdict(control), building.done()
        gate.open.set()
        await building
        return during, await verdict(control)

    assert run(folder, scenario) == ((("silenced", SILENCE), False), ("silenced", SILENCE))


def test_an_ended_measure_does_not_come_back_with_the_tables_that_were_loaded_meanwhile(folder, monkeypatch):
    async def scenario(control):
        await enforce(control, SILENCED)
        writer = control.core.tables._writer
        gate = Gate(writer._put_in_force)
        monkeypatch.setattr(writer, "_put_in_force", gate)
        reloading = asyncio.create_task(control.reload(actor=ACTOR))
        await gate.at()
        await enforce(control, Enforcement())
        gate.open.set()
        await reloading
        return await verdict(control)

    assert run(folder, scenario) == ("answered", None)


# --- The walled garden ---------------------------------------------------------------------------------


def test_the_notice_page_is_that_of_the_configuration_in_force(folder):
    garden = {"a": "192.0.2.80", "aaaa": ["2001:db8::80"], "allow": ["notice.example.com"]}

    async def scenario(control):
        await enforce(control, GARDENED)
        seen = [(await explained(control))["action"], [one for one in (await control.status())["warnings"] if "walled_garden" in one]]
        folder.set(walled_garden=garden)
        await control.reload(actor=ACTOR)
        seen += [(await explained(control))["action"], [one for one in (await control.status())["warnings"] if "walled_garden" in one]]
        return seen, await verdict(control, "c-1", "www.notice.example.com")

    seen, let_out = run(folder, scenario)
    assert seen[0] == "refused"
    assert seen[1][0].startswith("1 suspended customers are answered REFUSED")
    assert seen[2:] == ["sinkhole", []]
    assert let_out == ("answered", None)

    async def again(control):
        await enforce(control, GARDENED)
        return (await explained(control))["action"]

    assert run(folder, again) == "sinkhole"
    folder.set(walled_garden=None)
    assert run(folder, again) == "refused", "a saved snapshot of another garden is not used"


def test_a_garden_has_its_addresses_and_names_in_the_form_of_the_tables():
    text = "version: 1\nupstream: {address: 192.0.2.53}\nwalled_garden: {a: 192.0.2.80, aaaa: '2001:db8::80', allow: [通知.Example]}\n"
    garden = garden_of(parse_settings(text, "x"))
    assert [(one.rtype, one.ttl, len(one.rdata)) for one in garden.action.records] == [(1, GARDEN_TTL, 4), (28, GARDEN_TTL, 16)]
    assert garden.passes == (to_wire("通知.example"),)
    assert garden_of(parse_settings("version: 1\nupstream: {address: 192.0.2.53}\n", "x")) is None


# --- Combining -----------------------------------------------------------------------------------------

ROW = CustomerRow("c", (), 7, 2)
LIMITED = replace(ROW, budget_rate=200, budget_burst=400, over_truncate=True)


@pytest.mark.parametrize(
    ("row", "budget", "rate", "burst", "truncate", "limiter"),
    [
        (ROW, (5, 10), 5, 10, False, 3),
        (LIMITED, (5, 10), 5, 10, False, 3),
        (LIMITED, (500, 1000), 200, 400, True, 0),
        (LIMITED, (200, 400), 200, 400, True, 0),
        (LIMITED, (5, 1000), 5, 400, False, 3),
        (LIMITED, (500, 10), 200, 10, False, 3),
    ],
)
def test_of_two_budgets_the_stricter_holds_and_its_clause_is_named(row, budget, rate, burst, truncate, limiter):
    found = combine(row, Enforcement(budget=budget, by=(SILENCE, LIMIT)), GROUNDS)
    assert (found.budget_rate, found.budget_burst, found.over_truncate, found.limiter) == (rate, burst, truncate, limiter)
    assert (found.mask, found.profile, found.measure, found.silenced, found.garden) == (7, 2, 0, False, False)


@pytest.mark.parametrize(
    ("what", "measure"),
    [
        (Enforcement(silenced=True, by=(SUSPEND, SILENCE)), 2),
        (Enforcement(garden=True, by=(SILENCE, SUSPEND)), 1),
        (Enforcement(silenced=True, garden=True, by=(SUSPEND, SILENCE)), 2),
        (Enforcement(garden=True, by=("gone/1", LIMIT)), 3),
        (Enforcement(garden=True, by=("gone/1",)), 0),
        (Enforcement(silenced=True), 0),
    ],
)
def test_the_clause_on_the_row_is_the_one_that_does_it(what, measure):
    found = combine(ROW, what, GROUNDS)
    assert (found.measure, found.silenced, found.garden, found.limiter) == (measure, what.silenced, what.garden, 0)


def test_a_million_alike_are_put_in_columns_and_who_has_a_measure_in_a_group_of_their_own():
    ids = [f"c-{number}" for number in range(6)]
    empty = np.empty(0, np.uint64)
    bulk = BulkRows(
        ids, np.array([0, 1, 0, 1, 0, 0], np.uint32), [ROW, LIMITED], empty, empty, empty.astype(np.uint8), empty.astype(np.uint32)
    )
    some = {"c-1": SILENCED, "c-2": SILENCED, "c-3": SILENCED, "c-4": GARDENED, "c-77": SILENCED}
    found = Enforcements(some).on_bulk(bulk, GROUNDS)
    rows = [found.groups[number] for number in found.group]
    assert [(row.silenced, row.garden, row.budget_rate) for row in rows] == [
        (False, False, 0), (True, False, 200), (True, False, 0), (True, False, 200), (False, True, 0), (False, False, 0),
    ]  # fmt: skip
    assert len(found.groups) == 5
    assert (bulk.group.tolist(), len(bulk.groups)) == ([0, 1, 0, 1, 0, 0], 2), "what was given stays as it was"
    assert Enforcements({}).on_bulk(bulk, GROUNDS) is bulk


def test_what_has_ended_is_forgotten():
    kept = Enforcements({"a": SILENCED, "b": GARDENED, "c": Enforcement(by=(LIMIT,))})
    assert (len(kept), kept.gardened()) == (2, 1)
    kept.put({"b": Enforcement()})
    assert (len(kept), kept.of("b"), kept.of("a")) == (1, NONE, SILENCED)
