"""A wall clock that is set is told from one that is slewed, and from time that passes."""

from __future__ import annotations

from sekisho.app.clocksteps import STEP, TOLD_FOR, ClockSteps


def test_a_step_is_told_for_an_hour_and_what_is_slewed_is_none() -> None:
    clock = ClockSteps(began=100.0, _wall=1_000.0, _monotonic=100.0)
    clock.look(1_000.5, 100.5)
    clock.look(1_600.9, 700.5)  # 0.4 s in ten minutes
    assert (clock.count, clock.warnings(700.5)) == (0, [])
    clock.look(88_001.4, 701.0)
    assert (clock.count, round(clock.moved)) == (1, 86_400)
    assert "set forward by 86,400 s" in clock.warnings(701.0)[0]
    clock.look(88_001.9, 701.5)
    assert clock.count == 1, "told once"
    clock.look(1_602.4, 702.0)
    assert "set back by 86,400 s" in clock.warnings(702.0)[0]
    assert not clock.warnings(702.0 + TOLD_FOR + 1)
    assert clock.uptime(702.0) == 602.0, "whatever the clock says"


def test_half_a_step_at_each_look_is_no_step() -> None:
    clock = ClockSteps(began=0.0, _wall=0.0, _monotonic=0.0)
    for number in range(1, 10):
        clock.look(number * (1 + STEP / 2), float(number))
    assert not clock.count
