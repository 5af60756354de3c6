"""Verbs about usage of lines."""

from __future__ import annotations

from collections.abc import Iterable

import click

from sekisho.cli.base import Verbs, answer, client
from sekisho.cli.client import Json
from sekisho.cli.text import moment, plain, table

_UNITS = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


@click.group(cls=Verbs)
def usage() -> None:
    """What lines were used for: totals of days, and nothing of who talked to whom.

    \b
      sekisho usage show c-1001
    """


@usage.command()
@click.argument("customer")
def show(customer: str) -> None:
    """A customer's usage by day (Japan's), both directions, and who counted it. A month is kept.

    Then what limits the line now, and what is in force by the record and is not carried out, with the reason.

    A customer counted by several sources is counted once. Days that are over are in units of 1 MiB.

    \b
      sekisho usage show c-1001
      sekisho usage show c-1001 --json | jq '.days[-1]'
    """
    answer(client().get("/v1/usage", customer=customer), _days)


def _days(body: Json) -> Iterable[str]:
    last = len(body["days"]) - 1
    rows = [
        (
            one["date"],
            *(_day(one[key], is_rounded=place < last and bool(one["sources"])) for key in ("down_bytes", "up_bytes")),
            " ".join(one["sources"]) or "-",
        )
        for place, one in enumerate(body["days"])
    ]
    if rows:
        yield from table(("DAY", "DOWN", "UP", "COUNTED BY"), rows, right=(1, 2))
        yield ""
        down, up = (sum(one[key] for one in body["days"]) for key in ("down_bytes", "up_bytes"))
        plan = body["plan"]
        line = f"; the plan is {plan['down_mbps']:g}/{plan['up_mbps']:g} Mbit/s" if plan else ""
        yield f"together {_size(down)} down, {_size(up)} up{line}"
    else:
        yield f"nobody has counted any traffic of {plain(body['customer'])} yet"
    for one in body["limits"]:
        yield f"LIMITED since {moment(one['since'])} under {plain(one['clause'])}: {plain(one['effect_words'])}"
    for one in body.get("not_done", []):
        yield f"NOT LIMITED, though {plain(one['clause'])} is in force since {moment(one['since'])}: {plain(one['why'])}"
    if body["limits"]:
        yield f"why: sekisho explain --customer {plain(body['customer'])}"


def _day(octets: int, *, is_rounded: bool) -> str:
    """A day that somebody counted and that is less than a unit is not nothing."""
    return "< 1 MiB" if is_rounded and not octets else _size(octets)


def _size(octets: int) -> str:
    return next((f"{octets / size:.1f} {unit}" for unit, size in _UNITS if octets >= size), f"{octets} B")
