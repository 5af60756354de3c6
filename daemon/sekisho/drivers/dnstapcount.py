"""Counting the frames of dnstap by customer; compiled.

Owns what is counted of a frame. A customer's queries are its CLIENT_QUERY messages, or its CLIENT_RESPONSE ones where a
resolver tells of those alone. On a stream that tells of both, queries less responses are what stayed unanswered.
"""

from __future__ import annotations

import numpy as np

from sekisho.dnstap.frames import CLIENT_QUERY, CLIENT_RESPONSE, DAMAGED, INET, INET6, frame_at, message_at
from sekisho.model.dnstap import Tally
from sekisho.plane.addresses import find_customer
from sekisho.snapshot.compiling import compiled
from sekisho.snapshot.digest import U64
from sekisho.snapshot.layout import ALLOWED

_V4 = U64(0xFFFF) << U64(32)
_EIGHT = U64(8)


TALLIES = len(Tally)
_COUNTED, _RESPONDED, _NOBODY = int(Tally.COUNTED), int(Tally.RESPONDED), int(Tally.NOBODY)
_OTHER, _ADDRESSLESS, _DAMAGED = int(Tally.OTHER), int(Tally.ADDRESSLESS), int(Tally.DAMAGED)


@compiled
def words_at(data, first, last):  # type: ignore[no-untyped-def]
    """High and low word of the address in these 4 or 16 bytes."""
    high, low = U64(0), U64(0)
    for place in range(first, last):
        high = (high << _EIGHT) | (low >> U64(56))
        low = (low << _EIGHT) | U64(data[place])
    if last - first == 4:
        low |= _V4
    return high, low


@compiled
def count_frames(data, start, end, customers, responses, queries, balance, tallies):  # type: ignore[no-untyped-def]
    """Count all whole data frames from `start` on; gives the place after them, and what stands there (`frames.MORE` ...).

    `queries` uint32 and `balance` int32 (rows of customers): queries, and queries less responses; `tallies` int64 (Tally), of
    this stream. `customers` is a view of the tables; `responses` 1: responses are what is counted as queries.
    """
    at = start
    while True:
        first, last = frame_at(data, at, end)
        if last < 0:
            return np.int64(at), np.int64(-1 - last)
        at = last
        kind, family, begin, stop = message_at(data, first, last)
        if kind == DAMAGED:
            tallies[_DAMAGED] += 1
            continue
        if kind not in (CLIENT_QUERY, CLIENT_RESPONSE) or (responses and kind == CLIENT_QUERY):
            tallies[_OTHER] += 1
            continue
        if not ((stop - begin == 4 and family in (0, INET)) or (stop - begin == 16 and family in (0, INET6))):
            tallies[_ADDRESSLESS] += 1
            continue
        high, low = words_at(data, begin, stop)
        row = find_customer(customers, high, low)
        if row <= ALLOWED or row >= queries.shape[0]:
            tallies[_NOBODY] += 1
        elif kind == CLIENT_QUERY or responses:
            tallies[_COUNTED] += 1
            queries[row] += np.uint32(1)
            if tallies[_RESPONDED] > 0:
                balance[row] += np.int32(1)
        else:
            tallies[_RESPONDED] += 1
            balance[row] -= np.int32(1)
