"""Who does not get the addresses of lists (`rpz-ip`), and who gets them though they reach customers there whom they must not.

Unbound lets a client through for names. For the addresses of an answer it does so only while it resolves: what its
cache answers is stopped for everybody, for who opted out, is exempt, or has no such clause in their terms, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sekisho.config.policyzones import PolicyZones, ResolverKind, Secondary

Json = dict[str, Any]


def without(settings: PolicyZones) -> tuple[str, ...]:
    """Ids of secondaries that get no addresses."""
    return tuple(one.id for one in settings.secondaries if not one.gets_addresses)


def told(settings: PolicyZones, held: Mapping[str, int]) -> list[Json]:
    """What to tell of lists by how many addresses of answers they hold: whom they are kept from, and whom they harm."""
    found: list[Json] = []
    away = [one for one in settings.secondaries if not one.gets_addresses]
    given = [one for one in settings.secondaries if one.gets_addresses and one.may_be_unbound]
    for list_id, count in held.items():
        if not count:
            continue
        holds = f"list {list_id} holds {count} addresses of answers (rpz-ip)"
        if away:
            found.append(
                _of(list_id, count, away, given=False, reason=f"{holds}, which {_names(away)} {_VERB[len(away) > 1]} not get: {_why(away)}")
            )
        if given:
            reason = f"{holds}, and {_names(given)} get{'' if len(given) > 1 else 's'} them (`addresses: true`): {_HARM}"
            found.append(_of(list_id, count, given, given=True, reason=reason))
    return found


_VERB = ("does", "do")
_HARM = "from its cache Unbound stops by them customers who opted out, are exempt, or whose terms lack the clause"


def _of(list_id: str, count: int, whom: Sequence[Secondary], *, given: bool, reason: str) -> Json:
    return {"list": list_id, "addresses": count, "secondaries": [one.id for one in whom], "given": given, "reason": reason}


def _names(some: Sequence[Secondary]) -> str:
    return " and ".join(one.id for one in some)


def _why(away: Sequence[Secondary]) -> str:
    if all(one.addresses is False for one in away):
        return "`addresses: false` says so"
    unknown = any(one.resolver is not ResolverKind.UNBOUND and one.addresses is None for one in away)
    other = "; for a resolver that is not Unbound say which it is (`resolver:`)" if unknown else ""
    return f"{_HARM}. Unbound's plugin keeps them apart; `addresses: true` of the secondary gives them all the same{other}"
