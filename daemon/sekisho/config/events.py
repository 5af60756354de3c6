"""`events:` of the main file: where every change of state is told.

Owns the keys of sinks and their defaults. What an event is, is `model.publication`'s; how a sink is reached, `drivers.sinks`'.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from sekisho.config.validation import FileModel, did_you_mean, shown
from sekisho.config.values import (
    ByteCount,
    Endpoint,
    FilePath,
    Identifier,
    SomeSeconds,
    Whole,
    as_items,
    as_text,
    read_endpoint,
)
from sekisho.model.eventtypes import GROUPS, PREFIX, VERSION, WORDS

MAX_SINKS = 32
MEBIBYTE = 1 << 20
_URI = re.compile(r"[!-~]{1,255}")

FacilityName = Literal[
    "user", "daemon", "auth", "authpriv", "audit", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"
]


class SyslogTarget(NamedTuple):
    """Where syslog messages go: an endpoint for `udp` and `tcp`, a path for `unix`."""

    transport: Literal["udp", "tcp", "unix"]
    endpoint: Endpoint | None
    path: str = ""

    def __str__(self) -> str:
        return f"{self.transport}://{self.path if self.endpoint is None else self.endpoint}"


def _as_type(value: object) -> str:
    """A type by its word, by its full name, or a group of types."""
    text = as_text(value)
    word = text.removeprefix(PREFIX).removesuffix(f".{VERSION}").removesuffix(".*")
    if word not in WORDS and word not in GROUPS:
        raise ValueError(f"{shown(text)} is no type of event nor group of types" + did_you_mean(word, (*WORDS, *GROUPS)))
    return word


def _as_url(value: object) -> str:
    text = as_text(value)
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("is no address of a web server; write https://HOST/PATH")
    return text


def _as_target(value: object) -> SyslogTarget:
    text = as_text(value)
    scheme, _, rest = text.partition("://")
    if scheme == "unix" and rest.startswith("/"):
        return SyslogTarget("unix", None, rest)
    if scheme == "udp":
        return SyslogTarget("udp", read_endpoint(rest, 514, names=True))
    if scheme == "tcp":
        return SyslogTarget("tcp", read_endpoint(rest, 601, names=True))
    raise ValueError(f"{shown(text)} is no way to a syslog; write udp://HOST:514, tcp://HOST:601 or unix:///dev/log")


def _as_source(value: object) -> str:
    text = as_text(value)
    if not _URI.fullmatch(text):
        raise ValueError(f"{shown(text)} is no URI; write one such as urn:sekisho:tokyo-1, in ASCII and without spaces")
    return text


EventType = Annotated[str, PlainValidator(_as_type), WithJsonSchema({"type": "string", "examples": [*GROUPS, *WORDS]})]
_TYPES = WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string", "examples": [*GROUPS, *WORDS]}}]})


class SinkSettings(FileModel):
    """What every sink has."""

    id: Identifier
    """Names the sink in `status` and metrics, and its place in the ledger: a sink with a new id begins anew."""
    types: Annotated[tuple[EventType, ...], BeforeValidator(as_items), _TYPES] = ()
    """Types of events it is told, by word (`measure.in-force`) or by group (`measure`); none: all."""
    begin: Annotated[Literal["beginning", "now"], Field(alias="from")] = "beginning"
    """Where a new sink begins: with the first act of the record, or with the next."""


class FileSinkSettings(SinkSettings):
    """JSON Lines in a file, which is rotated."""

    kind: Literal["file"]
    path: FilePath
    """The file; older ones have .1, .2, ... behind its name."""
    rotate: ByteCount = 64 * MEBIBYTE
    """Size a file has at most."""
    rotate_count: Annotated[Whole, Field(ge=1)] | None = None
    """Events a file has at most; null: as many as its size allows."""
    keep: Annotated[Whole, Field(ge=1, le=10_000)] = 10
    """Older files kept; the oldest beyond them is removed."""


class WebhookSinkSettings(SinkSettings):
    """A web server that takes each event by POST."""

    kind: Literal["webhook"]
    url: Annotated[str, PlainValidator(_as_url), WithJsonSchema({"type": "string", "format": "uri"})]
    """Where events are posted."""
    secret: FilePath | None = None
    """File with the secret deliveries are signed with, read at each; null: they are not signed."""
    timeout: SomeSeconds = 10.0
    """Time a delivery may take."""
    batch: Annotated[Whole, Field(ge=1, le=500)] = 1
    """Events of one delivery at most; with more than one they come as a batch of CloudEvents."""


class SyslogSinkSettings(SinkSettings):
    """A syslog, by RFC 5424."""

    kind: Literal["syslog"]
    to: Annotated[SyslogTarget, PlainValidator(_as_target), WithJsonSchema({"type": "string", "pattern": "^(udp|tcp|unix)://"})]
    """udp://HOST:514, tcp://HOST:601 or unix:///dev/log."""
    facility: FacilityName = "local0"
    """Facility of the messages."""


class StdoutSinkSettings(SinkSettings):
    """JSON Lines on the daemon's standard output."""

    kind: Literal["stdout"]


AnySink = FileSinkSettings | WebhookSinkSettings | SyslogSinkSettings | StdoutSinkSettings


class EventSettings(FileModel):
    """Every change of state, told to other systems as CloudEvents."""

    source: Annotated[str, PlainValidator(_as_source), WithJsonSchema({"type": "string", "format": "uri-reference"})] = "urn:sekisho"
    """The checkpoint, in every event: of its own for each, where several tell one receiver."""
    sinks: Annotated[tuple[Annotated[AnySink, Field(discriminator="kind")], ...], Field(max_length=MAX_SINKS)] = ()
    """Where events go."""

    @model_validator(mode="after")
    def _no_two_alike(self) -> EventSettings:
        ids = [one.id for one in self.sinks]
        twice = sorted({one for one in ids if ids.count(one) > 1})
        if twice:
            raise ValueError(f"several sinks have the id {', '.join(twice)}; give each its own, it names its place in the ledger")
        paths = [one.path for one in self.sinks if isinstance(one, FileSinkSettings)]
        shared = sorted({str(one) for one in paths if paths.count(one) > 1})
        if shared:
            raise ValueError(f"several sinks write {', '.join(shared)}; give each a file of its own")
        return self
