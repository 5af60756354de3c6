"""Verbs that concern everybody: hold, resume, emergency, outage, announce."""

from __future__ import annotations

from collections.abc import Iterable

import click

from sekisho.cli.base import Verb, Verbs, answer, client
from sekisho.cli.client import Json
from sekisho.cli.text import duration, moment, plain, table
from sekisho.cli.times import Moment
from sekisho.cli.verbs_measures import REASON
from sekisho.model.words import counted, number


@click.command(cls=Verb)
@REASON
def hold(reason: str) -> None:
    """Enforce nothing by any measure until `sekisho resume`. What is open goes on, and nothing new enters into force.

    Lists go on being blocked, and the hard budget of the terms protects the resolver.

    \b
      sekisho hold --reason "too many found, looking into it"
    """
    answer(client().post("/v1/hold", reason=reason), lambda _: ["enforcement is held; no measure is enforced from now on"])


@click.command(cls=Verb)
@click.option("--reason", metavar="TEXT", help="Why, for the record.")
def resume(reason: str | None) -> None:
    """Enforce measures again, those that are open now.

    \b
      sekisho resume
    """
    body = client().delete("/v1/hold", reason=reason)
    answer(body, lambda it: [f"enforcement goes on; customers to whom something is done now: {number(it['customers'])}"])


@click.group(cls=Verbs)
def emergency() -> None:
    """In a disaster communications of public interest come first, and others are limited as the terms say."""


@emergency.command("start", cls=Verb)
@click.option("--until", required=True, type=Moment(past=False), metavar="TIME", help="When it ends by itself: 2026-04-01T09:30, 12h.")
@click.option("--priority", multiple=True, metavar="NAME", help="A customer or group that goes on unlimited; again for each.")
@click.option("--clause", "clauses", multiple=True, metavar="CLAUSE", help="An emergency clause; again for each. Default: all there are.")
@REASON
def emergency_start(until: float, priority: tuple[str, ...], clauses: tuple[str, ...], reason: str) -> None:
    """Limit every customer without priority, until TIME. In force when the command returns.

    \b
      sekisho emergency start --until 12h --priority hospitals --priority c-1001 --reason "earthquake"
    """
    body = client().post("/v1/emergency", until=until, priority=list(priority), clauses=list(clauses), reason=reason)
    answer(body, _emergency)


@emergency.command("end", cls=Verb)
@click.option("--reason", metavar="TEXT", help="Why, for the record.")
def emergency_end(reason: str | None) -> None:
    """End the emergency now.

    \b
      sekisho emergency end
    """
    answer(client().delete("/v1/emergency", reason=reason), lambda _: ["the emergency is over; nobody is limited by it any more"])


@emergency.command("show", cls=Verb)
def emergency_show() -> None:
    """Show the emergency there is.

    \b
      sekisho emergency show
    """
    answer(client().get("/v1/emergency"), _emergency)


def _emergency(body: Json) -> Iterable[str]:
    one = body["emergency"]
    if one is None:
        yield "no emergency"
        return
    yield f"emergency  {plain(', '.join(one['clauses']))}: {plain(one['reason'])}"
    yield f"lasts      until {moment(one['until'])}, declared {moment(one['since'])} by {plain(one['by'])}"
    yield f"priority   {plain(', '.join(one['priority'])) or 'nobody'}"
    yield f"limited    {counted(body['limited'], 'customer', 'customers')}"
    if body["observed"]:
        yield f"observed   {plain(', '.join(body['observed']))}: limits nobody; set to enforce under `measures:` and reload"
    if body["held"]:
        yield "held       enforcement is held: nobody is limited; `sekisho resume` ends that"


@click.group(cls=Verbs)
def outage() -> None:
    """Failures of your own, and what customers are owed for them by the formula of their terms."""


@outage.command("open", cls=Verb)
@click.argument("affected", nargs=-1)
@click.option(
    "--since", type=Moment(past=True), metavar="TIME", help="When it began: 2026-04-01T09:30, 09:30 (the last), 30m (ago). Default: now."
)
@click.option(
    "--known",
    type=Moment(past=True),
    metavar="TIME",
    help="When you knew, where terms count from that: as for --since. Default: when it began.",
)
@REASON
def outage_open(affected: tuple[str, ...], since: float | None, known: float | None, reason: str) -> None:
    """Record that a failure began. AFFECTED are customers, groups and terms packs; none: everybody.

    \b
      sekisho outage open --since 30m --reason "fibre cut"
      sekisho outage open gunma g-offices --reason "power failure in Takasaki"
    """
    body = client().post("/v1/outages", affected=list(affected), since=since, known=known, reason=reason)
    answer(
        body, lambda it: [f"outage {plain(it['id'])} is open: {counted(it['affected_customers'], 'customer is', 'customers are')} affected"]
    )


@outage.command("close", cls=Verb)
@click.argument("outage_id", metavar="OUTAGE")
@click.option(
    "--at", type=Moment(past=True), metavar="TIME", help="When it ended: 2026-04-01T09:30, 09:30 (the last), 30m (ago). Default: now."
)
def outage_close(outage_id: str, at: float | None) -> None:
    """Record that OUTAGE is over, and show what customers are owed.

    \b
      sekisho outage close o-0123456789ab
    """
    answer(client().post("/v1/outages/close", outage=outage_id, at=at), _outage)


@outage.command("show", cls=Verb)
@click.argument("outage_id", metavar="[OUTAGE]", required=False)
@click.option("--after", metavar="CUSTOMER", help="Go on after this customer.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=1000, show_default=True, help="How many customers at most.")
def outage_show(outage_id: str | None, after: str | None, limit: int) -> None:
    """Show OUTAGE with its credits, or all outages and announced interruptions.

    \b
      sekisho outage show
      sekisho outage show o-0123456789ab --json
    """
    if outage_id is None:
        answer(client().get("/v1/outages"), _outages)
    else:
        answer(client().get("/v1/outage", id=outage_id, after=after, limit=limit), _outage)


def _outages(body: Json) -> Iterable[str]:
    rows = [(one["id"], moment(one["since"]), _end(one), _whom(one["affected"]), one["reason"]) for one in body["outages"]]
    yield from table(("OUTAGE", "SINCE", "UNTIL", "AFFECTED", "REASON"), rows) if rows else ("no outages",)
    if body["interruptions"]:
        yield ""
        announced = [
            (one["id"], one["what"], moment(one["since"]), _end(one), ", ".join(one["packs"]), one["reason"])
            for one in body["interruptions"]
        ]
        yield from table(("INTERRUPTION", "WHAT", "SINCE", "UNTIL", "TERMS", "REASON"), announced)


def _outage(one: Json) -> Iterable[str]:
    lasts = "goes on" if one["open"] else f"until {moment(one['until'])}"
    yield f"outage     {plain(one['id'])}: {plain(one['reason'])}"
    yield f"since      {moment(one['since'])}, {lasts}; {duration(one['length'])}"
    yield f"affected   {_whom(one['affected'])}: {counted(one['affected_customers'], 'customer', 'customers')}"
    yield f"owed       {number(one['total_yen'])} yen in all{' if it ended now' if one['open'] else ''}"
    if one["without_fee"]:
        without = counted(one["without_fee"], "customer has", "customers have")
        yield f"no fee     {without} no `fee:` on record, so what they are owed is not known"
    rows = [
        (row["customer"], credit["clause"], credit["units"], number(credit["yen"]), moment(credit["claim_by"]))
        for row in one["credits"]
        for credit in row["credits"]
    ]
    if rows:
        yield ""
        yield from table(("CUSTOMER", "CLAUSE", "UNITS", "YEN", "CLAIM BY"), rows, right=(2, 3))
    if one["more"]:
        yield f"... and more; go on with --after {plain(one['credits'][-1]['customer'])}"


def _end(one: Json) -> str:
    return "-" if one["until"] is None else moment(one["until"])


def _whom(affected: list[str]) -> str:
    return plain(", ".join(affected)) or "everybody"


@click.command(cls=Verb)
@click.argument("what")
@click.option("--from", "since", required=True, type=Moment(past=False), metavar="TIME", help="When it begins: 2026-04-01T02:00, 14d.")
@click.option("--until", type=Moment(past=False), metavar="TIME", help="When it ends; default: never.")
@click.option("--pack", "packs", multiple=True, metavar="PACK", help="Terms it concerns; again for each. Default: all that speak of it.")
@REASON
@click.option("--urgent", is_flag=True, help="It cannot wait: late, where the clause excuses that.")
def announce(what: str, since: float, until: float | None, packs: tuple[str, ...], reason: str, urgent: bool) -> None:
    """Announce an interruption - WHAT is maintenance, discontinuation, or another word of your terms - if it comes in time.

    The lead time of each clause is checked, business days by the Japanese calendar; too late is refused, with until when
    it had to be announced.

    \b
      sekisho announce maintenance --from 2026-06-01T02:00+09:00 --until 2026-06-01T05:00+09:00 --reason "new routers"
    """
    body = client().post("/v1/interruptions", what=what, since=since, until=until, packs=list(packs), reason=reason, urgent=urgent)
    answer(body, _announced)


def _announced(body: Json) -> Iterable[str]:
    yield f"announced {plain(body['what'])} {plain(body['id'])} for {plain(', '.join(body['packs']))}, from {moment(body['since'])}"
    for one in body["clauses"]:
        when = "late, and excused as urgent" if one["excused"] else "in time"
        yield f"  {plain(one['clause'])}: {when} (until {moment(one['latest'])})"
