"""VPN groups: what a group's representative sets for all of its members at once (`vectant/11`).

Owns who may and for whom. The setting itself is each member's own, put on the record as one act each with the representative as
who asked; a member who joins later has none of it until the representative asks again.
"""

from __future__ import annotations

from typing import Any

from sekisho.app import control_optouts
from sekisho.app.control_core import Core
from sekisho.model.errors import RefusedError
from sekisho.terms.entitlement import permit_opt_out

Json = dict[str, Any]

MOST = 10_000
"""Members of a group at most: a VPN of a company, not everybody."""


def show(core: Core, group: str) -> Json:
    """The members of a group, who represents it, and what members are opted out of. Raises RefusedError if there is no such group."""
    now = core.clock()
    members, representative = _members(core, group), core.site.settings.groups.get(group)
    return {
        "group": group,
        "representative": representative,
        "members": [
            {
                "customer": one,
                "opted_out": sorted(core.state.opted_out(one, now)),
                "is_representative": one == representative,
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
        elif list_id not in core.state.opted_out(identity, now):
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


def _members(core: Core, group: str) -> list[str]:
    members = core.people.members(group)
    if not members:
        raise RefusedError(f"no customer is in a group {group}; `group` of the customer record names it")
    if len(members) > MOST:
        raise RefusedError(f"group {group} has {len(members)} members; a setting is for {MOST} at most at a time - set it by customer")
    return members


def _asked_by(core: Core, group: str, by: str) -> str:
    """What is recorded as who asked. Raises RefusedError unless it is the group's representative, and one of its members."""
    representative = core.site.settings.groups.get(group)
    if representative is None:
        raise RefusedError(f"group {group} has no representative on record; name one under `groups:` of the main file and reload")
    if by != representative:
        raise RefusedError(f"{by} does not represent group {group}; a setting for all of it is for {representative} to ask")
    if by not in core.people.members(group):
        raise RefusedError(f"{representative}, who is to represent group {group}, is not in it; mend `groups:` or the customer record")
    return f"{by}, representative of {group}"
