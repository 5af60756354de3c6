"""The fold of measures and of what the operator says of all of them."""

from __future__ import annotations

import json

import pytest

from sekisho.ledger.measures import CLOSED, KEEP, STEPS, MeasureBook
from sekisho.ledger.retention import Subject
from sekisho.ledger.state import fold
from sekisho.model import events
from sekisho.model.events import RecordedAct
from sekisho.model.measures import Detector, Emergency, Exemption, Hold, Interruption, MeasureState, Occasion, Outage

T0 = 1_700_000_000.0
OPENED = events.MeasureOpened("m-1", "c-1", "nbnet/22-2-5", "dns-overload", {"rate": 900}, observe=False, urgent=False)


def moved(state, cause, until=None, measure="m-1", customer="c-1"):
    return events.MeasureMoved(measure, customer, state, cause, until)


LIFE = [
    OPENED,
    moved("noticed", "notice-due"),
    moved("noticed", "notice-delivered", T0 + 100),
    moved("in-force", "lead-time-over"),
    events.MeasureSustained("m-1", "c-1", {"rate": 1000}),
    events.TerminationEligible("m-1", "c-1", "nbnet/26-1"),
    moved("ending", "condition-gone", T0 + 900),
]
REST = [
    events.CustomerExempted("c-1", "nbnet/22-2-5", "a school"),
    events.CustomerExempted("c-1", "nbnet/22-1", "a school", T0 + 50),
    events.EnforcementHeld("drill"),
    events.EmergencyDeclared(["gunma/19-1"], T0 + 3600, ["c-9"], "earthquake"),
    events.OutageOpened("o-1", T0, ["gunma"], "fibre cut"),
    events.OutageOpened("o-2", T0, [], "power"),
    events.OutageClosed("o-1", T0 + 50_000),
    events.InterruptionAnnounced("i-1", "maintenance", ["vectant"], T0 + 9e5, T0 + 9.1e5, False, "routers"),
]


def recorded(acts, start=1):
    return [RecordedAct(start + n, T0 + n, "sekishod", act) for n, act in enumerate(acts)]


def book_of(acts):
    return fold(recorded(acts)).measures


def content(book):
    return list(book.dump())


def test_a_measure_is_as_its_acts_say():
    book = book_of(LIFE)
    [measure] = book.open()
    assert (measure.state, measure.since, measure.until, measure.gone_at) == (MeasureState.ENDING, T0 + 6, T0 + 900, T0 + 6)
    assert (measure.enforced_at, measure.condition_at, measure.termination_eligible) == (T0 + 3, T0 + 4, True)
    assert measure.evidence == {"rate": 1000}
    assert book.of("c-1") == [measure]
    assert book.customers() == {"c-1"}
    assert book.last("c-1", "nbnet/22-2-5", Detector.DNS_OVERLOAD) == measure
    assert book.last("c-1", "nbnet/22-2-5", Detector.OPERATOR) is None


def test_its_steps_say_who_did_what_and_what_the_customer_is_told():
    steps = book_of(LIFE).cases["m-1"].steps
    assert [(one.state, one.cause) for one in steps][:4] == [
        ("found", ""),
        ("noticed", "notice-due"),
        ("noticed", "notice-delivered"),
        ("in-force", "lead-time-over"),
    ]
    assert [one.occasion for one in steps] == [
        None,
        Occasion.BEFORE,
        None,
        None,
        None,
        Occasion.TERMINATION_ELIGIBLE,
        Occasion.ENDING,
    ]
    assert [one.number for one in steps] == [1, 2, 3, 4, 5, 6, 7]


def test_a_closed_measure_is_open_no_more_and_stays_closed():
    book = book_of([*LIFE, moved("lifted", "release-delay-over"), moved("in-force", "condition")])
    assert book.open() == []
    assert book.get("m-1").state is MeasureState.LIFTED
    assert book.customers() == set()


def test_acts_of_a_measure_that_is_not_known_are_passed_over():
    assert content(book_of(LIFE[1:])) == content(MeasureBook())


def test_what_the_operator_says_of_all_measures():
    book = book_of(REST)
    assert book.exemptions["c-1"]["nbnet/22-2-5"] == Exemption("c-1", "nbnet/22-2-5", "a school", "sekishod", T0)
    assert book.is_exempt("c-1", "nbnet/22-1", T0 + 49)
    assert not book.is_exempt("c-1", "nbnet/22-1", T0 + 50)
    assert not book.is_exempt("c-2", "nbnet/22-1", T0)
    assert book.hold == Hold(T0 + 2, "sekishod", "drill")
    assert book.emergency == Emergency(("gunma/19-1",), T0 + 3, T0 + 3600, ("c-9",), "sekishod", "earthquake")
    assert book.outages["o-1"] == Outage("o-1", T0, T0 + 50_000, ("gunma",), "fibre cut", T0)
    assert book.outages["o-2"].until is None
    assert book.interruptions["i-1"] == Interruption("i-1", "maintenance", ("vectant",), T0 + 9e5, T0 + 9.1e5, T0 + 7, False, "routers")


def test_what_the_operator_takes_back_is_over():
    back = [
        events.ExemptionEnded("c-1", "nbnet/22-1"),
        events.ExemptionEnded("c-1", "nbnet/22-2-5"),
        events.EnforcementResumed(),
        events.EmergencyEnded(),
    ]
    book = book_of([*REST, *back])
    assert (book.exemptions, book.hold, book.emergency) == ({}, None, None)


@pytest.mark.parametrize("cut", range(len(LIFE) + len(REST) + 1))
def test_what_was_dumped_at_any_point_folds_on_as_if_it_had_not_been(cut):
    acts = recorded([*LIFE, *REST])
    whole = book_of([*LIFE, *REST])
    part = MeasureBook()
    for one in acts[:cut]:
        part.apply(one)
    again = MeasureBook()
    again.load(json.loads(json.dumps(list(part.copy().dump()))))
    for one in acts[cut:]:
        again.apply(one)
    assert json.dumps(content(again)) == json.dumps(content(whole))
    assert again.cases == whole.cases
    assert again.open() == whole.open()
    assert again.of("c-1") == whole.of("c-1")


def test_a_copy_does_not_change_with_the_book():
    book = book_of([*LIFE, *REST])
    copy = book.copy()
    before = json.dumps(content(copy))
    for one in recorded(
        [moved("lifted", "release-delay-over"), events.ExemptionEnded("c-1", "nbnet/22-1"), events.EnforcementResumed()], 100
    ):
        book.apply(one)
    assert json.dumps(content(copy)) == before
    assert json.dumps(content(book)) != before


def many(count, start=0):
    for n in range(start, start + count):
        yield events.MeasureOpened(f"m-{n}", f"c-{n % 7}", "nbnet/22-2-5", "dns-overload", {}, observe=True, urgent=False)
        yield moved("dismissed", "operator", measure=f"m-{n}", customer=f"c-{n % 7}")


def test_closed_measures_do_not_pile_up():
    book = book_of([OPENED, *many(CLOSED + 50, 2)])
    assert len(book.cases) == CLOSED + 1
    assert book.get("m-1") is not None, "it is open"
    assert book.get("m-2") is None
    late = RecordedAct(10**6, T0 + 2 * KEEP, "sekishod", moved("dismissed", "operator"))
    book.apply(late)
    assert list(book.cases) == ["m-1"]
    assert list(book._of) == ["c-1"]


def test_the_steps_of_one_measure_do_not_pile_up():
    book = book_of([*LIFE[:4], *(events.MeasureSustained("m-1", "c-1", {"n": n}) for n in range(500))])
    assert len(book.cases["m-1"].steps) == STEPS


def test_what_was_erased_is_forgotten_unless_it_is_open():
    book = book_of([*LIFE, *REST])
    book.forget(Subject("measure", ("m-1",)))
    assert book.get("m-1") is not None
    book.apply(RecordedAct(99, T0 + 99, "x", moved("lifted", "operator")))
    for subject in (
        ("measure", ("m-1",)),
        ("exemption", ("c-1", "nbnet/22-1")),
        ("outage", ("o-1",)),
        ("measure", ("m-9",)),
        ("notice", ("n-1",)),
    ):
        book.forget(Subject(*subject))
    assert book.cases == {}
    assert list(book.exemptions["c-1"]) == ["nbnet/22-2-5"]
    assert list(book.outages) == ["o-2"]
