"""Verbs about sessions: who is on line, and who held an address when."""

from __future__ import annotations

import re
from collections.abc import Iterable

import click

from sekisho.cli.base import Verb, Verbs, answer, client
from sekisho.cli.client import Json
from sekisho.cli.text import moment, nobody, plain, table
from sekisho.cli.times import Moment
from sekisho.model.words import number

_WITH_PORT = re.compile(r"(?:([0-9.]+)|\[([0-9A-Fa-f:.]+)\]):([0-9]{1,5})")
_LAST_PORT = 65535
BEHIND = 50_000
"""Updates on disk that wait to be put in the sessions' own lines: up to 40,000 are left for later in the usual course."""


@click.group(cls=Verbs)
def sessions() -> None:
    """Who is on which line, by RADIUS accounting (`radius:` in sekisho.yaml): now, and at a time."""


@sessions.command("show", cls=Verb)
@click.argument("customer", required=False)
@click.option("--user", metavar="NAME", help="Those of one User-Name.")
@click.option("--nas", metavar="NAS", help="Those of one access server.")
@click.option("--unknown", is_flag=True, help="Those of users who are no customers.")
@click.option("--ended", is_flag=True, help="Those of CUSTOMER that are over too.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="How many at most.")
def sessions_show(customer: str | None, user: str | None, nas: str | None, unknown: bool, ended: bool, limit: int) -> None:
    """Show the live sessions, of CUSTOMER or of everyone, the latest first, and how the access servers do.

    \b
      sekisho sessions show c-1001
      sekisho sessions show --unknown
    """
    body = client().get("/v1/sessions", customer=customer, user=user, nas=nas, unknown=int(unknown), ended=int(ended), limit=limit)
    # Of one customer or user the access servers are not asked.
    answer(body, lambda told: _all(told, customer, nases=customer is None and user is None))


@sessions.command("at", cls=Verb)
@click.argument("address")
@click.argument("when", metavar="[TIME]", required=False, type=Moment(past=True))
@click.option("--port", type=click.IntRange(0, 65535), help="The port, where customers share the address.")
@click.option("--reason", metavar="TEXT", help="Why you ask, for the record.")
def sessions_at(address: str, when: float | None, port: int | None, reason: str | None) -> None:
    """Tell who held ADDRESS at TIME (now, unless given). That you asked is on the record.

    TIME is a moment (2026-04-01T03:14:07), the last time the clock showed it (03:14:07), or how long ago (2h). The port may stand behind
    the address too.

    \b
      sekisho sessions at 192.0.2.7 2026-04-01T03:14:07 --port 40123 --reason "ticket 4711"
      sekisho sessions at 192.0.2.7:40123 03:14:07
    """
    address, behind = _place(address)
    if behind is not None and port not in {None, behind}:
        raise click.UsageError(f"the port is {behind} behind the address and {port} by --port; give one")
    port = port if behind is None else behind
    asked = {} if port is None else {"port": port}
    answer(client().post("/v1/sessions/at", address=address, at=when, reason=reason, **asked), _at)


def _place(text: str) -> tuple[str, int | None]:
    """An address, and the port behind it; of IPv6 in brackets."""
    found = _WITH_PORT.fullmatch(text)
    if not found:
        return text, None
    port = int(found[3])
    if port > _LAST_PORT:
        raise click.UsageError(f"{port} is no port; the last is {_LAST_PORT}")
    return found[1] or found[2], port


def _all(body: Json, customer: str | None = None, *, nases: bool = True) -> Iterable[str]:
    yield f"{number(body['live'])} live, {number(body['unknown'])} of unknown users" + (
        f"; listening on {', '.join(body['listening'])}" if body["listening"] else "; not listening (`radius:` in sekisho.yaml)"
    )
    if body["waiting"]:
        facts = "1 fact is" if body["waiting"] == 1 else f"{number(body['waiting'])} facts are"
        yield f"{facts} not on disk yet: the NAS that told is answered when written"
    if body["unfolded"] >= BEHIND:
        yield f"the record is behind: {number(body['unfolded'])} updates are on disk and wait to be tidied up; nothing is lost"
    yield from (f"FAULT: {plain(fault)}" for fault in body["faults"])
    if body["packets"]:
        yield "packets: " + ", ".join(f"{number(sum(kinds.values()))} {outcome}" for outcome, kinds in body["packets"].items())
    if nases:
        yield from _nases(body)
    rows = [
        (
            one["customer"] or "(unknown)",
            one["user"],
            one["nas"],
            " ".join([*one["prefixes"], *(f"{share['address']}:{_ports(share['ports'])}" for share in one["shares"])]),
            moment(one["since"]),
            moment(one["seen"]) + (" (silent)" if one["silent"] else ""),
            "-" if one["until"] is None else f"{moment(one['until'])} ({one['end']})",
            number(one["down"]),
            number(one["up"]),
        )
        for one in body["sessions"]
    ]
    if rows:
        yield ""
        yield from table(("CUSTOMER", "USER", "NAS", "ADDRESSES", "SINCE", "HEARD OF", "OVER", "DOWN", "UP"), rows, right=(7, 8))
    if customer is not None and body.get("known") is False:
        yield nobody(customer)
    elif customer is not None and not rows:
        yield f"no session of {plain(customer)}"
    if body["more"]:
        yield "... and more; name a customer, --user or --nas, or give --limit"


def _nases(body: Json) -> Iterable[str]:
    heard, refused = body.get("heard"), body.get("refused")
    if heard:
        yield ""
        whens = [(one["nas"], moment(one["at"]) if one["at"] is not None else "not since the daemon started") for one in heard]
        yield from table(("NAS", "LAST HEARD OF"), whens)
    if refused:
        yield ""
        rows = [(one["nas"] or "(none)", one["source"], number(one["packets"]), moment(one["last"]), one["why"]) for one in refused]
        yield from table(("REFUSED NAS", "ADDRESS", "PACKETS", "LAST", "WHY"), rows, right=(2,))


def _at(body: Json) -> Iterable[str]:
    asked = plain(body["address"]) + (f" port {body['port']}" if body["port"] is not None else "") + f" at {moment(body['at'])}"
    if body["outcome"] == "found":
        yield f"{asked}: customer {plain(body['customer'])}" + (" (fixed address)" if body["by"] == "fixed" else "")
    else:
        yield f"{asked}: {body['outcome']}: {plain(body['why'])}"
    session = body["session"]
    if session is not None:
        yield (
            f"session {plain(session['id'])} of user {plain(session['user'])} on {plain(session['nas'])}, {moment(session['since'])} to "
            + ("now" if session["until"] is None else f"{moment(session['until'])} ({session['end']})")
        )
    elif body["claims"]:
        rows = [
            (one["customer"] or "(unknown)", one["user"], one["nas"], _ports(one["ports"]), moment(one["held_since"]), moment(one["seen"]))
            for one in body["claims"]
        ]
        yield from table(("CUSTOMER", "USER", "NAS", "PORTS", "SINCE", "HEARD OF"), rows)


def _ports(ranges: list[list[int]] | None) -> str:
    if not ranges:
        return "all"
    shown = ",".join(f"{first}-{last}" for first, last in ranges[:2])
    return shown + (f",... ({len(ranges)} ranges)" if len(ranges) > 2 else "")
