"""What a request to a NAS says: its template filled in for one session and one limit."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from sekisho.config.coa import OF_SESSION, CoaSettings, NasSettings, NasTemplate
from sekisho.config.radiusattributes import Attribute, encode
from sekisho.enforce.naslines import Request
from sekisho.model.customers import V4_MAPPED, Prefix
from sekisho.model.errors import RefusedError
from sekisho.model.nas import Limit, RequestKind, Target

Encoded = tuple[tuple[int | tuple[int, int], tuple[bytes, ...]], ...]
"""Attributes by number, or by vendor and number, with their values."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: a CoA-Request or, with `disconnect`, a Disconnect-Request."""

    disconnect: bool
    attributes: Encoded
    shown: tuple[tuple[str, str], ...]
    """The same as text."""


def compose(request: Request, settings: CoaSettings) -> Message:
    """The message of a request. Raises RefusedError for one that names no session or that no packet can hold."""
    nas = settings.nas(request.target.nas)
    if nas is None:
        raise RefusedError(f"there is no NAS {request.target.nas}; add it under `coa:` again, or take back what it holds by hand")
    template, known = settings.template(nas.vendor), settings.known_attributes()
    lines = identity(request.target, nas, template)
    if not OF_SESSION & {name for name, _ in lines}:
        asked = ", ".join(template.identify)
        raise RefusedError(f"nothing the NAS {nas.id} is to be told names the session ({asked} are not known of it); change `identify`")
    disconnect = request.kind is RequestKind.DISCONNECT
    if not disconnect:
        values = template.limit if request.kind is RequestKind.LIMIT else template.lift
        if isinstance(values, str):
            disconnect = True
        else:
            words = placeholders(request.target, request.limit)
            lines += [(name, text.format_map(words)) for name, texts in values.items() for text in texts]
    return Message(disconnect, _encoded(lines, known), tuple(lines))


def placeholders(target: Target, limit: Limit | None) -> dict[str, str]:
    """What templates can name. Speeds are whole numbers, at least 1."""
    words = {"user": target.user, "session": target.session, "customer": target.customer}
    if limit is not None:
        for name, speed in (("down", limit.down), ("up", limit.up), ("full_down", limit.full_down), ("full_up", limit.full_up)):
            words |= {f"{name}_{unit}": str(max(1, speed // size)) for unit, size in (("bps", 1), ("kbps", 1000), ("mbps", 1000000))}
    return words


def identity(target: Target, nas: NasSettings, template: NasTemplate) -> list[tuple[str, str]]:
    """The attributes that name a session, as far as they are known of it. One without accounting is named by its address too."""
    host = nas.nas_ip or nas.address.host
    v4 = [one for one in target.prefixes if _is_v4(one) and one.length == 128]
    v6 = [one for one in target.prefixes if not _is_v4(one)]
    found = {
        "User-Name": target.user,
        "NAS-IP-Address": "" if ":" in host else host,
        "NAS-IPv6-Address": host if ":" in host else "",
        "NAS-Identifier": nas.identifier or "",
        "Acct-Session-Id": target.session,
        "Framed-IP-Address": str(v4[0]).partition("/")[0] if v4 else "",
        # A prefix of the link itself is a /64; a shorter one is delegated (RFC 4818).
        "Framed-IPv6-Prefix": next((_text(one) for one in v6 if one.length == 64), ""),
        "Delegated-IPv6-Prefix": next((_text(one) for one in v6 if one.length < 64), ""),
    }
    names = list(template.identify)
    if not target.session:
        names = [one for one in names if one in {"NAS-IP-Address", "NAS-IPv6-Address", "NAS-Identifier"}]
        names += ["Framed-IP-Address" if v4 else "Framed-IPv6-Prefix" if found["Framed-IPv6-Prefix"] else "Delegated-IPv6-Prefix"]
    return [(name, found[name]) for name in names if found[name]]


def _encoded(lines: list[tuple[str, str]], known: Mapping[str, Attribute]) -> Encoded:
    found: dict[int | tuple[int, int], list[bytes]] = {}
    for name, text in lines:
        try:
            found.setdefault(known[name].key, []).append(encode(known[name], text))
        except ValueError as error:
            raise RefusedError(str(error)) from None
    return tuple((key, tuple(values)) for key, values in found.items())


def _is_v4(prefix: Prefix) -> bool:
    return prefix.length >= 96 and prefix.value >> 32 == V4_MAPPED >> 32


def _text(prefix: Prefix) -> str:
    return f"{ipaddress.IPv6Address(prefix.value)}/{prefix.length}"
