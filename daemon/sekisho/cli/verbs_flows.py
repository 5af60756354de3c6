"""Verbs about flow records: flows."""

from __future__ import annotations

from collections.abc import Iterable

import click

from sekisho.cli.base import Verb, Verbs, answer, client
from sekisho.cli.client import Json
from sekisho.cli.text import moment, plain, table
from sekisho.model.words import number

_VERSIONS = {"netflow5": "v5", "netflow9": "v9", "ipfix": "ipfix"}

_BLOCKS = {
    "taken": "of blocks of ports taken",
    "unknown": "of inside addresses that are no customer's",
    "late": "told before or overtaken",
    "held": "of addresses that are others'",
    "clock": "of a wrong clock",
    "realm": "of another network",
    "unusable": "without one range of ports",
    "lost": "lost for want of room",
    "passed": "not used",
}


@click.group(cls=Verbs)
def flows() -> None:
    """Flow records: which exporters send them, and what is missing or bad."""


@flows.command("show", cls=Verb)
def flows_show() -> None:
    """Show every exporter heard of since the start: records, gaps in its sequence, and bad packets by reason.

    LOST counts records (NetFlow v5, IPFIX) or packets (NetFlow v9) that were sent and did not arrive. EARLY counts sets of data
    whose template had not come yet. A line says what became of what NATs report, blocks of ports above all. Who talked to whom is
    nowhere: only sums of customers are kept, and which ports a CGN gave to whom.

    \b
      sekisho flows show
      sekisho flows show --json | jq '.bad'
    """
    answer(client().get("/v1/flows"), _flows)


def _flows(body: Json) -> Iterable[str]:
    if not body["configured"]:
        yield "no flow records are collected; `flows:` in sekisho.yaml says where and from whom"
        return
    if body["error"]:
        yield f"NOT COLLECTING: {plain(body['error'])}"
    if body["listening"]:
        yield f"listening on {', '.join(map(plain, body['listening']))}"
    rows = [
        (
            one["address"],
            _VERSIONS[one["version"]] + ("/tcp" if one["transport"] == "tcp" else ""),
            one["domain"],
            one["templates"],
            f"1:{one['sampling']:g}" if one["sampling"] else "-",
            number(one["records"]),
            number(one["gaps"]),
            number(one["lost"]),
            number(one["early"]),
            number(sum(one["bad"].values())),
            moment(one["seen"]),
        )
        for one in body["exporters"]
    ]
    if rows:
        head = ("EXPORTER", "VERSION", "DOMAIN", "TEMPLATES", "SAMPLED", "RECORDS", "GAPS", "LOST", "EARLY", "BAD", "SEEN")
        yield from table(head, rows, right=(2, 3, 5, 6, 7, 8, 9))
    else:
        yield "no exporter was heard of"
    totals = body["totals"]
    shared = f" ({number(totals['shared'])} of shared addresses)" if totals["shared"] else ""
    yield (
        f"{number(totals['records'])} records in {number(totals['packets'])} packets: {number(totals['nobody'])} of no customer{shared}, "
        f"{number(totals['unusable'])} with nothing to count; {number(body['octets'])} octets of customers"
    )
    bad = ", ".join(f"{count:,} {plain(reason)}" for reason, count in body["bad"].items() if count)
    yield f"bad packets: {bad or 'none'}" + (f"; {number(totals['dropped'])} dropped by the kernel" if totals["dropped"] else "")
    blocks = ", ".join(f"{number(count)} {_BLOCKS.get(outcome, plain(outcome))}" for outcome, count in body["blocks"].items() if count)
    if blocks:
        yield f"records of address translation: {blocks}"
    if body["stranger"]:
        yield f"refused last: {plain(body['stranger'])}, which is not under `exporters:`"
