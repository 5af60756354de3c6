"""Address prefixes of customers, read fast, and the sentences for those that are wrong.

A prefix is three numbers: the high and low 64 bits of the address and the length, all in the one
128-bit space of `model.customers.Prefix` (IPv4 under ::ffff:0:0/96). The common forms are read
without `ipaddress`, which takes several times as long; whatever else comes is left to it.
"""

from __future__ import annotations

import ipaddress
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from sekisho.model.customers import Prefix

Numbers = tuple[int, int, int]
"""High 64 bits, low 64 bits, length."""

_MAPPED = 0xFFFF << 32
_LOW64 = 0xFFFFFFFFFFFFFFFF
_OCTETS = {str(value): value for value in range(256)}
_LENGTHS4 = {str(bits): bits for bits in range(33)}
_HOST4 = tuple((1 << (32 - bits)) - 1 for bits in range(33))
_HEAD6 = re.compile(r"([0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,3})::/([0-9]{1,3})")
_LENGTHS6 = {str(bits): ((1 << max(0, 64 - bits)) - 1, bits) for bits in range(129)}
_SHIFTS6 = (48, 32, 16, 0)


def read_prefix(text: str) -> Numbers:
    """`192.0.2.0/24`, `2001:db8::/48` or one address. Raises ValueError with a sentence."""
    address, _, bits = text.partition("/")
    octets = address.split(".")
    if len(octets) == 4:
        try:
            value = _OCTETS[octets[0]] << 24 | _OCTETS[octets[1]] << 16 | _OCTETS[octets[2]] << 8 | _OCTETS[octets[3]]
            length = _LENGTHS4[bits] if bits else 32
        except KeyError:
            return _read_any(text)
        if not value & _HOST4[length] and not text.endswith("/"):
            return 0, _MAPPED | value, length + 96
        return _read_any(text)
    match = _HEAD6.fullmatch(text)
    if match:
        high = 0
        for group, shift in zip(match[1].split(":"), _SHIFTS6, strict=False):
            high |= int(group, 16) << shift
        length = int(match[2])
        if length <= 128 and (length >= 64 or not high & ((1 << (64 - length)) - 1)):
            return high, 0, length
    return _read_any(text)


def parse_prefix(text: str) -> Prefix:
    """The same as a `Prefix`. Raises ValueError with a sentence."""
    high, low, length = read_prefix(text)
    return Prefix(high << 64 | low, length)


class PrefixColumn:
    """Prefixes of many customers, row by row, as arrays.

    `high`, `low` (u64), `lengths` (u8): one item a prefix. `starts` (u32): where each row's begin,
    and one more for the end. Neighbours share most of their text, so while cells are read the
    parts of addresses are read once each.
    """

    def __init__(self) -> None:
        self.high = array("Q")
        self.low = array("Q")
        self.lengths = array("B")
        self.starts = array("I", [0])
        self._networks: dict[str, int] = {}
        self._fronts: dict[str, int] = {}
        self._hosts: dict[str, tuple[int, int]] = {}
        self._routes: dict[str, tuple[int, int]] = {}
        self._groups: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.lengths)

    def append(self, prefixes: Iterable[Numbers]) -> None:
        """One row."""
        for high, low, length in prefixes:
            self.high.append(high)
            self.low.append(low)
            self.lengths.append(length)
        self.starts.append(len(self.lengths))

    def extend(self, cells: Sequence[str]) -> None:
        """Rows of prefixes separated by spaces. Raises ValueError, and adds nothing, if any is wrong."""
        highs: list[int] = []
        lows: list[int] = []
        lengths: list[int] = []
        starts: list[int] = []
        before = len(self.lengths)
        networks, hosts, routes, groups = self._networks, self._hosts, self._routes, self._groups
        for cell in cells:
            if " " in cell:
                texts: Iterable[str] = dict.fromkeys(cell.split())
            else:
                texts = (cell,) if cell else ()
            for text in texts:
                if ":" in text:
                    # 2001:db8:1:2::/64 - the last group, the length and what stands before: each is read once.
                    head, _, bits = text.partition("::/")
                    front, _, group = head.rpartition(":")
                    route, last, mask = routes.get(front), groups.get(group), _LENGTHS6.get(bits)
                    if route is not None and last is not None and mask is not None:
                        high = route[0] | last << route[1]
                        if not high & mask[0]:
                            highs.append(high)
                            lows.append(0)
                            lengths.append(mask[1])
                            continue
                else:
                    network, _, host = text.rpartition(".")
                    base, tail = networks.get(network), hosts.get(host)
                    if base is None:
                        base = self._beside(network)
                    if base is not None and tail is not None:
                        highs.append(0)
                        lows.append(base | tail[0])
                        lengths.append(tail[1])
                        continue
                high, low, length = read_prefix(text)
                highs.append(high)
                lows.append(low)
                lengths.append(length)
                if ":" not in text:
                    if length >= 96 + 24:
                        networks[network] = low & ~0xFF
                        self._fronts[network.rpartition(".")[0]] = low & ~0xFFFF
                        hosts[host] = low & 0xFF, length
                elif front and _HEAD6.fullmatch(text):
                    shift = 48 - 16 * head.count(":")
                    routes[front] = high >> shift + 16 << shift + 16, shift
                    groups[group] = int(group, 16)
            starts.append(before + len(lengths))
        self.high.extend(highs)
        self.low.extend(lows)
        self.lengths.extend(lengths)
        self.starts.extend(starts)

    def _beside(self, network: str) -> int | None:
        """A /24 beside those that were read: of another in the same /16 the third octet alone is new."""
        front, _, third = network.rpartition(".")
        upper, octet = self._fronts.get(front), _OCTETS.get(third)
        if upper is None or octet is None:
            return None
        base = self._networks[network] = upper | octet << 8
        return base

    def rows(self) -> Iterator[tuple[Prefix, ...]]:
        """The prefixes of every row, in one pass."""
        prefixes = map(_prefix_of, self.high, self.low, self.lengths)
        begin = 0
        for end in islice(self.starts, 1, None):
            yield (next(prefixes),) if end - begin == 1 else tuple(islice(prefixes, end - begin))
            begin = end

    def row(self, row: int) -> tuple[Prefix, ...]:
        first, end = self.starts[row], self.starts[row + 1]
        if end - first == 1:
            return (self.at(first),)
        return tuple([self.at(index) for index in range(first, end)])

    def at(self, index: int) -> Prefix:
        return Prefix(self.high[index] << 64 | self.low[index], self.lengths[index])

    def close(self) -> None:
        """No more cells are read: forget what was kept to read them fast."""
        self._networks, self._fronts, self._hosts, self._routes, self._groups = {}, {}, {}, {}, {}


def _prefix_of(high: int, low: int, length: int) -> Prefix:
    return Prefix(high << 64 | low, length)


def _read_any(text: str) -> Numbers:
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(_why_not(text)) from None
    value, length = int(network.network_address), network.prefixlen
    if network.version == 4:
        value, length = _MAPPED | value, length + 96
    return value >> 64, value & _LOW64, length


def _why_not(text: str) -> str:
    try:
        interface = ipaddress.ip_interface(text)
    except ValueError:
        return f"{text!r} is not an address or a prefix; write 192.0.2.0/24, 2001:db8::/48 or one address"
    if "/" in text and text.rpartition("/")[2].isdigit():
        return f"{text} has bits set beyond its length; write {interface.network} for the network, or {interface.ip} for the one address"
    return f"{text!r} has a netmask; write its length instead: {interface.network}"
