"""Where the addresses of lists (`rpz-ip`) do not do what they do elsewhere: who does not get them, does not read them, or is harmed.

Unbound lets a client through for names. For the addresses of an answer it does so only while it resolves: what its
cache answers is stopped for everybody, for who opted out, is exempt, or has no such clause in their terms, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sekisho.config.policyzones import PolicyZones, ResolverKind, Secondary

Json = dict[str, Any]

_HARM = "from its cache Unbound stops by them customers who opted out, are exempt, or whose terms lack the clause"


def without(settings: PolicyZones) -> tuple[str, ...]:
    """Ids of secondaries that get no addresses."""
    return tuple(one.id for one in settings.secondaries if not one.gets_addresses)


def told(settings: PolicyZones, held: Mapping[str, int]) -> list[Json]:
    """What to tell of lists by how many addresses of answers they hold.

    `asked_for`: the operator said so, and knows.
    """
    some = settings.secondaries
    away = [one for one in some if not one.gets_addresses and one.addresses is None]
    refused = [one for one in some if one.addresses is False]
    unread = [one for one in some if one.gets_addresses and one.resolver is ResolverKind.KNOT]
    given = [one for one in some if one.gets_addresses and one.may_be_unbound]
    found: list[Json] = []
    for list_id, count in held.items():
        if not count:
            continue
        holds = f"list {list_id} holds {count} address{'' if count == 1 else 'es'} of answers (rpz-ip)"
        for whom, what, is_given, asked_for in (
            (away, f"kept from {_names(away)}: {_HARM}. {_why(away)}", False, False),
            (refused, f"kept from {_names(refused)}, as `addresses: false` says", False, True),
            (unread, f"not read at {_names(unread)}: Knot Resolver knows no such trigger, and stops nobody by them", True, False),
            (given, f"given to {_names(given)}, as `addresses: true` says: {_HARM}", True, False),
        ):
            if whom:
                reason = f"{holds}, {what}"
                ids = [one.id for one in whom]
                found.append(
                    {"list": list_id, "addresses": count, "secondaries": ids, "given": is_given, "asked_for": asked_for, "reason": reason}
                )
    return found


def _names(some: Sequence[Secondary]) -> str:
    return " and ".join(one.id for one in some)


def _why(away: Sequence[Secondary]) -> str:
    unknown = any(one.resolver is not ResolverKind.UNBOUND for one in away)
    other = "; for a resolver that is not Unbound say which it is (`resolver:`)" if unknown else ""
    return f"Unbound's plugin keeps customers apart; `addresses: true` of the secondary gives them all the same{other}"
