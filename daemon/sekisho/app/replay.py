"""Recorded traffic run against a policy: who would have been affected, from when to when, by which figures, and how.

Owns the order of a run: the site and what its ledger adds, the reading, the windows one after the other in the time of the
recording, the detectors, and the life cycle of measures as the terms have it. No daemon is asked and nothing is written.

Decisions
* The traffic is what it was: a limit that would have been in force changes nothing in it, so conditions last as long as in a
  policy that observes. Nothing is taken as observed, held or in an emergency: it is what would follow without `observe`.
* A notice that comes before counts as delivered when it is due, the soonest there can be.
* Whoever is exempt from a clause now, by their record or by the operator's word in the ledger, is not affected by it.
* Customers are those of now, by the addresses they had when the traffic passed: those of their sessions by the record of them
  in the state folder, and fixed ones. Of a time whose sessions are purged only the fixed ones are known.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sekisho.app.control_bandwidth import reaches
from sekisho.app.control_detection import clauses_for
from sekisho.app.control_people import People
from sekisho.app.control_segments import index_of
from sekisho.app.control_standing import NO_CAPACITY, plan_of
from sekisho.app.replay_site import holders_of, judge_of, state_of
from sekisho.config.bandwidth import Bandwidth
from sekisho.config.detection import Detection, LoadConditions
from sekisho.detect import mailvolume, storms
from sekisho.detect.counted import Counted
from sekisho.detect.occupancy import Occupancy, Seen
from sekisho.detect.overload import Line, Overload
from sekisho.detect.reasons import span as span_words
from sekisho.detect.recorded import SLOT, Recorded
from sekisho.detect.tally import Tally
from sekisho.detect.usage import Usage
from sekisho.drivers.recordedholders import Holders
from sekisho.drivers.recordings import Owners, Reading, read_recording
from sekisho.drivers.site import Site
from sekisho.measures import calendar
from sekisho.measures.happenings import Delivered, Event, Found, Gone, Tick
from sekisho.measures.lifecycle import step
from sekisho.measures.standing import Standing, rule_for
from sekisho.model.clauses import MeasureRule
from sekisho.model.customers import Customer
from sekisho.model.errors import RefusedError
from sekisho.model.measures import Detector, Effect, Evidence, Finding, Measure, MeasureState
from sekisho.model.words import counted

_ASSUMED = LoadConditions(utilisation=0.5, timeouts=None, latency=None)
_MOST_ADDRESSES = 256
_V4_BITS = 96


@dataclass(frozen=True, slots=True)
class Options:
    """How a recording is read."""

    resolvers: frozenset[int] = frozenset()
    loaded: bool = False
    """Name servers are taken to be under load all the time, whatever the recording says of answers."""


@dataclass(slots=True)
class Case:
    """One condition and what would have followed. Times are UNIX seconds; None: not within the recording."""

    customer: str
    clause: str
    detector: Detector
    rule: MeasureRule
    since: float
    evidence: Evidence
    until: float | None = None
    """When the condition was gone."""
    enforced: float | None = None
    lifted: float | None = None
    state: MeasureState = MeasureState.FOUND
    due: float | None = None
    """End of the lead time or of the release delay, which ran when the recording ended."""
    not_done: str | None = None
    """Why nothing would have been done though it were in force; None: it would have been done."""


@dataclass(slots=True)
class Replayed:
    """What a run came to."""

    site: Site
    customers: int
    recorded: Recorded
    cases: list[Case]
    blocked: dict[tuple[str, str, str, str], int]
    """Queries, by clause, list, customer and answer."""
    notes: list[str] = field(default_factory=list)


def replay(site: Site, path: Path, options: Options, now: float) -> Replayed:
    """Run a recording against a site, with the customers and opt-outs of `now` (UNIX seconds).

    Raises RefusedError and UnavailableError for a recording that cannot be read.
    """
    notes: list[str] = []
    state = state_of(site, notes)
    people = People(site, state)
    rows = {identity: row for row, identity in enumerate(people.ids(), 1)}
    if not rows:
        raise RefusedError("the configuration has no customers, so nobody can be affected; name their file with `customers:`")
    held = holders_of(site, notes)
    owners = Owners(((prefix, rows[one.id]) for one in people.each() for prefix in one.prefixes), held, rows)
    recorded = Recorded(site.settings.detection.window)
    exporters = site.settings.flows.exporters if site.settings.flows is not None else ()
    reading = Reading(owners, recorded, judge_of(people, state, rows, notes, now), options.resolvers, exporters, notes)
    read_recording(path, reading)
    names = ["", *rows]
    measures = _Measures(people, lambda customer, clause: state.measures.is_exempt(customer, clause, now))
    _overload(people, recorded, names, measures, loaded=options.loaded)
    _lines(people, rows, recorded, measures, held)
    if held is not None:
        held.close()
    blocked = {(clause, listed, names[row], answer): count for (row, listed, clause, answer), count in sorted(recorded.blocked.items())}
    notes += [*measures.remarks(), *_remarks(people, recorded, options, owners.uncertain)]
    return Replayed(site, len(rows), recorded, measures.cases, blocked, notes)


class _Measures:
    """The life cycles of a run, by customer, clause and detector."""

    def __init__(self, people: People, is_exempt: Callable[[str, str], bool]) -> None:
        """`is_exempt`: whether the operator exempted a customer from a clause, besides what the customer's record says."""
        self.cases: list[Case] = []
        self._people = people
        self._is_exempt = is_exempt
        self._spared: dict[str, set[str]] = {}
        """Customers who would have been found, by the clause they are exempt from."""
        self._open: dict[tuple[str, str, Detector], tuple[Measure, Case]] = {}
        self._ids = itertools.count(1)

    def found(self, finding: Finding) -> None:
        """The condition is there."""
        key = finding.customer, finding.clause, finding.detector
        self._step(key, Found(finding, str(next(self._ids))), finding.at, finding.evidence)
        if key in self._open:
            self._open[key][1].until = None

    def gone(self, customer: str, detector: Detector, clause: str | None, now: float) -> None:
        """A condition is no more; `clause` None: under any."""
        for key in [one for one in self._open if one[0] == customer and one[2] is detector and clause in {None, one[1]}]:
            self._open[key][1].until = now
            self._step(key, Gone(), now, {})

    def tick(self, now: float) -> None:
        """Time has passed."""
        for key, (measure, _) in list(self._open.items()):
            if measure.until is not None and measure.until <= now:
                self._step(key, Tick(), now, {})

    def remarks(self) -> list[str]:
        """Who was left out, a sentence for each clause."""
        return [
            f"{clause} would have been found for {counted(len(who), 'customer', 'customers')} exempt from it by `sekisho measures exempt`, "
            "who are left out"
            for clause, who in sorted(self._spared.items())
        ]

    def _step(self, key: tuple[str, str, Detector], event: Event, now: float, evidence: Evidence) -> None:
        customer = self._people.get(key[0])
        rule = rule_for(self._people.site.packs, customer.terms, key[1], key[2])
        if rule is None:
            return
        exempt = self._is_exempt(key[0], key[1])
        if exempt:
            self._spared.setdefault(key[1], set()).add(key[0])
        standing = Standing(rule, exempt=exempt, observe=False)
        measure, case = self._open.get(key, (None, None))
        measure = step(measure, event, standing, now, calendar).measure
        if measure is not None and measure.state is MeasureState.NOTICED and measure.until is None:
            measure = step(measure, Delivered(now), standing, now, calendar).measure
        if measure is None:
            return
        if case is None:
            case = Case(*key, rule, now, evidence)
            if rule.effect is Effect.LIMIT_RATE and plan_of(customer, self._people.site.settings.lines) is None:
                case.not_done = NO_CAPACITY
            self.cases.append(case)
        case.state, case.due, case.enforced = measure.state, measure.until, measure.enforced_at
        if measure.state.is_open:
            self._open[key] = measure, case
        else:
            case.lifted, case.due = now, None
            self._open.pop(key, None)


def _overload(people: People, recorded: Recorded, names: list[str], measures: _Measures, *, loaded: bool) -> None:
    """The windows of queries, one after the other."""
    settings: Detection = people.site.settings.detection
    if loaded:
        settings = settings.model_copy(update={"load": _ASSUMED})
    memory = Overload()
    for window, patterns in recorded.windows(len(names), loaded=loaded):
        survey = memory.survey(window, settings)
        lines = [
            Line(names[row], _addresses(people.get(names[row])), patterns.get(row)) if row else Line(None) for row in survey.rows.tolist()
        ]
        conclusion = memory.conclude(survey, lines, settings)
        measures.tick(window.at)
        for one in conclusion.found:
            evidence = _told(one.evidence, loaded=loaded)
            for clause in clauses_for(people, one.customer):
                measures.found(Finding(Detector.DNS_OVERLOAD, clause, one.customer, window.at, settings.window, evidence, settings.urgent))
        for one in conclusion.gone:
            measures.gone(one.customer, Detector.DNS_OVERLOAD, None, window.at)


def _told(evidence: Evidence, *, loaded: bool) -> Evidence:
    """The figures a recording tells: what was forwarded it does not, nor what was only assumed."""
    left_out = {"forwarded_share", "unanswered_share"} | ({"utilisation"} if loaded else set())
    told = {name: value for name, value in evidence.items() if name not in left_out}
    return told | {"load": "assumed"} if loaded else told


def _addresses(customer: Customer) -> int:
    """IPv4 addresses, or 1, as the detector counts them."""
    many = sum(1 << 128 - one.length for one in customer.prefixes if one.length >= _V4_BITS and one.value >> 32 == 0xFFFF)
    return max(1, min(many, _MOST_ADDRESSES))


def _lines(people: People, rows: Mapping[str, int], recorded: Recorded, measures: _Measures, held: Holders | None) -> None:
    """The looks at lines, one after the other."""
    settings: Bandwidth = people.site.settings.bandwidth
    batches = recorded.batches()
    if not batches or recorded.begin is None:
        return
    prefixes = held.held(recorded.begin, recorded.end) if held is not None else {}
    index = index_of(people, dict(rows), settings.segments, lambda one: tuple(prefixes.get(one, ())))
    usage, mail, connections = Usage(batches[0].at - SLOT, len(rows) + 1), Tally(), Tally(2)
    occupancy, counts = Occupancy(), {Detector.MAIL_VOLUME: Counted(), Detector.CONNECTION_STORM: Counted()}
    each, taken, now = index.lines.each_rule(), 0, batches[0].at
    while now < batches[-1].at + settings.every:
        while taken < len(batches) and batches[taken].at <= now:
            one = batches[taken]
            usage.add(one.source, one.at, one.rows, one.down, one.up)
            mail.add(one.source, one.at, one.rows, one.mail)
            connections.add(one.source, one.at, one.rows, one.connections, one.focused)
            taken += 1
        usage.advance(now)
        look = occupancy.look(usage, index.lines, settings, index.named, _nobody, now)
        said = [(Detector.BANDWIDTH, look.found, look.gone)]
        for detector, rules, tally in (
            (Detector.MAIL_VOLUME, mailvolume.rules_of(each), mail),
            (Detector.CONNECTION_STORM, storms.rules_of(each), connections),
        ):
            found, gone = counts[detector].look(tally, index.lines, rules, settings, index.named, _nobody, now)
            said.append((detector, tuple(found), tuple(gone)))
        measures.tick(now)
        for detector, there, ended in said:
            _tell(people, measures, detector, there, ended, settings, now)
        now += settings.every


def _tell(
    people: People, measures: _Measures, detector: Detector, found: Iterable[Seen], gone: Iterable[Seen], settings: Bandwidth, now: float
) -> None:
    for one in found:
        if reaches(people, one.customer, one.clause, detector):
            measures.found(Finding(detector, one.clause, one.customer, now, one.window, one.evidence, settings.urgent))
    for one in gone:
        measures.gone(one.customer, detector, one.clause, now)


def _nobody(customer: str, clause: str) -> bool:
    """Whom a measure limits: nobody, in traffic that was recorded without it."""
    del customer, clause
    return False


def _remarks(people: People, recorded: Recorded, options: Options, uncertain: int) -> list[str]:
    """What the recording cannot tell, a sentence each."""
    said = []
    if uncertain:
        said.append(
            f"{uncertain:,} packets or records are of an address that was somebody's, but not certainly whose (a session lost, a shared "
            "address without a port or with one of nobody's, a user who is no customer): they are nobody's here; `sekisho sessions at` "
            "tells why"
        )
    if not recorded.queries and not recorded.octets:
        said.append("nothing in the recording is of a customer's address: compare the addresses with the customer file and `--state`")
    if recorded.queries and not recorded.answers and not options.loaded:
        said.append("no answer of a name server was recorded, so DNS load is not known and nobody is found by it; see --loaded")
    span = recorded.end - (recorded.begin or recorded.end)
    rules = {rule for pack in people.site.packs.values() for rule in pack.rules if isinstance(rule, MeasureRule)}
    for rule in sorted(rules, key=lambda rule: rule.clause):
        longest = max([rule.window or 0.0, *(one.window for one in rule.volumes)])
        if recorded.octets and longest > span + SLOT:
            what = f"{rule.clause} looks back on {span_words(longest)}, and the recording has {span_words(max(1.0, round(span)))}"
            said.append(f"{what}: what was before is taken to be nothing")
    if (
        recorded.octets
        and not people.site.settings.bandwidth.segments
        and any(rule.detector is Detector.BANDWIDTH and rule.congested for rule in rules)
    ):
        said.append("`bandwidth:` names no segments, so nobody is found where a clause asks for congestion")
    return said
