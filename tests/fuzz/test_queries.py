"""Random and mutated packets of clients through the compiled path of a packet, bounds checks on.

No exception, no answer to what is no query, and every answer is one: it parses, has the query's id, is no larger than
the client takes, and repeats the question or nothing of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import pytest

from sekisho.model.counters import Counter
from support.mutation import mutate
from support.plane import ALLOWED, CUSTOMER, ENTRIES, OPTED_OUT, SECOND, STRANGER, TRUNCATING, Plane, query, reply_to

pytestmark = pytest.mark.fuzz

SOURCES = (CUSTOMER, CUSTOMER, CUSTOMER, OPTED_OUT, TRUNCATING, STRANGER, ALLOWED, "2001:db8:1::1", "2001:db8:2::1")
SILENT_OR_SAID = {0, 1, 3, 4, 5, 9, 16}


def seeds() -> list[bytes]:
    """Well-formed packets to begin with: all that the lists hold, with and without EDNS."""
    names = [*ENTRIES, "www.bad.example", "sealed.example", "www.example", "x" * 63 + ".example"]
    found = [query(name, rdtype) for name in names for rdtype in ("A", "TXT", "ANY")]
    found += [query(name, "AAAA", edns=0, payload=4096, want_dnssec=True) for name in names]
    return [*found, query("example", "AXFR"), query("example", "SOA", flags=0)]


def check(packet: bytes, found: bytes) -> None:
    """What must hold of any answer."""
    assert len(packet) >= 12
    assert not packet[2] & 0x80, "a response is not answered"
    assert found[:2] == packet[:2]
    answer = dns.message.from_wire(found)
    assert answer.flags & dns.flags.QR
    assert answer.opcode() == packet[2] >> 3 & 15
    assert answer.rcode() in SILENT_OR_SAID
    assert len(found) <= 1232
    if answer.opcode() != dns.opcode.QUERY:
        assert len(found) == 12
        return
    try:
        asked = dns.message.from_wire(packet, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError, OverflowError):
        asked = None
    if asked is not None and len(asked.question) == 1:
        assert len(found) <= (max(512, asked.payload) if asked.edns >= 0 else 512)
        assert asked.edns >= 0 or answer.edns < 0
    if answer.question:
        size = len(answer.question[0].name.to_wire() or b"") + 4
        assert found[12 : 12 + size] == packet[12 : 12 + size]


def test_whatever_clients_send_the_packet_path_stands(corpus: Callable[[str], list[bytes]], rounds: Iterator[int], seed: int) -> None:
    chance = random.Random(seed)
    pool = [*corpus("queries"), *seeds()]
    answered = 0
    with Plane(upstreams=2, sockets=2) as plane:
        for number in rounds:
            plane.now += chance.randrange(SECOND)
            if number < len(pool):
                packet = pool[number]
            elif number % 50 == 0:
                packet = chance.randbytes(chance.randrange(600))
            else:
                packet = mutate(chance.choice(pool), pool, chance)
            source = chance.choice(SOURCES)
            try:
                found = plane.ask(packet, source, whole=number % 97 != 0)
                if found is not None:
                    answered += 1
                    check(packet, found)
                for socket, question in plane.asked():
                    # What goes on to a resolver is well-formed, always.
                    reply = reply_to(question, "@ 60 IN TXT x")
                    for sent in plane.respond(socket, reply.to_wire()) if chance.random() < 0.5 else ():
                        check(packet, sent)
                for sent in plane.wait(0):
                    dns.message.from_wire(sent)
                # What was tried again stays unanswered.
                plane.asked()
            except Exception as error:
                error.add_note(f"FUZZ_SEED={seed}, round {number}, from {source}: {packet.hex()}")
                raise
        assert answered > 100
        udp = plane.total(Counter.QUERIES_UDP4) + plane.total(Counter.QUERIES_UDP6)
        assert sum(plane.steps().values()) == udp, "every packet ends at exactly one step"
