"""Guards against over-blocking (`nbnet/21-2`): what no list may take out of the DNS.

An entry is refused when it is

* a *public suffix*: a name under which others register, by the Public Suffix List as the package
  `publicsuffixlist` ships it. Both its sections count, since under a private suffix
  unrelated people live as they do under `.com`. A name of
  one label is a public suffix, listed or not (the list's default rule `*`);
* a name of the operator's *never-block* list or below one, since a never-block name is meant with
  everything under it;
* with the BELOW trigger, an ancestor of a never-block name, which it would cover;
* of addresses, a prefix so wide that it covers what it cannot mean.

An entry that blocks nothing (PASSTHRU, an exception) is let through. The lists of names are held
as first words of keyed digests, so that sealed lists are guarded like any other, also when they
are loaded from disk. A match of 64 bits alone decides: a false one has odds of 1 in 10^15 a name.

The other guard, `shrink`, compares a new version of a list with the one in force.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sekisho.lists import idn
from sekisho.lists.merge import Repeats
from sekisho.lists.rows import EXCEPT, PASSTHRU, Rows
from sekisho.model.lists import PREFIXES, ActionKind, Trigger
from sekisho.snapshot import compiling
from sekisho.snapshot.digest import Key, absorb, digest_names, finish, finish_second, start
from sekisho.snapshot.entries import CompiledList

SUFFIX, WILDCARD, EXCEPTION, PROTECTED, ANCESTOR = 1, 2, 4, 8, 16
"""What a name is to the guard: a suffix rule, the parent of a wildcard rule, an exception rule, a
never-block name, an ancestor of one."""

REFUSALS = (
    "",
    "it is a public suffix: blocking it would block everyone under it",
    "it is on the never-block list, or below a name that is",
    "it would cover a name of the never-block list",
    "it is wider than an IPv4 /8 or an IPv6 /16",
)
"""Why an entry is refused, by the code that `judge` gives; 0: it is not."""

_AT_A_TIME = 1 << 18
"""Rows judged at a time."""
_PREFIXES = int(PREFIXES)
_WIDEST_V4, _WIDEST_V6, _V4 = 96 + 8, 16, 96
_LENGTHS = tuple(bytes((length,)) for length in range(64))
_LETTING = frozenset({ActionKind.PASSTHRU, ActionKind.EXCEPT})


@dataclass(frozen=True, slots=True)
class Guard:
    """The guarded names in an open-addressing table: `keys` uint64, `flags` uint8, a power of two of slots."""

    keys: NDArray[np.uint64]
    flags: NDArray[np.uint8]
    protects: bool
    """Whether there are never-block names at all: if not, only the last two suffixes need looking up."""


def build_guard(key: Key, never_block: Iterable[bytes] = ()) -> Guard:
    """Compile the guard for a key; `never_block` are canonical wire names."""
    marks = dict(_suffix_rules())
    protected = frozenset(never_block)
    for name in protected:
        marks[name] = marks.get(name, 0) | PROTECTED
        labels = idn.split(name)
        for depth in range(1, len(labels)):
            ancestor = idn.join(labels[depth:])
            marks[ancestor] = marks.get(ancestor, 0) | ANCESTOR
    wires = [wire for wire in marks if wire != b"\0"]
    blob = np.frombuffer(b"".join(wires), np.uint8)
    offsets = np.concatenate(([0], np.cumsum([len(wire) for wire in wires])))[:-1].astype(np.int64)
    digests = np.empty((len(wires), 2), np.uint64)
    digest_names(blob, offsets, key[0], key[1], digests, np.empty(len(wires), np.uint8))
    slots = 1 << (4 * len(wires)).bit_length()
    keys, flags = np.zeros(slots, np.uint64), np.zeros(slots, np.uint8)
    _fill(keys, flags, np.ascontiguousarray(digests[:, 0]), np.array([marks[wire] for wire in wires], np.uint8))
    return Guard(keys, flags, bool(protected))


def digest_rows(rows: Rows, key: Key, guard: Guard) -> tuple[NDArray[np.uint64], NDArray[np.uint8], NDArray[np.uint8]]:
    """Digest every row and judge it: digests uint64 (n, 2), depths uint8 (labels; of a prefix its length), codes of REFUSALS uint8."""
    return _judged(rows, slice(0, rows.count), key, guard)


def _judged(rows: Rows, part: slice, key: Key, guard: Guard) -> tuple[NDArray[np.uint64], NDArray[np.uint8], NDArray[np.uint8]]:
    count = part.stop - part.start
    digests = np.empty((count, 2), np.uint64)
    depths, codes = np.empty(count, np.uint8), np.empty(count, np.uint8)
    judge(
        rows.blob,
        rows.offsets[part],
        rows.triggers[part],
        rows.actions[part],
        key[0],
        key[1],
        guard.keys,
        guard.flags,
        guard.protects,
        digests,
        depths,
        codes,
        np.empty(128, np.int64),
    )
    return digests, depths, codes


def sift_rows(
    rows: Rows, key: Key, guard: Guard, refused: Callable[[NDArray[np.int64], NDArray[np.uint8]], None]
) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Digest every row, as `digest_rows`, and leave in `rows` those alone that are not refused and, as far as is seen at once,
    repeat no other; gives their digests and depths.

    `refused` is told of the refused ones while they are still there: numbers of rows, and their codes.
    """
    count, kept, repeats = rows.count, 0, Repeats.none()
    # Room for all of them takes memory only where there is something.
    digests, depths = np.empty((count, 2), np.uint64), np.empty(count, np.uint8)
    for begin in range(0, count, _AT_A_TIME):
        part = slice(begin, min(begin + _AT_A_TIME, count))
        some, deep, codes = _judged(rows, part, key, guard)
        bad = np.flatnonzero(codes)
        if len(bad):
            refused(bad + begin, codes[bad])
        repeats.mark(some, rows.triggers[part], rows.actions[part], codes)
        good = np.flatnonzero(codes == 0)
        end = kept + len(good)
        digests[kept:end], depths[kept:end] = some[good], deep[good]
        if end < part.stop:
            for column in (rows.offsets, rows.lines, rows.triggers, rows.actions):
                column[kept:end] = column[part][good].copy()
        kept = end
    rows.count = kept
    return digests[:kept], depths[:kept]


def reguard(compiled: CompiledList, guard: Guard) -> tuple[CompiledList, int]:
    """A list loaded from disk without what the guard of today refuses, and how many triggers that took.

    Works on digests alone; what lies below a never-block name is found only in lists with names.
    """
    flags = _look_up(compiled.digests[:, 0].copy(), guard.keys, guard.flags)
    named = (compiled.triggers & PREFIXES) == 0
    suffix = ((flags & (SUFFIX | WILDCARD)) != 0) & ((flags & EXCEPTION) == 0) | ((compiled.depths == 1) & named)
    bad = suffix | ((flags & PROTECTED) != 0)
    letting = np.array([False] + [action.kind in _LETTING for action in compiled.actions])
    lost = np.where(bad & ~letting[compiled.exact], compiled.triggers & Trigger.EXACT, 0)
    covers = bad | ((flags & ANCESTOR) != 0)
    lost |= np.where(covers & ~letting[compiled.below], compiled.triggers & Trigger.BELOW, 0)
    if not lost.any():
        return compiled, 0
    left = replace(compiled, triggers=(compiled.triggers & ~lost).astype(np.uint8))
    return select(left, left.triggers != 0), int(np.count_nonzero(lost))


def select(compiled: CompiledList, keep: NDArray[np.bool_]) -> CompiledList:
    """The rows of a list that a mask keeps."""
    offsets = compiled.offsets[keep] if len(compiled.offsets) else compiled.offsets
    return replace(
        compiled,
        digests=compiled.digests[keep],
        triggers=compiled.triggers[keep],
        exact=compiled.exact[keep],
        below=compiled.below[keep],
        depths=compiled.depths[keep],
        offsets=offsets,
    )


def shrink(previous: CompiledList | None, new: CompiledList, max_shrink: float) -> float | None:
    """The share of entries a new version loses (0 to 1) if that is more than `max_shrink`, else None."""
    if previous is None or not len(previous):
        return None
    share = (len(previous) - len(new)) / len(previous)
    return share if share > max_shrink else None


@functools.lru_cache(maxsize=1)
def suffixes_version() -> str:
    """Digest of the Public Suffix List, hexadecimal: a list guarded by the same one need not be looked through again."""
    return hashlib.blake2b(_suffix_text(), digest_size=16).hexdigest()


def _suffix_text() -> bytes:
    return importlib.resources.files("publicsuffixlist").joinpath("public_suffix_list.dat").read_bytes()


@functools.lru_cache(maxsize=1)
def _suffix_rules() -> tuple[tuple[bytes, int], ...]:
    """The Public Suffix List as wire names and flags. Package data, not a file of ours."""
    return parse_suffixes(_suffix_text().decode())


def parse_suffixes(text: str) -> tuple[tuple[bytes, int], ...]:
    """Parse the format of publicsuffix.org/list: a rule a line up to white space, `//` comments.

    The parent of a wildcard rule counts as a suffix itself, as the list's own tests have it.
    """
    marks: dict[bytes, int] = {}
    for line in text.splitlines():
        rule = line.split(maxsplit=1)[0] if line.strip() else "//"
        if rule.startswith("//"):
            continue
        flag = SUFFIX
        if rule.startswith("!"):
            rule, flag = rule[1:], EXCEPTION
        elif rule.startswith("*."):
            rule, flag = rule[2:], WILDCARD
        wire = _plain_wire(rule) if rule.isascii() else idn.to_wire(rule)
        marks[wire] = marks.get(wire, 0) | flag
    return tuple(marks.items())


def _plain_wire(rule: str) -> bytes:
    """What `idn.to_wire` gives for a rule in ASCII, without its checks of what strangers write: ten thousand are read at a start."""
    return b"".join([_LENGTHS[len(label)] + label.encode() for label in rule.lower().split(".")]) + b"\0"


@compiling.compiled
def _fill(keys, flags, words, marks):  # type: ignore[no-untyped-def]
    mask = keys.shape[0] - 1
    for row in range(words.shape[0]):
        slot = np.int64(words[row] & np.uint64(mask))
        while flags[slot] != 0 and keys[slot] != words[row]:
            slot = (slot + 1) & mask
        keys[slot] = words[row]
        flags[slot] |= marks[row]


@compiling.compiled
def _flags_of(word, keys, flags):  # type: ignore[no-untyped-def]
    mask = keys.shape[0] - 1
    slot = np.int64(word & np.uint64(mask))
    while flags[slot] != 0:
        if keys[slot] == word:
            return int(flags[slot])
        slot = (slot + 1) & mask
    return 0


@compiling.compiled
def _look_up_into(words, keys, flags, found):  # type: ignore[no-untyped-def]
    for row in range(words.shape[0]):
        found[row] = _flags_of(words[row], keys, flags)


def _look_up(words: NDArray[np.uint64], keys: NDArray[np.uint64], flags: NDArray[np.uint8]) -> NDArray[np.uint8]:
    found: NDArray[Any] = np.empty(len(words), np.uint8)
    _look_up_into(words, keys, flags, found)
    return found


@compiling.compiled
def _widest(blob, position, length):  # type: ignore[no-untyped-def]
    """The shortest length that a prefix of the family of the one at `position` may have in a list."""
    if length < _V4 or blob[position + 10] != 255 or blob[position + 11] != 255:
        return _WIDEST_V6
    for index in range(position, position + 10):
        if blob[index] != 0:
            return _WIDEST_V6
    return _WIDEST_V4


@compiling.compiled
def judge(blob, offsets, triggers, actions, k0, k1, keys, flags, protects, digests, depths, codes, labels):  # type: ignore[no-untyped-def]
    """Digest names (see `snapshot.digest.digest_names`) and give each the code of its refusal, in one pass.

    `codes` uint8 (n) is filled: an index of REFUSALS. The root has no digest: it is a suffix. `labels` int64 (128): scratch.
    """
    for row in range(offsets.shape[0]):
        position = offsets[row]
        count = 0
        while blob[position] != 0:
            labels[count] = position
            count += 1
            position += int(blob[position]) + 1
        a, b, c, d = start(k0, k1)
        below, parent, marks = False, 0, 0
        for index in range(count - 1, 0, -1):
            a, b, c, d = absorb(blob, labels[index], a, b, c, d)
            if protects or index == 1:
                word, _, _, _, _ = finish(a, b, c, d)
                parent = _flags_of(word, keys, flags)
                below = below or (parent & PROTECTED) != 0
        if count > 0:
            a, b, c, d = absorb(blob, labels[0], a, b, c, d)
        first, a, b, c, d = finish(a, b, c, d)
        digests[row, 0] = first
        digests[row, 1] = finish_second(a, b, c, d)
        depths[row] = count
        codes[row] = 0
        if triggers[row] & _PREFIXES:
            length = blob[offsets[row] + 1]
            depths[row] = length
            if length < _widest(blob, offsets[row] + 2, length) and actions[row] != PASSTHRU and actions[row] != EXCEPT:
                codes[row] = 4
            continue
        if actions[row] != PASSTHRU and actions[row] != EXCEPT:
            marks = _flags_of(first, keys, flags)
            if count <= 1 or (((marks & (SUFFIX | WILDCARD)) != 0 or (parent & WILDCARD) != 0) and (marks & EXCEPTION) == 0):
                codes[row] = 1
            elif below or (marks & PROTECTED) != 0:
                codes[row] = 2
            elif (marks & ANCESTOR) != 0 and (triggers[row] & 2) != 0:
                codes[row] = 3
