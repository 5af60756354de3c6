"""The compiled fast path of zone transfers: the records that nearly all of a policy zone is made of, from the wire.

`name CNAME .` and its kin go straight to rows; every other record is odd and handed back (see `scan`). What they mean
is `policyzone`'s to say: the numbers written here are its TARGETS.
"""

from __future__ import annotations

from sekisho.lists.rows import NXDOMAIN
from sekisho.lists.scan import DONE, FULL, ODD
from sekisho.lists.zonescan import WIDEST, is_plain_trigger, lower, special_target, within
from sekisho.snapshot.compiling import compiled

MALFORMED = 3
"""Status of `scan_records`: the message is not what a server sends."""
_STAR = 42
_CNAME, _IN = 5, 1


@compiled
def wire_name(message, position, out, used):  # type: ignore[no-untyped-def]
    """Copy the name at `position` of a message, in lower case and without compression, to `out` at `used`.

    Gives the position after it and the bytes used then; -1: it is malformed. Pointers must lead
    back, which ends every chain of them.
    """
    size = message.shape[0]
    after = -1
    at = used
    lowest = position
    while True:
        if position >= size:
            return -1, used
        length = int(message[position])
        if length >= 192:
            if position + 1 >= size:
                return -1, used
            target = ((length & 63) << 8) | int(message[position + 1])
            if after < 0:
                after = position + 2
            if target >= lowest:
                return -1, used
            lowest = target
            position = target
            continue
        if length > 63 or position + 1 + length > size or at - used + length + 1 > 254 + (length == 0):
            return -1, used
        out[at] = length
        for index in range(length):
            out[at + 1 + index] = lower(message[position + 1 + index])
        at += length + 1
        position += length + 1
        if length == 0:
            break
    if after < 0:
        after = position
    return after, at


@compiled
def scan_records(message, cursor, blob, offsets, lines, triggers, actions, zone, zone_size, scratch, records):  # type: ignore[no-untyped-def]
    """The answer section of a transfer's message, from the record at cursor[0] to number `records`.

    `cursor[1]` counts records of the message, from 0; `cursor[5]` is added to number them in `lines`. `scratch` uint8 (WIDEST).
    """
    position, number, count, used = cursor[0], cursor[1], cursor[2], cursor[3]
    size = message.shape[0]
    status = DONE
    while number < records:
        if count == offsets.shape[0] or used + WIDEST > blob.shape[0]:
            status = FULL
            break
        after, filled = wire_name(message, position, blob, used)
        if after < 0 or after + 10 > size:
            status = MALFORMED
            break
        rtype = (int(message[after]) << 8) | int(message[after + 1])
        rclass = (int(message[after + 2]) << 8) | int(message[after + 3])
        end = after + 10 + ((int(message[after + 8]) << 8) | int(message[after + 9]))
        if end > size:
            status = MALFORMED
            break
        action = 0
        trigger = 1
        start = used
        if rtype == _CNAME and rclass == _IN:
            target_end, target_size = wire_name(message, after + 10, scratch, 0)
            if target_end != end:
                status = MALFORMED
                break
            if target_size == 1:
                action = NXDOMAIN
            elif target_size - 2 == int(scratch[0]):
                action = special_target(scratch, 1, target_size - 1, False)
            if action != 0:
                cut = within(blob, used, filled, zone, zone_size)
                if cut < 0:
                    action = 0
                else:
                    blob[cut] = 0
                    filled = cut + 1
                    if blob[used] == 1 and blob[used + 1] == _STAR:
                        trigger = 2
                        start = used + 2
                    if not is_plain_trigger(blob, start):
                        action = 0
        if action == 0:
            cursor[4] = end
            status = ODD
            break
        offsets[count] = start
        lines[count] = cursor[5] + number + 1
        triggers[count] = trigger
        actions[count] = action
        count += 1
        used = filled
        position = end
        number += 1
    cursor[0], cursor[1], cursor[2], cursor[3] = position, number, count, used
    return status


@compiled
def record_starts(message, starts, scratch):  # type: ignore[no-untyped-def]
    """Fill `starts` int64 (2): where the answer section and the last record start. False: malformed. `scratch` uint8 (WIDEST)."""
    size = message.shape[0]
    if size < 12:
        return False
    position = 12
    for _ in range((int(message[4]) << 8) | int(message[5])):
        position, _used = wire_name(message, position, scratch, 0)
        if position < 0 or position + 4 > size:
            return False
        position += 4
    starts[0] = position
    starts[1] = position
    records = 0
    for section in range(6, 12, 2):
        records += (int(message[section]) << 8) | int(message[section + 1])
    for _ in range(records):
        starts[1] = position
        position, _used = wire_name(message, position, scratch, 0)
        if position < 0 or position + 10 > size:
            return False
        position += 10 + ((int(message[position + 8]) << 8) | int(message[position + 9]))
        if position > size:
            return False
    return position == size
