"""The verb about lines: lines show."""

from __future__ import annotations

from collections.abc import Iterable

import click

from sekisho.cli.base import Verb, Verbs, answer, client
from sekisho.cli.client import Json
from sekisho.cli.text import plain, table

_MEGABIT = 1e6


@click.group(cls=Verbs)
def lines() -> None:
    """What the kernel does to customers' lines: slowed, mail limited, queries dropped.

    It is done where the customers' packets pass, by nftables and HTB, as `lines:` in sekisho.yaml says.
    """


@lines.command("show", cls=Verb)
@click.argument("customer", required=False)
@click.option("--limit", type=click.IntRange(1, 10_000), default=1000, show_default=True, help="How many customers at most.")
def lines_show(customer: str | None, limit: int) -> None:
    """Show what is wanted of the lines, of CUSTOMER or of everyone, what is found in the kernel, and the difference.

    What is observed only is shown as what would be done.

    \b
      sekisho lines show
      sekisho lines show c-1001
    """
    answer(client().get("/v1/lines", customer=customer, limit=limit), _all)


def _all(body: Json) -> Iterable[str]:
    for one in body["enforcers"]:
        yield f"{one['enforcer']}  {'off' if not one['on'] else 'works' if one['reason'] is None else plain(one['reason'])}"
    if body["mode"] == "observe":
        yield "observed only: nothing is limited (`lines: mode` in sekisho.yaml)"
    rows = [(one["customer"], _wanted(one), _found(one), _difference(one), ", ".join(one["clauses"])) for one in body["customers"]]
    if rows:
        yield from table(("CUSTOMER", "WANTED", "FOUND", "DIFFERENCE", "CLAUSES"), rows)
    else:
        yield "nothing is wanted of any line"
    if body["more"]:
        yield f"... and {body['more']} more; --limit shows them"
    for one in body["unwanted"]:
        place = one["prefix"] if one["prefix"] is not None else f"{one['class']} of {one['device']}"
        yield f"found and not wanted: {plain(one['what'])} {plain(place)}; it goes with the next look"


def _wanted(one: Json) -> str:
    wanted = one["wanted"]
    said = ["silence"] if wanted["silenced"] else []
    if wanted["rate"] is not None:
        said.append(f"{wanted['rate']['down'] / _MEGABIT:g}/{wanted['rate']['up'] / _MEGABIT:g} Mbit/s")
    if wanted["mail"] is not None:
        said.append("no mail" if wanted["mail"] == 0 else f"mail {wanted['mail']}/min")
    words = ", ".join(said) or "nothing"
    return f"{words} (observed only)" if one["observed"] and said else words


def _found(one: Json) -> str:
    return ", ".join(f"{plain(role)} {many}" for role, many in one["found"].items()) or "nothing"


def _difference(one: Json) -> str:
    missing = one["difference"]
    if not missing:
        return "none" if one["prefixes"] else "no address now"
    return plain(missing[0]) + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
