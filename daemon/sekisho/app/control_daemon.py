"""The daemon's life on tables that are in force: its parts joined, run as one group of tasks, stopped with nothing lost.

What the plane answers by comes before all this (`control_base`), and the doors (API, metrics) come last.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import structlog

from sekisho.app.control_attention import resume as resume_calls
from sekisho.app.control_audit import erase
from sekisho.app.control_base import Base, in_force
from sekisho.app.control_consents import resume as resume_consents
from sekisho.app.control_core import Core, Reload
from sekisho.app.control_desk import UnreachableFindings, open_desk
from sekisho.app.control_doors import Door, open_doors
from sekisho.app.control_flows import TICK
from sekisho.app.control_matches import DEFAULT_RETENTION, Recorder, retentions
from sekisho.app.control_measures import Measures
from sekisho.app.control_nas import duplicate_logins
from sekisho.app.control_policylists import NamedLists
from sekisho.app.control_policystanding import Sources
from sekisho.app.control_policyzones import Publisher
from sekisho.app.control_reload import reload
from sekisho.app.control_sinks import Sinks
from sekisho.app.control_watch import open_watch
from sekisho.drivers.hitrings import HitRings
from sekisho.drivers.matches import MatchStore
from sekisho.drivers.notify import Notifier
from sekisho.drivers.site import Site
from sekisho.measures import calendar
from sekisho.model.errors import ConfigError, SekishoError
from sekisho.model.words import counted

log = structlog.get_logger("sekisho.control")

DRAIN_EVERY = 0.5
"""Seconds between two looks at the ring of matches."""
BEAT_EVERY = 0.5
PURGE_EVERY = 3600.0
MEASURES_EVERY = 1.0
"""Seconds after which what is due of a measure has been done."""
ERASE_EVERY = 86400.0
DETECT_EVERY = 0.25
"""Seconds between two looks whether a window of `detection:` is over."""
NAS_EVERY = 5.0
"""Seconds between two looks whose sessions are to end."""
TRAFFIC_EVERY = 1.0
"""Seconds after its end in which a slot of usage has ended."""
SESSIONS_EVERY = 1.0
"""Seconds between two looks whether sessions are overdue; octets are handed on as often."""
EXPIRY_EVERY = 0.25
"""Seconds after its end in which an opt-out has ended."""
_WANT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""What the machine has too little of for a while, or does not let itself be written: no reason to end, a step is done when it can be."""


@contextlib.asynccontextmanager
async def running(config: Path, site: Site) -> AsyncIterator[Core]:
    """The core with its tables in force; closed in the reverse order at the end.

    Raises SekishoError, with a sentence, for whatever keeps it from starting.
    """
    async with in_force(site) as base, running_on(base, config) as core:
        yield core


@contextlib.asynccontextmanager
async def running_on(base: Base, config: Path) -> AsyncIterator[Core]:
    """All of the daemon, on tables that are in force. Raises SekishoError likewise."""
    now, state, ledger, tables, sessions = base.started, base.state, base.ledger, base.tables, base.sessions
    async with contextlib.AsyncExitStack() as stack:
        matches = MatchStore.open(state / "matches.db")
        stack.push_async_callback(matches.close)
        began = tables.people.site.settings
        await sessions.start(tables, began.radius)
        await base.lists.saved()
        desk = open_desk(ledger, lambda: tables.people, state, lambda: core.clock())  # noqa: PLW0108 - there is no core yet
        measures = Measures(ledger, lambda: tables.people, tables, desk, calendar)
        desk.sink = UnreachableFindings(lambda: tables.people, lambda finding: measures.found([finding], finding.at))
        sinks = Sinks(ledger, lambda: ledger.state.number, state, time.time)
        stack.push_async_callback(sinks.close)
        recorder, first = Recorder(HitRings(base.folder), matches), Reload(now, (), now)
        watch = await open_watch(stack, base.folder, state, tables, sessions, measures, now)
        named = NamedLists(base.lists, base.key)
        sources = Sources(lambda: tables.people, tables.enforced, named, ledger.state, base.key, sessions.prefixes_of, sessions.customers)
        zones = tables.publisher = Publisher(sources, state / "policyzones.json")
        sessions.followers.append(zones.customers_changed)
        stack.push_async_callback(zones.close)
        parts = (
            measures,
            sinks,
            desk,
            watch.detection,
            watch.nas,
            watch.traffic,
            watch.bandwidth,
            watch.lines,
            sessions,
            watch.flows,
            zones,
            watch.taps,
        )
        core = Core(config, began, ledger, base.key, tables, base.lists, matches, recorder, base.reader, first, *parts, started=now)
        await measures.reconcile(now)
        await watch.nas.reconcile(duplicate_logins(measures.view(now)))
        # What an earlier life left in the kernel is made what the record says before anybody is told that the daemon is ready.
        await watch.lines.step()
        core.expiry.add_all(ledger.state.each_opt_out())
        tables.heartbeat(time.time_ns())
        yield core
        base.is_in_order = base.is_in_order and not core.changes.broken_off
        # What the plane matched until now belongs to the record.
        with contextlib.suppress(SekishoError):
            await core.recorder.drain(_retentions(core), everything=True)
        with contextlib.suppress(SekishoError):
            await watch.detection.keep(core.clock())


async def serve(base: Base, config: Path, hang_up: asyncio.Event, notifier: Notifier) -> None:
    """Run until SIGTERM or SIGINT; `hang_up` is set when the files are to be read again. Raises SekishoError if the daemon cannot start."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with running_on(base, config) as core:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        doors = open_doors(core)
        every = functools.partial(_every, failing=core.failing)
        tasks = [
            asyncio.create_task(every(DRAIN_EVERY, "drain", lambda: _drain(core))),
            asyncio.create_task(every(BEAT_EVERY, "heartbeat", lambda: _beat(core, notifier))),
            asyncio.create_task(every(EXPIRY_EVERY, "expiry", lambda: _expire(core))),
            asyncio.create_task(every(MEASURES_EVERY, "measures", lambda: core.measures.tick(core.clock()))),
            asyncio.create_task(every(DETECT_EVERY, "detection", lambda: _detect(core))),
            asyncio.create_task(every(TICK, "flows", lambda: core.flows.tick(time.monotonic()))),
            asyncio.create_task(core.nas.run()),
            asyncio.create_task(every(NAS_EVERY, "nas", lambda: _nas(core))),
            asyncio.create_task(every(DETECT_EVERY, "dnstap", lambda: core.taps.follow(core.site.settings.dnstap, time.monotonic()))),
            asyncio.create_task(every(TRAFFIC_EVERY, "usage", lambda: core.traffic.tick(core.clock()))),
            asyncio.create_task(every(DETECT_EVERY, "lines", lambda: core.bandwidth.tick(core.people, core.clock()))),
            asyncio.create_task(every(SESSIONS_EVERY, "sessions", core.sessions.tick)),
            asyncio.create_task(every(PURGE_EVERY, "purge", lambda: _purge(core))),
            asyncio.create_task(every(ERASE_EVERY, "erase", lambda: erase(core))),
            asyncio.create_task(_reload_when(hang_up, core)),
            asyncio.create_task(core.lines.run()),
            asyncio.create_task(_tell(core)),
            asyncio.create_task(core.zones.run()),
            *(asyncio.create_task(door.serve()) for door in doors),
        ]
        core.lists.keep_fresh(core.list_changed)
        await core.sinks.adopt(core.site.settings.events)
        core.flows.want(core.site.settings.flows)
        await core.zones.adopt()
        log.info("ready", customers=len(core.people), lists=len(core.people.lists), epoch=core.tables.published.epoch)
        notifier.ready(f"{counted(len(core.people), 'customer', 'customers')}, {counted(len(core.people.lists), 'list', 'lists')}")
        try:
            await _until_stopped(stop, tasks)
        finally:
            notifier.stopping()
            log.info("stopping")
            base.is_in_order = await _close(doors, tasks)
            await core.nas.stop()


async def _until_stopped(stop: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    """Wait for the signal. A task that ends before it is a fault of ours, and the process ends for it."""
    waiting = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {waiting}:
            task.result()
    finally:
        waiting.cancel()


async def _close(doors: Sequence[Door], tasks: list[asyncio.Task[None]]) -> bool:
    """False if what somebody had asked for was not carried out by then."""
    for door in doors:
        door.close()
    serving = tasks[len(tasks) - len(doors) :]
    for task in tasks[: len(tasks) - len(doors)]:
        task.cancel()
    _, late = await asyncio.wait(serving, timeout=5.0)
    for task in late:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for door in doors:
        door.remove()
    return not late


async def _every(seconds: float, what: str, step: Callable[[], Awaitable[object]], failing: dict[str, str]) -> None:
    """Do a step again and again. What fails on purpose, or for want, is in `failing`, logged once as long as it does, and tried again."""
    while True:
        try:
            await step()
        except (SekishoError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in _WANT:
                raise
            if what not in failing:
                log.error("failing", task=what, error=str(error))  # noqa: TRY400 - the sentence says it all
            failing[what] = str(error)
        else:
            if failing.pop(what, None):
                log.info("recovered", task=what)
        await asyncio.sleep(seconds)


async def _drain(core: Core) -> None:
    await core.recorder.drain(_retentions(core))


async def _beat(core: Core, notifier: Notifier) -> None:
    # First: the watchdog asks whether the process lives, not whether there is room on its disk.
    if notifier.watchdog_seconds is not None:
        notifier.watchdog()
    core.tables.heartbeat(time.time_ns())
    core.steps.look(time.time(), time.monotonic())
    core.lists.check()
    await core.tables.repair(core.clock())
    if core.tables.is_behind() and not core.changes.locked():
        await core.tables.rebuild(core.clock())


async def _tell(core: Core) -> None:
    """Send notices; first those of attention calls that were opened, and of consents that were given, just before the last end."""
    with contextlib.suppress(SekishoError):
        await resume_calls(core)
    await resume_consents(core)
    await core.desk.run()


async def _expire(core: Core) -> None:
    for customer in core.expiry.due(core.clock()):
        await core.tables.refresh_mask(customer, core.clock())


async def _detect(core: Core) -> None:
    await core.detection.tick(core.people, core.clock(), time.monotonic())


async def _nas(core: Core) -> None:
    await core.nas.look(duplicate_logins(core.measures.view(core.clock())))


async def _purge(core: Core) -> None:
    longest = core.site.settings.retention
    otherwise = DEFAULT_RETENTION if longest is None else min(DEFAULT_RETENTION, longest)
    removed = await core.matches.purge(_retentions(core), otherwise, core.clock())
    if removed:
        log.info("matches-purged", rows=removed)
    core.sessions.purge()
    pages = await core.desk.purge()
    if pages:
        log.info("pages-purged", pages=pages)


async def _reload_when(hang_up: asyncio.Event, core: Core) -> None:
    """SIGHUP: the same as the operation, answered by the log and `status`."""
    while True:
        await hang_up.wait()
        hang_up.clear()
        try:
            await reload(core, "signal:SIGHUP")
        except ConfigError as error:
            for fault in error.faults:
                log.error("fault", fault=str(fault))  # noqa: TRY400
        except SekishoError as error:
            log.error("reload-failed", error=str(error))  # noqa: TRY400


def _retentions(core: Core) -> dict[str, float]:
    return retentions(core.site.packs.values(), core.site.settings.retention)
