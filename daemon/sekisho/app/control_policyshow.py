"""What an operator sees of the published zones: serials, secondaries and transfers; files for resolvers.

Their configuration is `control_policyconfig`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from sekisho.app.control_core import Core
from sekisho.app.control_policyaddresses import told
from sekisho.app.control_policystanding import withheld
from sekisho.app.control_policyzones import Publisher
from sekisho.config.policyzones import PolicyZones, Secondary
from sekisho.drivers.durable import write_file
from sekisho.drivers.sitecheck import unnotified
from sekisho.model.errors import RefusedError, UnavailableError
from sekisho.model.observation import ZONE_TRANSFERS, PolicyZoneObservation, PrimaryObservation
from sekisho.rpz.order import Plan
from sekisho.rpz.text import master_lines
from sekisho.rpz.zone import Zone

Json = dict[str, Any]

_PATIENCE = 30.0
"""Seconds the primary's loop has to give a zone's content."""


def settings_of(zones: Publisher) -> PolicyZones:
    """What is published to whom. Raises RefusedError."""
    if zones.settings is None:
        raise RefusedError("no policy zones are published; `policy_zones:` of the configuration says which, and who may transfer them")
    return zones.settings


def plan_of(zones: Publisher) -> Plan:
    """The zones and their order. Raises UnavailableError."""
    if zones.plan is None:
        raise UnavailableError(f"the policy zones are not there yet{f' ({zones.fault})' if zones.fault else ''}; try again in a moment")
    return zones.plan


def show(core: Core) -> Json:
    """The answer to `sekisho rpz show`."""
    zones, people = core.zones, core.people
    settings = settings_of(zones)
    made = zones.plan
    planned = [] if made is None else [(one, made.zones(one)) for one in made.classes]
    primary = zones.thread.primary if zones.thread is not None else None
    answers = primary.answers if primary is not None else None
    seen = {one.id: one for one in answers.allowed} if answers is not None else {}
    reasons = [(one.id, withheld(one, settings)) for one in people.lists]
    return {
        "zone": settings.zone,
        "listen": [str(one) for one in settings.listen],
        "fault": zones.fault or None,
        "classes": [
            {"id": one.id or "default", "terms": list(one.terms), "zones": [f"{label}.{settings.zone}" for label in labels]}
            for one, labels in planned
        ],
        "zones": [
            {"zone": zone.label, "serial": zone.serial, "records": len(zone.content), "journal": len(zone.journal)}
            for zone in list(zones.zones.values())
        ],
        "withheld": [{"list": list_id, "reason": reason} for list_id, reason in reasons if reason],
        "addresses": told(settings, zones.addresses()),
        "late": [{"secondary": one, "reason": reason} for one, reason in unnotified(settings)],
        "missed": [{"list": list_id, "customers": count} for list_id, count in sorted(zones.clients.missed().items())],
        "secondaries": [_secondary(one, seen.get(one.id), zones) for one in settings.secondaries],
        "transfers": _counted(answers.transfers) if answers is not None else [],
        "notifies": dict(primary.notifier.counts) if primary is not None else {},
        "refused": dict(answers.refused) if answers is not None else {},
        "octets": answers.octets if answers is not None else 0,
        "connections": primary.connections if primary is not None else 0,
        "turned_away": primary.turned_away if primary is not None else 0,
    }


def _counted(transfers: Any) -> list[Json]:
    return [{"zone": zone, "kind": kind, "count": count} for (zone, kind), count in sorted(dict(transfers).items())]


def _secondary(one: Secondary, seen: Any, zones: Publisher) -> Json:
    serials = {zone.label: zone.serial for zone in list(zones.zones.values())}
    got = dict(seen.zones) if seen is not None else {}
    return {
        "id": one.id,
        "address": str(one.address),
        "key": one.key,
        "addresses": one.gets_addresses,
        "notify": str(one.notify) if one.notify is not None else None,
        "seen": seen.seen_at if seen is not None else None,
        "behind": sum(1 for name, serial in serials.items() if name not in got or got[name].serial != serial),
        "zones": [
            {"zone": name, "serial": was.serial, "at": was.at, "kind": was.kind, "current": serials.get(name) == was.serial}
            for name, was in sorted(got.items())
        ],
    }


def warnings(core: Core) -> list[str]:
    """What an operator should know of the zones whenever they look."""
    zones = core.zones
    found = told(zones.settings, zones.addresses()) if zones.settings is not None else []
    crowd = zones.clients.allowed
    more = f"policy zones let {crowd.inside} prefixes of customers through with the networks of `allow:` around them; take these out of it"
    return [str(one["reason"]) for one in found if not one["asked_for"]] + ([more] if crowd.is_crowded and zones.settings else [])


def observed(core: Core) -> PrimaryObservation | None:
    """The published zones as exporters tell them; None: none are."""
    zones, settings = core.zones, core.zones.settings
    if settings is None:
        return None
    if zones.thread is None:
        return PrimaryObservation(failed=bool(zones.fault))
    primary = zones.thread.primary
    transfers = dict(primary.answers.transfers)
    seen = {one.id: one for one in primary.answers.allowed}
    return PrimaryObservation(
        zones=tuple(
            PolicyZoneObservation(
                zone.label, zone.serial, len(zone.content), {kind: transfers.get((zone.label, kind), 0) for kind in ZONE_TRANSFERS}
            )
            for zone in list(zones.zones.values())
        ),
        behind={one.id: int(_secondary(one, seen.get(one.id), zones)["behind"]) for one in settings.secondaries},
        notifies=dict(primary.notifier.counts),
        refused=dict(primary.answers.refused),
        octets=primary.answers.octets,
        missed={one.id: 0 for one in core.people.lists if not withheld(one, settings)} | zones.clients.missed(),
    )


async def export(core: Core, folder: str, zone: str | None, *, addresses: bool = True) -> Json:
    """Write zone files for a resolver that reads files, those alone that changed. Raises RefusedError.

    Without `addresses` lists come without the addresses of answers, as Unbound needs them.
    """
    settings = settings_of(core.zones)
    plan_of(core.zones)
    chosen = [one for one in list(core.zones.zones.values()) if zone is None or one.label == zone]
    if zone is not None and not chosen:
        kept = next((one for one in core.people.lists if zone in {f"{kind}-{one.id}.{settings.zone}" for kind in ("list", "pass")}), None)
        why = withheld(kept, settings) if kept is not None else ""
        raise RefusedError(why or f"there is no policy zone {zone}; `sekisho rpz show` names those there are")
    return await asyncio.to_thread(_export, core.zones, chosen, Path(folder), whole=zone is None, addresses=addresses)


def _export(zones: Publisher, chosen: list[Zone], folder: Path, *, whole: bool, addresses: bool) -> Json:
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        index = folder / "serials"
        known = dict(line.split() for line in index.read_text().splitlines()) if index.exists() else {}
        for zone in chosen:
            serial, runs = _content(zones, zone, addresses=addresses)
            version = str(serial) if addresses else f"{serial}-without-addresses"
            if known.get(zone.label) == version and (folder / f"{zone.label}.rpz").exists():
                continue
            text = "".join(_lines(zone, serial, runs))
            write_file(folder / f"{zone.label}.rpz", text.encode(), mode=0o644)
            known[zone.label] = version
            written.append(zone.label)
        if whole:
            known = {label: version for label, version in known.items() if label in {zone.label for zone in chosen}}
        write_file(index, "".join(f"{label} {version}\n" for label, version in sorted(known.items())).encode(), mode=0o644)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its file `serials` is damaged: remove it"
        raise RefusedError(f"zones cannot be written to {folder} ({reason}); name a folder where the daemon may write") from None
    return {"folder": str(folder), "written": written, "zones": len(chosen)}


def _content(zones: Publisher, zone: Zone, *, addresses: bool) -> tuple[int, Iterator[tuple[int, bytes]]]:
    """A zone's serial and records, of one moment: taken in the primary's loop."""
    thread, future = zones.thread, Future[tuple[int, Iterator[tuple[int, bytes]]]]()
    if thread is None:
        raise UnavailableError("the policy zones are not served; `sekisho rpz show` says why")
    thread.call(lambda: future.set_result((zone.serial, zone.frozen(addresses=addresses))))
    return future.result(_PATIENCE)


def _lines(zone: Zone, serial: int, runs: Iterator[tuple[int, bytes]]) -> Iterator[str]:
    times = zone.timers
    yield f"$ORIGIN {zone.label}.\n$TTL {times.ttl}\n"
    yield f"@ SOA localhost. hostmaster {serial} {times.refresh} {times.retry} {times.expire} {times.ttl}\n@ NS localhost.\n"
    for count, octets in runs:
        yield from master_lines(count, octets)
