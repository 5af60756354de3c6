"""Verbs about NASes: nas."""

from __future__ import annotations

from collections.abc import Iterable

import click

from sekisho.cli.base import Verb, Verbs, answer, client
from sekisho.cli.client import Json
from sekisho.cli.text import moment, plain, table


@click.group(cls=Verbs)
def nas() -> None:
    """The NASes that slow lines and end sessions when they are asked (RADIUS CoA and Disconnect)."""


@nas.command("show", cls=Verb)
@click.argument("nas_id", metavar="[NAS]", required=False)
@click.option("--limit", type=click.IntRange(1, 10_000), default=1000, show_default=True, help="How many lines at most.")
def nas_show(nas_id: str | None, limit: int) -> None:
    """Show how the NASes stand; of NAS alone each line too: what is wanted, acknowledged, refused and why, and asked next.

    With `mode: observe`, what is asked next is what would be sent. So are the lines at the end: measures that are observed only.

    \b
      sekisho nas show
      sekisho nas show bng-1
    """
    answer(client().get("/v1/nas", id=nas_id, limit=limit), _all)


def _all(body: Json) -> Iterable[str]:
    if body["mode"] is None:
        yield "no NAS is asked: there is no `coa:` section"
    elif body["mode"] == "observe":
        yield "mode observe: nothing is sent"
    rows = [
        (
            one["id"],
            one["address"],
            one["vendor"],
            _reachable(one),
            one["wanted"],
            one["acknowledged"],
            one["pending"],
            one["refused"],
            one["lifting"],
            ", ".join(f"{cause} {count}" for cause, count in one["causes"].items()),
        )
        for one in body["nas"]
    ]
    head = ("NAS", "ADDRESS", "VENDOR", "ANSWERS", "WANTED", "ACKNOWLEDGED", "PENDING", "REFUSED", "LIFTING", "CAUSES")
    if rows:
        yield from table(head, rows, right=(4, 5, 6, 7, 8))
    for one in body["warnings"]:
        yield f"warning: {plain(one)}"
    if "lines" in body:
        yield ""
        yield from _lines(body)


def _lines(body: Json) -> Iterable[str]:
    rows = [
        (
            one["customer"],
            one["session"] or ", ".join(one["prefixes"]),
            _speed(one["wanted"]),
            _speed(one["acknowledged"]) + (" ?" if one["in_doubt"] else ""),
            one["failures"],
            (one["cause"] or "") + (" (given up)" if one["given_up"] else " (asked slowly)" if one.get("refused") else ""),
            _next(one["next"]),
        )
        for one in body["lines"]
    ]
    if rows:
        yield from table(("CUSTOMER", "SESSION", "WANTED", "ACKNOWLEDGED", "FAILURES", "CAUSE", "NEXT"), rows, right=(4,))
    else:
        yield "no line is limited"
    for one in body["observed"]:
        who = f"{plain(one['customer'])} {plain(one['session'] or '-')}"
        yield f"observed only: {who} would be limited to {_speed(one['limit'])}: {_next(one)}"
    if body["more"]:
        yield "... and more; give --limit"


def _reachable(one: Json) -> str:
    if one["reachable"] is None:
        return "not asked yet"
    return f"yes, {moment(one['answered'])}" if one["reachable"] else f"no, since {moment(one['silent_since'])}"


def _speed(speeds: Json | None) -> str:
    """Down and up in kbit/s."""
    return "full speed" if speeds is None else f"{speeds['down'] // 1000}/{speeds['up'] // 1000} kbit/s"


def _next(request: Json | None) -> str:
    if request is None:
        return ""
    if request["error"]:
        return plain(request["error"])
    said = ", ".join(f"{plain(one['name'])}={plain(one['value'])}" for one in request["attributes"])
    return f"{plain(request['message'])}: {said}"
