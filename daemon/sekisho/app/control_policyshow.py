"""What an operator sees of the published zones: serials, secondaries and transfers; configuration and files for resolvers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from sekisho.app.control_core import Core
from sekisho.app.control_policyaddresses import told
from sekisho.app.control_policystanding import withheld
from sekisho.app.control_policyzones import Publisher
from sekisho.config.policyzones import PolicyZones, Secondary
from sekisho.drivers.durable import write_file
from sekisho.drivers.sitecheck import unnotified
from sekisho.model.customers import Prefix
from sekisho.model.errors import RefusedError, UnavailableError
from sekisho.model.observation import ZONE_TRANSFERS, PolicyZoneObservation, PrimaryObservation
from sekisho.rpz.order import DEFAULT, GARDEN, SILENCED, Class, Plan
from sekisho.rpz.snippets import BIND_ZONES, PARTS, snippet
from sekisho.rpz.text import master_lines
from sekisho.rpz.told import Told, View, ZoneTold
from sekisho.rpz.zone import Zone

Json = dict[str, Any]

_PATIENCE = 30.0
"""Seconds the primary's loop has to give a zone's content."""


def _settings(zones: Publisher) -> PolicyZones:
    if zones.settings is None:
        raise RefusedError("no policy zones are published; `policy_zones:` of the configuration says which, and who may transfer them")
    return zones.settings


def _plan(zones: Publisher) -> Plan:
    if zones.plan is None:
        raise UnavailableError(f"the policy zones are not there yet{f' ({zones.fault})' if zones.fault else ''}; try again in a moment")
    return zones.plan


def show(core: Core) -> Json:
    """The answer to `sekisho rpz show`."""
    zones, people = core.zones, core.people
    settings = _settings(zones)
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


def configuration(
    core: Core,
    resolver: str,
    *,
    part: str,
    secondary: str | None,
    primary: str | None,
    key_file: str | None,
    folder: str | None,
    clients: str | None,
) -> Json:
    """The configuration of a resolver, as text. Raises RefusedError."""
    settings, made = _settings(core.zones), _plan(core.zones)
    if resolver not in PARTS:
        raise RefusedError(f"there is no resolver {resolver}; name one of {', '.join(PARTS)}")
    if part and part not in PARTS[resolver]:
        raise RefusedError(f"the configuration of {resolver} has no part {part}; it has {', '.join(PARTS[resolver])}")
    chosen = _chosen(settings, resolver, secondary)
    key = next((one for one in settings.keys if one.name == chosen.key), None)
    listen = settings.listen[0]
    ports = core.zones.thread.ports if core.zones.thread is not None else ()
    host, port = listen.host, ports[0] if ports else listen.port
    if primary is not None:
        host, _, digits = primary.strip("[]").rpartition(":") if primary.count(":") == 1 or "]" in primary else (primary, "", "")
        host, port = host.strip("[]"), int(digits) if digits.isdigit() else port
    views = tuple(_view(core, one, made, settings) for one in made.classes)
    if resolver == "bind":
        _fit_bind(views)
    if resolver == "unbound" and len(views) > 1:
        views = (*views[:-1], replace(views[-1], networks=_networks(clients)))
    signed = (key.name, key.algorithm) if key is not None else None
    here = Told(host, port, views, signed, key_file or "sekisho.key", folder or _FOLDERS[resolver], chosen.gets_addresses)
    return {"resolver": resolver, "text": snippet(resolver, here, part)}


def _chosen(settings: PolicyZones, resolver: str, named: str | None) -> Secondary:
    """Whose configuration it is: the one named, whatever it is said to be, else the first such resolver. Raises RefusedError.

    Another's would be of no use: without the key that is wanted of it, or with one it does not have, it transfers nothing.
    """
    fitting = (one for one in settings.secondaries if (one.resolver == resolver if named is None else one.id == named))
    chosen = next(fitting, None)
    if chosen is not None:
        return chosen
    if named is not None:
        raise RefusedError(f"there is no secondary {named}; `policy_zones.secondaries` names those there are")
    known = ", ".join(one.id for one in settings.secondaries)
    raise RefusedError(
        f"no secondary is said to be {resolver}: add one with `resolver: {resolver}` to `policy_zones.secondaries`"
        + (f", or name with --secondary which of {known} it is" if known else " and reload")
    )


def _fit_bind(views: tuple[View, ...]) -> None:
    """Raises RefusedError where BIND would refuse its configuration."""
    for view in views:
        if len(view.zones) > BIND_ZONES:
            of = f" of the class {view.id}" if view.id else ""
            raise RefusedError(
                f"BIND takes {BIND_ZONES} policy zones in a view and those{of} are {len(view.zones)}, two for each list:"
                " publish fewer lists, or merge lists of one clause into one whose source has the entries of all"
            )


def _networks(clients: str | None) -> tuple[str, ...]:
    """Networks whose clients get the tag of everybody else. Raises RefusedError."""
    try:
        found = [str(Prefix.parse(one.strip())) for one in (clients or "").split(",") if one.strip()]
    except ValueError as error:
        raise RefusedError(f"--clients: {error}") from None
    if not found:
        raise RefusedError(
            "Unbound tags clients by network, and there are entitlement classes: name the networks it serves, as its access-control has"
            " them: --clients 192.0.2.0/24,2001:db8::/32"
        )
    return tuple(found)


_FOLDERS = {"bind": "", "unbound": "", "recursor": "", "knot": "/var/lib/knot-sekisho"}


def _view(core: Core, one: Class, made: Plan, settings: PolicyZones) -> View:
    passing = {step.passing for step in one.steps}
    zones = []
    for label in made.zones(one):
        name = f"{label}.{settings.zone}"
        action = "drop" if label == SILENCED else "garden" if label == GARDEN else "pass" if label in passing else ""
        zones.append(ZoneTold(name, bool(action), action))
    networks: tuple[str, ...] = ()
    if len(made.classes) > 1 and one.id != DEFAULT:
        held = (customer for customer in core.people.each() if made.class_of(customer.terms) is one)
        networks = tuple(str(prefix) for customer in held for prefix in core.zones.prefixes(customer))
    return View(one.id, tuple(zones), networks)


async def export(core: Core, folder: str, zone: str | None, *, addresses: bool = True) -> Json:
    """Write zone files for a resolver that reads files, those alone that changed. Raises RefusedError.

    Without `addresses` lists come without the addresses of answers, as Unbound needs them.
    """
    _settings(core.zones)
    _plan(core.zones)
    chosen = [one for one in list(core.zones.zones.values()) if zone is None or one.label == zone]
    if zone is not None and not chosen:
        raise RefusedError(f"there is no policy zone {zone}; `sekisho rpz show` names those there are")
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
