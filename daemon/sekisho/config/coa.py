"""The `coa:` section: NASes that slow a line or end a session when they are asked (RFC 5176), and in which words.

Owns the keys, their defaults and the shipped templates of vendors. What is asked when is `sekisho.enforce`'s; the
packets are `drivers.coa`'s.
"""

from __future__ import annotations

import enum
import string
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from sekisho.config.radiusattributes import ATTRIBUTES, RESERVED, Attribute, AttributeType, encode
from sekisho.config.validation import FileModel, did_you_mean, shown
from sekisho.config.values import Endpoint, FilePath, Flag, Identifier, Network, SomeSeconds, Text, Whole, as_items, as_text, read_endpoint

PORT = 3799
RATES = ("down", "up", "full_down", "full_up")
"""Speeds a template can name: of the limit and of the contract, from the customer's side."""
PLACEHOLDERS = (*tuple(f"{rate}_{unit}" for rate in RATES for unit in ("bps", "kbps", "mbps")), "user", "session", "customer")
IDENTIFYING = (
    "User-Name",
    "NAS-IP-Address",
    "NAS-IPv6-Address",
    "NAS-Identifier",
    "Acct-Session-Id",
    "Framed-IP-Address",
    "Framed-IPv6-Prefix",
    "Delegated-IPv6-Prefix",
)
"""Attributes that can name a session or its NAS (RFC 5176 section 3)."""
OF_SESSION = frozenset({"User-Name", "Acct-Session-Id", "Framed-IP-Address", "Framed-IPv6-Prefix", "Delegated-IPv6-Prefix"})
"""Those of them that name the session: without one the request would reach any."""
_SAMPLE = dict.fromkeys(PLACEHOLDERS, "1")


def _as_nas_endpoint(value: object) -> Endpoint:
    return read_endpoint(as_text(value), PORT)


def _as_values(value: object) -> object:
    """Attribute name -> one value or several."""
    if not isinstance(value, Mapping):
        raise ValueError(f"expected attributes and their values; found {shown(value)}")
    found = {}
    for name, given in value.items():
        texts = tuple(as_text(one) for one in (given if isinstance(given, list | tuple) else [given]))
        for text in texts:
            _check_placeholders(name, text)
        found[str(name)] = texts
    if not found:
        raise ValueError("has no attributes; write what the NAS is to change")
    return found


def _as_lift(value: object) -> object:
    return value if value == "disconnect" else _as_values(value)


def _check_placeholders(name: str, text: str) -> None:
    try:
        fields = [(one, form, turn) for _, one, form, turn in string.Formatter().parse(text) if one is not None]
    except ValueError:
        raise ValueError(f"{name}: {shown(text)} has a brace without its other; write {{{{ for a brace that is meant") from None
    for one, form, turn in fields:
        if one not in _SAMPLE or form or turn:
            raise ValueError(f"{name}: there is no placeholder {{{one}}} in that form{did_you_mean(str(one), PLACEHOLDERS)}")


def _as_identifying(value: object) -> tuple[str, ...]:
    names = tuple(as_text(one) for one in (value if isinstance(value, list | tuple) else [value]))
    for name in names:
        if name not in IDENTIFYING:
            raise ValueError(f"{shown(name)} does not identify a session{did_you_mean(name, IDENTIFYING)}")
    if not OF_SESSION & set(names):
        raise ValueError(f"names no session; add one of {', '.join(one for one in IDENTIFYING if one in OF_SESSION)}")
    return names


_VALUES = {"type": "object", "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}}
Values = Annotated[dict[str, tuple[str, ...]], BeforeValidator(_as_values), WithJsonSchema(_VALUES)]
NasEndpoint = Annotated[Endpoint, PlainValidator(_as_nas_endpoint), WithJsonSchema({"type": "string", "examples": ["192.0.2.1:3799"]})]
Identifying = Annotated[
    tuple[str, ...],
    PlainValidator(_as_identifying),
    WithJsonSchema({"type": "array", "items": {"enum": list(IDENTIFYING)}}),
]


class NasTemplate(FileModel):
    """How NASes of one kind are told. Values may hold {down_kbps}, {up_kbps}, {full_down_kbps} and the like, also in _bps and _mbps."""

    identify: Identifying = ("User-Name", "NAS-IP-Address", "Acct-Session-Id")
    """Attributes that name the session; one that is not known of a session is left out."""
    limit: Values
    """Attributes that slow a line."""
    lift: Annotated[
        dict[str, tuple[str, ...]] | Literal["disconnect"],
        BeforeValidator(_as_lift),
        WithJsonSchema({"anyOf": [_VALUES, {"const": "disconnect"}]}),
    ]
    """Attributes that give the line its full speed back; or `disconnect`, so that it logs in anew without the limit."""


class NasAttribute(FileModel):
    """An attribute that has no name here yet."""

    vendor: Annotated[Whole, Field(ge=0, le=(1 << 24) - 1)] = 0
    """The vendor's number; 0: an attribute of the RFCs."""
    number: Annotated[Whole, Field(ge=1, le=255)]
    """Its number with the vendor."""
    type: AttributeType = AttributeType.TEXT
    """text, integer (32 bits), ipv4, ipv6 or ipv6-prefix."""


class NasSettings(FileModel):
    """One NAS."""

    id: Identifier
    """Names it in `sekisho nas` and its secret's credential."""
    accounting: Text | None = None
    """Its name in accounting (`sekisho sessions`), where that is another than its id."""
    address: NasEndpoint
    """Where it takes requests; port 3799 where none is given."""
    secret_file: FilePath | None = None
    """File with the secret shared with it, read at each request; the systemd credential `coa-ID` comes first."""
    vendor: Text
    """The template: one of `vendors`, or a shipped one: filter-id, cisco, mikrotik, erx, wispr, huawei."""
    nas_ip: Text | None = None
    """Address it knows itself by (NAS-IP-Address, NAS-IPv6-Address); null: that of `address`."""
    identifier: Text | None = None
    """Its NAS-Identifier; null: not named."""
    networks: Annotated[tuple[Network, ...], BeforeValidator(as_items)] = ()
    """Fixed addresses of customers behind it, for whom no accounting comes: their lines are named by Framed-IP-Address."""
    window: Annotated[Whole, Field(ge=1, le=4096)] = 64
    """Requests under way at once."""
    signed_answers: Flag = False
    """Take no answer without a Message-Authenticator."""

    @model_validator(mode="after")
    def _is_address(self) -> NasSettings:
        if self.nas_ip is not None:
            encode(Attribute("nas_ip", 0, 4, AttributeType.IPV6 if ":" in self.nas_ip else AttributeType.IPV4), self.nas_ip)
        return self


class CoaMode(enum.StrEnum):
    OBSERVE = "observe"
    ENFORCE = "enforce"


VENDORS: dict[str, dict[str, Any]] = {
    "filter-id": {
        "limit": {"Filter-Id": "sekisho-{down_kbps}-{up_kbps}"},
        "lift": {"Filter-Id": "sekisho-{full_down_kbps}-{full_up_kbps}"},
    },
    "cisco": {
        "limit": {"Cisco-AVPair": ["ip:sub-qos-policy-out=sekisho-{down_kbps}k", "ip:sub-qos-policy-in=sekisho-{up_kbps}k"]},
        "lift": {"Cisco-AVPair": ["ip:sub-qos-policy-out=sekisho-{full_down_kbps}k", "ip:sub-qos-policy-in=sekisho-{full_up_kbps}k"]},
    },
    # The router's own side: what it receives first, which is what the customer sends.
    "mikrotik": {
        "identify": ["User-Name", "NAS-IP-Address", "Acct-Session-Id", "Framed-IP-Address"],
        "limit": {"Mikrotik-Rate-Limit": "{up_kbps}k/{down_kbps}k"},
        "lift": {"Mikrotik-Rate-Limit": "{full_up_kbps}k/{full_down_kbps}k"},
    },
    "erx": {
        "identify": ["Acct-Session-Id"],
        "limit": {"ERX-Qos-Profile-Name": "sekisho-{down_kbps}k", "ERX-Ingress-Policy-Name": "sekisho-{up_kbps}k"},
        "lift": {"ERX-Qos-Profile-Name": "sekisho-{full_down_kbps}k", "ERX-Ingress-Policy-Name": "sekisho-{full_up_kbps}k"},
    },
    "wispr": {
        "limit": {"WISPr-Bandwidth-Max-Down": "{down_bps}", "WISPr-Bandwidth-Max-Up": "{up_bps}"},
        "lift": {"WISPr-Bandwidth-Max-Down": "{full_down_bps}", "WISPr-Bandwidth-Max-Up": "{full_up_bps}"},
    },
    "huawei": {
        "limit": {"Huawei-Output-Average-Rate": "{down_bps}", "Huawei-Input-Average-Rate": "{up_bps}"},
        "lift": {"Huawei-Output-Average-Rate": "{full_down_bps}", "Huawei-Input-Average-Rate": "{full_up_bps}"},
    },
}
"""Templates as they are shipped. Names of profiles and policies are those an operator makes on the NAS, one for each speed."""


class CoaSettings(FileModel):
    """NASes that slow lines and end sessions when they are asked (RFC 5176)."""

    mode: CoaMode = CoaMode.ENFORCE
    """`observe`: nothing is sent, and `sekisho nas show` tells what would be."""
    nases: Annotated[tuple[NasSettings, ...], Field(alias="nas", min_length=1, max_length=4096)]
    """The NASes."""
    vendors: dict[Identifier, NasTemplate] = Field(default_factory=dict)
    """Templates of your own; one by the name of a shipped one takes its place."""
    attributes: dict[Text, NasAttribute] = Field(default_factory=dict)
    """Attributes that have no name here yet, for templates."""
    share: Flag = True
    """Whether live sessions of one customer share the promised rate in equal parts, sent anew when their number changes; false: each
    has all of it, for NASes that add up a customer's sessions themselves."""
    timeout: SomeSeconds = 3.0
    """Time a NAS has for an answer before the request is sent again; doubled each time."""
    retries: Annotated[Whole, Field(ge=0, le=10)] = 2
    """How often a request is sent again before it counts as unanswered."""
    backoff: SomeSeconds = 10.0
    """Wait after a request that failed; doubled each time,"""
    backoff_max: SomeSeconds = 300.0
    """up to this. What a NAS refuses until somebody has looked at it is asked again as rarely as this."""
    on_stop: Literal["leave", "remove"] = "leave"
    """What becomes of limits when the daemon stops: they stay, and are looked after again at its start; or they are lifted."""
    stop_timeout: SomeSeconds = 10.0
    """How long a stop waits for them to be lifted."""
    disconnect_duplicates: Flag = False
    """End the later sessions of a customer under a measure for a duplicate log-in."""

    @model_validator(mode="after")
    def _fits(self) -> CoaSettings:
        ids = [one.id for one in self.nases]
        twice = sorted({one for one in ids if ids.count(one) > 1})
        if twice:
            raise ValueError(f"several NASes have the id {', '.join(twice)}; give each its own")
        for name in self.attributes:
            if name in ATTRIBUTES:
                raise ValueError(f"the attribute {name} is known already; leave it out")
        known = self.known_attributes()
        for one in self.nases:
            if one.vendor not in self.vendors and one.vendor not in VENDORS:
                raise ValueError(f"NAS {one.id}: there is no template {one.vendor}{did_you_mean(one.vendor, {*VENDORS, *self.vendors})}")
            if "NAS-Identifier" in self.template(one.vendor).identify and one.identifier is None:
                raise ValueError(f"NAS {one.id}: its template names NAS-Identifier; give the NAS its `identifier`")
        for vendor, template in self.vendors.items():
            for values in (template.limit, template.lift):
                _check_values(vendor, values, known)
        return self

    def known_attributes(self) -> dict[str, Attribute]:
        """Attributes by name, the operator's own among them."""
        own = {name: Attribute(name, one.vendor, one.number, one.type) for name, one in self.attributes.items()}
        return {**ATTRIBUTES, **own}

    def template(self, vendor: str) -> NasTemplate:
        """The template of a vendor; the operator's own comes first."""
        return self.vendors.get(vendor) or NasTemplate.model_validate(VENDORS[vendor])

    def accounted(self, name: str) -> NasSettings | None:
        """The NAS of a name in accounting."""
        return next((one for one in self.nases if (one.accounting or one.id) == name), None)

    def nas(self, name: str) -> NasSettings | None:
        return next((one for one in self.nases if one.id == name), None)


def _check_values(vendor: str, values: Mapping[str, tuple[str, ...]] | str, known: Mapping[str, Attribute]) -> None:
    if isinstance(values, str):
        return
    for name, texts in values.items():
        attribute = known.get(name)
        if attribute is None:
            raise ValueError(f"vendors.{vendor}: there is no attribute {name}{did_you_mean(name, known)}; others go under `attributes`")
        if not attribute.vendor and attribute.number in RESERVED:
            raise ValueError(f"vendors.{vendor}: {name} is set with every request by itself; leave it out")
        for text in texts:
            try:
                encode(attribute, text.format_map(_SAMPLE))
            except ValueError as error:
                raise ValueError(f"vendors.{vendor}: {error}") from None
