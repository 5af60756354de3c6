"""Verbs about notices and attention calls: notices, notice-report, attention."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from sekisho.cli.base import Verb, Verbs, answer, client, print_json, wants_json
from sekisho.cli.client import AnsweredError, Json
from sekisho.cli.text import moment, plain, table

TOGETHER = 2000
"""Lines of a report in one request."""
_STATES = ("queued", "tried", "deferred", "told", "sent", "failed")
_CALLS = ("open", "sent", "answered", "closed")


@click.group(cls=Verbs)
def notices() -> None:
    """What customers were told: by which channel, when, and when it counts as delivered."""


@notices.command("list", cls=Verb)
@click.argument("customer", required=False)
@click.option("--state", type=click.Choice(_STATES), help="Those in this state alone.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="How many at most, the newest first.")
def notices_list(customer: str | None, state: str | None, limit: int) -> None:
    """List notices of CUSTOMER or of everyone, and customers whose mail bounces.

    \b
      sekisho notices list c-1001
      sekisho notices list --state failed
    """
    answer(client().get("/v1/notices", customer=customer, state=state, limit=limit), _notices)


def _notices(body: Json) -> Iterable[str]:
    rows = [
        (one["notice"], one["customer"] or "everybody", one["occasion"], one["clause"], one["channel"], _state(one), moment(one["deemed"]))
        for one in body["notices"]
    ]
    if rows:
        yield from table(("NOTICE", "CUSTOMER", "OCCASION", "CLAUSE", "BY", "STATE", "DELIVERED"), rows)
    else:
        yield "no notices"
    if body["more"]:
        yield "... and more; name a customer, or raise --limit"
    for one in body["unreachable"]:
        yield f"{plain(one['customer'])}: mail to {plain(one['address'])} bounces since {moment(one['since'])}: {plain(one['detail'])}"


def _state(one: Json) -> str:
    state = f"{one['state']} {moment(one['since'])}"
    if one["unconfirmed"]:
        state += ", may have been sent twice" if one["state"] == "sent" else ", may have been sent"
    return f"{state}: {one['detail']}" if one["detail"] else state


@notices.command("bounced", cls=Verb)
@click.argument("what", metavar="ADDRESS|FILE")
def notices_bounced(what: str) -> None:
    """Say that mail comes back: for ADDRESS, or as the delivery report in FILE says (- is standard input).

    The customer counts as unreachable until mail goes through again, which is a ground of its own in some terms.

    \b
      sekisho notices bounced c-1001@example.com
      sekisho notices bounced report.eml
    """
    if what != "-" and "@" in what and not Path(what).exists():
        body = client().post("/v1/notices/bounced", address=what)
    else:
        body = client().post("/v1/notices/bounced", message=_read(what).decode("utf-8", "surrogateescape"))
    answer(body, _bounced)


def _bounced(body: Json) -> Iterable[str]:
    for one in body["bounced"]:
        if one["customer"] is None:
            yield "a recipient of the report is no customer's address here"
        else:
            about = f" (notice {plain(one['notice'])})" if one["notice"] else ""
            yield f"{plain(one['customer'])}{about}: " + ("known already" if one["known"] else "recorded as bounced")
    if not body["bounced"]:
        yield "the report tells of no failure: nothing recorded"


@click.group("notice-report", cls=Verbs)
def notice_report() -> None:
    """Reports of addresses from an outside body, such as those of NICT's NOTICE."""


@notice_report.command("import", cls=Verb)
@click.argument("file")
@click.option("--clause", metavar="CLAUSE", help="The clause calls are made under; default: gunma/38.")
def notice_report_import(file: str, clause: str | None) -> None:
    """Find whose each address of FILE was at its time, and call those customers' attention to it.

    FILE (- is standard input) is CSV with a header, or JSON: address, timestamp and, for shared addresses, port. A time
    without an offset is Japan's. What is nobody's, or not certainly one customer's, leads to no call and is told. Every
    look-up is recorded. The same report again opens no second call.

    \b
      sekisho notice-report import notice.csv
      sekisho notice-report import notice.json --clause gunma/38 --json

    Exit code 1 if a line could not be read; the others are dealt with all the same.
    """
    import time  # noqa: PLC0415 - client verbs start fast

    from sekisho.measures.reports import read_report  # noqa: PLC0415 - likewise

    report = read_report(_read(file), time.time())
    asked, lines = client(), []
    for start in range(0, len(report.good), TOGETHER):
        part = report.good[start : start + TOGETHER]
        given = [{"line": one.line, "address": one.address, "at": one.at, "port": one.port} for one in part]
        try:
            lines += asked.post("/v1/notice-report", report=report.id, clause=clause, lines=given)["lines"]
        except AnsweredError as error:
            if lines:
                said = f"{error.body.get('hint', '')} (of {len(report.good)} lines {len(lines)} are done; import the file again)"
                raise AnsweredError(error.body | {"hint": said.strip()}) from None
            raise
    bad = [{"line": one.line, "error": one.message} for one in report.bad]
    body = {"report": report.id, "lines": lines, "bad": bad}
    if wants_json():
        print_json(body)
    else:
        for text in _imported(body):
            print(text)
    if bad:
        sys.exit(1)


def _imported(body: Json) -> Iterable[str]:
    counts: dict[str, int] = {}
    for one in body["lines"]:
        counts[one["outcome"]] = counts.get(one["outcome"], 0) + 1
        where = f"line {one['line']}: {plain(one['address'])}"
        if one["outcome"] == "opened":
            yield f"{where}: call {plain(one['call'])} to {plain(one['customer'])}"
        else:
            yield f"{where}: no call: {plain(one['why'])}"
    for one in body["bad"]:
        yield f"line {one['line']}: cannot be read: {plain(one['error'])}"
    summary = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())) or "no lines"
    yield f"report {plain(body['report'])}: {summary}" + (f", {len(body['bad'])} bad" if body["bad"] else "")


@click.group(cls=Verbs)
def attention() -> None:
    """Attention calls: who was called, about which address, and how far it went."""


@attention.command("list", cls=Verb)
@click.argument("customer", required=False)
@click.option("--state", type=click.Choice(_CALLS), help="Those in this state alone.")
def attention_list(customer: str | None, state: str | None) -> None:
    """List the calls of CUSTOMER or of everyone.

    \b
      sekisho attention list --state sent
    """
    answer(client().get("/v1/attention", customer=customer, state=state), _calls)


def _calls(body: Json) -> Iterable[str]:
    rows = [
        (one["call"], one["customer"], one["address"], one["port"], moment(one["at"]), one["state"], moment(one["since"]), one["reason"])
        for one in body["calls"]
    ]
    if rows:
        yield from table(("CALL", "CUSTOMER", "ADDRESS", "PORT", "SEEN", "STATE", "SINCE", "REASON"), rows, right=(3,))
    else:
        yield "no attention calls"
    if body["more"]:
        yield "... and more; name a customer or a state"


@attention.command("answer", cls=Verb)
@click.argument("call")
@click.option("--reason", metavar="TEXT", help="What the customer said.")
def attention_answer(call: str, reason: str | None) -> None:
    """Record that the customer answered CALL.

    \b
      sekisho attention answer a-0123456789abcdef --reason "router replaced"
    """
    _moved(client().post("/v1/attention/answer", call=call, reason=reason))


@attention.command("close", cls=Verb)
@click.argument("call")
@click.option("--reason", metavar="TEXT", help="Why nothing more is to be done.")
def attention_close(call: str, reason: str | None) -> None:
    """Close CALL. A later report about the same address opens another.

    \b
      sekisho attention close a-0123456789abcdef --reason "not seen for 30 days"
    """
    _moved(client().post("/v1/attention/close", call=call, reason=reason))


def _moved(body: Json) -> None:
    answer(body, lambda it: [f"call {plain(it['call'])} to {plain(it['customer'])} is {plain(it['state'])}"])


def _read(file: str) -> bytes:
    try:
        raw: Any = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise click.UsageError(f"{file} cannot be read: {error.strerror}") from None
    return bytes(raw)
