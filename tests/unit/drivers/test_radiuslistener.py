"""What the listener for RADIUS does with a packet that comes again, and when it looks for more."""

from __future__ import annotations

import pytest

from sekisho.drivers.radiuschild import GATHER, MANY, TOGETHER, Listener
from sekisho.drivers.radiusdecode import Decoder
from sekisho.drivers.radiusframes import Peer
from sekisho.model.customers import Prefix
from support.radius import INTERIM, SECRET, is_answer, octets, packet, told

SOURCE = ("127.0.0.1", 40000)


class Wire:
    """A socket in which packets wait, and what is sent by it."""

    def __init__(self):
        self.waiting, self.sent = [], []

    def recvfrom(self, _):
        if not self.waiting:
            raise BlockingIOError
        return self.waiting.pop(0), SOURCE

    def sendto(self, data, source):
        assert source == SOURCE
        self.sent.append(data)


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
def other():
    return Wire()


@pytest.fixture
def listener(wire, other):
    listener = Listener([wire, other])
    listener.decoder = Decoder([Peer("bras", (Prefix.parse("127.0.0.1"),), None, False, SECRET, True, False)])
    return listener


def request(number):
    return packet(told(INTERIM, f"s-{number}", "c-1", octets(1, 2)), number % 256, signed=True)


def test_what_waited_in_the_kernel_while_it_was_told_again_is_carried_out_once(listener, wire):
    def taken(times=1, now=100.0):
        wire.waiting = [request(7)] * times
        return [row[0] for row in listener.receive(wire, now)]

    assert taken(3) == [1], "while it is in work the others are passed over"
    assert wire.sent == []
    listener.done([1], now=100.0)
    assert taken(2, now=129.0) == []
    assert len(wire.sent) == 3
    assert is_answer(wire.sent[0], request(7))
    assert wire.sent[1:] == wire.sent[:1] * 2
    assert taken(now=131.0) == [2]


def test_a_request_is_taken_at_once_while_few_are_in_work_and_else_with_those_of_five_milliseconds(listener, wire):
    def take(first, after):
        wire.waiting += [request(number) for number in range(first, after)]
        listener.receive(wire, 100.0)

    take(1, MANY)
    assert listener.pause(0.0) == 0.0
    take(MANY, MANY + 1)
    assert listener.pause(0.0) == GATHER
    assert listener.pause(GATHER / 4) == pytest.approx(GATHER * 3 / 4)
    assert listener.pause(GATHER * 2) == 0.0
    listener.done(list(range(1, MANY + 1)), now=100.0)
    assert listener.pause(0.0) == 0.0


def test_while_more_waits_on_a_socket_than_is_taken_at_once_nothing_is_waited_for(listener, wire, other):
    wire.waiting = [request(number) for number in range(TOGETHER + 1)]
    for one in (wire, other):
        listener.receive(one, 100.0)
    assert listener.pause(0.0) == 0.0
    listener.receive(wire, 100.0)
    assert wire.waiting == []
    assert listener.pause(0.0) == GATHER
