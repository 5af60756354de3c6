"""What policy zones are made of, and where each customer stands in them.

Owns which zones a site has and what every customer has in them, by terms, opt-outs and measures. Not when that is
published (`control_policyzones`), nor the order of the zones (`rpz.order`).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from sekisho.app.control_enforcement import garden_of
from sekisho.app.control_people import People
from sekisho.app.control_policyallowed import MOST, Allowed, held_by
from sekisho.app.control_policyclients import Clients
from sekisho.config.policyzones import LONGEST_LABEL, PolicyZones
from sekisho.ledger.state import State
from sekisho.lists.idn import to_wire
from sekisho.model.addresses import key_of_text
from sekisho.model.customers import Prefix
from sekisho.model.events import ExceptionAdded
from sekisho.model.lists import PREFIXES, ListDefinition
from sekisho.model.measures import Enforcement
from sekisho.rpz.order import GARDEN, SILENCED, Plan, plan, standing
from sekisho.rpz.records import DROP, NODATA, PASSTHRU, client_ip, cname, tails
from sekisho.snapshot.digest import Key
from sekisho.snapshot.entries import CompiledList
from sekisho.terms.entitlement import profile_of

_ALLOWED = "\0allow"
"""Stands for the networks of `allow:` among the customers, which have no such id."""


class Entries(Protocol):
    """Who knows the lists in force with their names."""

    async def named(self, definition: ListDefinition, compiled: CompiledList) -> CompiledList: ...

    def compiled(self, definition: ListDefinition) -> CompiledList: ...


@dataclass(frozen=True, slots=True)
class Sources:
    """What zones are made of, as it is when asked."""

    people: Callable[[], People]
    enforcement: Callable[[], Mapping[str, Enforcement]]
    lists: Entries
    state: State
    key: Key
    prefixes: Callable[[str], tuple[Prefix, ...]]
    """A customer's addresses now, those of sessions included; not those that are shared by port ranges."""
    live: Callable[[], Iterable[str]] = tuple
    """Customers with sessions."""


def look_at(sources: Sources, clients: Clients, people: People, made: Plan, identity: str, now: float) -> None:
    """Enter one customer as they stand at `now` (Unix time)."""
    customer = people.find(identity)
    if customer is None:
        clients.put(identity, None)
        clients.allowed.put(identity, ())
        return
    what = sources.enforcement().get(identity)
    mask = people.entitlement(customer, now).mask
    stands = standing(
        made.class_of(customer.terms),
        mask,
        silenced=what is not None and what.silenced,
        garden=what is not None and what.garden and made.garden,
    )
    prefixes = sources.prefixes(customer.id) if stands.zone is not None or clients.allowed.networks else ()
    clients.put(identity, stands, prefixes)
    clients.allowed.put(identity, prefixes)


def everybody(sources: Sources, people: People, made: Plan, now: float) -> Clients:
    """All customers, in a thread: those of the file who are alike to the terms are worked out once."""
    clients = Clients(Allowed(people.site.settings.allow))
    file, state, enforced = people.site.customers, sources.state, sources.enforcement()
    apart = {*list(state.customers), *list(state.opt_outs), *list(enforced)}
    groups, shared = file.groups()
    stands = [standing(made.class_of(one.terms), people.entitlement(one, now).mask, silenced=False, garden=False) for one in shared]
    if any(one.zone is not None or one.missed for one in stands):
        for identity, group in zip(file.ids(), groups.tolist(), strict=True):
            one = stands[group]
            if identity in apart or (one.zone is None and not one.missed):
                continue
            customer = file.get(identity)
            if customer is not None:
                clients.put(identity, one, sources.prefixes(customer.id))
    for identity in apart:
        look_at(sources, clients, people, made, identity, now)
    _enter_allowed(clients.allowed, sources, people, apart)
    settle(clients, made)
    return clients


def settle(clients: Clients, made: Plan) -> None:
    """Enter what is left of the networks of `allow:`, if customers in them came, went or moved."""
    if not clients.allowed.changed:
        return
    left = clients.allowed.left()
    for one_class in made.classes:
        if one_class.steps:
            clients.put(_ALLOWED + one_class.id, standing(one_class, 0, silenced=False, garden=False), left)


def _enter_allowed(allowed: Allowed, sources: Sources, people: People, known: Container[str]) -> None:
    """Enter customers of the file in the networks of `allow:`, and who have sessions, but `known` ones."""
    if not allowed.networks:
        return
    file = people.site.customers
    high, low, lengths, owners = file.columns()
    rows = {row for network in allowed.networks for row in owners[held_by(network, high, low, lengths)].tolist()}
    if len(rows) > MOST:
        allowed.inside += len(rows)  # too many to be told apart, whoever they are
        return
    ids = list(file.ids()) if rows else []
    for identity in {ids[row] for row in rows} | {one for one in sources.live() if one in people}:
        if identity not in known:
            allowed.put(identity, sources.prefixes(identity))


def behind(label: str, people: People, settings: PolicyZones) -> tuple[bytes, ...]:
    """What a zone's triggers do, as the octets behind their owner."""
    ttl = int(settings.ttl)
    if label == SILENCED:
        return (cname(DROP, ttl),)
    if label == GARDEN:
        garden = garden_of(people.site.settings)
        return tails(garden.action, ttl) if garden is not None else (cname(NODATA, ttl),)
    return (cname(PASSTHRU, ttl),)


def records(prefixes: list[Prefix], tail: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(client_ip(prefix) + text for prefix in prefixes for text in tail)


def excepted_names(acts: Iterable[ExceptionAdded]) -> list[bytes]:
    """The wire names of exceptions, and the keys of prefixes; those of sealed lists are kept nowhere."""
    named = [act for act in acts if act.name]
    return [(key_of_text(act.name) if act.triggers & PREFIXES else None) or to_wire(act.name) for act in named]


def planned(sources: Sources, people: People, settings: PolicyZones) -> Plan:
    garden = any(one.garden for one in sources.enforcement().values()) or people.site.settings.walled_garden is not None
    packs = people.site.packs
    profiles = [profile_of(packs, (pack,), people.lists) for pack in packs]
    published = {one.id for one in people.lists if not withheld(one, settings)}
    classes = {one.id: profile_of(packs, tuple(pack for pack in one.terms if pack in packs), people.lists) for one in settings.classes}
    return plan(people.lists, profiles, published, classes, garden=garden)


def withheld(definition: ListDefinition, settings: PolicyZones) -> str:
    """Why a list is not published; empty: it is."""
    if definition.sealed and definition.id not in settings.sealed:
        return (
            f"list {definition.id} is sealed and is not published: a policy zone is plain text on every resolver that transfers it, "
            "on the way there, in its files and its logs; name the list under `policy_zones.sealed` if that is wanted"
        )
    if len(f"list-{definition.id}") > LONGEST_LABEL:
        return f"list {definition.id} has an id too long for a zone's name; give it one of {LONGEST_LABEL - 5} characters at most"
    return ""
