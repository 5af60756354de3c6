"""The packet path without sockets or clock: tables in memory, packets put in by hand, time as told.

`Plane` is one worker's desk with its cache, counts and ring. A client's packet goes in by `ask`, a
resolver's by `respond`; what would have been sent is returned. The compiled functions are the
product's own, called with the types the product calls them with, so nothing is compiled for tests.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import dns.message
import dns.name
import dns.rcode
import dns.rrset
import numpy as np
import pytest

from sekisho.drivers.tablerows import STANDING, CustomerRow, standings
from sekisho.model.addresses import key_of as key_of_prefix
from sekisho.model.addresses import prefix_of
from sekisho.model.clauses import BlockRule, BudgetRule, Ede, NoticeTime, OptOut, OverBudget, Profile, Record
from sekisho.model.counters import Counter
from sekisho.model.customers import Prefix
from sekisho.model.lists import Action, ActionKind, Entry, ListDefinition, ListFormat, LocalRecord, Trigger
from sekisho.plane import cache as packets
from sekisho.plane import worker as desks
from sekisho.plane.forward import expire, take_answer
from sekisho.plane.loop import look_up
from sekisho.plane.queries import serve_query
from sekisho.snapshot import layout
from sekisho.snapshot.build import Exemption, Garden, build
from sekisho.snapshot.compiling import COMPILED, compiled
from sekisho.snapshot.digest import digest_name, key_of
from sekisho.snapshot.entries import CompiledList
from sekisho.snapshot.layout import Customers, Snapshot
from sekisho.snapshot.people import build_customers, fields_of, fill
from sekisho.snapshot.sections import Array, Kind, unpack

UNCOMPILED: list[pytest.MarkDecorator] = [pytest.mark.uncompiled]
"""Marks of a module whose tests also run as plain Python, where 64-bit arithmetic that wraps makes NumPy warn."""
if os.environ.get("NUMBA_DISABLE_JIT", "0") not in {"", "0"}:
    UNCOMPILED.append(pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning"))

KEY = key_of(bytes(range(16)))
SECOND = 1_000_000_000
START = 1_000_000 * SECOND
"""A moment of the monotonic clock to begin at."""
BOTH = Trigger.EXACT | Trigger.BELOW
RECORD = Record((), 1.0)
ALLOWED, CUSTOMER, OPTED_OUT, BUDGET, TRUNCATING, SILENCED, STRANGER, GARDENED, RESTRICTED = (f"192.0.2.{last}" for last in range(1, 10))


def wire(name: str) -> bytes:
    """A name in canonical wire form."""
    return dns.name.from_text(name).canonicalize().to_wire() or b""


def rule(
    clause: str, *, mandatory: bool = False, ede: Ede = Ede.BLOCKED, answer: Action | None = None, check_cnames: bool = False
) -> BlockRule:
    opt_out = OptOut.NOBODY if mandatory else OptOut.CUSTOMER
    return BlockRule(
        clause, ("c2",), answer, opt_out, consent_required=False, consent_versions=(), notice=NoticeTime.NONE, ede=ede, record=RECORD,
        check_cnames=check_cnames,
    )  # fmt: skip


def profile(*rules: BlockRule | None, budget: str | None = None) -> Profile:
    """What terms say of the lists in order; `budget` is the clause of a hard budget."""
    limit = BudgetRule(budget, 1, 1, OverBudget.DROP, NoticeTime.NONE, RECORD) if budget else None
    return Profile(("gunma",), (*rules, *(None,) * (64 - len(rules))), limit)


def definition(order: int, *, sealed: bool = False, answer: Action | None = None) -> ListDefinition:
    return ListDefinition(f"list-{order}", order, "c2", "names", ListFormat.DOMAINS, answer=answer, sealed=sealed)


def compile_entries(entries: Iterable[Entry]) -> CompiledList:
    """A list as the compiler of feeds makes it, straight from its entries; a name that stands twice counts once."""
    found = {digest_name(entry.name, KEY): entry for entry in entries}
    order = sorted(found)
    actions: list[Action] = []

    def number(action: Action | None) -> int:
        if action is None:
            return 0
        if action not in actions:
            actions.append(action)
        return actions.index(action) + 1

    rows = [found[digest] for digest in order]
    return CompiledList(
        np.array(order, np.uint64).reshape(-1, 2),
        np.array([entry.triggers for entry in rows], np.uint8),
        np.array([number(entry.exact) for entry in rows], np.uint32),
        np.array([number(entry.below) for entry in rows], np.uint32),
        np.array([depth_of(entry.name) for entry in rows], np.uint8),
        tuple(actions),
    )


def depth_of(name: bytes) -> int:
    """Labels of a name; of the key of a prefix its length."""
    found = prefix_of(name)
    return found[0].length if found else dns.name.from_wire(name, 0)[0].__len__() - 1


def prefix_entry(prefix: str, action: Action | None = None, kind: Trigger = Trigger.ADDRESS) -> Entry:
    """An entry that holds answers which lead there, or (CLIENT) who asks from there."""
    return Entry(key_of_prefix(Prefix.parse(prefix), kind), Trigger.EXACT | kind, action)


def entry(name: str, action: Action | None = None, triggers: Trigger = BOTH) -> Entry:
    return Entry(wire(name), triggers, action, action)


def exempt(order: int, name: str, triggers: Trigger = BOTH) -> Exemption:
    return Exemption(order, *digest_name(wire(name), KEY), dns.name.from_text(name).__len__() - 1, int(triggers))


def exempt_prefix(order: int, prefix: str, kind: Trigger = Trigger.ADDRESS) -> Exemption:
    there = Prefix.parse(prefix)
    return Exemption(order, *digest_name(key_of_prefix(there, kind), KEY), there.length, int(Trigger.EXACT | kind))


def read_only(array: Array) -> Array:
    view: Array = array.view()
    view.flags.writeable = False
    return view


def open_snapshot(data: bytes | bytearray) -> Snapshot:
    """A snapshot's tables as the plane maps them."""
    _, arrays = unpack(data, Kind.SNAPSHOT, layout.SNAPSHOT_VERSION)
    return Snapshot(*(read_only(arrays[name]) for name in Snapshot.names()))


def make_snapshot(
    lists: Sequence[tuple[ListDefinition, CompiledList]],
    profiles: Sequence[Profile],
    exceptions: Sequence[Exemption] = (),
    epoch: int = 1,
    *,
    grounds: Sequence[str] = (),
    garden: Garden | None = None,
) -> Snapshot:
    return open_snapshot(build(epoch, lists, profiles, exceptions, KEY, grounds=grounds, garden=garden))


def address(text: str) -> tuple[Any, Any]:
    """Both words of an address in the one 128-bit space."""
    prefix = Prefix.parse(text)
    return np.uint64(prefix.value >> 64), np.uint64(prefix.value & (1 << 64) - 1)


def make_customers(rows: Sequence[CustomerRow], allow: Sequence[str] = ()) -> Customers:
    """The customers' tables as the plane maps them; rows are numbered from 1."""
    owned = [(Prefix.parse(text), layout.ALLOWED) for text in allow]
    owned += [(prefix, number) for number, row in enumerate(rows, 1) for prefix in row.prefixes]
    _, arrays = unpack(build_customers(1, len(rows) + 1, len(owned), 0), Kind.CUSTOMERS, layout.CUSTOMERS_VERSION)
    fill(
        arrays["slots"].reshape(-1), arrays["rows"].reshape(-1), arrays["present"],
        np.array([prefix.value >> 64 for prefix, _ in owned], np.uint64),
        np.array([prefix.value & (1 << 64) - 1 for prefix, _ in owned], np.uint64),
        np.array([prefix.length for prefix, _ in owned], np.uint8),
        np.array([number for _, number in owned], np.uint32),
    )  # fmt: skip
    standing = fields_of(arrays["rows"], layout.ROW)
    standing["flags"][layout.ALLOWED] = layout.ACTIVE | layout.NETWORK
    for number, row in enumerate(rows, 1):
        told = standings([row])
        for name in STANDING:
            standing[name][number] = told[name][0]
    return Customers(*(read_only(arrays[name]) for name in Customers.names()))


def at(text: str) -> tuple[Prefix, ...]:
    return (Prefix.parse(text),)


PEOPLE = (
    CustomerRow("customer", at(CUSTOMER), 0b111, 0),
    CustomerRow("opted-out", at(OPTED_OUT), 0b100, 0),
    CustomerRow("budget", at(BUDGET), 0, 0, budget_rate=10, budget_burst=2),
    CustomerRow("truncating", at(TRUNCATING), 0, 0, budget_rate=10, budget_burst=2, over_truncate=True),
    CustomerRow("silenced", at(SILENCED), 0b111, 0, silenced=True, measure=1),
    CustomerRow("v6", at("2001:db8:1::/48"), 0b111, 0),
    CustomerRow("gardened", at(GARDENED), 0b111, 0, garden=True, measure=2),
    CustomerRow("restricted", at(RESTRICTED), 0, 0, budget_rate=1, budget_burst=1, limiter=1),
)
CLAUSE, MANDATORY_CLAUSE, BUDGET_CLAUSE = "gunma/別記-1", "nbnet/21-1", "gunma/19-2"
GROUNDS = ("nbnet/22-2-5", "nbnet/22-1")
"""Clauses of measures: the first silences and restricts, the second leads into the walled garden."""
PAGE = Action(
    ActionKind.SINKHOLE, (LocalRecord(1, 10, bytes((203, 0, 113, 80))), LocalRecord(28, 10, bytes.fromhex("20010db8" + "00" * 11 + "80")))
)
LET_OUT = ("notice.test", "sealed.example", "panel.isp.test")
SINKHOLE = Action(
    ActionKind.SINKHOLE, (LocalRecord(1, 60, bytes((203, 0, 113, 9))), LocalRecord(28, 60, bytes.fromhex("20010db8" + "00" * 11 + "09")))
)
ENTRIES: Mapping[str, Action | None] = {
    "bad.example": None,
    "nodata.example": Action(ActionKind.NODATA),
    "refused.example": Action(ActionKind.REFUSED),
    "drop.example": Action(ActionKind.DROP),
    "sink.example": SINKHOLE,
    "tcponly.example": Action(ActionKind.TCP_ONLY),
    "chase.example": Action(ActionKind.CHASE, (LocalRecord(5, 30, wire("garden.test")),)),
    "local.example": Action(ActionKind.LOCAL_DATA, (LocalRecord(1, 300, bytes((192, 0, 2, 99))), LocalRecord(16, 30, b"\x05hello"))),
    "large.example": Action(ActionKind.LOCAL_DATA, tuple(LocalRecord(16, 60, b"\xc8" + bytes((65 + row,)) * 200) for row in range(10))),
    "pass.example": Action(ActionKind.PASSTHRU),
}
"""List 0, open; list 1 is open and holds pass.example too; list 2 is sealed and mandatory."""


GARDEN = Garden(PAGE, tuple(wire(name) for name in LET_OUT))


def checkpoint_snapshot(garden: Garden | None = GARDEN, *more: Entry, check_cnames: bool = False) -> Snapshot:
    open_list = compile_entries([*(entry(name, action) for name, action in ENTRIES.items()), *more])
    second = compile_entries([entry("pass.example"), entry("second.example")])
    sealed = compile_entries([entry("sealed.example"), entry("bad.example")])
    terms = profile(
        rule(CLAUSE, check_cnames=check_cnames), rule(CLAUSE, check_cnames=check_cnames),
        rule(MANDATORY_CLAUSE, mandatory=True, ede=Ede.CENSORED), budget=BUDGET_CLAUSE,
    )  # fmt: skip
    lists = [(definition(0), open_list), (definition(1), second), (definition(2, sealed=True), sealed)]
    return make_snapshot(lists, [terms], grounds=GROUNDS, garden=garden)


def looking_snapshot() -> Snapshot:
    """The same where answers are looked through: for addresses, an IPv4 and an IPv6 prefix, and for aliases."""
    prefixes = ("203.0.113.0/28", "203.0.113.66", "2001:db8:bad::/48", "c000::/16")
    return checkpoint_snapshot(GARDEN, *(prefix_entry(one) for one in prefixes), check_cnames=True)


def sockaddr(host: str, port: int) -> bytes:
    """As a C sockaddr."""
    one = ipaddress.ip_address(host)
    if one.version == 4:
        return int(socket.AF_INET).to_bytes(2, "little") + port.to_bytes(2, "big") + one.packed + bytes(8)
    return int(socket.AF_INET6).to_bytes(2, "little") + port.to_bytes(2, "big") + bytes(4) + one.packed + bytes(4)


@compiled
def take_own(snapshot, customers, key, epoch, cache, counts, hits, desk, number, base, length, now, second):
    """`take_answer` of what lies in the desk. Handed in from Python its packets are an array of another type than within the
    record: all that reads an answer would be compiled again for that.
    """
    take_answer(snapshot, customers, key, epoch, cache, counts, hits, desk, number, desk.packets, base, length, now, second)


class Fields:
    """The arrays of a record, looked up once: a record makes each anew whenever it is named, which is most of what is done uncompiled."""

    def __init__(self, record: Any) -> None:
        self.__dict__ = {name: record[name] for name in record.dtype.names}


class Plane:
    """One worker between a client and `upstreams` resolvers, at a time that only the test moves."""

    def __init__(
        self, snapshot: Snapshot | None = None, customers: Customers | None = None, *, upstreams: int = 2, sockets: int = 2, **settings: int
    ) -> None:
        self.snapshot = checkpoint_snapshot() if snapshot is None else snapshot
        self.customers = make_customers(PEOPLE, [ALLOWED]) if customers is None else customers
        self.buckets = np.zeros(len(self.customers.rows), np.uint64)
        self.counts: Any = layout.Counts(**layout.empty_counts(len(self.customers.rows)))  # type: ignore[arg-type]
        self.hits: Any = layout.Hits(**layout.empty_hits())
        self.cache = packets.make_cache(settings.pop("cache_bytes", 1 << 20), settings.pop("seed", 7))
        self.now = START
        self.epoch = 1
        self.desk = desks.make_desk() if COMPILED else Fields(desks.make_desk())
        values = {
            "S_TIMEOUT": 2 * SECOND,
            "S_TRIES": 2,
            "S_MAX_STALE": 3600,
            "S_STALE_TTL": 30,
            "S_SOCKETS": sockets,
            "S_UPSTREAMS": upstreams,
        }
        for name, value in (values | settings).items():
            self.desk.settings[getattr(desks, name)] = value
        self.pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(upstreams * sockets)]
        for number, (ours, theirs) in enumerate(self.pairs):
            self.desk.sockets[number] = ours.fileno()
            theirs.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for pair in self.pairs:
            for one in pair:
                one.close()

    @property
    def tables(self) -> tuple[Any, ...]:
        """What a function that looks at answers is given, before the desk."""
        return self.snapshot.view, self.customers.view, KEY, self.epoch, self.cache.view, self.counts.view, self.hits.view

    def ask(self, packet: bytes, source: str = CUSTOMER, *, port: int = 40000, whole: bool = True) -> bytes | None:
        """The answer to a client's packet, or None: silence, or the question went on to a resolver (`asked`)."""
        desk, name = self.desk, sockaddr(source, port)
        desk.packets[: len(packet)] = np.frombuffer(packet, np.uint8)
        desk.sources[: len(name)] = np.frombuffer(name, np.uint8)
        desk.messages[0, 1] = len(name)
        desk.messages[0, 5] = 0
        look_up(self.customers.view, self.buckets, self.counts.view, self.desk, 1)
        serve_query(
            self.snapshot.view, self.customers.view, self.buckets, KEY, self.epoch,
            self.cache.view, self.counts.view, self.hits.view, desk,
            99, 0, len(packet), whole, self.now, self.now // SECOND,
        )  # fmt: skip
        sent = self.sent()
        assert len(sent) < 2
        return sent[0] if sent else None

    def sent(self) -> list[bytes]:
        """Answers that wait for the socket."""
        desk = self.desk
        found = [bytes(desk.answers[row * desks.ROW : row * desks.ROW + int(desk.vectors[row, 1])]) for row in range(int(desk.queued[0]))]
        desk.queued[0] = 0
        return found

    def asked(self) -> list[tuple[int, bytes]]:
        """What the resolvers were asked since the last look, with the number of the socket."""
        found = []
        for number, (_, theirs) in enumerate(self.pairs):
            while True:
                try:
                    found.append((number, theirs.recv(4096)))
                except OSError:
                    break
        return found

    def respond(self, number: int, packet: bytes) -> list[bytes]:
        """A resolver's datagram on socket `number`; returns what clients are sent."""
        # Not the row that `ask` uses, as the kernel would not either.
        base = 5 * desks.ROW
        self.desk.packets[base : base + len(packet)] = np.frombuffer(packet, np.uint8)
        take_own(*self.tables, self.desk, number, base, len(packet), self.now, self.now // SECOND)
        return self.sent()

    def wait(self, seconds: float) -> list[bytes]:
        """Let time pass; returns what clients are sent because of it."""
        self.now += int(seconds * SECOND)
        expire(*self.tables, self.desk, self.now, self.now // SECOND)
        return self.sent()

    def resolve(self, packet: bytes, answer: dns.message.Message | None = None, *records: str, source: str = CUSTOMER) -> bytes | None:
        """Ask, and let an honest resolver answer if it is asked."""
        at_once = self.ask(packet, source)
        if at_once is not None:
            return at_once
        for number, question in self.asked():
            if answer is None:
                answer = reply_to(question, *records)
            answer.id = int.from_bytes(question[:2], "big")
            sent = self.respond(number, answer.to_wire())
            return sent[0] if sent else None
        return None

    def total(self, counter: Counter) -> int:
        return int(self.desk.totals[counter])

    def steps(self) -> dict[str, int]:
        """The steps that decided, those that did."""
        steps = [counter for counter in Counter if counter.name.startswith("STEP_")]
        return {counter.name[5:].lower(): self.total(counter) for counter in steps if self.total(counter)}


def query(name: str, rdtype: str = "A", *, edns: int = -1, identity: int = 1, **options: Any) -> bytes:
    return dns.message.make_query(name, rdtype, use_edns=edns, id=identity, **options).to_wire()


def numbered(packet: bytes, number: int) -> bytes:
    """A query of thousands: `packet`, which asks for a name whose first label is five octets, with the number there and as its id."""
    return (number & 0xFFFF).to_bytes(2, "big") + packet[2:13] + b"%05d" % number + packet[18:]


def reply_to(question: bytes, *records: str, rcode: int = 0, authority: Sequence[str] = ()) -> dns.message.Message:
    """A resolver's answer; `records` and `authority` in zone file form, `@` the question's own name."""
    answer = dns.message.make_response(dns.message.from_wire(question), recursion_available=True)
    answer.set_rcode(dns.rcode.Rcode(rcode))
    for section, texts in ((answer.answer, records), (answer.authority, authority)):
        for text in texts:
            name, ttl, rdclass, rdtype, rdata = text.split(" ", 4)
            owner = answer.question[0].name if name == "@" else dns.name.from_text(name)
            section.append(dns.rrset.from_text(owner, int(ttl), rdclass, rdtype, rdata))
    return answer
