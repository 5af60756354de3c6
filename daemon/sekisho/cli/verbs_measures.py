"""Verbs about measures one by one: measures list|show|lift|dismiss|corrected|extend|delivered|exempt|unexempt, suspend."""

from __future__ import annotations

from collections.abc import Iterable

import click

from sekisho.cli.base import Verb, Verbs, answer, client
from sekisho.cli.client import Json
from sekisho.cli.text import moment, plain, table
from sekisho.cli.times import Moment

REASON = click.option("--reason", required=True, metavar="TEXT", help="Why, for the record; the customer's notice does not have it.")


@click.group(cls=Verbs)
def measures() -> None:
    """What the terms have in force on customers: look, lift, dismiss, extend, exempt.

    A measure is found by a detector or opened by hand (`sekisho suspend`), noticed and enforced as the clause says, and ends
    with its condition or period. Until `measures:` in sekisho.yaml says enforce, it does nothing to anybody.
    """


@measures.command("list", cls=Verb)
@click.argument("customer", required=False)
@click.option("--clause", metavar="CLAUSE", help="Those under one clause.")
@click.option("--closed", is_flag=True, help="Those that are over too.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=1000, show_default=True, help="How many at most.")
def measures_list(customer: str | None, clause: str | None, closed: bool, limit: int) -> None:
    """List the open measures, of CUSTOMER or of everyone, and the exemptions.

    \b
      sekisho measures list
      sekisho measures list c-1001 --closed
    """
    body = client().get("/v1/measures", customer=customer, clause=clause, closed=int(closed), limit=limit)
    answer(body, _all)


@measures.command("show", cls=Verb)
@click.argument("measure")
def measures_show(measure: str) -> None:
    """Show MEASURE: how it stands, what it waits for, what proves it, and each step with who took it.

    \b
      sekisho measures show m-0123456789ab
    """
    answer(client().get("/v1/measure", id=measure), _one)


@measures.command("lift", cls=Verb)
@click.argument("measure")
@REASON
def measures_lift(measure: str, reason: str) -> None:
    """End MEASURE, which is in force, now. For a day the same finding opens no other; to keep it away for longer, exempt.

    \b
      sekisho measures lift m-0123456789ab --reason "repaired, ticket 4711"
    """
    _moved(client().post("/v1/measures/lift", measure=measure, reason=reason))


@measures.command("dismiss", cls=Verb)
@click.argument("measure")
@REASON
def measures_dismiss(measure: str, reason: str) -> None:
    """End MEASURE before it is in force. For a day the same finding opens no other.

    \b
      sekisho measures dismiss m-0123456789ab --reason "a school"
    """
    _moved(client().post("/v1/measures/dismiss", measure=measure, reason=reason))


@measures.command("corrected", cls=Verb)
@click.argument("measure")
@REASON
def measures_corrected(measure: str, reason: str) -> None:
    """Say that the condition of MEASURE is gone: it ends as its terms say, after the release delay or with the period.

    \b
      sekisho measures corrected m-0123456789ab --reason "paid on 1 April"
    """
    _moved(client().post("/v1/measures/corrected", measure=measure, reason=reason))


@measures.command("extend", cls=Verb)
@click.argument("measure")
@click.option("--until", required=True, type=Moment(past=False), metavar="TIME", help="The new end: 2026-04-01, 2026-04-01T09:30, 7d.")
@REASON
def measures_extend(measure: str, until: float, reason: str) -> None:
    """Prolong the period of MEASURE, which is in force.

    \b
      sekisho measures extend m-0123456789ab --until 7d --reason "not corrected, ticket 4711"
    """
    _moved(client().post("/v1/measures/extend", measure=measure, until=until, reason=reason))


@measures.command("delivered", cls=Verb)
@click.argument("measure")
@click.option("--at", type=Moment(past=True), metavar="TIME", help="When: 2026-04-01T09:30, 09:30 (the last), 2d (ago). Default: now.")
def measures_delivered(measure: str, at: float | None) -> None:
    """Say that the notice of MEASURE reached the customer by another way, a letter or a call: its lead time runs from then.

    \b
      sekisho measures delivered m-0123456789ab --at 2026-04-01T09:30
    """
    _moved(client().post("/v1/measures/delivered", measure=measure, at=at))


@measures.command("exempt", cls=Verb)
@click.argument("customer")
@click.argument("clause")
@REASON
@click.option("--until", type=Moment(past=False), metavar="TIME", help="When it ends by itself; default: never.")
def measures_exempt(customer: str, clause: str, reason: str, until: float | None) -> None:
    """Exempt CUSTOMER from CLAUSE: what is open under it ends now, and nothing is opened.

    \b
      sekisho measures exempt c-1001 nbnet/22-2-5 --reason "a school behind one address"
    """
    body = client().post("/v1/exemptions", customer=customer, clause=clause, reason=reason, until=until)
    end = "for good" if until is None else f"until {moment(until)}"
    answer(body, lambda it: [f"{plain(it['customer'])} is exempt from {plain(it['clause'])}, {end}; in force now"])


@measures.command("unexempt", cls=Verb)
@click.argument("customer")
@click.argument("clause")
@click.option("--reason", metavar="TEXT", help="Why, for the record.")
def measures_unexempt(customer: str, clause: str, reason: str | None) -> None:
    """End the exemption of CUSTOMER from CLAUSE.

    \b
      sekisho measures unexempt c-1001 nbnet/22-2-5
    """
    body = client().delete("/v1/exemptions", customer=customer, clause=clause, reason=reason)
    answer(body, lambda it: [f"{plain(it['customer'])} is no longer exempt from {plain(it['clause'])}; in force now"])


@click.command(cls=Verb)
@click.argument("customer")
@click.option("--clause", required=True, metavar="CLAUSE", help="The ground: a clause of the customer's terms; `sekisho terms show PACK`.")
@REASON
@click.option("--urgent", is_flag=True, help="At once, and the notice after, where the clause knows that.")
def suspend(customer: str, clause: str, reason: str, urgent: bool) -> None:
    """Suspend or restrict CUSTOMER by hand, on any ground of their terms: noticed and enforced as the clause says.

    \b
      sekisho suspend c-1001 --clause nbnet/22-1-1 --reason "unpaid since January, ticket 4711"
      sekisho suspend c-1001 --clause nbnet/22-1-3 --reason "mail relay broken into" --urgent
    """
    _moved(client().post("/v1/measures", customer=customer, clause=clause, reason=reason, urgent=urgent))


def _moved(body: Json) -> None:
    answer(body, lambda it: [f"measure {plain(it['id'])} of {plain(it['customer'])} is {_standing(it)}"])


def _standing(one: Json) -> str:
    state = plain(one["state"])
    if one["state"] in {"lifted", "dismissed"}:
        return f"{state} ({plain(one['cause'])})"
    if one["state"] in {"in-force", "ending"} and one["observe"]:
        state += ", observed only: nothing is done (`measures:` in sekisho.yaml)"
    elif one["state"] in {"in-force", "ending"} and one["held"]:
        state += ", and enforcement is held"
    if one["until"] is not None:
        return f"{state}, until {moment(one['until'])}"
    return f"{state}; it waits for {plain(one['waits_for'])}"


def _all(body: Json) -> Iterable[str]:
    if body["held"]:
        yield f"enforcement is HELD since {moment(body['held']['since'])} by {plain(body['held']['by'])}: {plain(body['held']['reason'])}"
    rows = [
        (
            one["id"],
            one["customer"],
            one["clause"],
            one["state"] + (" (observed)" if one["observe"] else ""),
            moment(one["since"]),
            "-" if one["until"] is None else moment(one["until"]),
            "yes" if one["enforced"] else "no",
            "yes" if one["termination_eligible"] else "",
        )
        for one in body["measures"]
    ]
    if rows:
        yield from table(("MEASURE", "CUSTOMER", "CLAUSE", "STATE", "SINCE", "UNTIL", "ENFORCED", "TERMINATION"), rows)
    else:
        yield "no measures"
    if body["more"]:
        yield "... and more; name a customer or a clause, or give --limit"
    if body["exemptions"]:
        yield ""
        exempt = [
            (one["customer"], one["clause"], "for good" if one["until"] is None else moment(one["until"]), one["by"], one["reason"])
            for one in body["exemptions"]
        ]
        yield from table(("EXEMPT", "FROM", "UNTIL", "BY", "REASON"), exempt)


def _one(one: Json) -> Iterable[str]:
    rule = one["rule"] or {}
    yield f"measure    {plain(one['id'])}, customer {plain(one['customer'])}, under {plain(one['clause'])}"
    yield f"state      {_standing(one)}"
    yield f"found by   {plain(one['detector'])}, {moment(one['opened_at'])}{', urgent' if one['urgent'] else ''}"
    if rule:
        fees = "fees go on" if rule["fees_continue"] else "fees stop"
        yield f"effect     {plain(rule['effect'])} ({plain(rule['extent'])}), notice {plain(rule['notice'])}, {fees}"
    if one["enforced_at"] is not None:
        yield f"in force   since {moment(one['enforced_at'])}; extended {one['extensions']} times"
    if one["termination_eligible"]:
        yield f"eligible   the contract may be terminated under {plain(rule.get('termination_clause') or '-')}; nothing is done about it"
    if one["reason"]:
        yield f"reason     {plain(one['reason'])}"
    if one["evidence"]:
        yield "evidence   " + ", ".join(f"{plain(key)} {plain(value)}" for key, value in one["evidence"].items())
    yield ""
    rows = [
        (step["number"], moment(step["at"]), step["kind"], step["state"], step["cause"], step["actor"], step["occasion"], step["reason"])
        for step in one["steps"]
    ]
    yield from table(("NO.", "AT", "ACT", "STATE", "CAUSE", "BY", "NOTICE", "REASON"), rows, right=(0,))
