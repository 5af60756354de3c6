"""The configuration of resolvers that transfer the zones: whose it is, what it is told of the zones, and where it gets them.

Its text is `rpz.snippets`'.
"""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Any

from sekisho.app.control_core import Core
from sekisho.app.control_policyshow import plan_of, settings_of
from sekisho.app.control_policyzones import Publisher
from sekisho.config.policyzones import PolicyZones, Secondary
from sekisho.config.values import Endpoint, read_endpoint
from sekisho.model.customers import Prefix
from sekisho.model.errors import RefusedError
from sekisho.rpz.order import DEFAULT, GARDEN, SILENCED, Class, Plan
from sekisho.rpz.snippets import BIND_ZONES, PARTS, snippet
from sekisho.rpz.told import Told, View, ZoneTold

Json = dict[str, Any]


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
    settings, made = settings_of(core.zones), plan_of(core.zones)
    if resolver not in PARTS:
        raise RefusedError(f"there is no resolver {resolver}; name one of {', '.join(PARTS)}")
    if part and part not in PARTS[resolver]:
        raise RefusedError(f"the configuration of {resolver} has no part {part}; it has {', '.join(PARTS[resolver])}")
    chosen = _chosen(settings, resolver, secondary)
    key = next((one for one in settings.keys if one.name == chosen.key), None)
    views = tuple(_view(core, one, made, settings) for one in made.classes)
    if resolver == "bind":
        _fit_bind(views)
    if resolver == "unbound" and len(views) > 1:
        views = (*views[:-1], replace(views[-1], networks=_networks(clients)))
    signed = (key.name, key.algorithm) if key is not None else None
    first, *others = primaries_of(core.zones, settings, chosen, resolver, primary)
    keys, place = key_file or "sekisho.key", folder or _FOLDERS[resolver]
    here = Told(first.host, first.port, views, signed, keys, place, chosen.gets_addresses, tuple(others))
    return {"resolver": resolver, "text": snippet(resolver, here, part)}


def primaries_of(zones: Publisher, settings: PolicyZones, chosen: Secondary, resolver: str, primary: str | None) -> list[Endpoint]:
    """Where a resolver reaches us: as it is told, else the addresses of `listen` it can reach. Raises RefusedError.

    Of its own family, and of this machine alone if it is on it; where there is none, all, since there may be a way we do not know.
    """
    ports = zones.thread.ports if zones.thread is not None else ()
    places = [Endpoint(one.host, port) for one, port in zip(settings.listen, ports or [one.port for one in settings.listen], strict=True)]
    if primary is not None:
        try:
            # The others take a name for something else, or for nothing.
            named = read_endpoint(primary.strip(), places[0].port, names=resolver == "unbound")
        except ValueError as error:
            raise RefusedError(f"--primary: {error}") from None
        if _is_any(named):
            raise RefusedError(f"--primary: {named.host} is no address a resolver can reach; name one of this machine's")
        return [named]
    theirs = ipaddress.ip_network(str(chosen.address))
    known = [one for one in places if not _is_any(one)]
    near = [one for one in known if ipaddress.ip_address(one.host).is_loopback == theirs.is_loopback]
    found = [one for one in near if (":" in one.host) == (theirs.version == 6)] or near or (known if known == places else [])
    if not found:
        raise RefusedError(
            f"`policy_zones: listen` names no address by which {chosen.id} ({chosen.address}) reaches this machine: say with --primary"
            " ADDRESS[:PORT] which one does"
        )
    return found


def _is_any(place: Endpoint) -> bool:
    return place.host in {"0.0.0.0", "::"}  # noqa: S104 - compared with


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
