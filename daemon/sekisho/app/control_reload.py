"""Reading the configuration again: built aside, checked whole, then put in force; or not at all."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from sekisho.app import plane_began
from sekisho.app.control_core import Core, Reload, roles_of
from sekisho.app.control_groups import joined, rosters
from sekisho.app.control_people import People
from sekisho.app.control_status import warnings
from sekisho.config.settings import Settings
from sekisho.drivers.site import load_site
from sekisho.model.errors import ConfigError, SekishoError

log = structlog.get_logger("sekisho.control")

Json = dict[str, Any]

OWN = (*plane_began.FOLDERS, "metrics")
"""Keys the control plane reads at its start alone."""


async def reload(core: Core, actor: str) -> Json:
    """Put the configuration as it stands in the files in force.

    Raises ConfigError with every fault; what was in force stays in force then, and `status` says so.
    """
    async with core.changes:
        now = core.clock()
        before, groups = core.site, rosters(core)
        try:
            site = await asyncio.to_thread(load_site, core.config)
        except ConfigError as error:
            core.reload = Reload(now, tuple(error.faults), core.reload.loaded)
            log.warning("reload-refused", actor=actor, faults=len(error.faults))
            raise
        people = await asyncio.to_thread(People, site, core.state, core.people)
        try:
            await core.lists.adopt(site, core.state, now)
            await core.tables.replace(people, core.clock())
        except SekishoError:
            await core.lists.adopt(before, core.state, core.clock())
            raise
        finally:
            core.lists.keep_fresh(core.list_changed)
        core.reload = Reload(now, (), now)
        # Other terms, other customers or another mode: what they no longer authorise ends now.
        await core.measures.settle(core.clock())
        await core.nas.adopt(site.settings.coa)
        core.lines.look_again()
        await core.sinks.adopt(site.settings.events)
        await core.sessions.adopt(site.settings.radius)
        await core.flows.adopt(site.settings.flows)
        await core.zones.adopt()
        if roles_of(site) != roles_of(before):
            _change_door(core)
            log.info("roles-changed", actor=actor)
    await joined(core, groups, actor)
    restart = await asyncio.to_thread(_at_next_start, core, site.settings)
    log.info("reloaded", actor=actor, lists=len(site.lists), customers=len(people), restart=restart)
    return {
        "lists": [definition.id for definition in site.lists],
        "customers": len(people),
        "epoch": core.tables.published.epoch,
        "restart": restart,
        "warnings": warnings(core),
    }


def _at_next_start(core: Core, settings: Settings) -> list[str]:
    """Keys that are otherwise than what the processes that run were started with."""
    began = core.began
    own = {key for key in (*plane_began.KEYS, *OWN) if getattr(settings, key) != getattr(began, key)}
    planes = plane_began.changed(began.runtime / "plane", settings)
    found = own if planes is None else {*planes, *own.intersection(OWN)}
    return [key for key in Settings.model_fields if key in found]


def _change_door(core: Core) -> None:
    """The socket's mode under the roles in force. The roles themselves hold from the next request on, on any connection."""
    if core.door is not None:
        # With the web server, which a start has no time for before the tables are in force.
        from sekisho.api.server import mode_for  # noqa: PLC0415

        try:
            core.door.chmod(mode_for(core.roles))
        except OSError as error:
            log.error("socket-mode-failed", error=error.strerror)  # noqa: TRY400
