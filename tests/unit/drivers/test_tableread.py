"""Our tables read from netlink: what the kernel tells twice, or not at all, while they grow."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from sekisho.drivers import tableread
from sekisho.drivers.netlink import attribute
from sekisho.drivers.setdump import Dumped, Elements, decode
from sekisho.drivers.setwrite import elements_in, elements_out
from sekisho.drivers.tableread import Counted, TableReader
from sekisho.enforce.state import Role, Table

TABLE = Table(Role.SILENCE, False, 32)
KEYS = [bytes((192, 0, 2, last)) for last in range(8)]


def told(keys, whole=True):
    count = len(keys)
    zeros = np.zeros(count, np.uint64)
    return Dumped([Elements(np.frombuffer(b"".join(keys), "V4"), np.zeros(count, np.uint32), (), zeros, zeros)], whole)


class Dump:
    def __init__(self, *readings):
        self.readings = list(readings)

    def read(self, *_):
        return self.readings.pop(0) if len(self.readings) > 1 else self.readings[0]


@pytest.fixture
def reader(monkeypatch):
    monkeypatch.setattr(tableread, "_PAUSES", (0.0, 0.0, 0.0))
    one = TableReader.__new__(TableReader)

    def of(*readings):
        one._dump = Dump(*readings)
        return one._entries("inet", TABLE)

    return of


def test_a_set_that_is_told_as_a_whole_is_read_once(reader):
    assert reader(told(KEYS)) == (dict.fromkeys(KEYS, ""), True)


def test_what_a_reading_tells_twice_stands_for_what_it_leaves_out(reader):
    """The kernel counts on while it moves elements to a larger table: as many are told, and not all of them."""
    found = reader(told([*KEYS[:6], *KEYS[:2]]), told([*KEYS[2:], *KEYS[6:]]))
    assert found == (dict.fromkeys(KEYS, ""), True)


def test_a_set_that_is_never_told_as_a_whole_is_said_to_be_torn(reader):
    assert reader(told(KEYS[:7], whole=False)) == (dict.fromkeys(KEYS[:7], ""), False)
    assert reader(told([*KEYS[:6], *KEYS[:2]])) == (dict.fromkeys(KEYS[:6], ""), False)


def test_counters_that_a_torn_reading_leaves_out_stay_as_they_were():
    def counted(given, whole):
        keys = np.frombuffer(b"".join(given), "V4")
        return Counted(keys, np.array(list(given.values()), np.uint64), np.zeros(len(given), np.uint64), whole)

    now = counted({KEYS[0]: 9}, whole=False).after(counted({KEYS[0]: 5, KEYS[1]: 7}, whole=True))
    assert dict(zip(now.keys.tolist(), now.packets.tolist(), strict=True)) == {KEYS[0]: 9, KEYS[1]: 7}


def elements_of(messages):
    """What was written, as it is read."""
    for one in messages:
        at = 4
        while at < len(one.body):
            length, kind = struct.unpack_from("=HH", one.body, at)
            if kind & 0x3FFF == 3:
                yield from decode(one.body[at + 4 : at + length], 4)
            at += length + 3 & ~3


def test_what_is_written_is_read_as_it_was_meant():
    many = {number.to_bytes(4, "big"): "" for number in range(10_000)}
    written = list(elements_in("inet", "sekisho", "silence4_32", many, None))
    assert len(written) > 1, "the length of an attribute has 16 bits"
    assert [key for one in elements_of(written) for key in one.keys.tolist()] == list(many)
    assert [key for one in elements_of(elements_out("inet", "sekisho", "silence4_32", many)) for key in one.keys.tolist()] == list(many)


def test_names_of_every_length_and_classes_are_read_with_their_addresses():
    names = {key: f"m{10**place}_{place}" for place, key in enumerate(KEYS)}
    found = {}
    for one in elements_of(elements_in("inet", "sekisho", "mail4_32", names, None)):
        found |= dict(zip(one.keys.tolist(), one.names, strict=True))
    assert found == names
    words = {"5ec1:7": struct.pack("=I", 0x5EC10007)}
    (one,) = elements_of(elements_in("inet", "sekisho", "down4_32", {KEYS[0]: "5ec1:7"}, words))
    assert one.data.tolist() == [0x5EC10007]


def test_a_form_that_is_not_known_is_no_element():
    with pytest.raises(ValueError):
        list(decode(attribute(1, attribute(1, b"longer than an address")), 4))
