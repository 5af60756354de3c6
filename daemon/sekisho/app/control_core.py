"""What the daemon is made of while it runs: one object, handed to the operations on it.

Owns nothing but the parts and what was last asked of the configuration. Each part has its own
module; operations are functions over the core (`control_optouts`, `control_customers`, ...).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

import structlog

from sekisho.app.clocksteps import ClockSteps
from sekisho.app.control_bandwidth import BandwidthDetection
from sekisho.app.control_detection import Detection
from sekisho.app.control_dnstap import Taps
from sekisho.app.control_expiry import Expiry
from sekisho.app.control_flows import Flows
from sekisho.app.control_lines import Lines
from sekisho.app.control_lists import Lists
from sekisho.app.control_matches import Recorder
from sekisho.app.control_measures import Measures
from sekisho.app.control_nas import NasLimits
from sekisho.app.control_notices import Desk
from sekisho.app.control_people import People
from sekisho.app.control_policyzones import Publisher
from sekisho.app.control_sessions import Sessions
from sekisho.app.control_sinks import Sinks
from sekisho.app.control_tables import Tables
from sekisho.app.control_traffic import Traffic
from sekisho.config.settings import Settings
from sekisho.drivers.ledger import Ledger
from sekisho.drivers.matches import MatchStore
from sekisho.drivers.site import Site
from sekisho.drivers.socketdrops import SocketDrops
from sekisho.drivers.tablereader import PlaneObservation
from sekisho.ledger.state import State
from sekisho.model.errors import ConfigError, Fault, RefusedError, SekishoError
from sekisho.model.roles import Members, Roles
from sekisho.snapshot.digest import Key

if TYPE_CHECKING:
    # Brings the packet path with it: imported when a first verdict is explained.
    from sekisho.drivers.verdicts import Explanation

log = structlog.get_logger("sekisho.control")


class PlaneReader(Protocol):
    """What the plane writes, and its verdict function over the tables in force (`drivers.tablereader.TableReader`)."""

    def observe(self) -> PlaneObservation: ...

    def explain(self, address: str, port: int, name: bytes, qtype: int, tcp: bool = False) -> Explanation: ...


class Changes(asyncio.Lock):
    """Held while customers or the configuration change: what was checked still holds when it is done."""

    broken_off = False
    """Something that stands on record, or half of it, may not have been carried out in this life."""

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.broken_off |= error is not None and not isinstance(error, ConfigError | RefusedError)
        await super().__aexit__(kind, error, trace)


@dataclass(slots=True)
class Reload:
    """The last reading of the configuration. `faults` are why it was refused."""

    at: float
    faults: tuple[Fault, ...] = ()
    loaded: float = 0.0
    """When the configuration in force was read."""


def roles_of(site: Site) -> Roles:
    """The roles a site gives."""
    viewer, operator = (
        Members(frozenset(one.users), frozenset(one.groups)) for one in (site.settings.roles.viewer, site.settings.roles.operator)
    )
    return Roles(os.geteuid(), viewer, operator)


@dataclass(slots=True)
class Core:
    """The running daemon."""

    config: Path
    began: Settings
    """What the daemon was started with: some keys are read once."""
    ledger: Ledger
    key: Key
    tables: Tables
    lists: Lists
    matches: MatchStore
    recorder: Recorder
    reader: PlaneReader
    reload: Reload
    measures: Measures
    sinks: Sinks
    desk: Desk
    detection: Detection
    nas: NasLimits
    traffic: Traffic
    bandwidth: BandwidthDetection
    lines: Lines
    sessions: Sessions
    flows: Flows
    zones: Publisher
    taps: Taps
    expiry: Expiry = field(default_factory=Expiry)
    steps: ClockSteps = field(default_factory=ClockSteps)
    failing: dict[str, str] = field(default_factory=dict)
    """What is done again and again and fails at present: why."""
    drops: SocketDrops = field(default_factory=SocketDrops)
    """Of the sockets queries come in on."""
    clock: Callable[[], float] = time.time
    started: float = 0.0
    door: Path | None = None
    """The API socket, once it is there."""
    changes: Changes = field(default_factory=Changes)

    async def list_changed(self, list_id: str) -> None:
        """Another version of a list is to be in force: changes that come together share one snapshot."""
        status = self.lists.status(self.people.definition(list_id), self.clock())
        log.info("list-changed", list=list_id, entries=status.entries, skipped=status.skipped, refused=status.refused)
        try:
            await self.tables.rebuild(self.clock())
        except SekishoError as error:
            # The tables in force stay; `Tables.is_behind` says so until it is made good.
            log.error("snapshot-failed", error=str(error))  # noqa: TRY400 - the sentence says it all

    @property
    def people(self) -> People:
        return self.tables.people

    @property
    def site(self) -> Site:
        return self.tables.people.site

    @property
    def roles(self) -> Roles:
        """Who may ask what, by the configuration in force."""
        return roles_of(self.site)

    @property
    def state(self) -> State:
        return self.ledger.state
