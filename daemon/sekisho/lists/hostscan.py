"""The compiled fast path of hosts files: an address and the names it stands for (see `scan`)."""

from __future__ import annotations

from sekisho.lists.rows import NAME_ROOM
from sekisho.lists.scan import DONE, FULL, ODD, blanks, line_end, plain_name
from sekisho.snapshot.compiling import compiled

_LF, _SPACE, _TAB, _DOT, _HASH, _COLON = 10, 32, 9, 46, 35, 58


@compiled
def sink_address(data, position):  # type: ignore[no-untyped-def]
    """The position after the address at `position` if it is IPv4, `::` or `::1`; else -1."""
    dots, digits, value, size = 0, 0, 0, data.shape[0]
    if position + 1 < size and data[position] == _COLON and data[position + 1] == _COLON:
        position += 2
        if position < size and data[position] == 49:
            position += 1
    else:
        while position < size:
            octet = data[position]
            if octet == _DOT and digits > 0:
                dots += 1
                digits = 0
                value = 0
            elif 48 <= octet <= 57 and (digits == 0 or value > 0):
                digits += 1
                value = value * 10 + int(octet) - 48
                if value > 255:
                    return -1
            else:
                break
            position += 1
        if dots != 3 or digits == 0:
            return -1
    if position < size and (data[position] == _SPACE or data[position] == _TAB):
        return position
    return -1


@compiled
def scan_hosts(data, cursor, blob, offsets, lines, triggers, actions, plain):  # type: ignore[no-untyped-def]
    """An address and names. A name of one label makes the line odd: hosts files name the host itself."""
    position, line, count, used = cursor[0], cursor[1], cursor[2], cursor[3]
    size = data.shape[0]
    status = DONE
    while position < size:
        at = blanks(data, position)
        kept, filled = count, used
        if at < size and data[at] == _HASH:
            at = line_end(data, at)
        elif at < size and data[at] != _LF:
            at = sink_address(data, at)
            odd = at < 0
            names = 0
            while not odd:
                at = blanks(data, at)
                if at >= size or data[at] == _LF:
                    odd = names == 0
                    break
                if data[at] == _HASH:
                    odd = names == 0
                    at = line_end(data, at)
                    break
                if kept == offsets.shape[0] or filled + NAME_ROOM > blob.shape[0]:
                    status = FULL
                    break
                end, next_used = plain_name(data, at, size, blob, filled)
                more = end >= 0 and end < size and data[end] != _LF and data[end] != _HASH
                if end < 0 or blob[filled + int(blob[filled]) + 1] == 0 or (more and blanks(data, end) == end):
                    odd = True
                else:
                    offsets[kept] = filled
                    lines[kept] = line
                    triggers[kept] = plain
                    actions[kept] = 0
                    kept += 1
                    names += 1
                    filled = next_used
                    at = end
            if status == FULL:
                break
            if odd:
                cursor[4] = line_end(data, position)
                status = ODD
                break
        count, used = kept, filled
        position = at + 1
        line += 1
    cursor[0], cursor[1], cursor[2], cursor[3] = position, line, count, used
    return status
