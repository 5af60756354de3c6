"""From the plane's counts to findings under the clauses of a customer's own terms, told to whoever acts on them."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import yaml

from sekisho.drivers.usualrates import UsualRates, read_usual, write_usual
from sekisho.drivers.workerfiles import WorkerFiles
from sekisho.model.clauses import MeasureRule, NoticeTime, Record
from sekisho.model.counters import Counter
from sekisho.model.errors import LedgerError, RefusedError
from sekisho.model.measures import Detector, Effect, Extent
from sekisho.snapshot import layout
from unit.control.sites import Clock, run

CLAUSE = "nbnet/22-2-5"
SETTINGS = {"window": "10s", "windows": 3, "sustained": 2, "clear": 2, "floor": 100}
SILENCE = MeasureRule(
    CLAUSE, "dns-overload", Detector.DNS_OVERLOAD, Effect.SILENCE, Extent.PARTIAL, NoticeTime.AFTER, urgent=True, lead=None, period=None,
    extension=False, release_delay=None, termination_after=None, termination_clause=None, fees_continue=True, record=Record((), 1.0),
)  # fmt: skip
BY_HAND = replace(SILENCE, clause="nbnet/21-2", detector=Detector.OPERATOR)


class Sink:
    """Remembers what it was told; fails as often as it is told to."""

    def __init__(self):
        self.opened = []
        self.told = []
        self.failures = 0

    def open(self, detector):
        assert detector is Detector.DNS_OVERLOAD
        return self.opened

    async def found(self, findings, gone, now):
        if self.failures:
            self.failures -= 1
            raise LedgerError("disk full; make room")
        self.told.append(([(one.customer, one.clause) for one in findings], [(one.customer, one.clause) for one in gone]))


class Story:
    """A daemon with a plane that counts what the story says, window by window."""

    def __init__(self, control):
        self.core = control.core
        for pack in ("nbnet", "gunma"):
            # The clauses as the packs have them may change; what is tested is who is found under them.
            clauses = [replace(one, rules=tuple(rule for rule in one.rules if not isinstance(rule, MeasureRule)))
                       for one in self.core.site.packs[pack].clauses]  # fmt: skip
            if pack == "nbnet":
                clauses = [replace(one, rules=(*one.rules, SILENCE, BY_HAND)) if one.id == CLAUSE else one for one in clauses]
            self.core.site.packs[pack] = replace(self.core.site.packs[pack], clauses=tuple(clauses))
        self.counts = WorkerFiles(self.core.site.settings.runtime / "plane").counts(0, 1000)
        self.detection = self.core.detection
        self.sink = self.detection.sink = Sink()
        self.ticks = 50.0

    async def begin(self):
        await self.window()
        return self

    async def window(self, utilisation=0.0, **rates):
        """Ten seconds with these queries per second, of customers written with _ for -."""
        for name, rate in rates.items():
            self.counts.customers[self.core.tables.row_of(name.replace("_", "-")), layout.COUNT_QUERIES] += int(rate * 10)
        self.counts.totals[Counter.BUSY_NS] += int(utilisation * 10e9)
        self.counts.worker[layout.WORKER_HEARTBEAT] = time.time_ns()
        self.ticks += 10
        self.core.clock.now += 10
        return await self.detection.tick(self.core.people, self.core.clock(), self.ticks)


def story(folder, steps, **settings):
    folder.set(detection=SETTINGS | settings)

    async def scenario(control):
        return await steps(await Story(control).begin(), control)

    return run(folder, scenario, Clock())


def test_a_flood_under_load_is_told_under_the_clause_for_as_long_as_it_is_there_and_its_end_once(folder):
    async def steps(one, _):
        for _ in range(4):
            await one.window(0.9, c_2=900, c_3=1, c_1=1, c_4=2)
        for _ in range(4):
            await one.window(0.1, c_2=1, c_3=1, c_1=1)
        return one.sink.told

    told = story(folder, steps)
    assert told == [([("c-2", CLAUSE)], [])] * 3 + [([], [("c-2", CLAUSE)])]


def test_no_clause_no_finding(folder):
    """c-1's terms (gunma) have no clause that knows the detector here, and c-5's neither."""

    async def steps(one, control):
        for _ in range(4):
            await one.window(0.9, c_1=900, c_5=900, c_3=1, c_4=1)
        body = await control.explain_measure(customer="c-1")
        return one.sink.told, body

    told, body = story(folder, steps)
    assert told == []
    assert (body["found"], body["clauses"]) == (True, [])
    assert "No clause of gunma" in body["summary"]


def test_a_customer_exempt_from_the_clause_is_not_found_under_it(folder):
    folder.customers([{"id": "c-1", "terms": "nbnet", "prefixes": ["192.0.2.1"], "exempt": [CLAUSE]}])

    async def steps(one, _):
        for _ in range(4):
            await one.window(0.9, c_1=900)
        return one.sink.told

    assert story(folder, steps) == []


def test_a_finding_carries_its_evidence_and_whether_it_is_urgent(folder):
    async def steps(one, _):
        found = []

        async def keep(findings, gone, now):
            found.extend(findings)

        one.sink.found = keep
        for _ in range(2):
            await one.window(0.9, c_2=900, c_3=1)
        return found, one.core.clock.now

    for urgent in (True, False):
        [finding], now = story(folder, steps, urgent=urgent)
        assert (finding.detector, finding.clause, finding.customer) == (Detector.DNS_OVERLOAD, CLAUSE, "c-2")
        assert (finding.at, finding.window, finding.urgent) == (now, 10.0, urgent)
        assert (finding.evidence["rate"], finding.evidence["floor"], finding.evidence["load"]) == (900.0, 100.0, "utilisation")


def test_what_the_record_could_not_take_is_told_again(folder):
    async def steps(one, _):
        for _ in range(2):
            await one.window(0.9, c_2=900)
        await one.window()
        one.sink.failures = 2
        for _ in range(2):
            with pytest.raises(LedgerError):
                await one.window()
        await one.window()
        await one.window()
        return one.sink.told

    told = story(folder, steps)
    assert told == [([("c-2", CLAUSE)], []), ([], [("c-2", CLAUSE)])]


def test_a_measure_from_before_a_restart_ends_when_its_condition_is_gone_and_once(folder):
    async def steps(one, _):
        one.sink.opened = [("c-3", CLAUSE, 5.0), ("c-gone", CLAUSE, 5.0)]
        for _ in range(6):
            await one.window()
        return one.sink.told

    assert story(folder, steps) == [([], [("c-3", CLAUSE)])]


def test_a_measure_of_a_clause_the_terms_no_longer_have_ends_too(folder):
    async def steps(one, _):
        one.sink.opened = [("c-1", "gunma/19-2", 5.0)]
        for _ in range(6):
            await one.window()
        return one.sink.told

    assert story(folder, steps) == [([], [("c-1", "gunma/19-2")])]


def test_a_window_is_looked_at_when_it_is_over(folder):
    async def steps(one, _):
        looked = []
        for step in (0.25, 3.0, 6.0, 0.25, 0.25):
            one.ticks += step
            looked.append(await one.detection.tick(one.core.people, one.core.clock(), one.ticks))
        return looked

    assert story(folder, steps) == [False, False, False, True, False]


def test_other_settings_begin_other_windows_and_forget_no_finding(folder):
    async def steps(one, control):
        for _ in range(2):
            await one.window(0.9, c_2=900)
        folder.set(detection=SETTINGS | {"windows": 9, "sustained": 9})
        await control.reload(actor="uid:0")
        await one.window(0.9, c_2=900, c_3=900)
        return one.sink.told

    assert story(folder, steps)[-1] == ([("c-2", CLAUSE)], [])


def test_where_a_customer_stands_is_explained_from_the_first_window_on(folder):
    folder.set(detection=SETTINGS)

    async def scenario(control):
        before = await control.explain_measure(customer="c-2")
        one = await Story(control).begin()
        bodies = []
        for utilisation, rates in ((0.9, {"c_2": 900, "c_3": 5}), (0.1, {"c_2": 900}), (0.9, {"c_2": 900}), (0.9, {"c_2": 900}), (0.0, {})):
            await one.window(utilisation, **rates)
            bodies.append(await control.explain_measure(customer="c-2"))
        quiet = await control.explain_measure(customer="c-3")
        with pytest.raises(RefusedError):
            await control.explain_measure(customer="c-99")
        return before, bodies, quiet, one.core.clock.now

    before, bodies, quiet, now = run(folder, scenario, Clock())
    assert (before["found"], before["at"], before["evidence"]) == (False, None, {})
    assert "ask again in 10 s" in before["summary"]
    assert [(one["over"], one["found"]) for one in bodies] == [(True, False), (False, False), (True, True), (True, True), (False, True)]
    said = [
        "Over the limit under load in 1 windows",
        "the name servers do well",
        "condition of nbnet/22-2-5 is there",
        "is there",
        "calm for 1",
    ]
    for body, words in zip(bodies, said, strict=True):
        assert words in body["summary"]
    third = bodies[2]
    assert third["since"] == third["at"] == now - 20
    assert third["evidence"]["windows_over"] == 2
    assert third["load"]["utilisation"] == {"figure": 0.9, "value": 0.8, "holds": True}
    assert third["load"]["latency"]["figure"] is None
    assert [words["id"] for words in third["clauses"]] == [CLAUSE]
    assert third["clauses"][0]["ja"]
    assert (quiet["found"], quiet["evidence"]["rate"], quiet["evidence"]["limit"]) == (False, 0, 100)
    assert quiet["summary"].startswith("Below the limit")


def test_what_a_customer_usually_asks_outlasts_a_restart_also_where_rows_change(folder):
    """A school behind one address keeps its limit; rates are all that is kept of it."""
    folder.set(detection=SETTINGS)

    async def first(control):
        one = await Story(control).begin()
        for _ in range(3):
            await one.window(c_2=500, c_3=20)
        return (await control.explain_measure(customer="c-2"))["evidence"]["usual"]

    async def again(control):
        one = await Story(control).begin()
        await one.window(c_3=20)
        return [(await control.explain_measure(customer=customer))["evidence"]["usual"] for customer in ("c-2", "c-4")]

    usual = run(folder, first, Clock(time.time()))
    assert usual > 0.1
    # The runtime folder goes with the machine's next boot, and other rows are given out.
    (folder.path / "run" / "plane" / "head").unlink()
    for path in (folder.path / "run" / "plane").glob("customers-*"):
        path.unlink()
    customers = yaml.safe_load((folder.path / "customers.yaml").read_text(encoding="utf-8"))
    customers["customers"].reverse()
    (folder.path / "customers.yaml").write_text(yaml.safe_dump(customers), encoding="utf-8")
    after, other = run(folder, again, Clock(time.time()))
    assert after == pytest.approx(usual, rel=0.01)
    assert other == 0
    kept = (folder.path / "state" / "usual-rates").read_bytes()
    assert b"192.0.2" not in kept
    assert (folder.path / "state" / "usual-rates").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "spoil", [lambda data: data[:-1], lambda data: b"x" + data[1:], lambda data: data[:0], lambda data: data[:40] + data[41:]]
)
def test_rates_that_cannot_be_read_are_passed_over_and_learnt_anew(tmp_path, spoil):
    path = tmp_path / "usual-rates"
    written = UsualRates(["a", "b"], np.array([1.5, 2.0], np.float32), 0.5, 60.0)
    write_usual(path, written, 1000.0)
    found = read_usual(path, 2000.0)
    assert (list(found.customers), found.rates.tolist(), found.median, found.learnt) == (["a", "b"], [1.5, 2.0], 0.5, 60.0)
    assert read_usual(path, 1000.0 + 8 * 86400) is None, "what was usual last month is not"
    path.write_bytes(spoil(path.read_bytes()))
    assert read_usual(path, 2000.0) is None
    assert read_usual(tmp_path / "none", 2000.0) is None
