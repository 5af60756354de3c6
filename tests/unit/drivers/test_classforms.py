"""What the kernel tells of classes and of the queues in them, compared with what we write."""

from __future__ import annotations

import struct

import pytest

from sekisho.drivers.classforms import HANDLE, ROOT, TC, Found, Queue, class_in, classes_in, is_queue_of, queues_in, rate_of
from sekisho.drivers.netlink import attribute, attributes, text
from sekisho.enforce.state import DRAIN, ODD

RATE, WIDE = 1_035_000, 5_000_000_000
OPTIONS, STATS2, PARMS, RATE64, CEIL64 = 2, 7, 1, 6, 7


def told(rate, *, number=1, parent=ROOT, queue=0x10000, ceil=None, only=(), waits=0):
    """A class of a rate as the kernel tells it: as it was written, but for what it does not keep, with numbers of itself."""
    body = class_in((2, number), rate).body
    content = {kind: body[first:last] for kind, first, last in attributes(body, TC.size)}
    options = {kind: content[OPTIONS][first:last] for kind, first, last in attributes(content[OPTIONS])}
    parameters = bytearray(options[PARMS])
    struct.pack_into("=h", parameters, 4, 0)
    struct.pack_into("=h", parameters, 16, 0)
    if ceil is not None:
        struct.pack_into("=I", parameters, 20, ceil)
    options[PARMS] = bytes(parameters)
    kept = b"".join(attribute(kind, value) for kind, value in options.items() if kind not in only)
    head = TC.pack(0, 0, 0, 2, HANDLE | number, parent, queue) + text(1, "htb") + attribute(OPTIONS, kept)
    return head + attribute(STATS2, attribute(3, struct.pack("=IIIII", waits, 0, 0, 0, 0)))


@pytest.mark.parametrize("rate", [1, RATE, DRAIN, 0xFFFFFFFF, WIDE])
def test_a_class_that_is_told_as_it_was_written_has_its_rate(rate):
    assert classes_in([told(rate, waits=3)]) == {1: Found(rate, True, ROOT, 0x10000)}


def test_a_ceil_that_is_not_the_rate_is_no_rate_of_ours():
    assert classes_in([told(RATE, ceil=62_500)])[1].rate == ODD


@pytest.mark.parametrize("only", [(RATE64,), (CEIL64,)])
def test_a_rate_of_64_bits_and_a_ceil_of_32_is_no_rate_of_ours(only):
    assert classes_in([told(WIDE, only=only)])[1].rate == ODD


def test_messages_of_one_length_that_are_laid_out_otherwise_are_each_read_as_they_are():
    """What the kernel estimates of a class takes as much room as a rate of 64 bits."""
    plain = told(RATE, number=1, waits=1) + attribute(8, bytes(8))
    wide = told(WIDE, number=2, only=(CEIL64,))
    assert len(plain) == len(wide)
    found = classes_in([plain, wide, told(RATE, number=3) + attribute(8, bytes(8))])
    assert [(one.rate, one.waits) for one in found.values()] == [(RATE, True), (ODD, False), (RATE, False)]


def test_classes_of_somebody_elses_are_none_of_ours():
    other = bytearray(told(RATE))
    struct.pack_into("=I", other, 8, 0x5EC20001)
    assert classes_in([bytes(other)]) == {}


@pytest.mark.parametrize(
    ("handle", "kind", "ours"),
    [(0x20000, "fq_codel", True), (0x20000, "pfifo", True), (0x80010000, "fq_codel", False), (0x20000, "tbf", False)],
)
def test_a_queue_is_ours_by_its_handle_and_kind(handle, kind, ours):
    message = TC.pack(0, 0, 0, 7, handle, HANDLE | 2, 1) + text(1, kind) + attribute(OPTIONS, bytes(4))
    other = TC.pack(0, 0, 0, 7, 0x20000, 0x5EC20002, 1) + text(1, kind)
    ((place, queue),) = queues_in([message, other])
    assert (place, queue) == ((7, 2), Queue(handle, kind))
    assert is_queue_of(place, queue) is ours


def test_a_class_without_its_queue_is_not_as_we_make_it_but_where_nothing_is_put_in():
    assert rate_of(Found(RATE, False, ROOT, 0), queued=False) == ODD
    assert rate_of(Found(RATE, False, ROOT, 0x10000), queued=True) == RATE
    assert rate_of(Found(DRAIN, False, ROOT, 0), queued=False) == DRAIN
    assert rate_of(Found(DRAIN, False, ROOT, 0x80010000), queued=False) == ODD
