"""Verbs about lists: show, refresh, accept, except."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import click

from sekisho.cli.base import Verb, Verbs, answer, client
from sekisho.cli.client import Json
from sekisho.cli.text import moment, plain, table
from sekisho.cli.verbs_daemon import list_table, state_of
from sekisho.model.words import counted, number


@click.group(cls=Verbs)
def lists() -> None:
    """Show, refresh and accept lists; except names."""


@lists.command("show", cls=Verb)
@click.argument("list_id", metavar="[LIST]", required=False)
def lists_show(list_id: str | None) -> None:
    """Show all lists, or LIST with its faults and exceptions.

    SKIPPED are lines that are damaged; NOT KEPT are entries that are not applied because they are of a kind
    that cannot be, as the triggers on name servers of a policy zone (rpz-nsdname, rpz-nsip): the kinds are named below.

    \b
      sekisho lists show
      sekisho lists show c2
    """
    body = client().get("/v1/lists", id=list_id)
    answer(body, lambda it: _one_list(it["lists"][0]) if list_id is not None else _all_lists(it["lists"]))


@lists.command("refresh", cls=Verb)
@click.argument("list_id", metavar="[LIST]", required=False)
def lists_refresh(list_id: str | None) -> None:
    """Fetch LIST, or all lists, now, and put what came in force.

    \b
      sekisho lists refresh c2
    """
    body = client().post("/v1/lists/refresh", list=list_id)
    answer(body, _refreshed)
    if any(one["error"] for one in body["lists"]):
        sys.exit(1)


@lists.command("accept", cls=Verb)
@click.argument("list_id", metavar="LIST")
def lists_accept(list_id: str) -> None:
    """Put the held version of LIST in force.

    A version that lost more entries than the list may lose (max_shrink, 30 % unless set) is held:
    look at what its source says before you accept it.

    \b
      sekisho lists show c2
      sekisho lists accept c2
    """
    body = client().post("/v1/lists/accept", list=list_id)
    answer(body, lambda it: [f"accepted {plain(list_id)}: {counted(it['entries'], 'entry', 'entries')}; in force now"])


@lists.command("except", cls=Verb)
@click.argument("list_id", metavar="LIST")
@click.argument("name")
@click.option("--subtree", is_flag=True, help="What is below the name too.")
@click.option("--reason", metavar="TEXT", help="Why, for the record; not the name.")
@click.option("--remove", is_flag=True, help="Take the exception back.")
def lists_except(list_id: str, name: str, subtree: bool, reason: str | None, remove: bool) -> None:
    """Let NAME, or an address, through on LIST, at once; other lists still may hold it.

    An address, or a prefix of addresses, is one that answers lead to; `client ADDRESS` is who asks from there.

    Works on a sealed list too: only the keyed digest of the name is kept and the name is not
    repeated. NAME - reads it from standard input, so that no shell history has it.

    \b
      sekisho lists except c2 www.example.com --reason "over-blocked, ticket 4712"
      sekisho lists except c2 example.com --subtree
      sekisho lists except c2 192.0.2.7
      sekisho lists except c2 "client 198.51.100.0/24"
      sekisho lists except sealed -
      sekisho lists except c2 www.example.com --remove
    """
    if name == "-":
        name = sys.stdin.readline().strip()
    if not name:
        raise click.UsageError("NAME is empty; give one domain name")
    if remove:
        if subtree or reason:
            raise click.UsageError("--remove takes the whole exception back; leave --subtree and --reason out")
        body = client().delete("/v1/exceptions", list=list_id, name=name)
        answer(body, lambda it: [f"exception {it['entry']} on {plain(list_id)} taken back; in force now"])
        return
    body = client().post("/v1/exceptions", list=list_id, name=name, subtree=subtree, reason=reason)
    scope = "the name and what is below it" if subtree else "it"
    answer(body, lambda it: [f"{plain(list_id)} lets {scope} through (entry {it['entry']}); in force now", *_not_held(it)])


def _not_held(body: Json) -> list[str]:
    return [] if body["held"] else ["the list holds no entry of that name now; the exception stands for the day it does"]


def _refreshed(body: Json) -> Iterable[str]:
    yield from _all_lists(body["lists"])


def _all_lists(lists: list[Json]) -> Iterable[str]:
    yield from list_table(lists)
    for one in lists:
        if one["unkept"]:
            kinds = ", ".join(f"{plain(kind)} {number(count)}" for kind, count in one["kinds"].items())
            yield f"{plain(one['id'])}: not kept, and so not applied: {kinds}"


def _one_list(one: Json) -> Iterable[str]:
    yield f"list       {plain(one['id'])} ({plain(one['category'])}{', sealed' if one['sealed'] else ''}), order {one['order']}"
    yield f"source     {plain(one['source'])} ({plain(one['format'])})"
    yield f"state      {state_of(one)}"
    yield f"version    {plain(one['version'] or '-')}, fetched {moment(one['fetched'])}"
    yield (
        f"entries    {number(one['entries'])} in force; {counted(one['skipped'], 'line', 'lines')} skipped, "
        f"{number(one['refused'])} refused by a guard, {number(one['unkept'])} of a kind that cannot be kept"
    )
    if one["addresses"] or one["clients"]:
        names = one["entries"] - one["addresses"] - one["clients"]
        yield (
            f"triggers   {counted(names, 'name', 'names')}, {counted(one['addresses'], 'prefix', 'prefixes')} looked for in answers, "
            f"{counted(one['clients'], 'prefix', 'prefixes')} of clients"
        )
    for kind, count in one["kinds"].items():
        yield f"not kept   {plain(kind)}: {number(count)}"
    yield f"matches    {number(one['matches'])} since the plane started"
    yield f"opted out  {counted(one['opted_out'], 'customer', 'customers')}"
    yield f"clauses    {plain(', '.join(one['clauses'])) or 'none: no terms in use authorise this category, so it reaches nobody'}"
    if one["error"]:
        yield f"error      {plain(one['error'])}"
    if one["held"]:
        yield f"held       {counted(one['held']['entries'], 'entry', 'entries')}, {one['held']['lost']:.0%} lost"
    for fault in one["faults"]:
        yield f"fault      {plain(fault)}"
    if one["exceptions"]:
        yield ""
        rows = [(e["entry"], e["name"], "subtree" if e["subtree"] else "exact", e["reason"]) for e in one["exceptions"]]
        yield from table(("EXCEPTION", "NAME", "SCOPE", "REASON"), rows)
