"""The desk of a collector of flows: what it knows of exporters, and the buffers one packet goes through.

Owns the shapes and what each column means; nothing here decides. Compiled code is handed the desk as one
pointer to a record. What is kept over a restart are `sessions`, `templates`, `steps`, `rates`, `samplers` and `sampled`.

A *session* is what one exporting process says of one domain: the address and port it sends from, the version it
speaks, and its observation domain (RFC 7011), source id (RFC 3954) or engine (NetFlow v5).
"""

from __future__ import annotations

import enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sekisho.model.flows import FlowFault

U64 = np.uint64

SESSIONS = 4096
"""Sessions there is room for. A power of two, as all tables that are searched by a hash."""
TEMPLATES = 8192
SAMPLERS = 2048
FIELDS = 512
"""Fields a template may have."""
STEPS = 64
"""Fields of a template that are read or are of variable length, at most."""
VARIABLE = 65535
"""Length of a field that says its length in each record (RFC 7011, section 7)."""
EXPORTERS = 256
"""Entries of the configuration."""
INTERFACES = 64
RECORDS = 32768
"""Records the buffer takes; one packet gives at most half of them."""
MOST_OCTETS = 1 << 48
"""Octets no flow has within the time exporters keep one: 30 minutes at more than 1 Tbit/s."""

# Columns of `sessions`, uint64.
S_HIGH, S_LOW = 0, 1
"""The exporter's address, IPv4 at ::ffff:0:0/96."""
S_KEY = 2
"""port | TCP << 16 | version << 24 | domain << 32; 0: free, GONE: was given up."""
S_EXPECTED = 3
"""The sequence number that comes next | 1 << 32 once one is known."""
S_EXPORTER = 4
"""Entry of the configuration + 1; 0: not allowed any more."""
S_HEIR = 5
"""Session + 1 whose templates stand in until this one has sent its own; 0: none."""
S_SEEN = 6
"""UNIX seconds of the last packet; 0: none since the start."""
S_OWN = 7
"""Templates it has sent."""
S_PACKETS, S_RECORDS = 8, 9
S_GAPS = 10
"""Times the sequence leapt ahead."""
S_LOST = 11
"""Records (NetFlow v5, IPFIX) or packets (NetFlow v9) that are missing."""
S_LATE = 12
"""Packets that came after later ones."""
S_RESTARTS = 13
"""Times the sequence began anew."""
S_EARLY = 14
"""Sets of data whose template had not come."""
S_SINCE = 15
"""UNIX seconds of its first packet."""
S_FAULTS = 16
"""From here on: bad packets by `FlowFault`, in its order."""
S_ORDER = 31
"""Packets taken of all sessions when its last one came: which of two was heard of later."""
S_WORDS = 32
GONE = 1

# Columns of `templates`, int64.
T_KEY = 0
"""(session + 1) << 16 | template id; 0: free, GONE: withdrawn."""
T_STEPS = 1
T_LENGTH = 2
"""Octets of a record, each field of variable length counted as one."""
T_TAIL = 3
"""Octets after the last step."""
T_OPTIONS = 4
"""1: its records are about the exporter (options), not about traffic."""
T_WORDS = 8

# Columns of a step, int32: octets passed over before it, length (or VARIABLE), meaning.
STEP = 3

# What fields mean here; slots of `values`.
M_NONE = 0
M_SOURCE_HIGH, M_SOURCE_LOW, M_TARGET_HIGH, M_TARGET_LOW = 1, 2, 3, 4
M_OCTETS = 5
M_REVERSE = 6
"""Octets of the other direction, where a record tells both (RFC 5103)."""
M_PROTOCOL, M_FLAGS, M_SOURCE_PORT, M_TARGET_PORT = 7, 8, 9, 10
M_INPUT, M_OUTPUT, M_DIRECTION = 11, 12, 13
M_SAMPLER = 14
M_INTERVAL = 15
"""One packet of so many is sampled."""
M_PACKETS, M_SPACE = 16, 17
"""So many packets one after the other are sampled, so many passed over (RFC 5477)."""
M_SIZE, M_POPULATION = 18, 19
"""So many out of so many are sampled."""
M_PROBABILITY, M_PROBABILITY_SHORT = 20, 21
"""Of a packet to be sampled: as a float64, and sent as a float32 (RFC 7011, section 6.2)."""
M_EVENT = 22
"""natEvent: the record is of a translation of addresses, and not of traffic."""
M_OUTSIDE = 23
"""The IPv4 address a CGN translates to."""
M_FIRST_PORT, M_LAST_PORT, M_PORT_STEP, M_MANY_PORTS = 24, 25, 26, 27
M_SECONDS, M_MILLISECONDS, M_NTP = 28, 29, 30
"""When it was seen: since 1970, or since 1900 in 2^-32 seconds (RFC 7011, sections 6.1.9 and 6.1.10)."""
M_REALM = 31
"""The network the inside address is of; 0: it is not said, all ones: in a name that is longer than a number."""
M_INSIDE_HIGH, M_INSIDE_LOW = 32, 33
"""The source, if that is of IPv6: of DS-Lite a record may tell the IPv4 address within the tunnel too."""
M_SLOTS = 34
M_SOURCE_V4, M_SOURCE_V6, M_TARGET_V4, M_TARGET_V6 = 36, 37, 38, 39
"""Meanings that fill two slots."""

# Columns of `records`, uint64: what goes on from a record, until it is added to the sums.
R_SOURCE_HIGH, R_SOURCE_LOW, R_TARGET_HIGH, R_TARGET_LOW = 0, 1, 2, 3
R_OCTETS, R_REVERSE = 4, 5
"""From source to target, and back; sampling multiplied."""
R_FACTS = 6
R_OPENED = 7
"""Connections opened by the source, sampling multiplied."""
R_WORDS = 8
FACT_MAIL = 1
"""They were opened to a port of mail."""
FACT_NOT_UP, FACT_NOT_DOWN = 2, 4
"""It did not come from, or does not go to, the customers' side of this exporter."""
FACT_PORTS = 8
"""It is of a protocol with ports, which stand in bits 16 to 31 (the source's) and 32 to 47: an address may be shared by ports."""
SOURCE_PORT, TARGET_PORT = 16, 32

# Columns of `exporters`, uint64.
E_HIGH, E_LOW, E_LENGTH = 0, 1, 2
E_DIRECTION = 3
"""0: records of both directions are counted; 1: of ingress; 2: of egress alone."""
E_INTERFACES = 4
"""How many interfaces towards customers are known; 0: customers are told by address alone."""
E_BLOCKS = 5
"""1: it reports blocks of ports."""
E_WORDS = 8

# Columns of `blocks`, uint64: a block of ports that was allocated or taken back, until it is handed over.
B_EVENT = 0
B_EXPORTER_HIGH, B_EXPORTER_LOW, B_INSIDE_HIGH, B_INSIDE_LOW = 1, 2, 3, 4
"""Addresses; an inside address of 0 is not told."""
B_OUTSIDE = 5
"""The shared IPv4 address."""
B_FIRST, B_LAST = 6, 7
"""Ports, both included; a last one of 0 is not told."""
B_AT = 8
"""UNIX milliseconds."""
B_REALM = 9
B_WORDS = 10
BLOCKS = 32768
"""Records of blocks the buffer takes."""

# Cells of `cells`, int64.
C_RECORDS = 0
"""Records in the buffer."""
C_SESSIONS, C_TEMPLATES, C_SAMPLERS = 1, 2, 3
"""Places used, given-up ones among them."""
C_DIRTY = 4
"""Something that is kept over a restart has changed."""
C_EXPORTERS = 5
C_STRANGER_HIGH, C_STRANGER_LOW = 6, 7
"""Who was refused last."""
C_BLOCKS = 8
"""Records of blocks of ports in their buffer."""
C_SENT = 9
"""UNIX seconds at which the packet in work was sent, as it says."""
C_CELLS = 16


class Total(enum.IntEnum):
    """Slots of `totals`: what is not told by session. Faults follow from `FAULTS` on."""

    PACKETS = 0
    RECORDS = 1
    """Records of traffic that were decoded."""
    UNUSABLE = 2
    """Of those, the ones without an address or octets: there is nothing to count."""
    GAPS = 3
    LOST = 4
    LATE = 5
    RESTARTS = 6
    EARLY = 7
    """Sets of data before their template."""
    NOBODY = 8
    """Records of no customer."""
    DROPPED = 9
    """Datagrams the kernel dropped because they were not taken in time."""
    SHARED = 10
    """Of the records of no customer, those of an address that several share by ports, whose port is no customer's whom we know."""
    NAT_BLOCKS = 11
    """Records of blocks of ports that were handed over."""
    NAT_PASSED = 12
    """Records of a NAT's events that are not used: of single sessions, and of exporters that are not said to report blocks."""
    NAT_UNUSABLE = 13
    """Records of blocks of ports that do not say which, or not in one range."""
    NAT_LOST = 14
    """Records of blocks of ports there was no room for."""


FAULTS = 16
"""The first slot of `totals` that counts a fault."""
TOTALS = FAULTS + 16

F_STRANGER, F_VERSION, F_SHORT, F_LENGTH = (list(FlowFault).index(one) for one in list(FlowFault)[:4])
F_SET, F_TEMPLATE, F_RECORD, F_OCTETS, F_FULL = (list(FlowFault).index(one) for one in list(FlowFault)[4:])

DESK = np.dtype(
    [
        ("sessions", np.uint64, (SESSIONS, S_WORDS)),
        ("templates", np.int64, (TEMPLATES, T_WORDS)),
        ("steps", np.int32, (TEMPLATES, STEPS * STEP)),
        ("rates", np.float64, (SESSIONS,)),
        ("samplers", np.uint64, (SAMPLERS,)),
        ("sampled", np.float64, (SAMPLERS,)),
        ("exporters", np.uint64, (EXPORTERS, E_WORDS)),
        ("defaults", np.float64, (EXPORTERS,)),
        ("interfaces", np.uint64, (EXPORTERS, INTERFACES)),
        ("totals", np.uint64, (TOTALS,)),
        ("cells", np.int64, (C_CELLS,)),
        ("values", np.uint64, (M_SLOTS,)),
        ("fields", np.int64, (FIELDS, STEP)),
        ("fresh", np.int32, (STEPS * STEP,)),
        ("records", np.uint64, (RECORDS, R_WORDS)),
        ("blocks", np.uint64, (BLOCKS, B_WORDS)),
    ],
    align=True,
)
"""rates: of each session, one of so many packets, 0: not told; samplers: session + 1 << 32 | sampler id, with its rate in `sampled`."""


def make_desk(room: NDArray[Any] | None = None) -> Any:
    """An empty desk, in `room` (one DESK of zeros) or memory of its own."""
    return (np.zeros(1, DESK) if room is None else room).view(np.recarray)[0]
