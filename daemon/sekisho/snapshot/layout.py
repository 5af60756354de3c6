"""What each shared file holds: section names, array shapes, versions, limits.

One constant or one bundle of arrays for each thing another process relies on; `FORMAT.md` says the
same in prose. Compiled code is handed a bundle's `view`: a record of (address, length) pairs, one
pointer, from which `plane.native` makes arrays where they are read. Passing the arrays themselves
would copy seven words and count a reference for each of them at every call.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sekisho.model.counters import LATENCY_BOUNDS_US, TOTALS
from sekisho.snapshot.compiling import COMPILED

SNAPSHOT_VERSION = 3
CUSTOMERS_VERSION = 3
COUNTS_VERSION = 1
HITS_VERSION = 1
HEAD_VERSION = 1
BUDGETS_VERSION = 1

MAX_RULES = 256
"""Rules a snapshot can name."""
NO_RULE = 0xFFFF
NOBODY = 0xFFFFFFFF
"""Owner of an address entry that is nobody's any more."""
ALLOWED = 0
"""Row of the customers table that stands for the operator's allowed networks."""
RING = 65536
"""Matches a worker's ring holds."""
RING_WORDS = 6
BUCKETS = len(LATENCY_BOUNDS_US) + 1
CHECK_NAME = b"\x0bsekisho-key\x05check\x07invalid\x00"
"""The name whose digest stands in every snapshot, so that a wrong key is noticed."""

BANK = 144
"""Workers' numbers from here on are those of a second plane, which runs beside the first during an upgrade."""
PLUGINS = (*range(BANK - 15, BANK), *range(2 * BANK - 15, 2 * BANK))
"""Workers' numbers of plugins in resolvers; those of planes lie below, in each bank."""

# Flags of a customer's row.
ACTIVE = 1
SILENCED = 2
TRUNCATE = 4
"""Over budget: TC=1 instead of no answer."""
NETWORK = 8
"""The row of the allowed networks: served unfiltered, no budget."""
GARDEN = 16
"""A measure answers with the notice page, but for the names let out of the garden."""

# Words of `watched`: from 0 for addresses in answers, from 4 for those of clients.
WATCH_ANSWERS = 0
WATCH_CLIENTS = 4
WATCH_LISTS = 3
"""The lists that hold prefixes at all; before it three words, bit n: some prefix has length n."""
WATCH_CHAINS = 8
"""The lists that aliases in answers are looked up in for any profile."""
WATCH_WORDS = 12

# Words of the head file.
HEAD_EPOCH = 0
HEAD_GENERATION = 1
HEAD_HEARTBEAT = 2
HEAD_NUMBERED = 3
"""The first epoch under which customers have the rows they have now: what was counted or matched under one before is of other rows."""
HEAD_TAKEN = 32
"""From here on, by worker: the sequence number up to which the control plane has taken its matches."""
HEAD_WORDS = 320

# Words of the `worker` section of a counts file.
WORKER_PID = 0
WORKER_STARTED = 1
WORKER_HEARTBEAT = 2
WORKER_EPOCH = 3
WORKER_GENERATION = 4
WORKER_REFUSED_EPOCH = 5
"""A snapshot that was damaged, of another version or key, and is not used."""
WORKER_ROLE = 6
"""0: a UDP worker; 1: the TCP server; 2: a plugin in a resolver."""
WORKER_REFUSED_GENERATION = 7
"""Customers' tables that were damaged and are not used."""
WORKER_WORDS = 8

# Columns of the `customers` section of a counts file.
COUNT_QUERIES = 0
COUNT_BLOCKED = 1
COUNT_LIMITED = 2
COUNT_SILENCED = 3
"""By a measure: not answered, or with the notice page."""
COUNT_COLUMNS = 4

# Columns of the `patterns` section of a counts file.
PATTERN_FORWARDED = 0
"""Queries that went on to a resolver."""
PATTERN_NEW = 1
"""Of those, names the worker had not been asked for lately, by anybody (`plane.sketch`)."""
PATTERN_NXDOMAIN = 2
"""Answers, from the cache or a resolver, that there is no such name."""
PATTERN_COLUMNS = 4


@dataclass(frozen=True, slots=True)
class Bundle:
    """Arrays that lie in shared memory, by name; C-contiguous. The bundle keeps them alive, its view does not."""

    view: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = self.names()
        view = np.zeros(1, np.dtype([(name, np.int64, (2,)) for name in names])).view(np.recarray)[0]
        for name in names:
            array = getattr(self, name)
            if not array.flags.c_contiguous:
                message = f"{name} is not contiguous"
                raise ValueError(message)
            view[name] = (array.ctypes.data, array.size)
        # Uncompiled, a record's own attributes (`flags`, `data`) would hide the fields of these names.
        object.__setattr__(self, "view", view if COMPILED else SimpleNamespace(**{name: view[name] for name in names}))

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The arrays' names, in the order the constructor takes them."""
        return tuple(one.name for one in fields(cls) if one.init)


@dataclass(frozen=True, slots=True)
class Snapshot(Bundle):
    """The immutable tables of one epoch.

    keys     uint64 (slots, 2)   digest of a name; first word 0: empty
    combo    uint32 (slots)      which combination of lists holds the name
    holders  uint64 (combos, 2)  mask of lists holding it exactly, mask holding what is below it
    offsets  uint32 (combos)     where the combination's actions start in `choices`
    choices  uint32              actions of the exact mask's bits in order, then of the below mask's
    depths   uint64 (2)          bit n of the two words: some entry has n labels
    actions  uint32 (n, 4)       kind, first record, records, 0
    records  uint32 (n, 4)       type, TTL, offset in rdata, length
    rdata    uint8
    rules    uint16 (profiles, 64)  rule under which a list reaches a profile, or NO_RULE
    defaults uint32 (profiles, 64)  action of entries that have none of their own
    ede      uint16 (profiles, 64)  Extended DNS Error code
    notes    uint32 (profiles, 64)  row of `spans`: the error's extra text
    spans    uint32 (n, 2)       offset and length in `text`
    text     uint8
    mandatory uint64 (profiles)  lists no opt-out can lift
    chains   uint64 (profiles)  lists that aliases (CNAME) in answers are looked up in
    watched  uint64 (12)         prefixes: `WATCH_` words for those in answers, then for clients
    budgets  uint16 (profiles)   rule of the hard budget, or NO_RULE
    garden   uint32 (1)          action of the walled garden
    passes   uint32 (n, 3)       names let out of the garden, with all below: labels, offset in rdata, length
    grounds  uint32 (n)          row of `spans`: the id of rule n, of the rules of measures, which come first
    """

    keys: NDArray[np.uint64]
    combo: NDArray[np.uint32]
    holders: NDArray[np.uint64]
    offsets: NDArray[np.uint32]
    choices: NDArray[np.uint32]
    depths: NDArray[np.uint64]
    actions: NDArray[np.uint32]
    records: NDArray[np.uint32]
    rdata: NDArray[np.uint8]
    rules: NDArray[np.uint16]
    defaults: NDArray[np.uint32]
    ede: NDArray[np.uint16]
    notes: NDArray[np.uint32]
    spans: NDArray[np.uint32]
    text: NDArray[np.uint8]
    mandatory: NDArray[np.uint64]
    chains: NDArray[np.uint64]
    watched: NDArray[np.uint64]
    budgets: NDArray[np.uint16]
    garden: NDArray[np.uint32]
    passes: NDArray[np.uint32]
    grounds: NDArray[np.uint32]


SLOT = np.dtype([("high", "<u8"), ("low", "<u8"), ("length", "<u4"), ("owner", "<u4"), ("next", "<u8")])
"""An entry of the address table. length: the prefix's + 1, 0: empty, written last. next: slot + 1 of the owner's next prefix."""
ROW = np.dtype(
    [
        ("mask", "<u8"),
        ("rate", "<u4"),
        ("burst", "<u4"),
        ("profile", "<u2"),
        ("measure", "<u2"),
        ("flags", "<u2"),
        ("limiter", "<u2"),
        ("first", "<u8"),
    ]
)
"""A customer: lists in force, hard budget (queries a second, 0: none; queries), profile, flags. measure: rule + 1 of the
measure that silences the customer or answers with the notice page, 0: none. limiter: rule + 1 of the measure whose the budget
is, 0: it is the contract's. first: slot + 1 of a prefix.
"""

# The same as words of 64 bits, for compiled code: low half first.
SLOT_HIGH, SLOT_LOW, SLOT_STATE, SLOT_NEXT, SLOT_WORDS = 0, 1, 2, 3, 4
ROW_MASK, ROW_BUDGET, ROW_STANDING, ROW_FIRST, ROW_WORDS = 0, 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class Customers(Bundle):
    """The customers of one generation; single fields are updated in place by the control plane.

    slots   uint64 (slots, 4)  the address table, `SLOT` each: prefixes in the 128-bit space, and whose they are
    present uint64 (3)         bit n: some prefix has length n (three words of 64)
    rows    uint64 (rows, 4)   the customers, `ROW` each
    """

    slots: NDArray[np.uint64]
    present: NDArray[np.uint64]
    rows: NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Counts(Bundle):
    """What one worker counts.

    totals    uint64 (64)         `Counter` slots
    lists     uint64 (2, 64)      matches by list order, for even and odd epochs
    rules     uint64 (2, 256)     matches by rule, likewise
    epochs    uint64 (2)          the epoch each half counts for
    latency   uint64 (buckets)    upstream latency histogram
    customers uint32 (rows, 4)    queries, blocked, limited, silenced
    patterns  uint32 (rows, 4)    forwarded, of these new names, answers NXDOMAIN, 0
    worker    uint64 (8)          `WORKER_` words
    """

    totals: NDArray[np.uint64]
    lists: NDArray[np.uint64]
    rules: NDArray[np.uint64]
    epochs: NDArray[np.uint64]
    latency: NDArray[np.uint64]
    customers: NDArray[np.uint32]
    patterns: NDArray[np.uint32]
    worker: NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Hits(Bundle):
    """One worker's ring of matches.

    ring   uint64 (65536, 6)  sequence number + 1 (written last); time (ns since 1970);
                              customer row | rule << 32 | list << 48; digest first; digest second;
                              type | action << 16 | transport << 24 | epoch << 32
    cursor uint64 (8)         word 0: next sequence number
    """

    ring: NDArray[np.uint64]
    cursor: NDArray[np.uint64]


def empty_counts(rows: int) -> dict[str, NDArray[np.uint64] | NDArray[np.uint32]]:
    return {
        "totals": np.zeros(TOTALS, np.uint64),
        "lists": np.zeros((2, 64), np.uint64),
        "rules": np.zeros((2, MAX_RULES), np.uint64),
        "epochs": np.zeros(2, np.uint64),
        "latency": np.zeros(BUCKETS, np.uint64),
        "worker": np.zeros(WORKER_WORDS, np.uint64),
        "customers": np.zeros((rows, COUNT_COLUMNS), np.uint32),
        "patterns": np.zeros((rows, PATTERN_COLUMNS), np.uint32),
    }


def empty_hits() -> dict[str, NDArray[np.uint64]]:
    return {"ring": np.zeros((RING, RING_WORDS), np.uint64), "cursor": np.zeros(8, np.uint64)}
