"""`sekisho.yaml`: what one checkpoint listens on, asks, enforces and keeps.

Owns the keys of the main file and their defaults, as far as a section is no module of its own;
`daemon/sekisho.example.yaml` states each of them with a comment. Which files the paths name, and what is in them, is `drivers.site`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainValidator, ValidationInfo, WithJsonSchema

from sekisho.config.accounts import Accounts
from sekisho.config.bandwidth import Bandwidth, Duplicates
from sekisho.config.coa import CoaSettings
from sekisho.config.detection import Detection
from sekisho.config.dnstap import DnstapSettings
from sekisho.config.document import Document, scan_document
from sekisho.config.events import EventSettings
from sekisho.config.flows import FlowSettings
from sekisho.config.groups import Groups
from sekisho.config.lines import LineSettings
from sekisho.config.notices import NoticeSettings
from sekisho.config.packets import PacketSettings
from sekisho.config.policyzones import PolicyZones
from sekisho.config.radius import RadiusSettings
from sekisho.config.sections import MeasureSettings, RoleSettings, WalledGarden
from sekisho.config.validation import did_you_mean, shown, validate
from sekisho.config.values import (
    Domain,
    Endpoint,
    FilePath,
    Kept,
    MetricsEndpoint,
    Network,
    as_items,
    as_kept,
    as_path,
    as_text,
    one_or_many,
)
from sekisho.model.errors import ConfigError, Fault
from sekisho.model.retention import RETENTION

PACK_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


def _as_pack(value: object, info: ValidationInfo) -> str:
    """A bare id stays one; anything else is a path to a pack of the operator's own."""
    text = as_text(value)
    return text if PACK_ID.fullmatch(text) else str(as_path(text, info))


def _as_metrics(value: object) -> object:
    return None if value in {None, False, "off"} else value


def _default_retentions() -> dict[str, float | None]:
    return dict(RETENTION)


def _as_retentions(value: object) -> dict[str, float | None]:
    """Kind of act -> seconds, of all kinds that may be erased."""
    if value is None:
        return _default_retentions()
    if not isinstance(value, Mapping):
        raise ValueError(f"expected kinds of acts and how long each is kept; found {shown(value)}")
    found = _default_retentions()
    for kind, kept in value.items():
        if kind not in RETENTION:
            raise ValueError(f"no act of kind {shown(kind)} is ever erased{did_you_mean(str(kind), RETENTION)}")
        try:
            found[kind] = None if kept is None else as_kept(kept)
        except ValueError as error:
            raise ValueError(f"{kind}: {error}") from None
    return found


_RETENTIONS = WithJsonSchema(
    {"type": "object", "propertyNames": {"enum": list(RETENTION)}, "additionalProperties": {"type": ["string", "null"]}}
)
PackName = Annotated[str, PlainValidator(_as_pack), WithJsonSchema({"type": "string"})]


class Settings(PacketSettings):
    """The main file. Relative paths start at its own folder."""

    terms: Annotated[tuple[PackName, ...], BeforeValidator(as_items), one_or_many({"type": "string"})] = ()
    """Terms packs: the id of one shipped with Sekisho, or the path of one of your own."""
    lists: FilePath | None = None
    """The list definitions."""
    customers: FilePath | None = None
    """The customers, `.yaml` or, for bulk, `.csv`."""
    metrics: Annotated[MetricsEndpoint | None, BeforeValidator(_as_metrics)] = Endpoint("127.0.0.1", 9153)
    """Where `/metrics` is served; null or off: nowhere."""
    allow: Annotated[tuple[Network, ...], BeforeValidator(as_items), one_or_many({"type": "string"})] = ()
    """Networks that are no customers and yet are served, unfiltered."""
    never_block: Annotated[tuple[Domain, ...], BeforeValidator(as_items)] = ()
    """Names no list may block, nor any name above them; entries that would are refused and reported."""
    walled_garden: WalledGarden | None = None
    """What suspended customers are answered with; null: names are REFUSED, with the clause as Extended DNS Error."""
    retention: Kept | None = None
    """The longest any match is kept, whatever the packs allow; null: as long as the pack of the clause says."""

    ledger_retention: Annotated[dict[str, float | None], BeforeValidator(_as_retentions), _RETENTIONS] = Field(
        default_factory=_default_retentions
    )
    """How long the content of acts is kept in the ledger after they are over, by kind; null: for good. Kinds that are not named
    keep their default."""
    detection: Detection = Detection()
    """Who overloads the name servers."""
    flows: FlowSettings | None = None
    """Flow records of routers, for usage by customer; null: none are collected."""
    bandwidth: Bandwidth = Bandwidth()
    """Who occupies lines and shared segments, sends mass mail or connects in storms."""
    duplicates: Duplicates = Duplicates()
    """Who is logged in twice."""

    roles: RoleSettings = RoleSettings()
    """Who may use the operator's commands, besides root and the daemon's own user."""
    measures: MeasureSettings = MeasureSettings()
    """Which measures are enforced, and which only observed."""
    groups: Groups = Field(default_factory=dict)
    """Who represents which VPN group, by customer id (`hq-vpn: c-1001`), and what holds for all of its members."""
    events: EventSettings = EventSettings()
    """Where every change of state is told."""
    lines: LineSettings | None = None
    """What the kernel of this machine does to customers' lines; null: nothing."""
    dnstap: DnstapSettings | None = None
    """Where resolvers that customers ask directly tell whose queries came in; null: nowhere."""
    notices: NoticeSettings | None = None
    """How customers are told of measures; null: nobody is told, and what needs a notice before is not enforced."""
    radius: RadiusSettings | None = None
    """Which access servers tell who is on which line; null: none, and customers have fixed addresses alone."""
    policy_zones: PolicyZones | None = None
    """The policy zones published for resolvers that are asked without this one; null: none are."""
    coa: CoaSettings | None = None
    """NASes that slow lines and end sessions when they are asked; null: none is asked."""


@dataclass(frozen=True, slots=True)
class References:
    """The files a main file names, as far as it can be read: what `check` goes on with."""

    terms: tuple[tuple[str, int], ...]
    """Pack ids or paths, and the line of each."""
    lists: Path | None
    lists_line: int
    customers: Path | None
    customers_line: int


def read_settings(document: Document, folder: Path, accounts: Accounts | None = None) -> Settings:
    """The main file. Raises ConfigError with every fault; `folder` is where relative paths start, and names of users
    and groups are looked up in `accounts`: without one there are none.
    """
    faults: list[Fault] = []
    settings: Settings | None = None
    try:
        settings = validate(Settings, document, {"folder": folder, "accounts": accounts})
    except ConfigError as error:
        faults = list(error.faults)
    faults.extend(_twice(document))
    if faults or settings is None:
        raise ConfigError(faults)
    return settings


def parse_settings(text: str, file: str, folder: Path | None = None, accounts: Accounts | None = None) -> Settings:
    """The same from the file's text; relative paths start at the folder of `file` unless told."""
    return read_settings(scan_document(text, file), Path(file).parent if folder is None else folder, accounts)


def references(document: Document, folder: Path) -> References:
    """What a main file names, whatever else is wrong with it."""
    values = document.value if isinstance(document.value, dict) else {}

    def path(key: str) -> Path | None:
        value = values.get(key)
        return folder / value if isinstance(value, str) and value.strip() else None

    packs = []
    named: Any = values.get("terms")
    for index, item in enumerate(named if isinstance(named, list) else [named]):
        if isinstance(item, str) and item.strip():
            line = document.locate(("terms", index))[0]
            packs.append((item if PACK_ID.fullmatch(item) else str(folder / item), line))
    return References(tuple(packs), path("lists"), document.locate(("lists",))[0], path("customers"), document.locate(("customers",))[0])


def _twice(document: Document) -> Iterator[Fault]:
    values = document.value if isinstance(document.value, dict) else {}
    for key in ("listen", "terms", "allow", "never_block"):
        items = values.get(key)
        seen: set[str] = set()
        for index, item in enumerate(items if isinstance(items, list) else []):
            if isinstance(item, str):
                if item in seen:
                    yield document.fault((key, index), f"{item} stands twice; keep one")
                seen.add(item)
