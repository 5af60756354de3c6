"""One over-blocked name, or prefix of addresses or clients, let through on one list, at once (`nbnet/21-2`).

On a sealed list the exception is its keyed digest and nothing more: the name comes in, is digested
and forgotten. No answer, no record, no log line and no error says it again.
"""

from __future__ import annotations

from typing import Any

import structlog

from sekisho.app.control_core import Core
from sekisho.lists.idn import split, to_text, to_wire
from sekisho.model.addresses import key_of, key_of_text, prefix_of, wider
from sekisho.model.errors import RefusedError
from sekisho.model.events import ExceptionAdded, ExceptionRemoved
from sekisho.model.lists import Trigger
from sekisho.snapshot.digest import digest_name, entry_id
from sekisho.snapshot.entries import CompiledList

log = structlog.get_logger("sekisho.control")

Json = dict[str, Any]


async def add(core: Core, list_id: str, text: str, subtree: bool, reason: str, actor: str) -> Json:
    """Except a name from a list; in force on return. Raises RefusedError, without the name."""
    definition = core.people.definition(list_id)
    wire = _wire(text)
    labels = split(wire)
    if definition.sealed and _repeats(reason, text, wire):
        raise RefusedError("the reason repeats the name, which may stand in no record of a sealed list; word it without the name")
    first, second = digest_name(wire, core.key)
    prefix = prefix_of(wire)
    if prefix is not None and subtree:
        raise RefusedError("an address has nothing below it; give a prefix such as 192.0.2.0/24 instead of --subtree")
    triggers = Trigger.EXACT | Trigger.BELOW if subtree else Trigger.EXACT
    triggers |= prefix[1] if prefix is not None else Trigger(0)
    depth = prefix[0].length if prefix is not None else len(labels)
    name = "" if definition.sealed else to_text(wire)
    entry = entry_id(first, second)
    act = ExceptionAdded(list_id, entry, depth, int(triggers), name, reason)
    recorded = await core.ledger.append(act, actor, core.clock())
    await core.tables.rebuild(core.clock())
    log.info("exception-added", list=list_id, number=recorded.number)
    held = holds(core.lists.compiled(definition), wire, core)
    return {"list": list_id, "entry": entry, "subtree": subtree, "held": held, "in_force": True, "number": recorded.number}


async def remove(core: Core, list_id: str, text: str, actor: str) -> Json:
    """Take an exception back; in force on return. Raises RefusedError, without the name."""
    core.people.definition(list_id)
    entry = entry_id(*digest_name(_wire(text), core.key))
    if entry not in core.state.exceptions.get(list_id, {}):
        raise RefusedError(f"list {list_id} has no exception for that name; `sekisho lists show {list_id}` shows those it has")
    recorded = await core.ledger.append(ExceptionRemoved(list_id, entry), actor, core.clock())
    await core.tables.rebuild(core.clock())
    log.info("exception-removed", list=list_id, number=recorded.number)
    return {"list": list_id, "entry": entry, "in_force": True, "number": recorded.number}


def holds(compiled: CompiledList, wire: bytes, core: Core) -> bool:
    """Whether a list holds a name now: as itself, or below an entry for a sub-tree; a prefix as itself or within a wider one."""
    found = prefix_of(wire)
    if found is not None:
        prefix, trigger = found
        return any(compiled.find(*digest_name(key_of(one, trigger), core.key)) is not None for one in (prefix, *wider(prefix)))
    labels = split(wire)
    for depth in range(len(labels)):
        suffix = b"".join(bytes((len(label),)) + label for label in labels[depth:]) + b"\0"
        row = compiled.find(*digest_name(suffix, core.key))
        wanted = Trigger.BELOW if depth else Trigger.EXACT
        if row is not None and int(compiled.triggers[row]) & wanted:
            return True
    return False


def _wire(text: str) -> bytes:
    try:
        return key_of_text(text) or to_wire(text)
    except ValueError as error:
        raise RefusedError(
            f"what was given is no domain name: {error}; give one such as www.example.com, an address or prefix that answers lead to,"
            " such as 192.0.2.7, or `client 192.0.2.7` for who asks from there"
        ) from None


def _repeats(reason: str, text: str, wire: bytes) -> bool:
    """Whether a reason has the name in it, as it was typed or in either form of IDNA."""
    said = reason.casefold()
    forms = {text.casefold().strip("."), to_text(wire).casefold(), to_text(wire, unicode=True).casefold()}
    return any(form in said for form in forms)
