"""Verbs about VPN groups: what a representative sets for all members."""

from __future__ import annotations

from collections.abc import Iterable

import click

from sekisho.cli.base import Verb, Verbs, answer, client
from sekisho.cli.client import Json
from sekisho.cli.text import plain, table
from sekisho.cli.times import Moment


@click.group(cls=Verbs)
def group() -> None:
    """VPN groups: who is in one, and what its representative sets for all.

    The representative is named under `groups:` of the main file, by customer id, and what they ask
    is recorded with each member as theirs.

    \b
      sekisho group show hq-vpn
      sekisho group optout hq-vpn c2 --by c-1001
    """


@group.command(cls=Verb)
@click.argument("name", metavar="GROUP")
def show(name: str) -> None:
    """Members of GROUP, its representative, which lists each is opted out of, and what is set for all (`groups:`).

    What a member's own record says comes first; what it leaves open is as the group has it.

    \b
      sekisho group show hq-vpn
    """
    answer(client().get("/v1/group", group=name), _members)


@group.command(cls=Verb)
@click.argument("name", metavar="GROUP")
@click.argument("list_id", metavar="LIST")
@click.option("--by", required=True, metavar="CUSTOMER", help="The representative, by customer id.")
@click.option("--until", type=Moment(past=False), metavar="TIME", help="When it ends by itself: 2026-04-01, 7d.")
@click.option("--remove", is_flag=True, help="Opt all members back in instead.")
def optout(name: str, list_id: str, by: str, until: float | None, remove: bool) -> None:
    """Opt all members of GROUP out of LIST, or back in, at the word of its representative.

    It holds for members who join later too, until the group is opted back in. Members whose terms do not have the list are
    left as they are, and each may be opted in or out alone (`sekisho optout`).

    \b
      sekisho group optout hq-vpn c2 --by c-1001
      sekisho group optout hq-vpn c2 --by c-1001 --remove
    """
    if remove and until is not None:
        raise click.UsageError("--until is about opting out; leave it out with --remove")
    if remove:
        body = client().delete("/v1/group/optouts", group=name, list=list_id, by=by)
    else:
        body = client().post("/v1/group/optouts", group=name, list=list_id, until=until, by=by)
    answer(body, _changed)


def _members(body: Json) -> Iterable[str]:
    yield f"{plain(body['group'])}: represented by {plain(body['representative'] or 'nobody')}"
    if body["opted_out"]:
        yield f"the group is opted out of {plain(', '.join(body['opted_out']))}, and so is who joins it"
    yield from _set(body["settings"])
    rows = [
        (
            one["customer"],
            "yes" if one["is_representative"] else "",
            " ".join(one["opted_out"]) or "-",
            " ".join(one["as_group"]) or "-",
        )
        for one in body["members"]
    ]
    yield from table(("MEMBER", "REPRESENTATIVE", "OPTED OUT OF", "AS THE GROUP"), rows)


def _set(told: Json) -> Iterable[str]:
    """What holds for members whose own record says nothing else."""
    if "consent" in told:
        yield f"the group consented to version {plain(told['consent']['version'])} on {plain(told['consent']['at'])}"
    if "email" in told:
        yield f"notices go to {plain(told['email'])}"
    if "language" in told:
        yield f"notices are in {plain(told['language'])}"
    if "plan" in told:
        yield f"a line has {told['plan']['down_mbps']:g}/{told['plan']['up_mbps']:g} Mbit/s"
    if "sessions" in told:
        yield f"an ID may be in {told['sessions']} sessions at the same time"


def _changed(body: Json) -> Iterable[str]:
    state = "opted out of" if body["in_force"] else "opted back in to"
    yield f"{len(body['changed'])} members {state} {plain(body['list'])}, in force now; {len(body['left'])} left as they were"
