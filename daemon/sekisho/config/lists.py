"""The list definitions: which feeds there are, where they come from and what is answered.

Owns the keys of the file; fetching and compiling are elsewhere. The order of the definitions is
the order in which lists are asked.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema

from sekisho.config.document import Document, scan_document
from sekisho.config.validation import FileModel, did_you_mean, shown, validate
from sekisho.config.values import (
    ByteCount,
    DnsEndpoint,
    Domain,
    FilePath,
    Flag,
    Identifier,
    Share,
    SomeSeconds,
    Text,
    Version,
    as_domain,
    as_items,
    as_seconds,
    read_endpoint,
)
from sekisho.model.errors import ConfigError, Fault
from sekisho.model.lists import MAX_LISTS, Action, ActionKind, ListDefinition, ListFormat, LocalRecord, Scope, TsigKey

SINKHOLE_TTL = 60
"""Seconds: the TTL of a sinkhole's addresses where the definition gives none."""

_WORDS = {kind.name.lower(): kind for kind in (ActionKind.NXDOMAIN, ActionKind.NODATA, ActionKind.REFUSED, ActionKind.DROP)}
_ALGORITHMS = ("hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512")
_ZONED = {ListFormat.RPZ, ListFormat.AXFR}
_SCOPELESS = _ZONED | {ListFormat.ADDRESSES}
_KEYED = {ListFormat.CSV, ListFormat.JSON}
_PRIMARY = re.compile(r"(?:axfr|dns)://([^/\s]+)(?:/([^/\s?#]*))?")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)")


def read_answer(value: object) -> Action:
    """`nxdomain`, `nodata`, `refused`, `drop`, or a sinkhole `{a: [...], aaaa: [...], ttl: 60s}`.

    Raises ValueError with a sentence.
    """
    if isinstance(value, Action):
        return value
    if isinstance(value, str):
        if value not in _WORDS:
            raise ValueError(
                f"{shown(value)} is no answer; write nxdomain, nodata, refused, drop, or a sinkhole {{a: [192.0.2.1], aaaa: [...]}}"
            )
        return Action(_WORDS[value])
    if not isinstance(value, dict):  # a ValueError, since pydantic takes no other for a fault
        raise ValueError("expected nxdomain, nodata, refused, drop, or a sinkhole {a: [192.0.2.1], aaaa: [2001:db8::1]}")
    for key in value:
        if key not in {"a", "aaaa", "ttl"}:
            raise ValueError(f"a sinkhole has no key `{key}`{did_you_mean(str(key), ('a', 'aaaa', 'ttl'))}")
    ttl = int(as_seconds(value.get("ttl", SINKHOLE_TTL)))
    if ttl >= 1 << 31:
        raise ValueError("the ttl is longer than DNS can say (RFC 2181 section 8)")
    records = [
        *(LocalRecord(1, ttl, _packed(item, 4)) for item in _addresses(value, "a")),
        *(LocalRecord(28, ttl, _packed(item, 6)) for item in _addresses(value, "aaaa")),
    ]
    if not records:
        raise ValueError("a sinkhole needs at least one address under `a` or `aaaa`")
    return Action(ActionKind.SINKHOLE, tuple(records))


def _addresses(value: dict[str, Any], key: str) -> list[object]:
    items = value.get(key)
    if items is None:
        return []
    return list(items) if isinstance(items, list | tuple) else [items]


def _packed(item: object, version: int) -> bytes:
    try:
        address = ipaddress.ip_address(item if isinstance(item, str) else "")
    except ValueError:
        raise ValueError(f"{shown(item)} is no address a sinkhole can answer with") from None
    if address.version != version:
        raise ValueError(f"{address} is IPv{address.version}; it belongs under `{'a' if address.version == 4 else 'aaaa'}`")
    return address.packed


_ADDRESSES = {"type": "array", "items": {"type": "string"}}
AnswerField = Annotated[
    Action,
    BeforeValidator(read_answer),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": sorted(_WORDS)},
                {
                    "type": "object",
                    "properties": {"a": _ADDRESSES, "aaaa": _ADDRESSES, "ttl": {"type": ["string", "number"]}},
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


def _as_algorithm(value: object) -> object:
    name = value.lower().rstrip(".") if isinstance(value, str) else value
    if name not in _ALGORITHMS:
        raise ValueError(f"must be one of {', '.join(_ALGORITHMS)}; found {shown(value)}")
    return name


Algorithm = Annotated[str, BeforeValidator(_as_algorithm), WithJsonSchema({"enum": list(_ALGORITHMS)})]


class Tsig(FileModel):
    """The key of a transfer (RFC 8945)."""

    name: Domain
    """Name of the key, as the primary knows it."""
    algorithm: Algorithm = "hmac-sha256"
    """HMAC of the key."""
    secret_file: FilePath | None = None
    """File with the secret in base 64, readable by the daemon alone."""
    secret: Annotated[Text | None, Field(repr=False)] = None
    """The secret itself in base 64, for a file of definitions that nobody else reads."""


class ListEntry(FileModel):
    """One list."""

    id: Identifier
    """Name of the list, in commands, metrics and opt-outs."""
    category: Identifier
    """What kind of names it holds: `c2`, `child-abuse`, or a word of your own that a rule of a pack names."""
    source: Text
    """A path, an http:// or https:// URL, or for axfr the primary's host[:port], also as axfr://host:port/zone."""
    format: ListFormat
    """How the source is written."""
    scope: Scope | None = None
    """`exact`: the names themselves; `subtree`: everything below them too. Left out for rpz and axfr."""
    answer: AnswerField | None = None
    """What a blocked query gets; left out: the rule's answer, else nxdomain. Left out for rpz and axfr."""
    sealed: Flag = False
    """Keep keyed digests only: the names are confidential."""
    refresh: SomeSeconds = 3600.0
    """Time between fetches."""
    stale_after: SomeSeconds = 7 * 86400.0
    """Time without a good fetch after which status and metrics say stale."""
    max_shrink: Share = 0.30
    """Share of its entries a new version may lose before it is held for the operator."""
    max_bytes: ByteCount = 1 << 30
    """Largest source that is read."""
    timeout: SomeSeconds = 30.0
    """Time a fetch may stand still."""
    column: Text | None = None
    """Named column of csv, key of json."""
    zone: Domain | None = None
    """Zone to transfer, for axfr; for rpz the origin of the zone file, where it does not say."""
    tsig: Tsig | None = None
    """Key of the transfer, for axfr."""
    notify: DnsEndpoint | None = None
    """For axfr: address[:port] at which the primary's NOTIFY is listened for. Left out: it is not."""
    never_block: Annotated[tuple[Domain, ...], BeforeValidator(as_items)] = ()
    """Names this list may not block."""


class ListsFile(FileModel):
    """The list definitions. Relative paths start at the folder of this file."""

    version: Version
    lists: Annotated[tuple[ListEntry, ...], Field(max_length=MAX_LISTS)]
    """The lists, in the order they are asked."""


def parse_lists(text: str, file: str, folder: Path | None = None) -> tuple[ListDefinition, ...]:
    """The definitions of a file. Raises ConfigError with every fault."""
    return read_lists(scan_document(text, file), Path(file).parent if folder is None else folder)


def read_lists(document: Document, folder: Path) -> tuple[ListDefinition, ...]:
    faults: list[Fault] = []
    entries: tuple[ListEntry, ...] = ()
    try:
        entries = validate(ListsFile, document, {"folder": folder}).lists
    except ConfigError as error:
        faults.extend(error.faults)
    faults.extend(_entry_faults(document, folder))
    if faults:
        raise ConfigError(faults)
    return tuple(_definition(order, entry, folder) for order, entry in enumerate(entries))


def _entry_faults(document: Document, folder: Path) -> Iterator[Fault]:
    """What is wrong between the keys of an entry and between entries, told with all else at once."""
    raw = document.value.get("lists") if isinstance(document.value, dict) else None
    first: dict[str, int] = {}
    for order, item in enumerate(raw if isinstance(raw, list) else []):
        try:
            entry = ListEntry.model_validate(item, context={"folder": folder})
        except ValidationError:
            continue
        for key, message in _contradictions(entry):
            yield document.fault(("lists", order, *key.split(".")), message)
        try:
            _source(entry, folder)
        except ValueError as error:
            yield document.fault(("lists", order, "source"), str(error))
        if entry.id in first:
            line = document.locate(("lists", first[entry.id], "id"))[0]
            yield document.fault(("lists", order, "id"), f"{entry.id} is already the list on line {line}; give one of them another id")
        first.setdefault(entry.id, order)


def _contradictions(entry: ListEntry) -> Iterator[tuple[str, str]]:
    """Keys that the format needs, or does not have."""
    kind = entry.format
    zoned, keyed, transferred = kind in _ZONED, kind in _KEYED, kind is ListFormat.AXFR
    word = "column" if kind is ListFormat.CSV else "key"
    checks = (
        (
            "scope",
            zoned and entry.scope is not None,
            f"leave it out: the zone of an {kind} list says which names are held with what is below",
        ),
        (
            "scope",
            kind is ListFormat.ADDRESSES and entry.scope is not None,
            "leave it out: an address list has prefixes, which say how far they reach",
        ),
        ("answer", zoned and entry.answer is not None, f"leave it out: the zone of an {kind} list says what is answered"),
        (
            "scope",
            kind not in _SCOPELESS and entry.scope is None,
            "say how far an entry reaches: exact (the name itself) or subtree (with all below it)",
        ),
        ("column", keyed and entry.column is None, f"a {kind} list needs the name of the {word} that holds the domain"),
        ("column", not keyed and entry.column is not None, f"leave it out: only csv and json lists have columns, this one is {kind}"),
        ("zone", transferred and _zone(entry) is None, "an axfr list needs the name of the zone to transfer"),
        (
            "zone",
            transferred and entry.zone is not None and entry.zone != _zone(entry),
            "the source names another zone; name the zone once",
        ),
        (
            "tsig.secret_file",
            entry.tsig is not None and (entry.tsig.secret_file is None) is (entry.tsig.secret is None),
            "give the secret once: the file that holds it, or `secret` itself",
        ),
        ("zone", not zoned and entry.zone is not None, f"leave it out: only axfr and rpz lists have a zone, this one is {kind}"),
        ("tsig", not transferred and entry.tsig is not None, f"leave it out: only axfr lists are transferred, this one is {kind}"),
        ("notify", not transferred and entry.notify is not None, f"leave it out: only axfr lists have a primary, this one is {kind}"),
    )
    return ((key, message) for key, wrong, message in checks if wrong)


def _zone(entry: ListEntry) -> str | None:
    """The zone of the list: that of the URL of its primary, or the one of its key."""
    primary = _PRIMARY.fullmatch(entry.source) if entry.format is ListFormat.AXFR else None
    if primary is None or not primary[2]:
        return entry.zone
    try:
        return as_domain(primary[2])
    except ValueError:
        return None


def _source(entry: ListEntry, folder: Path) -> str:
    """The source in its full form: absolute path, URL, or host:port. Raises ValueError with a sentence."""
    if entry.format is ListFormat.AXFR:
        primary = _PRIMARY.fullmatch(entry.source)
        endpoint = read_endpoint(primary[1] if primary else entry.source, 53, names=True)
        if not endpoint.port:
            raise ValueError("port 0 is nobody's; give the primary's port")
        return str(endpoint)
    url = _URL.fullmatch(entry.source)
    if not url:
        return str(folder / entry.source)
    if url[1].lower() not in {"http", "https"}:
        raise ValueError(f"{url[1]}:// is not fetched; give an http:// or https:// URL, or the path of a file")
    if not re.match(r"[^/?#\s]", url[2]):
        raise ValueError(f"{shown(entry.source)} names no host")
    return entry.source


def _definition(order: int, entry: ListEntry, folder: Path) -> ListDefinition:
    tsig = entry.tsig
    return ListDefinition(
        id=entry.id,
        order=order,
        category=entry.category,
        source=_source(entry, folder),
        format=entry.format,
        scope=entry.scope,
        answer=entry.answer,
        sealed=entry.sealed,
        refresh=entry.refresh,
        stale_after=entry.stale_after,
        max_shrink=entry.max_shrink,
        max_bytes=entry.max_bytes,
        timeout=entry.timeout,
        column=entry.column,
        zone=_zone(entry),
        notify=None if entry.notify is None else str(entry.notify),
        tsig=None if tsig is None else TsigKey(tsig.name, tsig.algorithm, str(tsig.secret_file or ""), tsig.secret),
        never_block=entry.never_block,
    )
