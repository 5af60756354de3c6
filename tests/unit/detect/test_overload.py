"""Populations as they are: who is found to overload the name servers, and who is not (`nbnet/22-2-5`)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.config.detection import Detection, LoadConditions, Statistic
from sekisho.detect.overload import Line, Pattern
from unit.detect.populations import LOADED, QUIET, Site, households

BOTH = pytest.mark.parametrize("statistic", list(Statistic))
FLOOD = 5000.0
STATISTICS = {one: Detection(statistic=one) for one in Statistic}


def town(statistic: Statistic = Statistic.MEDIAN, **loud: float) -> Site:
    return Site(households(20_000), loud, STATISTICS[statistic])


@BOTH
def test_a_flood_that_loads_the_name_servers_is_found_and_nobody_else(statistic: Statistic) -> None:
    site = town(statistic, flood=FLOOD, router=25.0, school=120.0)
    assert [len(site.look(LOADED).found) for _ in range(4)] == [0, 0, 1, 1]
    assert site.found(10, LOADED) == {"flood"}


@BOTH
def test_a_flood_without_load_is_not_found_however_loud(statistic: Statistic) -> None:
    assert town(statistic, flood=10 * FLOOD).found(20, QUIET) == set()


@BOTH
def test_load_without_a_flood_finds_nobody(statistic: Statistic) -> None:
    assert town(statistic).found(20, 1.0, failed=900, answered=100, bucket=13) == set()


@BOTH
def test_one_household_behind_a_busy_router_is_not_found_even_under_load(statistic: Statistic) -> None:
    """Twenty devices behind a router that keeps no answers: a hundred times the median, and no flood."""
    site = town(statistic, router=30.0)
    assert site.found(20, LOADED) == set()
    assert site.look(LOADED).lines == {}, "not even looked at closely"


@BOTH
def test_a_school_behind_one_address_is_not_found_while_somebody_else_loads_the_servers(statistic: Statistic) -> None:
    """High but steady: half a day of it and the school's own usual rate speaks for it, above the floor too."""
    site = town(statistic, school=300.0, flood=0.001)
    usual = np.zeros(len(site.lines) + 3, np.float32)
    usual[site.row("school")] = 300.0 * (1 - np.exp(-0.5))
    site.memory.usual = usual
    site.loud = {"school": 300.0, "flood": FLOOD}
    assert site.found(20, LOADED) == {"flood"}
    assert site.found(5, LOADED, times=1.1) == {"flood"}


def test_what_is_usual_is_learnt_in_windows_without_load_and_only_there() -> None:
    site = Site(households(50), {"school": 300.0})
    for _ in range(10):
        site.look(LOADED)
    assert site.memory.usual[site.row("school")] == 0, "a flood under load becomes nobody's usual rate"
    for _ in range(60):
        site.look(QUIET)
    assert site.memory.usual[site.row("school")] == pytest.approx(300 * (1 - (1 - 10 / 86400) ** 60), rel=0.05)


def test_a_flood_does_not_become_usual_before_it_is_found() -> None:
    """An hour of flood without load buys no leave to go on with it under load."""
    site = Site(households(200), {"flood": FLOOD}, Detection(window=60.0))
    for _ in range(60):
        site.look(QUIET)
    assert site.found(5, LOADED) == {"flood"}


def test_a_customer_with_a_block_of_addresses_is_measured_as_so_many_lines() -> None:
    for by_address, expected in ((True, {"flood"}), (False, {"flood", "school"})):
        site = Site(
            households(5000), {"school": 900.0, "flood": 900.0}, Detection(by_address=by_address), addresses={"school": 8, "flood": 1}
        )
        assert site.found(6, LOADED) == expected


@BOTH
@pytest.mark.parametrize("times", [3, 10, 40])
def test_an_event_that_lifts_everybody_finds_nobody(statistic: Statistic, times: int) -> None:
    """The hour a concert's tickets go on sale: every line asks many times what it does, and the servers are loaded."""
    site = town(statistic, router=10.0)
    for _ in range(10):
        site.look(QUIET)
    assert site.found(20, LOADED, times=float(times)) == set()


@BOTH
def test_a_flood_within_an_event_is_found(statistic: Statistic) -> None:
    site = town(statistic, router=5.0, flood=10 * FLOOD)
    assert site.found(6, LOADED, times=10.0) == {"flood"}


def test_a_few_neighbours_who_wake_up_lift_no_floor() -> None:
    """What lifts everybody is an event of a population; three lines are none."""
    site = Site(np.full(3, 0.5), {"flood": 1000.0})
    for _ in range(10):
        site.look(QUIET)
    site.lines = np.full(3, 20.0)
    assert site.found(4, LOADED) == {"flood"}


def test_many_floods_at_once_are_found_by_the_median_which_they_do_not_move() -> None:
    site = Site(households(900), {f"bot-{number}": 2000.0 for number in range(100)})
    assert site.found(4, LOADED) == set(site.loud)


@BOTH
@pytest.mark.parametrize("others", [0, 1, 2, 9])
def test_a_flood_in_a_small_population_is_found(statistic: Statistic, others: int) -> None:
    site = Site(np.full(others, 1.0), {"flood": 1000.0}, STATISTICS[statistic])
    assert site.found(4, LOADED) == {"flood"}


def test_a_flood_that_stops_and_starts_is_found_by_its_windows_not_by_one_of_them() -> None:
    site = town()
    found = []
    for window in range(12):
        site.loud = {"flood": FLOOD if window % 3 == 0 else 1.0}
        found.append(bool(site.look(LOADED).found))
    assert not any(found), "two windows of five are not three"


def test_the_condition_is_gone_after_three_calm_windows_and_not_before() -> None:
    site = town(flood=FLOOD)
    assert site.found(4, LOADED) == {"flood"}
    site.loud = {"flood": 1.0}
    told = [
        ([one.customer for one in after.found], [one.customer for one in after.gone]) for after in (site.look(LOADED) for _ in range(5))
    ]
    assert told == [([], []), ([], []), ([], ["flood"]), ([], []), ([], [])]


def test_windows_in_which_not_all_was_counted_end_nothing_and_teach_nothing() -> None:
    """A plane that dies and comes back has counted too little; the flood may have gone on meanwhile."""
    site = town(flood=FLOOD)
    site.found(4, LOADED)
    site.loud = {"flood": 0.0}
    usual = site.memory.usual.copy()
    assert [[one.customer for one in site.look(QUIET, whole=False).found] for _ in range(6)] == [["flood"]] * 6
    assert (site.memory.usual == usual).all()
    assert [[one.customer for one in site.look(QUIET).gone] for _ in range(3)] == [[], [], ["flood"]]


def test_windows_told_with_a_later_one_are_no_calm_ones_and_undo_none() -> None:
    site = town(flood=FLOOD)
    site.found(4, LOADED)
    site.loud = {"flood": 0.0}

    def ends(*whole: bool) -> list[bool]:
        return [bool(site.look(QUIET, whole=one, late=not one).gone) for one in whole]

    assert ends(False, False, False, False) == [False] * 4, "too little was counted in them"
    assert ends(True, False, True, False, False) == [False] * 5
    site.loud = {"flood": FLOOD}
    site.look(LOADED, whole=False, late=True)
    site.loud = {"flood": 0.0}
    assert ends(True, True, False, True) == [False, False, False, True], "what was seen of the flood already is enough for it to go on"


def test_between_the_threshold_and_half_of_it_the_condition_stays() -> None:
    site = town(flood=FLOOD)
    site.found(4, LOADED)
    site.loud = {"flood": 150.0}
    assert [[one.customer for one in site.look(LOADED).found] for _ in range(6)] == [["flood"]] * 6


def test_the_condition_is_gone_with_the_load_while_the_customer_is_answered() -> None:
    """A measure in `observe` leaves the flood answered: when the servers do well with it, there is no ground any more."""
    site = town(flood=FLOOD)
    site.found(4, LOADED)
    site.patterns = {"flood": Pattern(100, 1, 1, 10)}
    assert [[one.customer for one in site.look(QUIET).gone] for _ in range(3)] == [[], [], ["flood"]]


def test_what_is_not_known_after_a_restart_ends_no_measure() -> None:
    """In the first window it cannot be told whether the customer is answered, only that the flood goes on."""
    site = town(flood=FLOOD)
    site.settings = Detection(clear=1)
    site.memory.adopt(site.row("flood"), "flood", 5.0)
    assert site.look(QUIET).gone == ()
    site.patterns = {"flood": Pattern(0, 0, 0, int(FLOOD * 10))}
    assert site.look(QUIET).gone == ()
    site.patterns = {"flood": Pattern(100, 1, 1, 10)}
    assert [one.customer for one in site.look(QUIET).gone] == ["flood"]


def test_a_measure_does_not_end_by_its_own_success() -> None:
    """Silenced, the flood loads nobody any more; the condition is there for as long as it goes on."""
    site = town(flood=FLOOD)
    site.found(4, LOADED)
    site.patterns = {"flood": Pattern(0, 0, 0, int(FLOOD * 10))}
    for _ in range(20):
        after = site.look(QUIET)
        assert [one.customer for one in after.found] == ["flood"]
        assert after.gone == ()
    site.loud, site.patterns = {"flood": 0.0}, {}
    assert [[one.customer for one in site.look(QUIET).gone] for _ in range(3)] == [[], [], ["flood"]]


def test_who_is_silenced_and_not_heard_of_is_not_taken_for_calm() -> None:
    """Where resolvers tell of answers alone the flood is nothing to be seen, whether it goes on or not."""
    site = town(flood=FLOOD)
    site.found(4, LOADED)
    site.loud, site.unheard = {"flood": 0.0}, {"flood"}
    for load in (LOADED, QUIET) * 10:
        after = site.look(load)
        assert [one.customer for one in after.found] == ["flood"]
        assert after.gone == ()
    site.unheard = set()
    assert [[one.customer for one in site.look(QUIET).gone] for _ in range(3)] == [[], [], ["flood"]]


def test_who_is_held_by_a_hard_budget_without_load_is_not_found_for_it() -> None:
    site = town(flood=FLOOD)
    site.patterns = {"flood": Pattern(0, 0, 0, int(FLOOD * 9))}
    assert site.found(10, QUIET) == set()


def test_a_condition_from_before_a_restart_ends_though_it_was_never_seen() -> None:
    site = town(flood=1.0)
    site.memory.adopt(site.row("flood"), "flood", 5.0)
    ends = [site.look(QUIET).gone for _ in range(3)]
    assert [[one.customer for one in gone] for gone in ends] == [[], [], ["flood"]]


def test_the_evidence_proves_the_finding() -> None:
    site = town(flood=FLOOD)
    site.patterns = {"flood": Pattern(49_000, 48_000, 47_000, 0)}
    [found] = [site.look(LOADED, failed=500, answered=500) for _ in range(3)][-1].found
    evidence = found.evidence
    assert evidence["rate"] == pytest.approx(FLOOD, rel=0.02)
    assert evidence["rate"] > evidence["limit"] >= evidence["threshold"] >= evidence["floor"] == 200  # type: ignore[operator]
    assert (evidence["statistic"], evidence["factor"]) == ("median", 20.0)
    assert 0 < evidence["median"] < evidence["mean"] < 2  # type: ignore[operator]
    assert evidence["mad"] > 0  # type: ignore[operator]
    assert 10_000 < evidence["active"] < 20_000  # type: ignore[operator]
    assert (evidence["windows_over"], evidence["windows_needed"], evidence["windows"], evidence["window_seconds"]) == (3, 3, 5, 10.0)
    assert (evidence["load"], evidence["utilisation"], evidence["timeout_share"]) == ("utilisation timeouts", 0.95, 0.5)
    assert evidence["latency_seconds"] == pytest.approx(0.00475)
    assert evidence["pattern"] == "random-subdomain"
    assert [evidence[name] for name in ("new_name_share", "nxdomain_share")] == pytest.approx([0.96, 0.94], rel=0.02)
    assert (found.since, found.over) == (site.now, True)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (Pattern(49_000, 48_000, 100, 0), "none"),
        (Pattern(49_000, 100, 47_000, 0), "none"),
        (Pattern(49_000, 48_000, 47_000, 0), "random-subdomain"),
        (Pattern(9_000, 8_000, 7_900, 40_000), "random-subdomain"),
        (None, None),
    ],
)
def test_the_pattern_is_told_of_what_was_let_through(pattern: Pattern | None, expected: str | None) -> None:
    site = town(flood=FLOOD)
    site.patterns = {"flood": pattern} if pattern is not None else {}
    after, row = site.look(LOADED), site.row("flood")
    assert site.memory.stand(after, row, Line("flood"), site.settings).evidence.get("pattern") == expected


def test_a_row_that_is_nobodys_any_more_is_dropped_without_a_word() -> None:
    site = town(flood=FLOOD)
    site.found(4, LOADED)
    window = site.look(LOADED)
    assert [one.customer for one in window.found] == ["flood"]
    site.name = lambda _: None  # type: ignore[assignment,method-assign,misc,return-value]
    after = site.look(LOADED)
    assert (after.found, after.gone, len(site.memory.watched.rows)) == ((), (), 0)


def test_where_a_quiet_customer_stands_is_told_too() -> None:
    site = town(router=25.0)
    after = site.look(QUIET)
    standing = site.memory.stand(after, site.row("router"), Line("router"), site.settings)
    assert standing.evidence["rate"] == pytest.approx(25, rel=0.2)
    assert (standing.evidence["limit"], standing.over, standing.found) == (200.0, False, False)
    assert site.memory.stand(after, 10**6, Line("new"), site.settings).evidence["rate"] == 0


rates = st.floats(0, 190) | st.floats(0, 20)


@settings(max_examples=60)
@given(st.lists(rates, min_size=1, max_size=40), st.sampled_from(list(Statistic)), st.lists(st.booleans(), min_size=1, max_size=12))
def test_nobody_below_the_floor_is_ever_found_whatever_the_others_do(lines: list[float], statistic: Statistic, loaded: list[bool]) -> None:
    site = Site(np.array(lines), {"flood": FLOOD}, Detection(statistic=statistic))
    for one in loaded:
        assert {found.customer for found in site.look(LOADED if one else QUIET).found} <= {"flood"}


@settings(max_examples=60)
@given(st.lists(st.tuples(st.floats(0, 20_000), st.booleans()), min_size=1, max_size=25))
def test_nobody_is_found_before_three_loaded_windows_and_every_end_follows_a_finding(story: list[tuple[float, bool]]) -> None:
    site = Site(households(100), {"one": 0.0}, Detection(load=LoadConditions(release=1.0)))
    loaded, held = 0, False
    for rate, load in story:
        site.loud = {"one": rate}
        after = site.look(LOADED if load else QUIET)
        loaded += load
        assert not after.found or loaded >= 3
        assert not after.gone or held
        held = (held or bool(after.found)) and not after.gone
