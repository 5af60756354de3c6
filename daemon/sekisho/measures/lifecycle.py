"""The life cycle of a measure: what there was, what happened, what the terms say - and what follows.

`step` is a pure function. It answers with the acts to record, in order, the measure as it is after them, and the
notices that are then owed. Nothing is kept between calls: what is due follows from the measure and `now` alone
(`Tick`), so a restart loses no timer, and a step that was recorded in part goes on where it stopped.

    found ─► noticed ─► in force ─► ending ─► lifted
       │  (urgent: straight)  │  ▲________│ (condition back)
       └─► dismissed          └─► extended · termination-eligible (raised once, never carried out)

Decisions
* Where the notice comes before, the lead time counts from when the notice counts as delivered; without a lead time of its
  own the measure is in force from then on ("beforehand").
* A customer is told nothing where the rule's notice is `none`.
* As long as the condition holds: when it is gone, the release delay runs (`ending`, enforced still), then it is lifted.
  A fixed period runs to its end, whatever the condition does; then it is extended if the rule says so and the condition is
  there, and lifted otherwise, not before the release delay has passed since the condition was gone.
* The days to termination count from when it was last put in force, and only while the condition is there. Where the terms
  give no days but a period, it is raised when the period is over and the condition is still there. A measure that is
  observed only suspended nobody, so nothing follows from it.
* While the operator holds enforcement, nothing enters into force; what is in force goes on, and is enforced again afterwards.
* A measure observed only needs no delivery of its notice: its lead time counts from when the notice was due.
"""

from __future__ import annotations

from collections.abc import Callable

from sekisho.measures.deadlines import ended_by, termination_at
from sekisho.measures.happenings import Delivered, Dismiss, Event, Extend, Found, Gone, Lift, Outcome, Tick
from sekisho.measures.occasions import order_for
from sekisho.measures.standing import Calendar, Standing
from sekisho.model.clauses import MeasureRule, NoticeTime
from sekisho.model.errors import RefusedError
from sekisho.model.events import Act
from sekisho.model.measureacts import MeasureExtended, MeasureMoved, MeasureOpened, MeasureSustained, TerminationEligible
from sekisho.model.measures import Cause, Detector, Finding, Measure, MeasureState, NoticeOrder
from sekisho.model.progress import opened, progress

SUSTAIN_EVERY = 3600.0
"""Seconds between two records of a condition that lasts."""
QUIET = 86400.0
"""Seconds for which an operator's lifting or dismissal stands against the same condition found again."""
_STEPS = 16
"""Steps that can follow one another at one time; more would be a circle."""
_MOST_PERIODS = 100_000


def step(measure: Measure | None, event: Event, standing: Standing, now: float, calendar: Calendar) -> Outcome:
    """What follows from an event, and from the time it is.

    Raises RefusedError, with a sentence, for what an operator asks and cannot have; nothing else is an error: an event
    that does not concern the measure changes nothing.
    """
    run = _Run(measure, standing, now, calendar)
    if measure is None:
        if isinstance(event, Found):
            run.open(event)
    elif measure.state.is_open:
        run.take(event)
    elif isinstance(event, Lift | Dismiss | Extend):
        raise RefusedError(f"measure {measure.id} is {measure.state} already; `sekisho measures list` shows what is open")
    for _ in range(_STEPS):
        if not run.go_on():
            break
    return run.outcome()


def may_open(last: Measure | None, finding: Finding, now: float) -> bool:
    """Whether a finding may open a measure where `last` was the last one for it: an operator's word is not undone by the next window."""
    if last is None or last.cause is not Cause.OPERATOR or finding.detector is Detector.OPERATOR:
        return True
    return not last.since <= now < last.since + QUIET


class _Run:
    """One step under way: the measure so far and what has come of it."""

    def __init__(self, measure: Measure | None, standing: Standing, now: float, calendar: Calendar) -> None:
        self._measure = measure
        self._standing = standing
        # The ledger keeps microseconds: what is worked out from an act is the same before and after a restart.
        self._now = round(now * 1_000_000) / 1_000_000
        self._calendar = calendar
        self._acts: list[Act] = []
        self._orders: list[NoticeOrder] = []

    def outcome(self) -> Outcome:
        return Outcome(self._measure, tuple(self._acts), tuple(self._orders))

    def open(self, event: Found) -> None:
        """A first finding. No clause of the customer's terms, or an exemption from it: no measure."""
        rule, finding = self._standing.rule, event.finding
        if rule is None or self._standing.exempt:
            return
        urgent = finding.urgent and rule.urgent
        detector, evidence = finding.detector.value, dict(finding.evidence)
        act = MeasureOpened(event.id, finding.customer, finding.clause, detector, evidence, self._standing.observe, urgent, event.reason)
        self._acts.append(act)
        self._measure = opened(act, self._now)

    def take(self, event: Event) -> None:
        """An event of an open measure."""
        match event:
            case Found():
                self._found_again(event.finding)
            case Gone():
                self._gone(event.reason)
            case Delivered():
                self._delivered(event.at)
            case Lift():
                self._lift(event.reason)
            case Dismiss():
                self._dismiss(event.reason)
            case Extend():
                self._extend(event)
            case Tick():
                pass

    def go_on(self) -> bool:
        """Make the next move that is due, if one is. Returns whether one was made."""
        measure = self._measure
        if measure is None or not measure.state.is_open:
            return False
        ended = ended_by(measure, self._standing)
        if ended is not None:
            self._close(ended)
            return True
        moves: dict[MeasureState, Callable[[Measure, MeasureRule], bool]] = {
            MeasureState.FOUND: self._begin,
            MeasureState.NOTICED: self._lead_over,
            MeasureState.IN_FORCE: self._in_force,
            MeasureState.ENDING: self._ending,
        }
        rule = self._standing.rule
        return rule is not None and moves[measure.state](measure, rule)

    # What follows by itself

    def _begin(self, measure: Measure, rule: MeasureRule) -> bool:
        if rule.notice is NoticeTime.BEFORE and not measure.urgent:
            until = self._lead_end(rule, self._now) if measure.observe else None
            return self._move(MeasureState.NOTICED, Cause.NOTICE_DUE, until)
        return self._enforce(rule, Cause.URGENT if measure.urgent else Cause.CONDITION)

    def _lead_over(self, measure: Measure, rule: MeasureRule) -> bool:
        if measure.until is None or measure.until > self._now:
            return False
        return self._enforce(rule, Cause.LEAD_TIME_OVER)

    def _in_force(self, measure: Measure, rule: MeasureRule) -> bool:
        termination = termination_at(measure, rule, self._calendar)
        if termination is not None and termination <= self._now and rule.termination_clause is not None:
            return self._do(TerminationEligible(measure.id, measure.customer, rule.termination_clause))
        if measure.until is None or measure.until > self._now:
            return False
        if measure.gone_at is not None:
            release = measure.until
            if rule.release_delay is not None:
                release = self._calendar.ends(rule.release_delay, measure.gone_at)
            if release > self._now:
                return self._move(MeasureState.ENDING, Cause.PERIOD_OVER, release)
            return self._move(MeasureState.LIFTED, Cause.PERIOD_OVER)
        if rule.extension and rule.period is not None:
            until = self._after_now(rule, measure.until)
            return self._do(MeasureExtended(measure.id, measure.customer, until))
        return self._move(MeasureState.LIFTED, Cause.PERIOD_OVER)

    def _ending(self, measure: Measure, _rule: MeasureRule) -> bool:
        if measure.until is not None and measure.until > self._now:
            return False
        return self._move(MeasureState.LIFTED, Cause.RELEASE_DELAY_OVER)

    def _after_now(self, rule: MeasureRule, end: float) -> float:
        """The end of the first further period that is not over yet: one act, however long nobody looked."""
        if rule.period is None:  # pragma: no cover - asked for fixed periods only
            return end
        for _ in range(_MOST_PERIODS):
            end = self._calendar.ends(rule.period, end)
            if end > self._now:
                return end
        return self._calendar.ends(rule.period, self._now)

    # What happens

    def _found_again(self, finding: Finding) -> None:
        measure, rule = self._expect(), self._standing.rule
        if rule is None:
            return
        urgent = finding.urgent and rule.urgent and not self._standing.held
        if measure.state in {MeasureState.FOUND, MeasureState.NOTICED} and urgent:
            self._sustain(measure, finding)
            self._enforce(rule, Cause.URGENT)
        elif measure.state is MeasureState.ENDING:
            self._move(MeasureState.IN_FORCE, Cause.CONDITION, self._period_end(rule))
        elif measure.gone_at is not None or self._now - measure.condition_at >= SUSTAIN_EVERY:
            self._sustain(measure, finding)

    def _sustain(self, measure: Measure, finding: Finding) -> None:
        evidence = dict(finding.evidence)
        if evidence.get("limited"):
            # Figures of a line that is limited are the limit's doing: those that led to it stay the answer to why it is slow.
            without = {key: value for key, value in evidence.items() if key == "utilisation_without_limits"}
            evidence = {**measure.evidence, **without, "limited": evidence["limited"]}
        self._do(MeasureSustained(measure.id, measure.customer, evidence))

    def _gone(self, reason: str) -> None:
        measure, rule = self._expect(), self._standing.rule
        if rule is None:
            return
        match measure.state:
            case MeasureState.FOUND | MeasureState.NOTICED:
                self._move(MeasureState.DISMISSED, Cause.CONDITION_GONE, reason=reason)
            case MeasureState.IN_FORCE if rule.period is not None:
                if measure.gone_at is None:
                    self._move(MeasureState.IN_FORCE, Cause.CONDITION_GONE, measure.until, reason)
            case MeasureState.IN_FORCE:
                if rule.release_delay is None:
                    self._move(MeasureState.LIFTED, Cause.CONDITION_GONE, reason=reason)
                else:
                    self._move(MeasureState.ENDING, Cause.CONDITION_GONE, self._calendar.ends(rule.release_delay, self._now), reason)
            case _:
                pass

    def _delivered(self, at: float) -> None:
        measure, rule = self._expect(), self._standing.rule
        if rule is not None and measure.state is MeasureState.NOTICED and measure.until is None:
            # Never before the notice was due: a clock that was set back must not shorten the lead time.
            self._move(MeasureState.NOTICED, Cause.NOTICE_DELIVERED, self._lead_end(rule, max(at, measure.since)))

    def _lift(self, reason: str) -> None:
        measure = self._expect()
        if measure.state not in {MeasureState.IN_FORCE, MeasureState.ENDING}:
            raise RefusedError(f"measure {measure.id} is not in force yet; dismiss it: `sekisho measures dismiss {measure.id}`")
        self._move(MeasureState.LIFTED, Cause.OPERATOR, reason=reason)

    def _dismiss(self, reason: str) -> None:
        measure = self._expect()
        if measure.state not in {MeasureState.FOUND, MeasureState.NOTICED}:
            raise RefusedError(f"measure {measure.id} is in force; lift it: `sekisho measures lift {measure.id}`")
        self._move(MeasureState.DISMISSED, Cause.OPERATOR, reason=reason)

    def _extend(self, event: Extend) -> None:
        measure, rule = self._expect(), self._standing.rule
        if measure.state is not MeasureState.IN_FORCE or measure.until is None or rule is None:
            raise RefusedError(
                f"measure {measure.id} has no period under way that could be extended (it is {measure.state});"
                " only what is in force for a set period is extended, anything else lasts as long as its condition"
            )
        if event.until <= measure.until:
            raise RefusedError(f"measure {measure.id} lasts longer than that already; give a later end, or lift it")
        if event.until <= self._now:
            raise RefusedError("the new end lies in the past; give a later one")
        self._do(MeasureExtended(measure.id, measure.customer, event.until, event.reason))

    # Moves

    def _enforce(self, rule: MeasureRule, cause: Cause) -> bool:
        return not self._standing.held and self._move(MeasureState.IN_FORCE, cause, self._period_end(rule))

    def _close(self, cause: Cause) -> None:
        enforced = self._expect().state in {MeasureState.IN_FORCE, MeasureState.ENDING}
        self._move(MeasureState.LIFTED if enforced else MeasureState.DISMISSED, cause)

    def _move(self, state: MeasureState, cause: Cause, until: float | None = None, reason: str = "") -> bool:
        measure = self._expect()
        return self._do(MeasureMoved(measure.id, measure.customer, state.value, cause.value, until, reason))

    def _do(self, act: Act) -> bool:
        before = self._expect()
        self._acts.append(act)
        self._measure = progress(before, act, self._now)
        order = order_for(before, act, self._now, self._standing.rule)
        if order is not None:
            self._orders.append(order)
        return True

    def _lead_end(self, rule: MeasureRule, start: float) -> float:
        return start if rule.lead is None else self._calendar.ends(rule.lead, start)

    def _period_end(self, rule: MeasureRule) -> float | None:
        return None if rule.period is None else self._calendar.ends(rule.period, self._now)

    def _expect(self) -> Measure:
        if self._measure is None:  # pragma: no cover - callers hold a measure
            raise AssertionError
        return self._measure
