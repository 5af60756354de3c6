"""What must hold of each packet, written a second time from the RFCs and as plainly as can be.

`read_query` is the reference of `plane.wire`: another reading of the same sections, byte by byte,
whose verdict and fields the product's must equal. `answer_fault` judges any answer to a client.
Neither calls the product. Numbers of faults are explained in `FAULTS`.
"""

from __future__ import annotations

import numpy as np

from sekisho.snapshot.compiling import compiled

FAULTS = (
    "",
    "the parser's verdict is not the one the RFCs give",
    "a slot of the question is not what the packet says",
    "the name or its labels are not those of the packet",
    "the same packet is read differently where other bytes stand around it",
    "something was written outside its buffer",
    "an answer was made to what is owed none",
    "the answer is shorter than a header or longer than its room",
    "the answer has another id",
    "the answer's flags are not those of an answer to this query",
    "the question is not echoed byte for byte",
    "the answer's records are not as its header counts them, or have an OPT too many or in the wrong place",
    "the product's own parser does not take the answer",
    "not exactly one step decided",
    "the step that decided is not the parser's verdict",
    "a match was recorded where no list decided, or none where one did",
    "what went to the resolver is not the client's question",
    "a query was held that did not go on, or one went on that is not held",
    "an answer without the right id, question and socket was cached or given to a client",
    "an honest answer did not reach the client",
    "the cache's tables point outside of their bytes",
    "something was kept for longer than a day, or past its place",
    "the answer to a client who asked without EDNS has an OPT record, or the other way round",
)
(
    OK, VERDICT, SLOT, NAME, SURROUNDINGS, WRITTEN, OWED, ROOM, IDENTITY, FLAGS, QUESTION, RECORDS, UNREAD, STEP, DECIDED, RECORDED,
    ASKED, HELD, LIED, LOST, CACHE, KEPT, EDNS,
) = range(len(FAULTS))  # fmt: skip

# Slots of `said`.
S_END, S_NAME, S_LABELS, S_TYPE, S_CLASS, S_EDNS, S_SIZE, S_DO, S_VERSION, S_SLOTS = 0, 1, 2, 3, 4, 5, 6, 7, 8, 12


@compiled
def word(data, at):  # type: ignore[no-untyped-def]
    """Two bytes as a number."""
    return np.int64(data[at]) * 256 + np.int64(data[at + 1])


@compiled
def read_query(data, base, length, said):  # type: ignore[no-untyped-def]
    """The RCODE owed to the query of `length` bytes at `base` (-1: silence; 0: it is well-formed), and its fields in `said`."""
    said[:] = 0
    said[S_END] = 12
    said[S_SIZE] = 512
    if length < 12 or data[base + 2] >= 128:
        return -1
    if (data[base + 2] // 8) % 16 != 0:
        return 4
    if word(data, base + 4) != 1 or word(data, base + 6) != 0 or word(data, base + 8) != 0:
        return 1
    end, labels = _name_end(data, base, 12, length, False)
    if end < 0 or end + 4 > length:
        return 1
    said[S_NAME] = end - 12
    said[S_LABELS] = labels
    said[S_TYPE] = word(data, base + end)
    said[S_CLASS] = word(data, base + end + 2)
    said[S_END] = end + 4
    code = _read_additional(data, base, length, said)
    if code != 0:
        return code
    if said[S_TYPE] == 0 or said[S_TYPE] == 41:
        return 1
    if said[S_CLASS] != 1 or 249 <= said[S_TYPE] <= 254:
        return 5
    return 0


@compiled
def _name_end(data, base, start, length, pointers):  # type: ignore[no-untyped-def]
    """Offset behind a name and its count of labels; -1 if it is none (RFC 1035 sections 3.1 and 4.1.4)."""
    at = start
    labels = 0
    while at < length:
        octet = np.int64(data[base + at])
        if octet == 0:
            return (at + 1, labels) if at + 1 - start <= 255 else (-1, 0)
        if octet >= 192:
            whole = pointers and at + 1 < length
            if whole and (octet % 64) * 256 + np.int64(data[base + at + 1]) < start:
                return at + 2, labels
            return -1, 0
        if octet > 63:
            return -1, 0
        at += 1 + octet
        labels += 1
        if at > length or at - start > 254:
            return -1, 0
    return -1, 0


@compiled
def _read_additional(data, base, length, said):  # type: ignore[no-untyped-def]
    at = said[S_END]
    for _ in range(word(data, base + 10)):
        owner = at
        at, _labels = _name_end(data, base, at, length, True)
        if at < 0 or at + 10 > length:
            return 1
        kind, size = word(data, base + at), word(data, base + at + 8)
        if at + 10 + size > length:
            return 1
        if kind == 250:
            return 9
        if kind == 41:
            if said[S_EDNS] == 1 or at - owner != 1:
                return 1
            said[S_EDNS] = 1
            said[S_SIZE] = max(512, word(data, base + at + 2))
            said[S_VERSION] = data[base + at + 5]
            said[S_DO] = data[base + at + 6] // 128
            if said[S_VERSION] == 0 and not _options_whole(data, base + at + 10, size):
                return 1
        at += 10 + size
    if at != length:
        return 1
    return 16 if said[S_VERSION] != 0 else 0


@compiled
def _options_whole(data, at, size):  # type: ignore[no-untyped-def]
    """RFC 6891 section 6.1.2, and the lengths of RFC 7873 section 4."""
    left = size
    while left > 0:
        if left < 4:
            return False
        long = word(data, at + 2)
        if long > left - 4:
            return False
        if word(data, at) == 10 and long != 8 and (long < 16 or long > 40):
            return False
        at += 4 + long
        left -= 4 + long
    return True


@compiled
def frame_fault(out, base, size, start, edns):  # type: ignore[no-untyped-def]
    """Whether records fill the message from `start` to `size`; `edns` 1: with one OPT, 0: with none, -1: with one at most."""
    if size < 12:
        return ROOM
    at = start
    opts = 0
    before = word(out, base + 6) + word(out, base + 8)
    for row in range(before + word(out, base + 10)):
        owner = at
        at, _labels = _name_end(out, base, at, size, True)
        if at < 0 or at + 10 > size:
            return RECORDS
        if word(out, base + at) == 41:
            opts += 1
            if row < before or at - owner != 1 or not _options_whole(out, base + at + 10, word(out, base + at + 8)):
                return RECORDS
        at += 10 + word(out, base + at + 8)
        if at > size:
            return RECORDS
    if at != size or opts > 1:
        return RECORDS
    return EDNS if edns >= 0 and opts != edns else OK


@compiled
def answer_fault(packet, at, end, edns, room, out, base, size):  # type: ignore[no-untyped-def]
    """What is wrong with the answer of `size` bytes at `base` of `out` to the query at `at` of `packet`.

    `end`: behind the question that is to be echoed (12: none of it); `edns`: whether it gets an OPT; `room`: bytes it may have.
    """
    if size < 12 or size > room:
        return ROOM
    if out[base] != packet[at] or out[base + 1] != packet[at + 1]:
        return IDENTITY
    asked, flags = word(packet, at + 2), word(out, base + 2)
    # QR and RA are set; the opcode, RD and CD are the query's.
    if flags & 0x8080 != 0x8080 or (flags ^ asked) & 0x7910 or word(out, base + 4) != (1 if end > 12 else 0):
        return FLAGS
    for index in range(12, end):
        if out[base + index] != packet[at + index]:
            return QUESTION
    return frame_fault(out, base, size, end, edns)


@compiled
def is_answer_to(packet, base, length, asked, at, end):  # type: ignore[no-untyped-def]
    """Whether a resolver's packet repeats id and question of what was asked (RFC 5452 section 9.1), the name in any case."""
    if length < end or packet[base + 2] < 128 or word(packet, base + 4) != 1:
        return False
    if packet[base] != asked[at] or packet[base + 1] != asked[at + 1]:
        return False
    for index in range(12, end):
        left, right = np.int64(packet[base + index]), np.int64(asked[at + index])
        if index < end - 4:
            left += 32 if 65 <= left <= 90 else 0
            right += 32 if 65 <= right <= 90 else 0
        if left != right:
            return False
    return True


@compiled
def cache_fault(positions, words, head, longest_key):  # type: ignore[no-untyped-def]
    """Whether every entry that can be found lies whole within the ring (`words` int64), its TTLs within its answer."""
    size = words.shape[0] * 8
    for slot in range(positions.shape[0]):
        position = positions[slot]
        if position < 0 or head - position > size:
            continue
        at = position % size
        lengths = words[at // 8 + 3]
        key, long, noted, count = lengths & 0xFFFF, (lengths >> 16) & 0xFFFF, (lengths >> 32) & 0xFFFF, (lengths >> 48) & 0xFFFF
        if position > head or position % 8 or at + 32 + key + noted + 2 * count + long > size or key > longest_key:
            return CACHE
        if words[at // 8 + 2] - words[at // 8 + 1] > 86400 or words[at // 8 + 2] <= words[at // 8 + 1]:
            return KEPT
    return OK
