"""What goes with a sweep though nobody asked for it is a repair, counted once."""

from __future__ import annotations

import asyncio
import contextlib
import math

import pytest

from kernel.gateway import gateway
from sekisho.enforce.state import Class
from sekisho.model.measures import NONE, Enforcement
from support.netns import DOWN

pytestmark = pytest.mark.kernel
SLOW = Enforcement(rate=(8_000_000, 4_000_000))
CLASS = f"class add dev {DOWN} parent 5ec1: classid 5ec1:77 htb rate 1mbit"
FILTER = f"filter add dev {DOWN} protocol ip parent 5ec1: prio 1 u32 match ip dst 192.0.2.7/32 flowid 5ec1:77"


@contextlib.asynccontextmanager
async def leaving(field):
    """A gateway where class 2 is to go with the next sweep."""
    async with gateway(field) as one:
        await one.enforce(c_1=SLOW)
        await one.enforce(c_2=SLOW)
        one.lines._sweep_at = math.inf
        await one.enforce(c_2=NONE)
        assert "5ec1:2 " in shown(field)
        yield one


async def look(one):
    one.lines.look_again()
    await one.lines.step()


async def sweep(one):
    one.lines._sweep_at = 0.0
    await one.lines.step()


def shown(field):
    return field.gw("tc", "class", "show", "dev", DOWN)


def test_what_goes_with_a_class_of_ours_is_counted_and_that_class_is_not(field):
    async def story():
        async with leaving(field) as one:
            for planted in (CLASS, FILTER):
                field.gw("tc", *planted.split())
            await sweep(one)
            assert "5ec1:2 " not in shown(field)
            assert field.gw("tc", "filter", "show", "dev", DOWN, "parent", "5ec1:") == ""
            assert one.lines.repairs == {"classes": 1}, "the filter"
            await look(one)
            await sweep(one)
            assert "5ec1:77 " not in shown(field)
            assert one.lines.repairs == {"classes": 2}, "the class it led to, once"

    asyncio.run(story())


@pytest.mark.parametrize("seen", [False, True])
def test_a_class_nobody_remembers_that_slows_nobody_is_counted_once(field, seen):
    async def story():
        async with leaving(field) as one:
            del one.lines.book.known.classes[Class(DOWN, 2)]
            if seen:
                await look(one)
                assert one.lines.repairs == {"classes": 1}
            await sweep(one)
            assert "5ec1:2 " not in shown(field)
            assert "5ec1:1 " in shown(field)
            await look(one)
            assert one.lines.repairs == {"classes": 1}

    asyncio.run(story())
