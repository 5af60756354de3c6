"""SipHash-2-4 with 128 bits of output in plain Python, over the encoding of names that `snapshot.digest` describes."""

from __future__ import annotations

from sekisho.snapshot.digest import Key

ALL = (1 << 64) - 1


def encoding(labels: list[bytes]) -> bytes:
    """What is hashed: labels from the root inwards, each padded to whole words."""
    parts = [bytes((len(label),)) + label for label in reversed(labels)]
    return b"".join(part + bytes(-len(part) % 8) for part in parts)


def siphash(message: bytes, secret: bytes) -> tuple[int, int]:
    """SipHash-2-4 with 128 bits of output over whole words, without the block of the length."""
    k0, k1 = (int.from_bytes(secret[at : at + 8], "little") for at in (0, 8))
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D ^ 0xEE, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def rotate(value: int, bits: int) -> int:
        return (value << bits | value >> (64 - bits)) & ALL

    def rounds(count: int) -> None:
        for _ in range(count):
            v[0] = (v[0] + v[1]) & ALL
            v[1] = rotate(v[1], 13) ^ v[0]
            v[0] = rotate(v[0], 32)
            v[2] = (v[2] + v[3]) & ALL
            v[3] = rotate(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & ALL
            v[3] = rotate(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & ALL
            v[1] = rotate(v[1], 17) ^ v[2]
            v[2] = rotate(v[2], 32)

    for at in range(0, len(message), 8):
        word = int.from_bytes(message[at : at + 8], "little")
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xEE
    rounds(4)
    first = v[0] ^ v[1] ^ v[2] ^ v[3]
    v[1] ^= 0xDD
    rounds(4)
    return first or 1, v[0] ^ v[1] ^ v[2] ^ v[3]


def plain_digest(wire: bytes, key: Key) -> tuple[int, int]:
    """The digest of a canonical wire name."""
    labels, position = [], 0
    while wire[position]:
        labels.append(wire[position + 1 : position + 1 + wire[position]])
        position += wire[position] + 1
    return siphash(encoding(labels), b"".join(int(half).to_bytes(8, "little") for half in key))
