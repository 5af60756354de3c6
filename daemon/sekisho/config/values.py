"""The small values files are made of: durations, sizes, shares, endpoints, names.

Each is a type for the models, with the sentence for what is not one.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeVar

from pydantic import BeforeValidator, PlainValidator, StrictBool, StrictInt, ValidationInfo, WithJsonSchema

from sekisho.config.document import Decimal
from sekisho.config.prefixes import parse_prefix
from sekisho.config.validation import shown
from sekisho.model.customers import Prefix
from sekisho.model.measures import Span, Unit

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(us|ms|s|m|h|d|w)")
_SECONDS = {"us": 1e-6, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SPAN = re.compile(r"([0-9]+) (business days?|days?|months?)")
_LONGEST = {Unit.SECONDS: 316e6, Unit.DAYS: 3660.0, Unit.BUSINESS_DAYS: 2600.0, Unit.MONTHS: 120.0}
_UNITS = {"business day": Unit.BUSINESS_DAYS, "day": Unit.DAYS, "month": Unit.MONTHS}
_SIZE = re.compile(r"([0-9]+) ?(B|k|kB|KiB|M|MB|MiB|G|GB|GiB|T|TB|TiB)")
_BYTES = {"B": 1, "k": 10**3, "kB": 10**3, "KiB": 1 << 10, "M": 10**6, "MB": 10**6, "MiB": 1 << 20, "G": 10**9, "GB": 10**9, "GiB": 1 << 30}
_BYTES |= {"T": 10**12, "TB": 10**12, "TiB": 1 << 40}
_IDENTIFIER = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?")
_BETWEEN_WIDE = re.compile(r"(?<=[\u3000-\u30ff\u3400-\u9fff\uff00-\uffef]) (?=[\u3000-\u30ff\u3400-\u9fff\uff00-\uffef])")
_FORBIDDEN_IN_NAMES = re.compile(r"[\s/:@*|^]")

Address = TypeVar("Address", ipaddress.IPv4Address, ipaddress.IPv6Address)


class Endpoint(NamedTuple):
    """An address and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def as_text(value: object) -> str:
    """Text of one line; a number stands for the text it was written in."""
    if isinstance(value, Decimal):
        return value.text
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"expected text, found {shown(value)}")
    text = value.strip()
    if not text:
        raise ValueError("is empty; write something or leave the key out")
    if not text.isprintable():
        raise ValueError("has a line break or a control character in it; write it on one line")
    return text


def as_paragraph(value: object) -> str:
    """Text of any number of lines, as one; between Japanese characters a line's end is no space."""
    return as_text(_BETWEEN_WIDE.sub("", " ".join(value.split())) if isinstance(value, str) else value)


def as_items(value: object) -> object:
    """One value stands for a list of one."""
    if value is None:
        raise ValueError("is empty; write a list, or leave the key out")
    return value if isinstance(value, list | tuple) else [value]


def as_identifier(value: object) -> str:
    text = as_text(value)
    if not _IDENTIFIER.fullmatch(text):
        raise ValueError(f"{shown(text)} is no id: ids have a-z, 0-9 and - or _ inside, at most 64 characters")
    return text


def as_seconds(value: object) -> float:
    """`30s`, `5m`, `1h`, `7d`, or a number of seconds."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return float(value)
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match:
        raise ValueError(f"expected a duration such as 30s, 5m, 1h or 7d, found {shown(value)}")
    return float(match[1]) * _SECONDS[match[2]]


def as_kept(value: object) -> float:
    """Seconds that something is kept: what is past it is erased for good, so `180` for 180 days has to be no 180 seconds."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"{shown(value)} has no unit; write {shown(value)}d for days, or 12h for hours")
    return as_seconds(value)


def as_some_kept(value: object) -> float:
    return as_some_seconds(as_kept(value))


def as_some_seconds(value: object) -> float:
    seconds = as_seconds(value)
    if seconds <= 0:
        raise ValueError("must be longer than 0s")
    return seconds


def as_span(value: object) -> Span:
    """`10 business days`, `10 days`, `3 months`, by the calendar; or a duration to the second such as `24h`."""
    if isinstance(value, Span):
        return value
    text = " ".join(value.split()) if isinstance(value, str) else ""
    match = _SPAN.fullmatch(text)
    if match:
        span = Span(float(match[1]), _UNITS[match[2].removesuffix("s")])
    elif _DURATION.fullmatch(text):
        span = Span(as_seconds(text), Unit.SECONDS)
    else:
        raise ValueError(f"expected a length of time such as 10 business days, 10 days, 3 months or 24h, found {shown(value)}")
    if not 0 < span.amount <= _LONGEST[span.unit]:
        raise ValueError(f"{shown(text)} is no length a document gives; write one that is longer than nothing and at most ten years")
    return span


def as_bytes(value: object) -> int:
    """`64MiB`, `1GB`, or a number of bytes."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match or not int(match[1]):
        raise ValueError(f"expected a size such as 512KiB, 64MiB or 1GiB, found {shown(value)}")
    return int(match[1]) * _BYTES[match[2]]


def as_share(value: object) -> float:
    """`30%` or `0.3`; from nothing to all."""
    share = -1.0
    if isinstance(value, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)? ?%", value):
        share = float(value.rstrip("% ")) / 100
    elif isinstance(value, int | float) and not isinstance(value, bool):
        share = float(value)
    if not 0 <= share <= 1:
        raise ValueError(f"expected a share such as 30% or 0.3, found {shown(value)}")
    return share


def read_endpoint(text: str, port: int | None = None, *, names: bool = False) -> Endpoint:
    """`127.0.0.1:53` or `[::1]:53`; `port` stands in for one left out, `names` allows host names.

    Raises ValueError with a sentence.
    """
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::([0-9]+))?", text)
    if bracketed:
        host, digits = bracketed[1], bracketed[2]
    elif text.count(":") > 1:
        raise ValueError(f"write the IPv6 address of {shown(text)} in brackets: [2001:db8::53]:53")
    else:
        host, _, digits = text.partition(":")
        if ":" in text and not digits:
            raise ValueError(f"the port of {shown(text)} is missing after the colon")
    if not digits:
        if port is None:
            raise ValueError(f"the port of {shown(text)} is missing; write {text}:PORT")
        digits = str(port)
    if not digits.isdecimal() or int(digits) > 65535:
        raise ValueError(f"{shown(digits)} is no port; ports go from 0 to 65535")
    try:
        host = str(ipaddress.IPv6Address(host) if bracketed else ipaddress.IPv4Address(host))
    except ValueError:
        if bracketed or not names or not re.fullmatch(r"[0-9A-Za-z.-]{1,253}", host):
            raise ValueError(f"{shown(host)} is no address; write 127.0.0.1:53 or [::1]:53") from None
    return Endpoint(host, int(digits))


def as_dns_endpoint(value: object) -> Endpoint:
    return read_endpoint(as_text(value), 53)


def as_metrics_endpoint(value: object) -> Endpoint:
    return read_endpoint(as_text(value), 9153)


def as_prefix(value: object) -> Prefix:
    if isinstance(value, Prefix):
        return value
    return parse_prefix(as_text(value))


def as_v4(value: object) -> ipaddress.IPv4Address:
    return _as_address(ipaddress.IPv4Address, value, "IPv4 address such as 192.0.2.80")


def as_v6(value: object) -> ipaddress.IPv6Address:
    return _as_address(ipaddress.IPv6Address, value, "IPv6 address such as 2001:db8::80")


def _as_address(kind: Callable[[str], Address], value: object, what: str) -> Address:
    try:
        return kind(as_text(value))
    except ValueError:
        raise ValueError(f"{shown(value)} is no {what}") from None


def as_domain(value: object) -> str:
    """A domain name as an operator writes it; whether IDNA takes it is for `lists`."""
    text = as_text(value).rstrip(".")
    if not text or _FORBIDDEN_IN_NAMES.search(text) or ".." in text or text.startswith(".") or len(text.encode()) > 1000:
        raise ValueError(f"{shown(value)} is no domain name; write example.com")
    return text


def as_version(value: object) -> int:
    if value != 1 or isinstance(value, bool):
        raise ValueError(f"this program reads version 1 of the file; found {shown(value)}")
    return 1


def as_path(value: object, info: ValidationInfo) -> Path:
    """A path; a relative one starts at the folder of the file that names it."""
    context = info.context or {}
    return Path(context.get("folder", ".")) / as_text(value)


def one_or_many(item: dict[str, object]) -> WithJsonSchema:
    """The schema of a key that takes one item or a sequence of them (`as_items`)."""
    return WithJsonSchema({"anyOf": [item, {"type": "array", "items": item}]})


def _schema(kind: str, **more: object) -> WithJsonSchema:
    return WithJsonSchema({"type": kind, **more})


_DURATION_SCHEMA = WithJsonSchema({"anyOf": [{"type": "string", "pattern": f"^{_DURATION.pattern}$"}, {"type": "number", "minimum": 0}]})
_ENDPOINT_SCHEMA = _schema("string", examples=["127.0.0.1:53", "[::1]:53"])

Version = Annotated[Literal[1], BeforeValidator(as_version), WithJsonSchema({"const": 1})]
Text = Annotated[str, BeforeValidator(as_text)]
Paragraph = Annotated[str, BeforeValidator(as_paragraph)]
Identifier = Annotated[str, BeforeValidator(as_identifier), _schema("string", pattern=f"^{_IDENTIFIER.pattern}$")]
Domain = Annotated[str, BeforeValidator(as_domain), _schema("string")]
Flag = StrictBool
Whole = StrictInt
Seconds = Annotated[float, BeforeValidator(as_seconds), _DURATION_SCHEMA]
SomeSeconds = Annotated[float, BeforeValidator(as_some_seconds), _DURATION_SCHEMA]
Kept = Annotated[float, BeforeValidator(as_some_kept), _schema("string", pattern=f"^{_DURATION.pattern}$", examples=["180d"])]
Length = Annotated[
    Span,
    PlainValidator(as_span),
    _schema("string", pattern=f"^(?:{_SPAN.pattern}|{_DURATION.pattern})$", examples=["10 business days", "24h"]),
]
ByteCount = Annotated[int, BeforeValidator(as_bytes), _schema("string", pattern=f"^{_SIZE.pattern}$")]
Share = Annotated[float, BeforeValidator(as_share), WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "pattern": "%$"}]})]
DnsEndpoint = Annotated[Endpoint, PlainValidator(as_dns_endpoint), _ENDPOINT_SCHEMA]
MetricsEndpoint = Annotated[Endpoint, PlainValidator(as_metrics_endpoint), _ENDPOINT_SCHEMA]
Network = Annotated[Prefix, PlainValidator(as_prefix), _schema("string", examples=["192.0.2.0/24", "2001:db8::/48"])]
FilePath = Annotated[Path, PlainValidator(as_path), _schema("string")]
