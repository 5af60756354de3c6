"""What a resolver's answer leads to: its addresses and aliases against the lists, before it reaches a customer.

The A and AAAA records of the answer section are looked up among the prefixes of the lists (C&C servers known by address,
gunma/別記-1), and where the rule says so the targets of CNAME records among their names. Which lists hold anything in an answer is
found once for all customers and stays with the answer in the cache (`classify`); whom it concerns is
asked the rest (`examine`): mandatory lists first, then the others, as for names. Within one list an alias comes before an address,
among addresses the longest prefix and then the lowest address, as in RPZ (draft-vixie-dnsop-dns-rpz-00 section 5).

What the name was found to be counts here too: of a list that an operator excepted the name from nothing is looked up, nor of a list
behind the one that lets the name through.
"""

from __future__ import annotations

import numpy as np

from sekisho.model.counters import Counter
from sekisho.model.lists import ActionKind
from sekisho.model.verdicts import Step
from sekisho.plane.addresses import V4, find_customer
from sekisho.plane.names import match
from sekisho.plane.native import get16, get32, u16s, u64s
from sekisho.plane.prefixes import match_prefix
from sekisho.plane.verdict import (
    R_RANK,
    R_ROW,
    R_SPARED,
    R_STEP,
    SAVED_PRINT,
    UNRANKED,
    ask_lists,
    first_list,
    is_served,
    mask_of,
    profile_of,
    write_ruling,
)
from sekisho.plane.wire import CLASS_IN, HEADER, TYPE_A, TYPE_AAAA, TYPE_CNAME, skip_name
from sekisho.snapshot.compiling import compiled, inlined
from sekisho.snapshot.digest import U64
from sekisho.snapshot.layout import NO_RULE, WATCH_ANSWERS, WATCH_CHAINS, WATCH_LISTS

_ZERO, _R32 = U64(0), U64(32)
_CACHE, _JUDGED = int(Step.CACHE), int(Counter.ANSWERS_JUDGED)
_PASSTHRU, _TCP_ONLY = int(ActionKind.PASSTHRU), int(ActionKind.TCP_ONLY)
_LABEL_MAX, _NAME_MAX, _POINTER = 63, 255, 0xC0
_NAME, _PREFIX = 0, 1


@inlined
def watches(snapshot):  # type: ignore[no-untyped-def]
    """The lists that anything in answers is looked up in, for anybody."""
    return u64s(snapshot.watched)[WATCH_LISTS] | u64s(snapshot.watched)[WATCH_CHAINS]


@compiled
def watching(snapshot, customers, row, spared):  # type: ignore[no-untyped-def]
    """Of these, the lists for the customer in `row`; `spared`: those that are not to look."""
    mask = mask_of(customers, row)
    chains, profile = u64s(snapshot.chains), profile_of(customers, row)
    if mask == _ZERO or profile >= chains.shape[0]:
        return _ZERO
    return mask & (u64s(snapshot.watched)[WATCH_LISTS] | chains[profile]) & ~U64(spared)


@compiled
def read_name(packet, base, position, length, lower, labels):  # type: ignore[no-untyped-def]
    """Write the name at `position` of a message of `length` bytes to `lower` in canonical form; its labels, or -1 if it is none.

    Each compression pointer must point before all that was read so far (RFC 1035 section 4.1.4), so there are no loops.
    """
    size = count = 0
    lowest = position
    while True:
        if position >= length:
            return -1
        label = np.int64(packet[base + position])
        if label >= _POINTER:
            if position + 2 > length:
                return -1
            position = get16(packet, base + position) & 0x3FFF
            if position >= lowest:
                return -1
            lowest = position
            continue
        if label > _LABEL_MAX or size + label + 1 > _NAME_MAX or position + label + 1 > length:
            return -1
        lower[size] = label
        if label == 0:
            break
        labels[count] = size
        count += 1
        for index in range(1, label + 1):
            octet = packet[base + position + index]
            lower[size + index] = octet + 32 if 65 <= octet <= 90 else octet
        size += label + 1
        position += label + 1
    for index in range(size + 1, size + 9):
        lower[index] = 0
    return count


@compiled
def read_address(packet, at, kind):  # type: ignore[no-untyped-def]
    """High and low word of the address in the data of an A or AAAA record at `at`."""
    if kind == TYPE_A:
        return _ZERO, V4 | U64(get32(packet, at))
    high = (U64(get32(packet, at)) << _R32) | U64(get32(packet, at + 4))
    low = (U64(get32(packet, at + 8)) << _R32) | U64(get32(packet, at + 12))
    return high, low


@compiled
def next_record(packet, base, position, length):  # type: ignore[no-untyped-def]
    """The record at `position`: (what it is, where its data stand, where it ends); the last -1: it is malformed.

    What it is: the type of an A, AAAA or CNAME record of class IN with data of the right size, else 0.
    """
    position = skip_name(packet, base, position, length)
    if position < 0 or position + 10 > length:
        return 0, 0, -1
    kind, size = get16(packet, base + position), get16(packet, base + position + 8)
    data = position + 10
    if data + size > length:
        return 0, 0, -1
    wanted = (kind == TYPE_A and size == 4) or (kind == TYPE_AAAA and size == 16) or kind == TYPE_CNAME
    if not wanted or get16(packet, base + position + 2) != CLASS_IN:
        kind = 0
    return kind, data, data + size


@compiled
def classify(snapshot, key, desk, packet, base, length, end):  # type: ignore[no-untyped-def]
    """The lists that hold an address or alias in the answer of `length` bytes at `base`, whose question ends at `end`.

    Of no customer. What is excepted in a list counts as held: who is concerned is examined.
    """
    desk.totals[_JUDGED] += U64(1)
    found_in = _ZERO
    watched = u64s(snapshot.watched)
    prefixes, chains = watched[WATCH_LISTS], watched[WATCH_CHAINS]
    position = end
    for _ in range(get16(packet, base + 6)):
        kind, data, position = next_record(packet, base, position, length)
        if position < 0:
            break
        found = 0
        if kind == TYPE_CNAME:
            if chains != _ZERO:
                count = read_name(packet, base, data, position, desk.lower, desk.labels)
                if count > 0:
                    found = match(snapshot, key[0], key[1], desk.lower, desk.labels, count, chains, desk.masks, desk.combos, desk.prints)
        elif kind != 0 and prefixes != _ZERO:
            high, low = read_address(packet, base + data, kind)
            found = match_prefix(snapshot, key[0], key[1], WATCH_ANSWERS, high, low, prefixes, desk.masks, desk.combos, desk.prints)
        for row in range(found):
            found_in |= desk.masks[row]
    return found_in


@compiled
def examine(snapshot, customers, key, desk, packet, base, length, end, stream):  # type: ignore[no-untyped-def]
    """The verdict on an answer for the customer in the desk's `ruling`, as `decide` left it: the step, CACHE if it stands.

    What decides is written to `ruling`; `length` and `end` as in `classify`, `stream`: it goes out over TCP.
    """
    ruling = desk.ruling
    row = ruling[R_ROW]
    within = watching(snapshot, customers, row, ruling[R_SPARED])
    if within == _ZERO:
        return _CACHE
    profile = profile_of(customers, row)
    mandatory = u64s(snapshot.mandatory)[profile]
    prefixes, chains = u64s(snapshot.watched)[WATCH_LISTS] & within, u64s(snapshot.chains)[profile] & within
    best, kept, longest = np.int64(UNRANKED), _PREFIX, np.int64(-1)
    order = action = np.int64(0)
    best_high = best_low = _ZERO
    position = end
    for _ in range(get16(packet, base + 6)):
        kind, data, position = next_record(packet, base, position, length)
        if position < 0:
            break
        found, size, high, low = 0, np.int64(0), _ZERO, _ZERO
        if kind == TYPE_CNAME:
            if chains != _ZERO:
                count = read_name(packet, base, data, position, desk.lower, desk.labels)
                if count > 0:
                    found = match(snapshot, key[0], key[1], desk.lower, desk.labels, count, chains, desk.masks, desk.combos, desk.prints)
        elif kind != 0 and prefixes != _ZERO:
            high, low = read_address(packet, base + data, kind)
            found = match_prefix(snapshot, key[0], key[1], WATCH_ANSWERS, high, low, prefixes, desk.masks, desk.combos, desk.prints)
        if found == 0:
            continue
        rank, one, where, what = first_list(snapshot, desk.masks, desk.combos, found, mandatory)
        if rank > best or rank >= ruling[R_RANK]:
            continue
        if kind != TYPE_CNAME:
            size = np.int64(desk.prints[where, 2])
        if rank == best:
            if kept == _NAME:
                continue
            if kind != TYPE_CNAME:
                higher = high > best_high or (high == best_high and low >= best_low)
                if size < longest or (size == longest and higher):
                    continue
        best, order, action = rank, one, what
        kept = _NAME if kind == TYPE_CNAME else _PREFIX
        longest, best_high, best_low = size, high, low
        desk.prints[SAVED_PRINT, 0] = desk.prints[where, 0]
        desk.prints[SAVED_PRINT, 1] = desk.prints[where, 1]
    if best == UNRANKED or u16s(snapshot.rules)[64 * profile + order] == NO_RULE:
        return _CACHE
    step = write_ruling(snapshot, profile, best, order, action, SAVED_PRINT, stream, ruling)
    ruling[R_STEP] = step
    return step


@compiled
def reconsider(snapshot, customers, key, desk, asked, at, end, high, low, stream):  # type: ignore[no-untyped-def]
    """Decide again on a query whose answer has come: header and question stand at `at` of `asked` and end at `end`.

    By the tables of now, since it may have waited for seconds. Nothing is counted and no budget charged. Returns the step;
    CACHE: the answer is to be examined, unless the customer is nobody any more (row -1).
    """
    ruling = desk.ruling
    row = find_customer(customers, high, low)
    if not is_served(customers, row):
        row = -1
    ruling[R_ROW] = row
    ruling[R_SPARED] = 0
    ruling[R_RANK] = UNRANKED
    count = read_name(asked, at, HEADER, end, desk.lower, desk.labels)
    if row < 0 or count < 0:
        return _CACHE
    step = ask_lists(
        snapshot, customers, key, row, high, low, desk.lower, desk.labels, count, stream, desk.masks, desk.combos, desk.prints, ruling
    )
    ruling[R_STEP] = step
    return step
