"""What the daemon knows of itself at one moment: everything exporters may tell.

Counts, ages and flags only. A label of theirs is a step, a list id, a clause id or a word of a
closed set; nothing here can carry a customer, an address or a queried name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sekisho.model.counters import LATENCY_BOUNDS_US, Counter
from sekisho.model.sessions import AccountingKind


@dataclass(frozen=True, slots=True)
class ListObservation:
    """One list: what is in force of it, and how its source does. Zeros are shown."""

    id: str
    entries: int = 0
    """Entries in force."""
    skipped: int = 0
    """Lines of the last version fetched that could not be read."""
    refused: int = 0
    """Entries refused by a guard: public suffixes and never-block names."""
    unkept: int = 0
    """Entries whose meaning cannot be kept (RPZ triggers other than QNAME, for example)."""
    good_at: float | None = None
    """UNIX seconds of the last good fetch, or None before the first."""
    failed: bool = False
    """The last fetch failed; the last good version is in force."""
    stale: bool = False
    """No good fetch for longer than the definition's `stale_after`."""
    held: bool = False
    """A version that shrank too much waits for an operator."""
    matches: int = 0
    """Queries the list decided."""
    opted_out: int = 0
    """Customers who opted out of it."""
    unconsented: int = 0
    """Customers whose terms carry the clause but who recorded no consent that covers it."""
    excepted: int = 0
    """Exceptions of the operator in force on it."""


APPEND_BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds: the buckets of the time an act takes to be on disk."""
RADIUS_KINDS = (*(kind.value for kind in AccountingKind), "other")
"""What a RADIUS packet is counted as; `other` where that is not known, or is nothing about sessions."""
CHANNELS = ("email", "web", "webhook")
"""Ways a notice goes out."""
OUTCOMES = ("queued", "sent", "bounced", "given-up", "unconfirmed")
"""What became of notices; `unconfirmed` are those tried again after a try nobody knows the end of."""


@dataclass(frozen=True, slots=True)
class SinkObservation:
    """One sink of events. Counts are since the daemon's start."""

    id: str
    kind: str
    behind: int = 0
    """Acts between the end of the record and its place."""
    behind_seconds: float = 0.0
    """Age of the oldest act it has still to come to."""
    taken: int = 0
    failures: int = 0
    failing: bool = False


NAS_STATES = ("acknowledged", "pending", "refused", "lifting")
"""How the limit of a line stands with its NAS; `lifting`: it may be there still, and has no reason any more."""
NAS_DROPS = ("stray", "malformed", "forged")
"""Why a datagram of a NAS was no answer: nothing is asked by that number (any more), no packet, a wrong authenticator."""


@dataclass(frozen=True, slots=True)
class NasObservation:
    """One NAS. `limits`: lines by one of NAS_STATES."""

    id: str
    answers: bool = True
    """False since a request that was not answered."""
    limits: Mapping[str, int] = field(default_factory=dict)


LINE_ENFORCERS = ("nftables", "htb")
"""What limits lines in the kernel."""


@dataclass(frozen=True, slots=True)
class LineObservation:
    """Lines as the kernel limits them."""

    enforcers: Mapping[str, bool] = field(default_factory=dict)
    """Those of LINE_ENFORCERS that the configuration wants, and whether each can be used."""
    entries: Mapping[str, int] = field(default_factory=dict)
    """Addresses by `enforce.state.Role`: silence, nomail, mail, down, up and what is only counted."""
    slowed: int = 0
    repairs: Mapping[str, int] = field(default_factory=dict)
    """Entries of `tables` and `classes` found other than they were left, since the start."""
    dropped: int = 0
    """Queries of silenced customers dropped since the start."""


@dataclass(frozen=True, slots=True)
class DnstapObservation:
    """What resolvers tell of queries."""

    listening: bool = False
    streams: int = 0
    """Connections over which they tell of them."""
    frames: Mapping[str, int] = field(default_factory=dict)
    """Frames since the start, by the words of `model.dnstap.Tally`."""
    ended: Mapping[str, int] = field(default_factory=dict)
    """Connections that ended since the start, by `model.dnstap.Ended`."""


@dataclass(frozen=True, slots=True)
class FlowObservation:
    """Flow records. Counts are since the daemon's start."""

    packets: int = 0
    records: int = 0
    nobody: int = 0
    """Records of no customer."""
    shared: int = 0
    """Those of them of an address shared by ports, whose port is no customer's whom we know."""
    unusable: int = 0
    """Records without an address or octets."""
    gaps: int = 0
    """Times a sequence leapt ahead."""
    lost: int = 0
    """Records or packets that did not arrive."""
    early: int = 0
    """Sets of data before their template."""
    dropped: int = 0
    """Datagrams the kernel dropped."""
    faults: Mapping[str, int] = field(default_factory=dict)
    """Bad packets by `model.flows.FlowFault`."""
    blocks: Mapping[str, int] = field(default_factory=dict)
    """Records of NATs' events by `model.flows.BlockOutcome`."""
    sessions: int = 0
    failing: bool = False
    """They cannot be received."""


@dataclass(frozen=True, slots=True)
class SegmentObservation:
    """A shared segment, as the last look at lines saw it; (towards the customers, from them)."""

    id: str
    utilisation: tuple[float, float] = (0.0, 0.0)
    congested: tuple[bool, bool] = (False, False)


ZONE_TRANSFERS = ("axfr", "ixfr", "current")
"""What a transfer of a policy zone was: whole, of what changed, of nothing since nothing did."""
ZONE_NOTIFIES = ("sent", "acknowledged", "given-up")
ZONE_REFUSALS = ("address", "key", "zone", "malformed")


@dataclass(frozen=True, slots=True)
class PolicyZoneObservation:
    """One policy zone that is published. `transfers` since the primary was opened, by ZONE_TRANSFERS."""

    name: str
    serial: int = 0
    records: int = 0
    transfers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PrimaryObservation:
    """The primary of policy zones. Counts are since it was opened."""

    failed: bool = False
    """It cannot be opened."""
    zones: tuple[PolicyZoneObservation, ...] = ()
    behind: Mapping[str, int] = field(default_factory=dict)
    """Zones whose newest version a secondary has not transferred, by secondary."""
    notifies: Mapping[str, int] = field(default_factory=dict)
    """By ZONE_NOTIFIES."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """By ZONE_REFUSALS."""
    octets: int = 0
    missed: Mapping[str, int] = field(default_factory=dict)
    """Customers whom a list reaches and the zones cannot bring it to, by list."""


@dataclass(frozen=True, slots=True)
class Observation:
    """The daemon at `at` (UNIX seconds)."""

    at: float
    version: str
    lists: tuple[ListObservation, ...] = ()
    """In the order of their definitions."""
    clauses: Mapping[str, int] = field(default_factory=dict)
    """Queries decided under each clause that authorises a measure of the DNS; every such clause is here, at zero too."""
    totals: Mapping[Counter, int] = field(default_factory=dict)
    """The plane's counters, summed over its workers; a missing one is zero."""
    latency: tuple[int, ...] = (0,) * (len(LATENCY_BOUNDS_US) + 1)
    """Upstream answers by latency: one count per bound of LATENCY_BOUNDS_US, not cumulative, and one above them all."""
    customers: int = 0
    opted_out: int = 0
    """Customers with an opt-out in force from at least one list."""
    unconsented: int = 0
    """Customers without the consent that at least one of their clauses needs."""
    epoch: int = 0
    """Epoch of the snapshot the control plane published last."""
    built_at: float | None = None
    """UNIX seconds at which it was built, or None before the first."""
    build_seconds: float = 0.0
    plane_epoch: int = 0
    """Epoch of the snapshot the plane answers by."""
    plane_refuses: bool = False
    """The plane refused the newest tables and answers by the last good ones."""
    workers: int = 0
    """Workers the configuration asks for."""
    workers_alive: int = 0
    worker_restarts: int = 0
    queries_lost: int = 0
    """Queries over UDP that the kernel had no room for."""
    hits_lost: int = 0
    """Matches lost because the ring to the control plane was full."""
    measures: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Measures on the record by (clause, state of `model.measures.MeasureState`); every clause that has a measure's rule is here
    in every state, at zero too."""
    measures_observed: int = 0
    """Measures in force that only observe."""
    termination_eligible: int = 0
    """Open measures whose contract may be terminated: somebody has to decide."""
    findings: Mapping[str, int] = field(default_factory=dict)
    """Findings since the start by `model.measures.Detector`; a missing one is zero."""
    notices: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Notices since the start by (one of CHANNELS, one of OUTCOMES); a missing one is zero."""
    notices_waiting: int = 0
    """Notices on their way: queued, neither sent nor given up."""
    attention_open: int = 0
    """Attention calls that are not closed."""
    outages_open: int = 0
    enforcement_held: bool = False
    """An operator holds all enforcement."""
    emergency: bool = False
    """The emergency mode is on."""
    acts: int = 0
    """Number of the last act on the record."""
    append_latency: tuple[int, ...] = (0,) * (len(APPEND_BOUNDS) + 1)
    """Acts recorded by the time that took: one count per bound of APPEND_BOUNDS, not cumulative, and one above them all."""
    append_seconds: float = 0.0
    """That time, all together."""
    sinks: tuple[SinkObservation, ...] = ()
    """In the order of the configuration."""
    flows: FlowObservation | None = None
    """None: none are collected."""
    nases: tuple[NasObservation, ...] = ()
    """NASes that are asked to slow lines."""
    nas_requests: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Requests to NASes since the start by (`model.nas.RequestKind`, `model.nas.RequestOutcome`); a missing one is zero."""
    nas_causes: Mapping[str, int] = field(default_factory=dict)
    """Refusals since the start by the word of `model.nas.ErrorCause`; a missing one is zero."""
    nas_dropped: Mapping[str, int] = field(default_factory=dict)
    """Datagrams since the start by one of NAS_DROPS; a missing one is zero."""
    usage_batches: Mapping[str, int] = field(default_factory=dict)
    """Batches of usage since the start by `model.usage.Source`,"""
    usage_last: Mapping[str, float] = field(default_factory=dict)
    """and when the last one was of (UNIX seconds); one that never handed in is missing."""
    segments: tuple[SegmentObservation, ...] = ()
    """In the order of the configuration; none before the first look."""
    lines: LineObservation | None = None
    """None: lines are limited by nobody here."""
    dnstap: DnstapObservation | None = None
    """None: no resolver is to tell of queries."""

    radius_packets: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """RADIUS packets since the start by (one of RADIUS_KINDS, outcome of `model.sessions.AccountingOutcome`); a missing one is zero."""
    sessions: int = 0
    """Live sessions."""
    sessions_unknown: int = 0
    """Of these, those of users who are no customers."""
    sessions_replaced: int = 0
    """Sessions since the start that lost their address to another without a Stop."""
    sessions_doubted: int = 0
    """Reports of octets since the start that cannot follow those before, and were not counted."""
    sessions_waiting: int = 0
    """Facts about sessions that are not on disk yet; what tells them is not answered."""
    sessions_unfolded: int = 0
    """Lines of the record that say a session goes on, to be put in the session's own."""
    sessions_failing: bool = False
    """What RADIUS says cannot be written: nothing of it is answered."""
    policy_zones: PrimaryObservation | None = None
    """None: none are published."""

    def total(self, counter: Counter) -> int:
        return self.totals.get(counter, 0)
