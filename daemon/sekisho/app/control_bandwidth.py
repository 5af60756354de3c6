"""Detection on lines at work: usage, mail, storms and double log-ins to findings, handed to whoever acts on them.

Owns the rhythm, the index of lines, and what is kept to explain a look. A finding is made only under clauses of the customer's
own terms that know the detector; the customer's exemptions are kept. Decides nothing itself (`detect`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

import structlog

from sekisho.app.control_people import People
from sekisho.app.control_segments import Index, PrefixesOf, index_after, index_of
from sekisho.app.control_traffic import Traffic
from sekisho.config.bandwidth import Bandwidth
from sekisho.detect import mailvolume, storms
from sekisho.detect.counted import Counted
from sekisho.detect.duplicates import Word, doubled
from sekisho.detect.occupancy import Look, Occupancy, Seen
from sekisho.model.clauses import MeasureRule
from sekisho.model.measures import ConditionGone, Detector, Finding
from sekisho.model.observation import SegmentObservation
from sekisho.model.sessions import Session

log = structlog.get_logger("sekisho.control")

LINES = (Detector.BANDWIDTH, Detector.MAIL_VOLUME, Detector.CONNECTION_STORM)
"""Detectors that look at what was counted of lines."""

FEW = 100, 0.1
"""Up to so many, and this part of the lines, are put on segments one by one when addresses move; beyond it, all are anew."""
Said = tuple[Detector, Iterable[Seen], Iterable[Seen]]
"""What a detector finds, and what is no more."""


class Sink(Protocol):
    """Who acts on findings (`control_findings.Findings`)."""

    def open(self, detector: Detector) -> Iterable[tuple[str, str, float]]:
        """Customer, clause and opening (UNIX seconds) of every measure of a detector's whose condition is there as far as is known."""
        ...

    def enforced(self, customer: str, clause: str, detector: Detector, now: float) -> bool:
        """Whether a measure found by a detector does something to a customer now."""
        ...

    async def found(self, findings: Sequence[Finding], gone: Sequence[ConditionGone], now: float) -> None:
        """The conditions that are there at `now`, newly or still, and those that are no more."""
        ...


class BandwidthDetection:
    """The detectors of lines, as the daemon runs them."""

    def __init__(self, traffic: Traffic, rows: Callable[[], Mapping[str, int]], sink: Sink | None = None) -> None:
        """`rows`: every customer's row; without a sink findings are shown and nothing follows."""
        self.sink = sink
        self.sessions: Callable[[], Iterable[Session]] | None = None
        """The sessions that go on - those of IDs with several are enough; None: nobody says, and nobody is found logged in twice."""
        self.word: Callable[[str], Word] = lambda _: Word(0.0, 0.0)
        """What a NAS's word on sessions is worth, by its name."""
        self.prefixes_of: PrefixesOf | None = None
        """Addresses a customer has now; None: those of the customer record are all that is known."""
        self.last: Look | None = None
        """The last look at lines."""
        self.found: dict[tuple[str, str, Detector], Seen] = {}
        """The conditions that were there at it: by customer, clause and detector."""
        self._traffic = traffic
        self._rows = rows
        self._index: Index | None = None
        self._index_of: tuple[object, ...] = ()
        self._follows = False
        """Whether a segment is told by addresses, which move."""
        self._moved: set[str] = set()
        self._occupancy = Occupancy()
        self._counted = {Detector.MAIL_VOLUME: Counted(), Detector.CONNECTION_STORM: Counted()}
        self._known: set[tuple[Detector, str, str, float]] = set()
        self._untold: list[ConditionGone] = []
        self._at: float | None = None

    async def tick(self, people: People, now: float) -> bool:
        """Look at the lines if it is time; whether it was. Raises SekishoError if what was found could not be recorded."""
        settings = people.site.settings.bandwidth
        if self._at is not None and 0 <= now - self._at < settings.every:
            return False
        self._at = now
        index = await self._indexed(people, settings)
        self._traffic.usage.advance(now)
        limited = self._adopt(index, now)
        with self._traffic.still():
            said = await asyncio.to_thread(self._look, index, settings, limited, now)
        findings = self._told(people, said, settings, now) + self._duplicates(people, now)
        if self.sink is not None and (findings or self._untold):
            await self.sink.found(findings, tuple(self._untold), now)
        self._untold = []
        return True

    def customers_moved(self, customers: Collection[str]) -> None:
        """Customers have other addresses now: from the next look on their lines are on the segments of those."""
        if self._follows:
            self._moved.update(customers)

    @property
    def index(self) -> Index | None:
        """The lines as they were looked at last."""
        return self._index

    def observations(self) -> tuple[SegmentObservation, ...]:
        """The shared segments at the last look."""
        look, index = self.last, self._index
        if look is None or index is None:
            return ()
        return tuple(
            SegmentObservation(
                one.id,
                (float(seen.utilisation[0]), float(seen.utilisation[1])),
                (bool(seen.congested[0]), bool(seen.congested[1])),
            )
            for one, seen in zip(index.lines.segments, look.segments, strict=False)
        )

    async def _indexed(self, people: People, settings: Bandwidth) -> Index:
        key = (people, people.changes, len(self._rows()), settings.segments)
        self._follows = self.prefixes_of is not None and any(one.prefixes for one in settings.segments)
        # Who moves from here on is put on segments at the next look.
        moved, self._moved = self._moved, set()
        try:
            if self._index is None or key != self._index_of or len(moved) > FEW[0] + FEW[1] * self._index.lines.rows:
                self._index = await asyncio.to_thread(index_of, people, dict(self._rows()), settings.segments, self.prefixes_of)
                self._index_of = key
            elif moved and self.prefixes_of is not None:
                self._index = await asyncio.to_thread(index_after, self._index, people, self._rows(), moved, self.prefixes_of)
        except BaseException:
            self._moved |= moved
            raise
        return self._index

    def _adopt(self, index: Index, now: float) -> set[tuple[Detector, str, str]]:
        """Take over conditions of measures that were opened before this memory began; which of the open ones limit their customer."""
        if self.sink is None:
            return set()
        rows = self._rows()
        opened = {(detector, *one) for detector in LINES for one in self.sink.open(detector)}
        for detector, customer, clause, since in opened - self._known:
            row = rows.get(customer)
            if row is not None and row < index.lines.rows:
                memory = self._occupancy if detector is Detector.BANDWIDTH else self._counted[detector]
                memory.adopt(clause, row, customer, since)
        self._known = opened
        return {one[:3] for one in opened if self.sink.enforced(one[1], one[2], one[0], now)}

    def _look(self, index: Index, settings: Bandwidth, limited: set[tuple[Detector, str, str]], now: float) -> list[Said]:
        """In a thread: what each detector says."""
        lines, traffic = index.lines, self._traffic

        def by(detector: Detector) -> Callable[[str, str], bool]:
            return lambda customer, clause: (detector, customer, clause) in limited

        look = self.last = self._occupancy.look(traffic.usage, lines, settings, index.named, by(Detector.BANDWIDTH), now)
        said: list[Said] = [(Detector.BANDWIDTH, look.found, look.gone)]
        each = lines.each_rule()
        for detector, rules, tally in (
            (Detector.MAIL_VOLUME, mailvolume.rules_of(each), traffic.mail),
            (Detector.CONNECTION_STORM, storms.rules_of(each), traffic.connections),
        ):
            counted = self._counted[detector].look(tally, lines, rules, settings, index.named, by(detector), now)
            said.append((detector, *counted))
        return said

    def _told(self, people: People, said: list[Said], settings: Bandwidth, now: float) -> list[Finding]:
        """Findings, under the clauses that reach their customers."""
        findings = []
        self.found = {key: seen for key, seen in self.found.items() if key[2] is Detector.DUPLICATE_LOGIN}
        for detector, found, gone in said:
            for one in found:
                if reaches(people, one.customer, one.clause, detector):
                    self.found[one.customer, one.clause, detector] = one
                    findings.append(Finding(detector, one.clause, one.customer, now, one.window, one.evidence, settings.urgent))
            self._untold += [ConditionGone(detector, one.clause, one.customer, now, one.evidence) for one in gone if one.customer]
        if findings:
            log.info("lines", customers=len({one.customer for one in findings}))
        return findings

    def _duplicates(self, people: People, now: float) -> list[Finding]:
        if self.sessions is None:
            return []
        settings, groups = people.site.settings.duplicates, people.site.settings.groups

        def allowed(identity: str) -> int:
            customer = people.find(identity)
            group = groups.get(customer.group or "") if customer is not None else None
            if group is not None and group.sessions is not None:
                return group.sessions
            plan = customer.plan if customer is not None else None
            return settings.allowed_for(plan.down_mbps if plan else None, plan.up_mbps if plan else None)

        found = doubled(self.sessions(), allowed, settings.grace, settings.silent, self.word, now)
        findings = []
        there: dict[tuple[str, str, Detector], Seen] = {}
        for one in found.values():
            for clause in clauses_of(people, one.customer, Detector.DUPLICATE_LOGIN):
                there[one.customer, clause, Detector.DUPLICATE_LOGIN] = Seen(one.customer, clause, settings.grace, one.evidence)
                evidence, urgent = one.evidence, settings.urgent
                findings.append(Finding(Detector.DUPLICATE_LOGIN, clause, one.customer, now, settings.grace, evidence, urgent))
        opened = (
            {(customer, clause) for customer, clause, _ in self.sink.open(Detector.DUPLICATE_LOGIN)} if self.sink is not None else set()
        )
        for customer, clause in sorted(opened - {key[:2] for key in there}):
            self._untold.append(ConditionGone(Detector.DUPLICATE_LOGIN, clause, customer, now))
        self.found = {key: seen for key, seen in self.found.items() if key[2] is not Detector.DUPLICATE_LOGIN} | there
        return findings


def clauses_of(people: People, identity: str, detector: Detector) -> list[str]:
    """Clauses of a customer's terms that know a detector, less those the customer is exempt from; none for one who is not there."""
    customer = people.find(identity)
    if customer is None:
        return []
    packs = people.site.packs
    rules = [rule for name in customer.terms if name in packs for rule in packs[name].rules]
    found = {rule.clause: None for rule in rules if isinstance(rule, MeasureRule) and rule.detector is detector}
    return [clause for clause in found if clause not in customer.exempt]


def reaches(people: People, identity: str, clause: str, detector: Detector) -> bool:
    """Whether a customer may be found under a clause."""
    return clause in clauses_of(people, identity, detector)
