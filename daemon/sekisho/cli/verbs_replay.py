"""`sekisho replay`: recorded traffic run against a policy. It reads files, and needs no daemon."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterable
from pathlib import Path

import click

from sekisho.cli.base import Verb, answer, chosen_config
from sekisho.cli.client import Json
from sekisho.cli.text import moment, plain, table
from sekisho.model.customers import V4_MAPPED
from sekisho.model.errors import RefusedError
from sekisho.model.words import counted, number

_MOST = 50
"""Customers under one clause that are told of in words; --json has all of them."""


@click.command(cls=Verb)
@click.argument("recording", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--terms", "packs", metavar="PACK.yaml", multiple=True, help="A changed pack, in place of that of the same id; may be repeated."
)
@click.option(
    "--against", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Another configuration, as the changed policy."
)
@click.option(
    "--state",
    metavar="DIR",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The state folder, or a copy of it, whose record of sessions and of acts is used; otherwise that of the configuration.",
)
@click.option("--resolver", "resolvers", metavar="ADDRESS", multiple=True, help="Count queries to this name server alone; may be repeated.")
@click.option("--loaded", is_flag=True, help="Take the name servers to be under load all the time: the most there can be found.")
def replay(
    recording: Path, packs: tuple[str, ...], against: Path | None, state: Path | None, resolvers: tuple[str, ...], loaded: bool
) -> None:
    """Who would have been affected: yesterday's traffic against today's policy, or a changed one.

    FILE is a capture of packets (pcap, pcapng; read by scapy: `pip install sekisho[replay]`) of customers' traffic, or of
    exporters' NetFlow v5, v9 or IPFIX to UDP port 2055 or 4739; a file of nfcapd, where nfdump is installed; or the table
    that `nfdump -r FILE -o csv` writes, its times being those of this machine (TZ).

    The detectors, the rules of the terms and the lists the daemon keeps are run in the time of the recording, as if
    nothing were observed only. With --terms or --against both policies are run, and compared. No daemon is asked,
    nothing is written, and no name that was asked for is shown.

    Customers are those of now: who is exempt from a clause, by the customer file or by `sekisho measures exempt`, is not
    affected by it. A line without a capacity (`plan`, `lines: line`) is found, and told not to be slowed.

    Whose an address was at the time of a packet or record the record of sessions in the state folder tells, where
    there is one (RADIUS), and the fixed addresses of the customer file.

    \b
      sekisho replay yesterday.pcap
      sekisho replay yesterday.pcap --terms ./nbnet.yaml
      sekisho replay nfcapd.202604010300 --against ./new/sekisho.yaml
      sekisho replay yesterday.pcap --state /srv/copy-of-state
      sekisho replay flows.csv --json | jq '.policies[0].totals'

    Load on the name servers is what the answers in a capture tell: how many came in time, and how soon. Flow records and
    captures without answers tell none; --loaded takes it to be there.
    """
    from sekisho.app.replay import Options  # noqa: PLC0415 - client verbs start fast
    from sekisho.app.replay import replay as run  # noqa: PLC0415 - client verbs start fast
    from sekisho.app.replay_body import comparison_body, replayed_body  # noqa: PLC0415 - client verbs start fast
    from sekisho.app.replay_site import with_packs, with_state  # noqa: PLC0415 - client verbs start fast
    from sekisho.drivers.site import load_pack, load_site  # noqa: PLC0415 - client verbs start fast

    if packs and against is not None:
        raise click.UsageError("give --terms, or another configuration by --against; not both")
    config = chosen_config()
    site = load_site(config)
    policies = [(str(config), site)]
    if packs:
        policies.append((", ".join(packs), with_packs(site, [load_pack(name) for name in packs])))
    elif against is not None:
        policies.append((str(against), load_site(against)))
    if state is not None:
        policies = [(name, with_state(one, state)) for name, one in policies]
    options = Options(frozenset(_address(text) for text in resolvers), loaded)
    bodies = [replayed_body(name, run(one, recording, options, time.time())) for name, one in policies]
    comparison = comparison_body(*bodies) if len(bodies) > 1 else None
    answer({"file": str(recording), "policies": bodies, "comparison": comparison}, _lines)


def _address(text: str) -> int:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise RefusedError(f"{text!r} is no address; give one such as 192.0.2.53 or 2001:db8::53") from None
    return int(found) | V4_MAPPED if found.version == 4 else int(found)


def _lines(body: Json) -> Iterable[str]:
    recording = body["policies"][0]["recording"]
    yield (
        f"{plain(body['file'])}: {moment(recording['begin'])} to {moment(recording['end'])}; {number(recording['queries'])} queries, "
        f"{number(recording['octets'])} octets of customers; {number(recording['nobody'])} packets or records of nobody"
    )
    for one in body["policies"]:
        yield ""
        yield from _policy_lines(one)
    if body["comparison"] is not None:
        yield ""
        yield from _comparison_lines(body["comparison"])


def _policy_lines(body: Json) -> Iterable[str]:
    yield f"under {plain(body['policy'])}, {counted(body['customers'], 'customer', 'customers')}:"
    for note in body["notes"]:
        yield f"  note: {plain(note)}"
    if not body["measures"] and not body["blocked"]:
        yield "  nobody would have been affected"
        return
    shown: dict[str, int] = {}
    for one in body["measures"]:
        shown[one["clause"]] = shown.get(one["clause"], 0) + 1
        if shown[one["clause"]] > _MOST:
            continue
        yield f"  {plain(one['clause'])}  {plain(one['customer'])}: from {moment(one['since'])} to {_until(one)}"
        for sentence in one["reasons"]:
            yield f"      {plain(sentence)}"
        yield f"      {plain(_what(one))}"
    for clause, many in shown.items():
        if many > _MOST:
            yield f"  {plain(clause)}  and {many - _MOST} more; --json has all of them"
    if body["blocked"]:
        rows = [(one["clause"], one["list"], one["customer"], one["answer"], number(one["queries"])) for one in body["blocked"][:_MOST]]
        yield from (f"  {line}" for line in table(("CLAUSE", "LIST", "CUSTOMER", "ANSWER", "QUERIES"), rows, right=(4,)))
        if len(body["blocked"]) > _MOST:
            yield f"  and {len(body['blocked']) - _MOST} more; --json has all of them"
    yield ""
    rows = [
        (one["clause"], number(one["found"]), number(one["enforced"]), number(one["blocked_customers"]), number(one["blocked_queries"]))
        for one in body["totals"]
    ]
    yield from (f"  {line}" for line in table(("TOTALS", "FOUND", "ENFORCED", "BLOCKED", "QUERIES"), rows, right=(1, 2, 3, 4)))


def _until(case: Json) -> str:
    return moment(case["until"]) if case["until"] is not None else "the end of the recording"


def _what(case: Json) -> str:
    """What would have been done, and when."""
    effect = f"{case['effect']} ({case['effect_words']})"
    if case["enforced"] is None:
        waits = f"; it would follow at {moment(case['due'])}" if case["due"] is not None and case["until"] is None else ""
        return f"{effect} would not have come in force within the recording{waits}"
    if case["not_done"] is not None:
        return f"{effect} would have been due from {moment(case['enforced'])}, but nothing would have been done: {plain(case['not_done'])}"
    ended = f" to {moment(case['lifted'])}" if case["lifted"] is not None else ", still in force at the end"
    return f"{effect} would have been in force from {moment(case['enforced'])}{ended}"


def _comparison_lines(body: Json) -> Iterable[str]:
    yield "the second policy against the first:"
    if not body["measures"] and not body["blocked"]:
        yield "  no difference: neither affects anybody"
        return
    rows = [
        (
            one["clause"],
            *(number(one[name]) for name in ("before", "after", "enforced_before", "enforced_after")),
            len(one["no_more"]),
            len(one["newly"]),
        )
        for one in body["measures"]
    ]
    if rows:
        head = ("CLAUSE", "FOUND", "THEN", "ENFORCED", "THEN", "NO MORE", "NEWLY")
        yield from (f"  {line}" for line in table(head, rows, right=(1, 2, 3, 4, 5, 6)))
    for one in body["measures"]:
        for name, words in (("no_more", "no more"), ("newly", "newly")):
            if one[name]:
                more = f" and {len(one[name]) - _MOST} more" if len(one[name]) > _MOST else ""
                yield f"  {plain(one['clause'])}, {words}: {plain(', '.join(one[name][:_MOST]))}{more}"
    if body["blocked"]:
        rows = [(one["clause"], one["list"], number(one["before"]), number(one["after"])) for one in body["blocked"]]
        yield from (f"  {line}" for line in table(("CLAUSE", "LIST", "QUERIES", "THEN"), rows, right=(2, 3)))
