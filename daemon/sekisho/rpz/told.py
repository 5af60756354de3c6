"""What a resolver is told of the zones: which, in which order, for whom, and where to get them."""

from __future__ import annotations

from dataclasses import dataclass

from sekisho.config.values import Endpoint


@dataclass(frozen=True, slots=True)
class ZoneTold:
    name: str
    clients: bool
    """Triggers on clients; otherwise names."""
    action: str = ""
    """Of triggers on clients: `drop`, `garden` or `pass`."""


@dataclass(frozen=True, slots=True)
class View:
    """The zones of an entitlement class in their order. `id` empty: of everybody else."""

    id: str
    zones: tuple[ZoneTold, ...]
    networks: tuple[str, ...] = ()
    """Prefixes of the class's customers; of everybody else those the resolver serves, where it has to be told."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a resolver is told. `key` (name, algorithm) None: it cannot sign."""

    host: str
    port: int
    views: tuple[View, ...]
    key: tuple[str, str] | None
    key_file: str
    folder: str
    """Where the resolver keeps zones, or finds them."""
    addresses: bool = True
    """Whether it gets the addresses of lists (`rpz-ip`)."""
    others: tuple[Endpoint, ...] = ()
    """Where it reaches us besides `host` and `port`."""

    @property
    def primaries(self) -> tuple[Endpoint, ...]:
        return Endpoint(self.host, self.port), *self.others

    @property
    def hosts(self) -> tuple[str, ...]:
        """The addresses alone, from which it is told of changes."""
        return tuple(dict.fromkeys(one.host for one in self.primaries))


def zone_file(told: Told, zone: str, view: str = "") -> str:
    """Where a resolver keeps a zone; `view` where each class has one of its own."""
    name = ".".join(part for part in (view, zone, "rpz") if part)
    return f"{told.folder.rstrip('/')}/{name}" if told.folder else name
