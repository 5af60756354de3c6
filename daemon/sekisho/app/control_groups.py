"""VPN groups: what a group's representative sets for all of its members at once (`vectant/11`).

Owns who may and for whom. The setting itself is each member's own, put on the record as one act each with the representative as
who asked. What the representative set for the group, themselves included, holds for who joins later too: it is put on record for
them when they are added, or when a reload brings them. Each may still be opted in or out alone. What else holds for a group -
consent, contacts, capacity, sessions - stands in the configuration and is put on its members with it (`config.groups`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sekisho.app import control_optouts
from sekisho.app.control_core import Core
from sekisho.config.groups import VpnGroup, as_group
from sekisho.model.errors import RefusedError
from sekisho.terms.entitlement import permit_opt_out

Json = dict[str, Any]

MOST = 10_000
"""Members of a group at most: a VPN of a company, not everybody."""


def show(core: Core, group: str) -> Json:
    """The members of a group, who represents it, what is set for it, and what members are opted out of.

    Raises RefusedError if there is no such group.
    """
    now = core.clock()
    members, known = _members(core, group), core.site.settings.groups.get(group)
    representative = known.representative if known is not None else None
    return {
        "group": group,
        "representative": representative,
        "opted_out": sorted(standing(core, group)),
        "settings": _settings(known),
        "members": [
            {
                "customer": one,
                "opted_out": sorted(core.state.opted_out(one, now)),
                "is_representative": one == representative,
                "as_group": as_group(core.people.get(one), known),
            }
            for one in members
        ],
    }


async def opt_out(core: Core, group: str, list_id: str, until: float | None, by: str, actor: str) -> Json:
    """Opt every member of a group out of a list, at the word of its representative `by`.

    Members whose terms have no clause for the list are left as they are. Raises RefusedError, and changes nothing, if `by` is not
    the representative, or if a clause lets some member not opt out.
    """
    asked = _asked_by(core, group, by)
    definition = core.people.definition(list_id)
    now, concerned, left = core.clock(), [], []
    for identity in _members(core, group):
        customer = core.people.get(identity)
        profile = core.people.profile(customer)
        if profile.block[definition.order] is None:
            left.append(identity)
        elif list_id not in core.state.opted_out(identity, now) or (identity == by and list_id not in standing(core, group)):
            # The representative's own record is what says that it is set for the group: it is written anew.
            permit_opt_out(profile, definition, identity)
            concerned.append(identity)
        else:
            left.append(identity)
    for identity in concerned:
        await control_optouts.add(core, identity, list_id, until, asked, actor)
    return {"group": group, "list": list_id, "in_force": True, "changed": concerned, "left": left, "by": asked}


async def opt_in(core: Core, group: str, list_id: str, by: str, actor: str) -> Json:
    """Opt every member that is opted out of a list back in. Raises RefusedError likewise."""
    asked = _asked_by(core, group, by)
    core.people.definition(list_id)
    now, members = core.clock(), _members(core, group)
    concerned = [one for one in members if list_id in core.state.opted_out(one, now)]
    for identity in concerned:
        await control_optouts.remove(core, identity, list_id, asked, actor)
    left = [one for one in members if one not in concerned]
    return {"group": group, "list": list_id, "in_force": False, "changed": concerned, "left": left, "by": asked}


def standing(core: Core, group: str) -> dict[str, float | None]:
    """Lists the group is opted out of at its representative's word, and until when (UNIX seconds; None: for good)."""
    representative, now = _representative(core, group), core.clock()
    if representative is None:
        return {}
    records = core.state.opt_outs.get(representative, {}).values()
    return {one.list: one.until for one in records if one.in_force(now) and one.by == _said_by(representative, group)}


def rosters(core: Core) -> dict[str, frozenset[str]]:
    """The members of every group something is set for."""
    return {group: frozenset(core.people.members(group)) for group in core.site.settings.groups if standing(core, group)}


async def joined(core: Core, before: Mapping[str, frozenset[str]], actor: str) -> None:
    """Set for who has joined a group since `before` (see `rosters`) what is set for it."""
    for group, members in before.items():
        await settle(core, group, [one for one in core.people.members(group) if one not in members], actor)


async def settle(core: Core, group: str, customers: Collection[str], actor: str) -> None:
    """Set for some members what is set for their group. Whom a list does not reach, or who are opted out already, are left as they are."""
    representative = _representative(core, group) or ""
    for list_id, until in standing(core, group).items():
        definition = core.people.definition(list_id)
        for identity in customers:
            rule = core.people.profile(core.people.get(identity)).block[definition.order]
            if rule is None or identity == representative or list_id in core.state.opted_out(identity, core.clock()):
                continue
            try:
                await control_optouts.add(core, identity, list_id, until, _said_by(representative, group), actor)
            except RefusedError:
                continue  # terms of their own that let nobody opt out


def _representative(core: Core, group: str) -> str | None:
    known = core.site.settings.groups.get(group)
    return known.representative if known is not None else None


def _settings(group: VpnGroup | None) -> Json:
    """What is set for all members whose own record says nothing, besides opt-outs."""
    if group is None:
        return {}
    agreed, plan = group.consented, group.capacity
    told = {
        "consent": {"version": agreed.version, "at": agreed.at} if agreed is not None else None,
        "email": group.email,
        "language": group.language,
        "plan": {"down_mbps": plan.down_mbps, "up_mbps": plan.up_mbps} if plan is not None else None,
        "sessions": group.sessions,
    }
    return {word: value for word, value in told.items() if value is not None}


def _said_by(representative: str, group: str) -> str:
    return f"{representative}, representative of {group}"


def _members(core: Core, group: str) -> list[str]:
    members = core.people.members(group)
    if not members:
        raise RefusedError(f"no customer is in a group {group}; `group` of the customer record names it")
    if len(members) > MOST:
        raise RefusedError(f"group {group} has {len(members)} members; a setting is for {MOST} at most at a time - set it by customer")
    return members


def _asked_by(core: Core, group: str, by: str) -> str:
    """What is recorded as who asked. Raises RefusedError unless it is the group's representative, and one of its members."""
    representative = _representative(core, group)
    if representative is None:
        raise RefusedError(f"group {group} has no representative on record; name one under `groups:` of the main file and reload")
    if by != representative:
        raise RefusedError(f"{by} does not represent group {group}; a setting for all of it is for {representative} to ask")
    if by not in core.people.members(group):
        raise RefusedError(f"{representative}, who is to represent group {group}, is not in it; mend `groups:` or the customer record")
    return _said_by(by, group)
