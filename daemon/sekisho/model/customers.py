"""Customers: an identity with contracts, not an address."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, cast

V4_MAPPED = 0xFFFF << 32
"""IPv4 addresses live at ::ffff:0:0/96 (RFC 4291 section 2.5.5.2), so one table serves both."""


class Prefix(NamedTuple):
    """An address prefix in the one 128-bit space: IPv4 /24 is length 120.

    `value` has no bits set beyond `length`.
    """

    value: int
    length: int

    @classmethod
    def parse(cls, text: str) -> Prefix:
        """Parse `192.0.2.0/24`, `2001:db8::/48` or a bare address.

        Raises ValueError, with a sentence, for anything else and for host bits set.
        """
        network = ipaddress.ip_network(text)
        if network.version == 4:
            return cls(V4_MAPPED | int(network.network_address), network.prefixlen + 96)
        return cls(int(network.network_address), network.prefixlen)

    def __str__(self) -> str:
        if self.length >= 96 and self.value >> 32 == 0xFFFF:
            return f"{ipaddress.IPv4Address(self.value & 0xFFFFFFFF)}/{self.length - 96}"
        return f"{ipaddress.IPv6Address(self.value)}/{self.length}"


def together(values: Iterable[int], lengths: Iterable[int]) -> list[Prefix]:
    """Many prefixes of their values and lengths: each takes a third of the time that `Prefix(...)` does."""
    return list(map(_of_pair, zip(values, lengths, strict=True)))


_of_pair = cast("Callable[[tuple[int, int]], Prefix]", partial(tuple.__new__, Prefix))


@dataclass(frozen=True, slots=True)
class Consent:
    """Comprehensive prior consent: to which terms version, and when (ISO 8601 date or time)."""

    version: str
    at: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Line capacity in Mbit/s, from the customer's side."""

    down_mbps: float
    up_mbps: float


@dataclass(frozen=True, slots=True)
class Fee:
    """The base fee of a contract in yen, without tax: of a month, or of a year."""

    yen: int
    yearly: bool = False


@dataclass(frozen=True, slots=True)
class Customer:
    """One contract holder. `terms` are pack ids in the order the contracts stack."""

    id: str
    terms: tuple[str, ...]
    prefixes: tuple[Prefix, ...] = ()
    consent: Consent | None = None
    plan: Plan | None = None
    group: str | None = None
    exempt: tuple[str, ...] = ()
    """List ids or clause ids that do not reach this customer, by the operator's decision."""
    email: str | None = None
    fee: Fee | None = None
    language: str | None = None
    """`ja` or `en`: of notices; None: the operator's default."""
    logins: tuple[str, ...] = ()
    """Names the customer logs in by besides the id (RADIUS User-Name)."""


@dataclass(frozen=True, slots=True)
class OptOutRecord:
    """One customer's opt-out from one list. Times are UNIX seconds; `until` None: for good."""

    customer: str
    list: str
    since: float
    by: str
    until: float | None = None

    def in_force(self, now: float) -> bool:
        return self.until is None or now < self.until
