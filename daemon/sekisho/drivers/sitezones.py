"""What is wrong between `policy_zones:` and the rest of a site: classes of terms, addresses, and sealed lists."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from sekisho.config.document import Document
from sekisho.config.policyzones import PolicyZones
from sekisho.config.settings import Settings
from sekisho.config.validation import did_you_mean
from sekisho.model.clauses import Pack
from sekisho.model.errors import Fault
from sekisho.model.lists import ListDefinition
from sekisho.terms.crosscheck import unknown_terms


def zone_faults(
    settings: Settings, document: Document, packs: Mapping[str, Pack], unread: Collection[str], lists: Collection[str] | None
) -> Iterator[Fault]:
    """Faults of the main file. `unread` are packs that could not be read; `lists` are the ids there are, None: they could not be read."""
    zones = settings.policy_zones
    if zones is None:
        return
    yield from _classes(zones, document, packs, unread)
    yield from _places(zones, settings, document)
    # A misspelt one would be withheld, unnoticed.
    for number, name in enumerate(zones.sealed if lists is not None else ()):
        if name not in (lists or ()):
            yield document.fault(("policy_zones", "sealed", number), f"there is no list {name}{did_you_mean(name, lists or ())}")


def zone_warnings(settings: Settings, document: Document, lists: Iterable[ListDefinition]) -> Iterator[Fault]:
    """What is said of sealed lists of one that is none."""
    unsealed = {one.id for one in lists if not one.sealed}
    for number, name in enumerate(settings.policy_zones.sealed if settings.policy_zones is not None else ()):
        if name in unsealed:
            message = f"list {name} is not sealed: it is published in any case; take it out"
            yield document.fault(("policy_zones", "sealed", number), message)


def _classes(zones: PolicyZones, document: Document, packs: Mapping[str, Pack], unread: Collection[str]) -> Iterator[Fault]:
    """Packs of entitlement classes that are not there: the class would be of no customer, and its view of nobody."""
    for number, one in enumerate(zones.classes):
        for message in unknown_terms(one.terms, packs, unread):
            yield document.fault(("policy_zones", "classes", number, "terms"), f"class {one.id}: {message}")


def _places(zones: PolicyZones, settings: Settings, document: Document) -> Iterator[Fault]:
    """Policy zones where queries come in: one of the two would find the address taken, and that may be the plane."""
    for place in zones.listen:
        taken = next((one for one in settings.listen if one.port and one.port == place.port and _meet(one.host, place.host)), None)
        if taken is not None:
            message = f"{place} is taken: `listen` has {taken} for queries; give the policy zones an address or a port of their own"
            yield document.fault(("policy_zones", "listen"), message)


def _meet(one: str, other: str) -> bool:
    """Whether two addresses cannot both be listened at on one port: they are the same, or one is all of its family."""
    return one == other or ((":" in one) == (":" in other) and bool({one, other} & {"0.0.0.0", "::"}))  # noqa: S104 - compared with
