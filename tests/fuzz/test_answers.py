"""Mutated answers of resolvers through matching, caching and dressing: the client gets a true answer or none.

No exception; what clients are sent parses, has the client's id and question, fits; what is kept in the cache too.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import dns.edns
import dns.exception
import dns.message
import pytest

from sekisho.model.counters import Counter
from support.mutation import mutate
from support.plane import CUSTOMER, SECOND, Plane, query, reply_to

pytestmark = pytest.mark.fuzz

SOA = "example 600 IN SOA ns.example. hostmaster.example. 1 2 3 4 120"


def honest_answers() -> list[bytes]:
    """Honest answers of several kinds, to a question whose octets are put in later."""
    question = query("000.a.example")
    many = reply_to(question, *(f"@ 300 IN TXT {'x' * 200}{number}" for number in range(6)))
    errors = reply_to(question, "@ 300 IN A 198.51.100.7")
    errors.use_edns(0, options=[dns.edns.EDEOption(22, "no route"), dns.edns.GenericOption(10, bytes(24))])
    alias = reply_to(question, "@ 60 IN CNAME other.example.", "other.example 60 IN A 198.51.100.7")
    negative = reply_to(question, rcode=3, authority=[SOA])
    glue = reply_to(question, authority=["example 60 IN NS ns.example."])
    return [message.to_wire(max_size=4096) for message in (many, errors, alias, negative, glue)]


def check(asked: bytes, found: bytes, room: int) -> None:
    assert found[:2] == asked[:2]
    assert found[12:31] == asked[12:31]
    assert found[2] & 0x80
    assert len(found) <= room
    assert found[4:6] == b"\0\1"
    # A record's own data may be nonsense that only its type's parser notices: its frame may not.
    walk(found)


def walk(message: bytes) -> None:
    """Every record lies within the message, and nothing behind the last."""
    position = skip(message, 12) + 4
    count = sum(int.from_bytes(message[at : at + 2], "big") for at in (6, 8, 10))
    opts = 0
    for _ in range(count):
        position = skip(message, position)
        opts += message[position : position + 2] == b"\0\x29"
        position += 10 + int.from_bytes(message[position + 8 : position + 10], "big")
        assert position <= len(message)
    assert position == len(message)
    assert opts <= 1


def skip(message: bytes, position: int) -> int:
    while message[position]:
        if message[position] >= 0xC0:
            return position + 2
        position += message[position] + 1
    return position + 1


def test_whatever_resolvers_answer_the_client_is_told_nothing_broken(
    corpus: Callable[[str], list[bytes]], rounds: Iterator[int], seed: int
) -> None:
    chance = random.Random(seed)
    pool = corpus("answers")
    taken = 0
    with Plane(upstreams=1, sockets=1) as plane:
        honest = honest_answers()
        for number in rounds:
            plane.now += chance.randrange(3 * SECOND)
            edns = chance.choice((-1, 0))
            payload = chance.choice((512, 700, 1232, 4096))
            asked = query(f"{number % 512:03d}.a.example", edns=edns, payload=payload, identity=number & 0xFFFF)
            # All names have one length, so that the question of any fits any answer.
            room = 512 if edns < 0 else min(1232, payload)
            packet = b""
            try:
                at_once = plane.ask(asked, CUSTOMER)
                if at_once is not None:
                    check(asked, at_once, room)
                    continue
                ((socket, question),) = plane.asked()
                for _ in range(chance.randrange(1, 4)):
                    packet = question[:2] + (chosen := chance.choice(honest))[2:12] + question[12:31] + chosen[31:]
                    if number < len(pool):
                        packet = question[:2] + pool[number][2:12] + question[12:31] + pool[number][31:]
                    elif chance.random() < 0.95:
                        body = mutate(packet, honest, chance)
                        # Mostly the question stays, so that more than the first check is met.
                        packet = packet[:2] + body[2:12] + packet[12:31] + body[31:] if chance.random() < 0.7 else body
                    for sent in plane.respond(socket, packet[:2048]):
                        taken += 1
                        check(asked, sent, room)
                for sent in plane.wait(4.5):
                    walk(sent)
                for sent in plane.wait(4.5):
                    walk(sent)
                plane.asked()
            except Exception as error:
                error.add_note(f"FUZZ_SEED={seed}, round {number}: {packet.hex()}")
                raise
        assert taken > 50
        assert plane.total(Counter.UPSTREAM_MISMATCHED) > 50
