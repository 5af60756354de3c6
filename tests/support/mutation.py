"""Packets made worse: the mutations of the fuzzers, all from one random generator."""

from __future__ import annotations

from random import Random

INTERESTING = (0, 1, 2, 11, 12, 41, 63, 64, 127, 128, 191, 192, 193, 250, 254, 255)
POINTERS = (b"\xc0\x0c", b"\xc0\x00", b"\xff\xff", b"\xc0\x1d", b"\xc1\x00")


def mutate(packet: bytes, others: list[bytes], random: Random) -> bytes:
    """One packet after one to six small changes."""
    octets = bytearray(packet)
    for _ in range(random.randint(1, 6)):
        where = random.randrange(len(octets) + 1)
        match random.randrange(9):
            case 0 if octets:
                octets[where % len(octets)] ^= 1 << random.randrange(8)
            case 1 if octets:
                octets[where % len(octets)] = random.choice(INTERESTING)
            case 2:
                del octets[where : where + random.randint(1, 8)]
            case 3:
                octets[where:where] = random.randbytes(random.randint(1, 8))
            case 4:
                octets[where:where] = random.choice(POINTERS)
            case 5:
                octets[where:] = b""
            case 6:
                other = random.choice(others)
                octets[where:] = other[random.randrange(len(other) + 1) :]
            case 7 if len(octets) >= 12:
                # A count, or the flags.
                at = random.choice((2, 4, 6, 8, 10))
                octets[at : at + 2] = random.choice((0, 1, 2, 255, 0xFFFF, random.getrandbits(16))).to_bytes(2, "big")
            case _:
                length = random.randint(1, 40)
                octets[where:where] = octets[where : where + length] * random.randint(1, 4)
    return bytes(octets[:2048])
