"""What an operator asks of feeds: fetch them now, accept a version that is held."""

from __future__ import annotations

from typing import Any

import structlog

from sekisho.app.control_core import Core
from sekisho.app.control_status import Plane, lists
from sekisho.model.errors import RefusedError
from sekisho.model.events import FeedAccepted

log = structlog.get_logger("sekisho.control")

Json = dict[str, Any]


async def refresh(core: Core, list_id: str | None, actor: str) -> Json:
    """Fetch one list or all now. What came is in force on return; what failed says why."""
    chosen = core.people.lists if list_id is None else (core.people.definition(list_id),)
    log.info("lists-refreshed-by-hand", lists=[definition.id for definition in chosen], actor=actor)
    await core.lists.refresh(chosen, core.clock())
    ids = {definition.id for definition in chosen}
    return {"lists": [one for one in lists(core, Plane(core), core.clock()) if one["id"] in ids]}


async def accept(core: Core, list_id: str, actor: str) -> Json:
    """Put the held version of a list in force: on the record first, then in the tables."""
    definition = core.people.definition(list_id)
    held = core.lists.status(definition, core.clock()).held
    if held is None:
        raise RefusedError(f"no version of list {list_id} is held; `sekisho lists show {list_id}` shows what is in force")
    recorded = await core.ledger.append(FeedAccepted(list_id, held.version), actor, core.clock())
    status = await core.lists.accept(definition, held.version)
    log.info("list-accepted", list=list_id, actor=actor, number=recorded.number)
    return {"list": list_id, "version": held.version, "entries": status.entries, "in_force": True, "number": recorded.number}
