"""Verbs about verdicts: explain one, show the matches there were."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import click

from sekisho.cli.base import Verb, answer, client
from sekisho.cli.client import Json
from sekisho.cli.text import fold, moment, nobody, plain, table
from sekisho.cli.times import Moment
from sekisho.cli.verbs_customers import measure_lines, reach_table
from sekisho.model.words import number


@click.command(cls=Verb)
@click.option("--customer", metavar="CUSTOMER", help="Ask as this customer, from its first prefix's first address.")
@click.option("--address", metavar="ADDRESS", help="Ask from this address.")
@click.option("--name", metavar="NAME", help="The name asked for; - reads it from standard input.")
@click.option("--type", "qtype", default="A", show_default=True, metavar="TYPE", help="The type asked for: A, AAAA, HTTPS, TYPE65.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The port asked from, where customers share an address.")
@click.option("--tcp", is_flag=True, help="Ask over TCP.")
@click.option("--measure", is_flag=True, help="Instead of a verdict: where the customer stands with detection.")
def explain(customer: str | None, address: str | None, name: str | None, qtype: str, port: int, tcp: bool, measure: bool) -> None:
    """Explain a verdict, step by step, by the clause; or why a customer's line is slow.

    The plane's own verdict function decides over the tables in force; nothing is counted, cached,
    forwarded or logged. With --measure: the customer's rate of queries, the threshold the others make,
    the load of the name servers, since when the condition of which clause is there. With a customer
    and no name: the measures on the line and an emergency, whether each is carried out, and if not
    why, and the figures that led to it.

    \b
      sekisho explain --customer c-1001 --name www.example.com
      sekisho explain --address 192.0.2.10 --name www.example.com --type AAAA
      sekisho explain --customer c-1001 --measure
      sekisho explain --customer c-1001                       (why is my line slow?)
      sekisho explain --json --customer c-1001 --name www.example.com | jq .verdict
    """
    if measure:
        if customer is None or address is not None or name is not None:
            raise click.UsageError("--measure is about a customer; give --customer, and no --address and --name")
        answer(client().get("/v1/explain/measure", customer=customer), _stands)
        return
    if customer is not None and address is None and name is None:
        answer(client().get("/v1/explain/line", customer=customer), _line)
        return
    if (customer is None) == (address is None):
        raise click.UsageError("give --customer or --address, one of the two")
    if name == "-":
        name = sys.stdin.readline().strip()
    if name is None:
        raise click.UsageError("Missing option '--name'; give the name to ask for, or --measure")
    if not name:
        raise click.UsageError("--name is empty; give one domain name")
    fields = {"customer": customer, "address": address, "name": name, "type": qtype, "port": port, "tcp": tcp}
    answer(client().post("/v1/explain", **fields), _explained)


def _line(body: Json) -> Iterable[str]:
    emergency = body.get("emergency")
    for one in body["limits"]:
        state = f"{plain(one['state'])}{', NOT DONE' if one.get('not_done') else ''}"
        yield f"{plain(one['measure'])}  {plain(one['effect'])}, {state}, under {plain(one['clause'])}"
        yield from _grounds(one)
    if emergency is not None:
        yield f"emergency  {plain(emergency['effect'])}{', NOT DONE' if emergency['not_done'] else ''}, under {plain(emergency['clause'])}"
        yield from _grounds(emergency)
    if not body["limits"] and emergency is None:
        yield from map(plain, body["words"])
    for one in body["segments"]:
        state = ", congested" if one["congested"] else ""
        down, up = f"{one['utilisation_down']:.0%}", f"{one['utilisation_up']:.0%}"
        yield f"segment {plain(one['segment'])} now: {down} towards customers, {up} from them{state}"


def _grounds(one: Json) -> Iterable[str]:
    """What is said of one limit, and its clause."""
    for said in one["words"]:
        yield from fold(said, 100, first="  ", more="  ")
    words = one["clause_words"]
    if words:
        yield from fold(f"{words['article']}, {words['title']}: {words['ja']}", 100, first="  ", more="  ")
        yield from fold(words["en"], 100, first="  ", more="  ")
    yield ""


def _explained(body: Json) -> Iterable[str]:
    who = f"customer {plain(body['customer'])}" if body["customer"] else "nobody's address"
    yield f"{body['verdict'].upper()}  for {who}, asked from {plain(body['address'])}"
    yield plain(body["summary"])
    if body.get("answer_lists"):
        lists = ", ".join(plain(one) for one in body["answer_lists"])
        yield f"What the answer leads to (addresses, aliases) is judged when it arrives, and not here, by {lists}."
    yield ""
    for step in body["steps"]:
        mark = ">" if step["decided"] else " "
        yield f"{mark} {step['step']}  {plain(step['question'])}"
        yield f"       {plain(step['outcome'])}"
    words = body["clause_words"]
    if words:
        yield ""
        yield f"{plain(words['id'])} ({plain(words['article'])}, {plain(words['title'])})"
        yield f"  {plain(words['ja'])}"
        yield f"  {plain(words['en'])}"
    if body.get("measures"):
        yield ""
        yield from measure_lines(body["measures"])
    if body["lists"]:
        yield ""
        yield from reach_table(body["lists"])


_FIGURES = (
    ("rate", "queries per second, in the last window"),
    ("limit", "queries per second above which the customer is over"),
    ("threshold", "queries per second, of a line with one address"),
    ("addresses", "lines the customer is measured as"),
    ("usual", "queries per second the customer usually asks"),
    ("floor", "queries per second that are no flood"),
    ("lift", "times as much as usual that the median customer asks"),
    ("mean", "queries per second, of the active customers"),
    ("median", "queries per second, likewise"),
    ("mad", "queries per second, median absolute deviation"),
    ("active", "customers who asked something"),
    ("windows_over", "of the last windows with rate and load"),
    ("windows_needed", "of them make the condition"),
    ("forwarded_share", "of the customer's queries that went on to a resolver"),
    ("new_name_share", "of the customer's queries for names nobody had asked for lately"),
    ("nxdomain_share", "of the customer's queries answered with NXDOMAIN"),
    ("elsewhere_share", "of the customer's queries counted beside a resolver, by dnstap or the kernel"),
    ("unanswered_share", "of the customer's queries that a measure left unanswered"),
)


def _stands(body: Json) -> Iterable[str]:
    state = "FOUND" if body["found"] else "OVER" if body["over"] else "NOT FOUND"
    since = f" since {moment(body['since'])}" if body["since"] is not None else ""
    yield f"{state}{since}  {plain(body['detector'])}, customer {plain(body['customer'])}, as of {moment(body['at'])}"
    yield plain(body["summary"])
    evidence = body["evidence"]
    rows = [(name, f"{evidence[name]:,}", said) for name, said in _FIGURES if name in evidence]
    if rows:
        yield ""
        yield from table(("FIGURE", "VALUE", "OF"), rows, right=(1,))
    if evidence.get("pattern", "none") != "none":
        yield f"pattern: {plain(evidence['pattern'])}"
    yield ""
    load = [
        (name, "-" if one["figure"] is None else f"{one['figure']:g}", "-" if one["value"] is None else f"{one['value']:g}", one["holds"])
        for name, one in body["load"].items()
    ]
    yield from table(("LOAD", "NOW", "CONDITION", "HOLDS"), [(*row[:3], "yes" if row[3] else "no") for row in load], right=(1, 2))
    for words in body["clauses"]:
        yield ""
        yield f"{plain(words['id'])} ({plain(words['article'])}, {plain(words['title'])})"
        yield f"  {plain(words['ja'])}"
        yield f"  {plain(words['en'])}"


@click.command(cls=Verb)
@click.option("--customer", metavar="CUSTOMER", help="Of this customer only.")
@click.option("--list", "list_id", metavar="LIST", help="Of this list only.")
@click.option("--since", type=Moment(past=True), metavar="TIME", help="Not older than: 1h, 7d, 2026-04-01, 09:30 (the last).")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="How many at most.")
def events(customer: str | None, list_id: str | None, since: float | None, limit: int) -> None:
    """Show matches, newest first.

    Whom a measure reached, under which clause, by which entry.

    Equal matches of one minute are one line with their count. A query that matched nothing leaves
    no trace here or anywhere. Entries of a sealed list are shown by their digest only.

    \b
      sekisho events --since 1h
      sekisho events --customer c-1001 --list c2 --limit 10
    """
    answer(client().get("/v1/events", customer=customer, list=list_id, since=since, limit=limit), lambda body: _events(body, customer))


def _events(body: Json, customer: str | None) -> Iterable[str]:
    rows = [
        (moment(one["at"]), one["customer"], one["clause"], one["list"], one["name"] or one["entry"], one["action"], number(one["count"]))
        for one in body["events"]
    ]
    if customer is not None and body.get("known") is False:
        yield nobody(customer)
    if not rows:
        yield "no matches"
        return
    yield from table(("LAST", "CUSTOMER", "CLAUSE", "LIST", "ENTRY", "ACTION", "COUNT"), rows, right=(6,))
