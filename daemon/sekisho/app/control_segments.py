"""Lines and segments as the configuration and the customers have them, by row: what `detect.lines` is made of.

Owns the reading of customers into arrays: a million of them in a second, in a thread. A customer is on a segment by group,
plan, or the addresses of their record and of their sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sekisho.app.control_people import People
from sekisho.config.bandwidth import Segment
from sekisho.detect.lines import Lines
from sekisho.model.clauses import MeasureRule, Pack
from sekisho.model.customers import Customer, Prefix
from sekisho.model.measures import Detector

DETECTORS = frozenset({Detector.BANDWIDTH, Detector.MAIL_VOLUME, Detector.CONNECTION_STORM})
"""Whose rules a line has."""
_MEGABIT = 1e6
_WORD = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Index:
    """The lines, and whose each is: an id by row, empty where it is nobody's."""

    lines: Lines
    names: list[str]

    def named(self, rows: NDArray[np.int64]) -> Sequence[str]:
        return [self.names[row] if row < len(self.names) else "" for row in rows.tolist()]


PrefixesOf = Callable[[str], tuple[Prefix, ...]]
"""Addresses a customer has now, those of live sessions among them."""


def index_of(people: People, rows: Mapping[str, int], segments: tuple[Segment, ...], prefixes_of: PrefixesOf | None = None) -> Index:
    """All customers' lines. Takes a second for a million, and seconds where addresses are asked for: not for the loop."""
    changed, added = people.apart()
    file = people.site.customers
    groups, shared = file.groups()
    ids = list(file.ids())
    where = np.fromiter((-1 if one in changed else rows.get(one, -1) for one in ids), np.int64, len(ids))
    others = [(rows[one.id], one) for one in added if one.id in rows]
    size = max(int(where.max(initial=-1)), max((row for row, _ in others), default=-1)) + 1
    capacity, terms = np.zeros((2, size), np.float32), np.zeros(size, np.uint16)
    rules: dict[tuple[MeasureRule, ...], int] = {(): 0}
    here = where >= 0
    known = where[here]
    for values, make in ((capacity[0], _down), (capacity[1], _up)):
        values[known] = np.array([make(one) for one in shared], np.float32)[groups[here]] if shared else 0
    numbers = np.array([rules.setdefault(_rules(one.terms, people.site.packs), len(rules)) for one in shared], np.uint16)
    if shared:
        terms[known] = numbers[groups[here]]
    names = [""] * size
    for name, row in zip(ids, where.tolist(), strict=True):
        if row >= 0:
            names[row] = name
    for row, one in others:
        names[row] = one.id
        capacity[:, row] = _down(one), _up(one)
        terms[row] = rules.setdefault(_rules(one.terms, people.site.packs), len(rules))
    members = [_on(number, segment, people, groups, shared, where, others) for number, segment in enumerate(segments)]
    if prefixes_of is not None and any(one.prefixes for one in segments):
        members.append(_by_sessions(names, segments, prefixes_of))
    return Index(Lines(capacity, terms, tuple(rules), _sorted(members, segments), segments), names)


def index_after(index: Index, people: People, rows: Mapping[str, int], customers: Iterable[str], prefixes_of: PrefixesOf) -> Index:
    """The same lines, those of these customers put on segments by the addresses they have now. Some microseconds for each."""
    lines = index.lines
    pairs, moved = [], []
    for name in customers:
        row = rows.get(name)
        customer = people.find(name)
        if row is None or row >= lines.rows or customer is None:
            continue
        moved.append(row)
        held = (*customer.prefixes, *prefixes_of(name))
        for number, segment in enumerate(lines.segments):
            if _alike(customer, segment) or any(_holds(prefix, held) for prefix in segment.prefixes):
                pairs.append((row, number))
    stay = lines.members[:, ~np.isin(lines.members[0], np.array(moved, np.int64))]
    members = _sorted([stay, np.array(pairs, np.int64).reshape(-1, 2).T], lines.segments)
    return Index(replace(lines, members=members), index.names)


def _sorted(members: Sequence[NDArray[np.int64]], segments: Sequence[Segment]) -> NDArray[np.int64]:
    """Pairs of rows and segments, each once, by ascending row: int64 (2, n)."""
    found = np.concatenate([np.zeros((2, 0), np.int64), *members], axis=1)
    keys = np.unique(found[0] * max(1, len(segments)) + found[1])
    return np.vstack(np.divmod(keys, max(1, len(segments))))


def _on(
    number: int,
    segment: Segment,
    people: People,
    groups: NDArray[np.int64],
    shared: list[Customer],
    where: NDArray[np.int64],
    others: list[tuple[int, Customer]],
) -> NDArray[np.int64]:
    """Rows on a segment, each once, with its number: int64 (2, n)."""
    alike = np.array([_alike(one, segment) for one in shared], np.bool_)
    on = alike[groups] if shared else np.zeros(len(where), np.bool_)
    high, low, lengths, owners = people.site.customers.columns()
    for prefix in segment.prefixes:
        on[owners[_inside(prefix, high, low, lengths)]] = True
    rows = where[on & (where >= 0)].tolist()
    rows += [row for row, one in others if _alike(one, segment) or any(_holds(prefix, one.prefixes) for prefix in segment.prefixes)]
    each = np.unique(np.array(rows, np.int64))
    return np.vstack((each, np.full(len(each), number, np.int64)))


def _by_sessions(names: Sequence[str], segments: tuple[Segment, ...], prefixes_of: PrefixesOf) -> NDArray[np.int64]:
    """Rows and segments by the addresses customers have now: int64 (2, n)."""
    wanted = [(number, prefix) for number, one in enumerate(segments) for prefix in one.prefixes]
    pairs = []
    for row, name in enumerate(names):
        held = prefixes_of(name) if name else ()
        if held:
            pairs += [(row, number) for number, prefix in wanted if _holds(prefix, held)]
    return np.array(pairs, np.int64).reshape(-1, 2).T


def _alike(customer: Customer, segment: Segment) -> bool:
    plan = (customer.plan.down_mbps, customer.plan.up_mbps) if customer.plan is not None else None
    return segment.everybody or (customer.group is not None and customer.group in segment.groups) or plan in segment.plans


def _inside(prefix: Prefix, high: NDArray[np.uint64], low: NDArray[np.uint64], lengths: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which prefixes lie in one."""
    masks = (1 << 128) - (1 << (128 - prefix.length))
    wanted = prefix.value & masks
    words = ((high, masks >> 64, wanted >> 64), (low, masks & _WORD, wanted & _WORD))
    same = np.logical_and.reduce([(column & np.uint64(mask)) == np.uint64(value) for column, mask, value in words])
    inside: NDArray[np.bool_] = same & (lengths >= prefix.length)
    return inside


def _holds(prefix: Prefix, held: Iterable[Prefix]) -> bool:
    shift = 128 - prefix.length
    return any(one.length >= prefix.length and one.value >> shift == prefix.value >> shift for one in held)


def _rules(terms: tuple[str, ...], packs: Mapping[str, Pack]) -> tuple[MeasureRule, ...]:
    rules = [rule for name in terms if name in packs for rule in packs[name].rules]
    return tuple(rule for rule in rules if isinstance(rule, MeasureRule) and rule.detector in DETECTORS)


def _down(customer: Customer) -> float:
    return customer.plan.down_mbps * _MEGABIT if customer.plan is not None else 0.0


def _up(customer: Customer) -> float:
    return customer.plan.up_mbps * _MEGABIT if customer.plan is not None else 0.0
