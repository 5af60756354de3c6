"""What is read of a packet of accounting, and answered, is what pyrad reads and answers."""

from __future__ import annotations

import hashlib
import hmac
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrad.dictionary import Dictionary
from pyrad.packet import AcctPacket, PacketError, StatusServer

from sekisho.drivers.radiuspacket import Received
from support.radius import INTERIM, SECRET, attribute, octets, packet, told, vendor

ATTRIBUTES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from((1, 8, 26, 33, 33, 44, 50, 241)), st.binary(max_size=40)).map(lambda one: attribute(*one)),
        st.tuples(st.integers(1, 9), st.integers(1, 255), st.binary(max_size=20)).map(lambda one: vendor(*one)),
    ),
    max_size=8,
).map(b"".join)


def read(kind, raw):
    return kind(packet=raw, secret=SECRET, dict=Dictionary())


def status(attributes):
    """A Status-Server (RFC 5997), which nothing but its signature proves."""
    body = attributes + attribute(80, bytes(16))
    head = struct.pack("!BBH", StatusServer, 7, 20 + len(body)) + bytes(range(16))
    return head + attributes + attribute(80, hmac.digest(SECRET, head + body, "md5"))


def pyrads(request):
    reply = request.CreateReply()
    if dict.get(request, 80):
        reply.add_message_authenticator()
    return reply.ReplyPacket()


@given(ATTRIBUTES, st.booleans())
def test_attributes_and_the_answer_are_those_of_pyrad(attributes, signed):
    raw = packet(told(INTERIM, "s", "u", attributes + octets(1, 2)), 200, signed=signed)
    ours, theirs = read(Received, raw), read(AcctPacket, raw)
    assert dict(ours.items()) == dict(theirs.items())
    assert ours.response() == pyrads(theirs)
    assert not signed or ours.is_signed_rightly()


@given(ATTRIBUTES)
def test_a_status_server_is_proved_and_answered_as_pyrad_does(attributes):
    raw = status(attributes)
    ours, theirs = read(Received, raw), read(AcctPacket, raw)
    assert ours.is_signed_rightly()
    assert theirs.verify_message_authenticator()
    assert ours.response() == pyrads(theirs)
    answer = ours.response()
    assert answer[4:20] == hashlib.md5(answer[:4] + raw[4:20] + answer[20:] + SECRET).digest()  # noqa: S324


@given(st.data())
def test_a_packet_that_was_changed_anywhere_is_not_signed_rightly(data):
    raw = bytearray(packet(told(INTERIM, "session", "user", octets(1, 2)), 9, signed=True))
    place = data.draw(st.sampled_from([0, 1, *range(22, 26), *range(len(raw) - 16, len(raw))]))
    raw[place] ^= data.draw(st.integers(1, 255))
    try:
        changed = read(Received, bytes(raw))
    except PacketError:
        return
    assert not changed.signature_at or not changed.is_signed_rightly()


@pytest.mark.parametrize("tail", [b"\x01", b"\x01\x00", b"\x01\x01", b"\x01\x05ab", bytes([26, 200]) + bytes(50)])
def test_an_attribute_that_goes_on_beyond_the_packet_makes_it_none(tail):
    head = struct.pack("!BBH", 4, 1, 20 + len(tail)) + bytes(16)
    with pytest.raises(PacketError):
        read(Received, head + tail)


@pytest.mark.parametrize("raw", [b"", bytes(19), struct.pack("!BBH", 4, 1, 19) + bytes(16), struct.pack("!BBH", 4, 1, 40) + bytes(16)])
def test_what_is_shorter_than_it_says_is_no_packet(raw):
    with pytest.raises(PacketError):
        read(Received, raw)
