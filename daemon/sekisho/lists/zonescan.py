"""The compiled fast path of zone files: the lines that nearly all of a policy zone is made of.

`name CNAME .` and its kin go straight to rows; every other line is odd and handed back (see `scan`). What they mean is
`policyzone`'s to say: the numbers written here are its TARGETS. The same from the wire is `recordscan`.
"""

from __future__ import annotations

import numpy as np

from sekisho.lists.rows import DROP, NODATA, NXDOMAIN, PASSTHRU, TCP_ONLY
from sekisho.lists.scan import DONE, FULL, ODD, blanks, line_end, plain_name
from sekisho.snapshot.compiling import compiled

WIDEST = 512
"""Octets of room for a name, whatever it says."""
_LF, _DOT, _STAR, _SEMICOLON, _SPACE, _TAB, _CR = 10, 46, 42, 59, 32, 9, 13


@compiled
def within(blob, start, end, zone, size):  # type: ignore[no-untyped-def]
    """Where the zone's labels begin in the name at `start` of `blob`, which ends before `end`; -1: it is outside."""
    position = start
    while end - position > size:
        position += int(blob[position]) + 1
    if end - position != size:
        return -1
    for index in range(size):
        if blob[position + index] != zone[index]:
            return -1
    return position


@compiled
def is_plain_trigger(blob, start):  # type: ignore[no-untyped-def]
    """Whether the name at `start` is not empty, does not end in an `rpz-` label, nor in a number."""
    if blob[start] == 0:
        return False
    last = start
    position = start
    while blob[position] != 0:
        last = position
        position += int(blob[position]) + 1
    digits = True
    for index in range(last + 1, position):
        if blob[index] < 48 or blob[index] > 57:
            digits = False
    if digits:
        return False
    return not (blob[last] >= 4 and blob[last + 1] == 114 and blob[last + 2] == 112 and blob[last + 3] == 122 and blob[last + 4] == 45)


@compiled
def lower(octet):  # type: ignore[no-untyped-def]
    """A letter of ASCII in lower case, any other octet as it is."""
    if 65 <= octet <= 90:
        return octet + 32
    return octet


@compiled
def special_target(data, start, end, dotted):  # type: ignore[no-untyped-def]
    """The action number of a CNAME's target as text (`dotted`: with its last dot), or 0."""
    length = end - start
    if dotted:
        if length == 0 or data[end - 1] != _DOT:
            return 0
        length -= 1
    if length == 0:
        return NXDOMAIN
    if length == 1:
        return NODATA if data[start] == _STAR else 0
    if length < 8 or length > 12 or data[start + 3] != 45:
        return 0
    if lower(data[start]) != 114 or lower(data[start + 1]) != 112 or lower(data[start + 2]) != 122:
        return 0
    word = np.uint64(0)
    for index in range(start + 4, start + length):
        word = word * np.uint64(31) + np.uint64(lower(data[index]))
    if length == 12 and word == _PASSTHRU_WORD:
        return PASSTHRU
    if length == 8 and word == _DROP_WORD:
        return DROP
    if length == 12 and word == _TCP_ONLY_WORD:
        return TCP_ONLY
    return 0


def _word(text: bytes) -> np.uint64:
    word = 0
    for octet in text:
        word = word * 31 + octet
    return np.uint64(word)


_PASSTHRU_WORD, _DROP_WORD, _TCP_ONLY_WORD = _word(b"passthru"), _word(b"drop"), _word(b"tcp-only")


@compiled
def _scan_line(data, at, blob, used, zone, zone_size, suffix, suffix_size, inside):  # type: ignore[no-untyped-def]
    """One line `name [ttl] [class] CNAME target [; comment]`: its end, the bytes used, trigger and action; end -1: odd."""
    size = data.shape[0]
    trigger = 1
    if data[at] == _STAR and at + 1 < size and data[at + 1] == _DOT:
        trigger = 2
        at += 2
    end, filled = plain_name(data, at, size, blob, used)
    if end < 0 or end >= size or (data[end] != _SPACE and data[end] != _TAB):
        return -1, used, 0, 0
    if data[end - 1] == _DOT:
        cut = within(blob, used, filled, zone, zone_size) if zone_size > 1 else -1
        if cut < 0:
            return -1, used, 0, 0
        blob[cut] = 0
        filled = cut + 1
    elif not inside:
        return -1, used, 0, 0
    else:
        if filled - used + suffix_size + max(zone_size - 1, 0) > 255:
            return -1, used, 0, 0
        for index in range(suffix_size):
            blob[filled - 1 + index] = suffix[index]
        filled += suffix_size
        blob[filled - 1] = 0
    if not is_plain_trigger(blob, used):
        return -1, used, 0, 0
    at = end
    found = False
    while True:
        at = blanks(data, at)
        begin = at
        while at < size and data[at] != _SPACE and data[at] != _TAB and data[at] != _LF and data[at] != _CR and data[at] != _SEMICOLON:
            at += 1
        if at == begin:
            return -1, used, 0, 0
        if found:
            break
        first = lower(data[begin])
        if at - begin == 2 and first == 105 and lower(data[begin + 1]) == 110:
            continue
        if at - begin == 5 and first == 99:
            found = (
                lower(data[begin + 1]) == 110
                and lower(data[begin + 2]) == 97
                and lower(data[begin + 3]) == 109
                and lower(data[begin + 4]) == 101
            )
            if found:
                continue
        for index in range(begin, at):
            if data[index] < 48 or data[index] > 57:
                return -1, used, 0, 0
    action = special_target(data, begin, at, True)
    at = blanks(data, at)
    if at < size and data[at] == _SEMICOLON:
        at = line_end(data, at)
    if action == 0 or (at < size and data[at] != _LF):
        return -1, used, 0, 0
    return at, filled, trigger, action


@compiled
def scan_zone_text(data, cursor, blob, offsets, lines, triggers, actions, zone, suffix, sizes):  # type: ignore[no-untyped-def]
    """A zone file. `zone`: its wire name; `suffix`: labels that stand between a relative name and the
    zone; `sizes` int64: the bytes used of both, and whether the current origin is inside the zone.
    """
    position, line, count, used = cursor[0], cursor[1], cursor[2], cursor[3]
    size = data.shape[0]
    status = DONE
    while position < size:
        if count == offsets.shape[0] or used + WIDEST > blob.shape[0]:
            status = FULL
            break
        at = blanks(data, position)
        if at < size and data[at] == _SEMICOLON:
            at = line_end(data, at)
        elif at < size and data[at] != _LF:
            end = -1
            filled, trigger, action = used, 0, 0
            if at == position:
                end, filled, trigger, action = _scan_line(data, at, blob, used, zone, sizes[0], suffix, sizes[1], sizes[2] != 0)
            if end < 0:
                cursor[4] = line_end(data, position)
                status = ODD
                break
            at = end
            offsets[count] = used
            lines[count] = line
            triggers[count] = trigger
            actions[count] = action
            count += 1
            used = filled
        position = at + 1
        line += 1
    cursor[0], cursor[1], cursor[2], cursor[3] = position, line, count, used
    return status
