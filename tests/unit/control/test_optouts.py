"""Opting out (`gunma/別記-3`): on disk, in force, then acknowledged; and what nobody opts out of."""

from __future__ import annotations

import asyncio

import pytest

from sekisho.model.errors import LedgerError, RefusedError, TableError
from unit.control.sites import ACTOR, Clock, daemon, run, verdict

BLOCKED = ("blocked", "c2", "gunma/別記-1")


async def add(control, customer="c-1", list_id="c2", **more):
    return await control.add_opt_out(customer, list_id, **({"until": None, "by": None, "actor": ACTOR} | more))


def test_an_opt_out_is_in_force_when_it_is_acknowledged(folder):
    async def scenario(control):
        before = await verdict(control, "c-1", "www.c2.example")
        answer = await add(control, by="phone")
        return before, answer, await verdict(control, "c-1", "www.c2.example"), await verdict(control, "c-2", "www.c2.example")

    before, answer, after, other = run(folder, scenario)
    assert before == other == BLOCKED
    assert answer["in_force"] is True
    assert (answer["by"], answer["clause"]) == ("phone", "gunma/別記-1")
    assert after == ("answered", None, None)


def test_opting_back_in_is_in_force_at_once_and_says_so(folder):
    async def scenario(control):
        await add(control)
        answer = await control.remove_opt_out("c-1", "c2", by=None, actor=ACTOR)
        return answer, await verdict(control, "c-1", "c2.example")

    answer, after = run(folder, scenario)
    assert answer["in_force"] is False
    assert "in force for them again" in answer["reach"]
    assert after == BLOCKED


def test_an_opt_out_survives_a_restart(folder):
    run(folder, lambda control: add(control, until=4e9, by="web"))

    async def scenario(control):
        return await control.show_opt_outs("c-1", None), await verdict(control, "c-1", "c2.example")

    shown, after = run(folder, scenario)
    assert after[0] == "answered"
    assert [(one["list"], one["in_force"], one["until"], one["by"]) for one in shown["opt_outs"]] == [("c2", True, 4e9, "web")]


def test_an_opt_out_ends_at_its_time(folder):
    from sekisho.app.control_daemon import _expire

    clock = Clock()

    async def scenario(control):
        await add(control, until=clock.now + 60)
        await _expire(control.core)
        held = await verdict(control, "c-1", "c2.example")
        clock.now += 60
        await _expire(control.core)
        return held, await verdict(control, "c-1", "c2.example"), await control.show_opt_outs("c-1", "c2")

    held, after, shown = run(folder, scenario, clock)
    assert held[0] == "answered"
    assert after == BLOCKED
    assert shown["in_force"] is False


def test_an_opt_out_that_was_prolonged_does_not_end_at_the_first_time(folder):
    from sekisho.app.control_daemon import _expire

    clock = Clock()

    async def scenario(control):
        await add(control, until=clock.now + 60)
        await add(control)
        clock.now += 61
        await _expire(control.core)
        return await verdict(control, "c-1", "c2.example")

    assert run(folder, scenario, clock)[0] == "answered"


def test_nobody_opts_out_of_child_abuse_material(folder):
    """`nbnet/21-1`: there is no opt-out, and the refusal cites the clause."""

    async def scenario(control):
        with pytest.raises(RefusedError, match="nbnet/21-1"):
            await add(control, "c-2", "csam")
        await add(control, "c-2", "c2")
        return control.core.state.opt_outs

    assert list(run(folder, scenario)["c-2"]) == ["c2"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"customer": "c-9"}, "no customer c-9"),
        ({"list_id": "c9"}, "no list c9"),
        ({"customer": "c-3"}, "no clause of nbnet"),
        ({"until": 1.0}, "past"),
    ],
)
def test_what_cannot_be_opted_out_of_is_refused_with_a_sentence_and_leaves_no_act(folder, change, said):
    async def scenario(control):
        with pytest.raises(RefusedError, match=said):
            await add(control, **change)
        return control.core.state.number

    assert run(folder, scenario) == 0


def test_a_customer_without_consent_may_opt_out_all_the_same(folder):
    async def scenario(control):
        await add(control, "c-4")
        return await control.show_customer("c-4")

    assert "opted out since" in run(folder, scenario)["lists"][0]["reason"]


def test_opting_in_without_having_opted_out_is_refused(folder):
    async def scenario(control):
        with pytest.raises(RefusedError, match="is not opted out"):
            await control.remove_opt_out("c-1", "c2", by=None, actor=ACTOR)

    run(folder, scenario)


def test_an_opt_out_that_could_not_be_recorded_is_not_acknowledged_and_not_in_force(folder):
    async def scenario(control):
        async def full(act, actor, now):
            raise LedgerError("no room; make some")

        control.core.ledger.append = full
        with pytest.raises(LedgerError):
            await add(control)
        return await verdict(control, "c-1", "c2.example")

    assert run(folder, scenario) == BLOCKED


def test_an_opt_out_made_while_all_customers_are_loaded_is_in_force_when_acknowledged(folder):
    async def scenario(control):
        reloading = asyncio.create_task(control.reload(actor=ACTOR))
        await asyncio.sleep(0)
        await add(control)
        now = await verdict(control, "c-1", "c2.example")
        await reloading
        return now, await verdict(control, "c-1", "c2.example")

    now, after = run(folder, scenario)
    assert now[0] == after[0] == "answered"


def test_two_daemons_do_not_share_a_record(folder):
    async def scenario(control):
        with pytest.raises(LedgerError, match="another sekishod"):
            async with daemon(folder):
                pass

    run(folder, scenario)


def test_two_daemons_with_a_record_each_do_not_share_a_runtime_folder(folder):
    async def scenario(control):
        folder.set(state="another")
        folder.customers([])
        with pytest.raises(TableError, match=r"another sekishod is using .*`runtime` folder of its own"):
            async with daemon(folder):
                pass
        return await verdict(control, "c-1", "www.c2.example")

    assert run(folder, scenario) == BLOCKED, "the plane of the first would answer by the tables of the second"
