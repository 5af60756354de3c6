"""The list key in a resolver's process, and the one digest that tells whether it is the right one.

SipHash-2-4 with 128-bit output over a name's labels, as `snapshot.digest` has it, in plain Python: asked once a snapshot.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sekisho.model.errors import TableError

_ALL = (1 << 64) - 1
_CONSTANTS = (0x736F6D6570736575, 0x646F72616E646F6D ^ 0xEE, 0x6C7967656E657261, 0x7465646279746573)


def read_key(path: Path) -> tuple[int, int]:
    """The two words of the list key: 16 bytes, or as many in hexadecimal. Raises TableError."""
    try:
        raw = path.read_bytes()
        secret = raw if len(raw) == 16 else bytes.fromhex(raw.decode("ascii").strip())
    except OSError as error:
        raise TableError(f"the list key {path} cannot be read ({error.strerror}); give this process the daemon's list key") from error
    except ValueError:
        secret = b""
    if len(secret) != 16:
        raise TableError(f"the list key {path} is not 16 bytes nor as many in hexadecimal; give this process the daemon's list key")
    return int.from_bytes(secret[:8], "little"), int.from_bytes(secret[8:], "little")


def digest_of(labels: Sequence[bytes], key: tuple[int, int]) -> tuple[int, int]:
    """The digest of a name given by its labels, in lower case."""
    state = [key[index & 1] ^ constant for index, constant in enumerate(_CONSTANTS)]
    for label in reversed(labels):
        text = bytes([len(label)]) + label
        for at in range(0, len(text), 8):
            word = int.from_bytes(text[at : at + 8], "little")
            state[3] ^= word
            _rounds(state, 2)
            state[0] ^= word
    state[2] ^= 0xEE
    _rounds(state, 4)
    first = state[0] ^ state[1] ^ state[2] ^ state[3]
    state[1] ^= 0xDD
    _rounds(state, 4)
    return first or 1, state[0] ^ state[1] ^ state[2] ^ state[3]


def _rounds(state: list[int], count: int) -> None:
    a, b, c, d = state
    for _ in range(count):
        a = (a + b) & _ALL
        b = _turn(b, 13) ^ a
        a = _turn(a, 32)
        c = (c + d) & _ALL
        d = _turn(d, 16) ^ c
        a = (a + d) & _ALL
        d = _turn(d, 21) ^ a
        c = (c + b) & _ALL
        b = _turn(b, 17) ^ c
        c = _turn(c, 32)
    state[:] = a, b, c, d


def _turn(word: int, bits: int) -> int:
    return (word << bits | word >> 64 - bits) & _ALL
