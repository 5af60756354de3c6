"""Verbs about people: optout add|remove|show, customers show|add|remove."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from sekisho.cli.base import Verb, Verbs, answer, client
from sekisho.cli.client import Json
from sekisho.cli.text import moment, plain, table
from sekisho.cli.times import Moment
from sekisho.model.words import counted


@click.group(cls=Verbs)
def optout() -> None:
    """Opt a customer out of a list, or back in.

    In force when the command returns, and kept over restarts.

    Opting out stops detection too: for the customer nothing is compared with the list any more.
    What a clause lets nobody opt out of is refused.
    """


@optout.command("add", cls=Verb)
@click.argument("customer")
@click.argument("list_id", metavar="LIST")
@click.option("--until", type=Moment(past=False), metavar="TIME", help="When it ends by itself: 2026-04-01, 2026-04-01T09:30, 7d.")
@click.option("--by", metavar="WHO", help="Who asked, and how; default: you, as the socket knows you.")
def optout_add(customer: str, list_id: str, until: float | None, by: str | None) -> None:
    """Opt CUSTOMER out of LIST. Answered when it is on disk and in force.

    \b
      sekisho optout add c-1001 c2
      sekisho optout add c-1001 c2 --until 7d --by "phone, ticket 4711"
    """
    body = client().post("/v1/optouts", customer=customer, list=list_id, until=until, by=by)
    answer(body, lambda it: [f"{plain(customer)} is opted out of {plain(list_id)}, {_until(it['until'])}; in force now"])


@optout.command("remove", cls=Verb)
@click.argument("customer")
@click.argument("list_id", metavar="LIST")
@click.option("--by", metavar="WHO", help="Who asked, and how; default: you, as the socket knows you.")
def optout_remove(customer: str, list_id: str, by: str | None) -> None:
    """Opt CUSTOMER back in to LIST; every other condition of the contract stays as it was.

    \b
      sekisho optout remove c-1001 c2
    """
    body = client().delete("/v1/optouts", customer=customer, list=list_id, by=by)
    answer(body, lambda it: [f"{plain(customer)} is no longer opted out of {plain(list_id)}; {plain(it['reach'])}"])


@optout.command("show", cls=Verb)
@click.argument("customer", required=False)
@click.argument("list_id", metavar="[LIST]", required=False)
def optout_show(customer: str | None, list_id: str | None) -> None:
    """Show the opt-outs of CUSTOMER, of LIST alone, or of everyone.

    \b
      sekisho optout show
      sekisho optout show c-1001
      sekisho optout show c-1001 c2
    """
    answer(client().get("/v1/optouts", customer=customer, list=list_id), _opt_outs)


def _until(until: object) -> str:
    return f"until {moment(until)}" if until is not None else "for good"


def _opt_outs(body: Json) -> Iterable[str]:
    rows = [
        (
            one["customer"],
            one["list"],
            moment(one["since"]),
            "for good" if one["until"] is None else moment(one["until"]),
            "yes" if one["in_force"] else "no, run out",
            one["by"],
        )
        for one in body["opt_outs"]
    ]
    if not rows:
        yield "no opt-outs"
        return
    yield from table(("CUSTOMER", "LIST", "SINCE", "UNTIL", "IN FORCE", "BY"), rows)
    if body["more"]:
        yield "... and more; name a customer or a list"


@click.group(cls=Verbs)
def customers() -> None:
    """Show, add and remove customers.

    What is added here is kept in the ledger and goes before the customer file until it is removed.
    """


@customers.command("show", cls=Verb)
@click.argument("customer", required=False)
@click.option("--after", metavar="CUSTOMER", help="Go on after this one.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="How many at most.")
def customers_show(customer: str | None, after: str | None, limit: int) -> None:
    """Show CUSTOMER: contracts, prefixes, and for each list whether it is in force and why; or a page of all.

    \b
      sekisho customers show c-1001
      sekisho customers show --limit 1000 --json
    """
    if customer is not None:
        answer(client().get("/v1/customer", id=customer), _one_customer)
    else:
        answer(client().get("/v1/customers", after=after, limit=limit), _all_customers)


@customers.command("add", cls=Verb)
@click.argument("customer", required=False)
@click.option("--terms", multiple=True, metavar="PACK", help="A terms pack of the contract; again, or with commas, for each that stacks.")
@click.option("--prefix", "prefixes", multiple=True, metavar="PREFIX", help="An address or prefix; again, or with commas, for each.")
@click.option("--consent-version", metavar="VERSION", help="Terms version the customer consented to.")
@click.option("--consent-at", metavar="DATE", help="When: 2026-04-01.")
@click.option("--group", metavar="GROUP", help="VPN group.")
@click.option("--exempt", multiple=True, metavar="LIST|CLAUSE", help="What is not to reach the customer; again for each.")
@click.option("--email", metavar="ADDRESS", help="Where notices go.")
@click.option("--language", type=click.Choice(["ja", "en"]), help="Language of notices; default: that of `notices:`.")
@click.option("--plan", "plan", nargs=2, type=float, metavar="DOWN UP", help="Line capacity in Mbit/s.")
@click.option("--file", "file", metavar="FILE", help="One customer as YAML or JSON instead of options; - is standard input.")
@click.option("--replace", is_flag=True, help="Replace the customer if there is one of this id.")
def customers_add(customer: str | None, file: str | None, replace: bool, **options: Any) -> None:
    """Add CUSTOMER; served and enforced at once, and kept over restarts.

    A prefix that another customer holds, in whole or in part, is refused.

    \b
      sekisho customers add c-1001 --terms gunma --prefix 192.0.2.10 \\
          --consent-version 2021-02-01 --consent-at 2026-04-01
      sekisho customers add --file customer.yaml
      echo '{"id": "c-1002", "terms": ["nbnet"], "prefixes": ["2001:db8:2::/48"]}' | sekisho customers add
    """
    given = {name: value for name, value in options.items() if value}
    if customer is not None and file is None:
        body = client().post("/v1/customers", record=_record_of(customer, given), replace=replace)
    elif given or customer is not None:
        raise click.UsageError("give CUSTOMER and options, or --file FILE, not both")
    elif file is None and sys.stdin.isatty():
        raise click.UsageError("give CUSTOMER and options, or --file FILE, or the customer on standard input")
    else:
        body = client().post("/v1/customers", text=_read(file or "-"), replace=replace)
    answer(body, lambda it: [f"{'replaced' if it['replaced'] else 'added'} {plain(it['customer'])}; in force now"])


@customers.command("remove", cls=Verb)
@click.argument("customer")
def customers_remove(customer: str) -> None:
    """Remove CUSTOMER: its addresses are nobody's from now on, and refused unless `allow:` has them.

    Opt-outs stay on record, for the day the customer comes back.

    \b
      sekisho customers remove c-1001
    """
    body = client().delete("/v1/customer", customer=customer)
    answer(body, lambda it: [f"removed {plain(it['customer'])}; in force now"])


def _several(given: Iterable[str]) -> list[str]:
    """What was given option by option, or with commas or spaces between."""
    return [word for text in given for word in text.replace(",", " ").split()]


def _record_of(customer: str, given: dict[str, Any]) -> Json:
    record: Json = {"id": customer, "terms": _several(given.get("terms", ())), "prefixes": _several(given.get("prefixes", ()))}
    version, at = given.get("consent_version"), given.get("consent_at")
    if (version is None) != (at is None):
        raise click.UsageError("--consent-version and --consent-at belong together; give both or none")
    if version is not None:
        record["consent"] = {"version": version, "at": at}
    if "plan" in given:
        record["plan"] = {"down_mbps": given["plan"][0], "up_mbps": given["plan"][1]}
    if "group" in given:
        record["group"] = given["group"]
    if "exempt" in given:
        record["exempt"] = list(given["exempt"])
    contacts = {key: given[key] for key in ("email", "language") if key in given}
    if contacts:
        record["contacts"] = contacts
    return record


def _read(file: str) -> str:
    """The document as it is: the daemon reads it with the parser of the customer file."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"{file} is not UTF-8 text; write one customer as in the customer file") from None
    if not text.strip():
        raise click.UsageError("nothing describes the customer; give CUSTOMER and options, or one customer as in the customer file")
    return text


def _one_customer(body: Json) -> Iterable[str]:
    consent = body["consent"]
    yield f"customer  {plain(body['id'])} ({plain(body['source'])})"
    yield f"terms     {plain(', '.join(body['terms'])) or 'none: nothing is enforced'}"
    yield f"consent   {'to ' + plain(consent['version']) + ' at ' + plain(consent['at']) if consent else 'none recorded'}"
    yield f"prefixes  {plain(', '.join(body['prefixes'])) or 'none'}"
    if body["group"]:
        yield f"group     {plain(body['group'])}"
    if body["exempt"]:
        yield f"exempt    {plain(', '.join(body['exempt']))}"
    if body["budget"]:
        budget = body["budget"]
        yield f"budget    {budget['rate']} queries/s, burst {budget['burst']}, then {plain(budget['over'])} ({plain(budget['clause'])})"
    yield from measure_lines(body.get("measures"))
    yield ""
    yield from reach_table(body["lists"])


def measure_lines(measures: Json | None) -> Iterable[str]:
    """What measures have in force on a customer, and under which clauses."""
    if measures is None:
        return
    does = ["no query is answered"] if measures["silenced"] else ["suspended, names lead to the notice page"] if measures["garden"] else []
    if measures["budget"]:
        does.append(f"at most {measures['budget']['rate']} queries/s, burst {measures['budget']['burst']}")
    if measures["rate"]:
        does.append(f"the line at {measures['rate']['down'] / 1e6:g} Mbit/s down, {measures['rate']['up'] / 1e6:g} up")
    if measures["mail"] is not None:
        does.append(f"at most {measures['mail']} connections a minute to ports of mail")
    clauses = ", ".join(plain(clause) for clause in measures["clauses"]) or "no clause"
    yield f"measures  {'; '.join(does)} ({clauses})"


def reach_table(lists: list[Json]) -> Iterable[str]:
    """For each list whether it reaches the customer, under which clause, and why."""
    rows = [(one["list"], "in force" if one["in_force"] else "not in force", one["clause"], one["reason"]) for one in lists]
    return table(("LIST", "FOR THIS CUSTOMER", "CLAUSE", "WHY"), rows)


def _all_customers(body: Json) -> Iterable[str]:
    rows = [
        (one["id"], ", ".join(one["terms"]), "yes" if one["consent"] else "no", ", ".join(one["prefixes"]), one["source"])
        for one in body["customers"]
    ]
    yield from table(("CUSTOMER", "TERMS", "CONSENT", "PREFIXES", "FROM"), rows)
    yield f"{len(rows)} of {counted(body['known'], 'customer', 'customers')}" + (
        f"; go on with --after {plain(rows[-1][0])}" if body["more"] else ""
    )
