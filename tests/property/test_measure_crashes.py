"""The process dies at any act or order of a scripted month, and nothing is lost, stuck, or told twice."""

from __future__ import annotations

import asyncio

import pytest

from sekisho.model.clauses import Clause, NoticeTime, Pack
from sekisho.model.customers import Customer
from sekisho.model.measures import Detector, Finding
from support.desk import Desk
from unit.measures.cases import CLAUSE, DAY, T0, days, rule

FIXED = "nbnet/22-1"
PACK = {
    "nbnet": Pack(
        "nbnet",
        "t",
        "o",
        "1",
        (
            Clause(CLAUSE, "22", "ja", "en", (rule(lead=days(1)),)),
            Clause(
                FIXED,
                "22",
                "ja",
                "en",
                (
                    rule(
                        clause=FIXED,
                        detector=Detector.BANDWIDTH,
                        notice=NoticeTime.AFTER,
                        period=days(7),
                        extension=True,
                        release_delay=None,
                    ),
                ),
            ),
        ),
    )
}
KEYS = [("c-1", CLAUSE, Detector.DNS_OVERLOAD), ("c-2", CLAUSE, Detector.DNS_OVERLOAD), ("c-1", FIXED, Detector.BANDWIDTH)]
MOMENTS = 32


class DiedError(BaseException):
    """The process is gone."""


class Fate:
    """Lets the process die at the nth thing it does, before or after it is done."""

    def __init__(self, at, *, after):
        self.left, self.after = at, after

    async def watch(self, what):
        self.left -= 1
        if self.left == 0 and not self.after:
            raise DiedError
        done = await what()
        if self.left == 0:
            raise DiedError
        return done


def watched(desk, fate):
    append, order = desk.ledger.append, desk.post.order
    desk.ledger.append = lambda act, actor, now: fate.watch(lambda: append(act, actor, now))
    desk.post.order = lambda one: fate.watch(lambda: order(one))
    return order


async def step(desk, number):
    """What happens in a day of the month: detectors look, and time passes. A detector says again what it sees."""
    now = T0 + number * DAY
    there = [key for key in KEYS if number < 12 or (number > 17 and key[0] == "c-2" and number < 22)]
    await desk.measures.found([Finding(detector, clause, who, now) for who, clause, detector in there], now)
    await desk.measures.gone([key for key in KEYS if key not in there], now)
    await desk.measures.tick(now + 1)
    for one in desk.post.orders.values():
        desk.post.delivered_at.setdefault(one.key, now + 1)
    await desk.measures.tick(now + 2)


async def month(fate):
    """Returns the desk at the end, and whether the process died on the way."""
    desk = Desk(PACK, [Customer("c-1", ("nbnet",)), Customer("c-2", ("nbnet",))])
    order, died = watched(desk, fate), False
    for number in range(MOMENTS):
        try:
            await step(desk, number)
        except DiedError:
            died = True
            desk.post.order = order
            desk.restart()
            await step(desk, number)
    return desk, died


def story(desk):
    """Each customer's measures as states in order, whatever their ids."""
    cases = sorted(desk.book.cases.values(), key=lambda case: (case.measure.customer, case.measure.clause, case.measure.opened_at))
    told = {}
    for one in desk.post.orders.values():
        told.setdefault((one.measure, one.clause), []).append(one.occasion.value)
    return [
        (
            case.measure.customer,
            case.measure.clause,
            # When a condition that lasts was last written down is all that may differ.
            [(step.kind, step.state, step.cause) for step in case.steps if step.kind != "measure-sustained"],
            sorted(told.get((case.measure.id, case.measure.clause), [])),
        )
        for case in cases
    ]


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_process_that_dies_at_any_point_of_a_month_leaves_the_month_as_it_was(after):
    whole, died = asyncio.run(month(Fate(0, after=after)))
    assert not died
    assert {case.measure.state.value for case in whole.book.cases.values()} == {"lifted"}
    # Every other point in either direction: together they are all.
    reference, points = story(whole), int(after)
    assert len(reference) >= 3
    while True:
        desk, died = asyncio.run(month(Fate(points + 1, after=after)))
        if not died:
            break
        points += 2
        assert desk.plane.rows == {}
        assert story(desk) == reference, f"died {'after' if after else 'before'} step {points - 1}"
    assert points > 30
