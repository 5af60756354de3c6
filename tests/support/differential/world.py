"""A seed's world: what the operator listed, what terms say of it, who the customers are, and what is asked."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_network

import numpy as np

from sekisho.drivers.tablerows import CustomerRow, Lent, is_within
from sekisho.drivers.tables import TableWriter
from sekisho.model.clauses import BlockRule, Ede
from sekisho.model.customers import Prefix
from sekisho.model.lists import Action, ActionKind, Entry, LocalRecord, Trigger
from sekisho.sessions.columns import code_of, without
from sekisho.snapshot.build import Garden, build
from support.differential.measured import Sanctions, enforced, make_sanctions
from support.differential.people import NOW, VERSION, Person, make_people, mask_of
from support.plane import (
    BOTH,
    GROUNDS,
    KEY,
    PAGE,
    SINKHOLE,
    compile_entries,
    definition,
    entry,
    exempt,
    exempt_prefix,
    prefix_entry,
    profile,
    rule,
    wire,
)

LABELS = ("a", "b", "www", "mail", "x-1", "l" * 60)
ZONES = ("one.example", "two.example", "deep.three.example", "four.example.net")
ALLOWED = "127.99.0.0/24"
SIX = "::1"
SHARED_ALONE, SHARED_ALLOWED = "127.96.0.1", "127.99.0.77"
"""Addresses shared by ports, around which nobody has a prefix, or the network that is let through."""
INSIDE = "127.99.0.128/29"
"""A customer's, within the network that is let through."""
STRANGER, NETWORK = "127.98.0.1", "127.99.0.1"
LOCAL = Action(ActionKind.LOCAL_DATA, (LocalRecord(1, 300, bytes((192, 0, 2, 99))), LocalRecord(16, 30, b"\x05hello")))
CHASE = Action(ActionKind.CHASE, (LocalRecord(5, 30, wire("garden.example.org")),))
ACTIONS = (
    None, None, Action(ActionKind.NXDOMAIN), Action(ActionKind.NODATA), Action(ActionKind.REFUSED), Action(ActionKind.DROP), SINKHOLE,
    LOCAL, Action(ActionKind.PASSTHRU), Action(ActionKind.TCP_ONLY), CHASE,
)  # fmt: skip
LONGEST = 253
"""Characters of a name (RFC 1035 section 2.3.4: 255 octets)."""
LET_OUT = ("notice.example.org", "panel.one.example")
CLAUSES = ("gunma/別記-1", "nbnet/21-1", "gunma/19-2")
TYPES = {"A": 1, "AAAA": 28, "TXT": 16}


@dataclass(frozen=True)
class Held:
    """One list: by name, its triggers and the action of the name and of what is below."""

    entries: dict[str, tuple[Trigger, Action | None]]
    sealed: bool
    answer: Action | None
    clients: dict[str, Action | None] = field(default_factory=dict)
    """By prefix, what who asks from there is told."""
    addresses: dict[str, Action | None] = field(default_factory=dict)
    """By prefix, what is told where an answer leads there."""

    def compiled(self) -> list[Entry]:
        """Its entries as a feed's reader makes them."""
        entries = [entry(name, action, triggers) for name, (triggers, action) in self.entries.items()]
        entries += [prefix_entry(prefix, action) for prefix, action in self.addresses.items()]
        return entries + [prefix_entry(prefix, action, Trigger.CLIENT) for prefix, action in self.clients.items()]


@dataclass(frozen=True)
class Said:
    """What a profile's terms say of a list."""

    clause: str
    mandatory: bool
    ede: Ede
    consent: bool = False
    """The list reaches who consented alone."""
    aliases: bool = False
    """The list is asked of the aliases in answers."""


@dataclass(frozen=True)
class Question:
    source: str
    name: str
    """As the client spells it."""
    rdtype: str
    tcp: bool
    edns: bool


@dataclass(frozen=True)
class World:
    seed: int
    lists: tuple[Held, ...]
    terms: tuple[tuple[Said | None, ...], ...]
    exceptions: tuple[tuple[int, str, Trigger], ...]
    unlisted: tuple[tuple[int, str], ...]
    """Clients' prefixes that are excepted from a list, by its order."""
    spared: tuple[tuple[int, str], ...]
    """Prefixes of answers' addresses that are, likewise."""
    people: Mapping[str, Person]
    """By customer, why lists reach them or do not; a customer who is none of them is reached as the row says."""
    customers: tuple[CustomerRow, ...]
    over: frozenset[str]
    """Customers who have spent their budget."""
    questions: tuple[Question, ...]
    sanctions: Mapping[str, Sanctions] = field(default_factory=dict)
    """By customer, measures and exemptions from them; whoever has none is silenced or gardened as the row says."""
    shared: tuple[str, ...] = ()
    """Addresses that customers share by ports."""

    def entitled(self) -> tuple[CustomerRow, ...]:
        """The customers with the lists and measures in force for them, by the product's own rule."""
        lists = [definition(order, sealed=one.sealed, answer=one.answer) for order, one in enumerate(self.lists)]
        profiles = [profile(*(_rule(said) if said else None for said in terms)) for terms in self.terms]
        found = []
        for one in self.customers:
            if one.id in self.people:
                one = replace(one, mask=mask_of(one.id, self.people[one.id], profiles[one.profile], lists))  # noqa: PLW2901
            found.append(enforced(one, self.sanctions[one.id], NOW) if one.id in self.sanctions else one)
        return tuple(found)

    def left(self, prefix: Prefix) -> list[Prefix]:
        """What a customer has of a prefix, by the product's own rule."""
        inside = [one for one in map(Prefix.parse, self.shared) if is_within(one, [prefix])]
        return without(prefix, sorted(inside, key=lambda one: one.value))

    def publish(self, writer: TableWriter, epoch: int) -> None:
        """Put the world in force as `epoch`."""
        held = []
        for order, one in enumerate(self.lists):
            held.append((definition(order, sealed=one.sealed, answer=one.answer), compile_entries(one.compiled())))
        profiles = [profile(*(_rule(said) if said else None for said in terms), budget=CLAUSES[2]) for terms in self.terms]
        exemptions = [exempt(order, name, triggers) for order, name, triggers in self.exceptions]
        exemptions += [exempt_prefix(order, prefix, Trigger.CLIENT) for order, prefix in self.unlisted]
        exemptions += [exempt_prefix(order, prefix) for order, prefix in self.spared]
        garden = Garden(PAGE, tuple(wire(name) for name in LET_OUT))
        writer.publish_snapshot(build(epoch, held, profiles, exemptions, KEY, grounds=GROUNDS, garden=garden), epoch)
        lent = Lent((), (), [code_of(Prefix.parse(one)) for one in self.shared])
        writer.load_customers(None, self.entitled(), [Prefix.parse(ALLOWED)], len(self.customers), lent=lent)


def _rule(said: Said) -> BlockRule:
    made = rule(said.clause, mandatory=said.mandatory, ede=said.ede, check_cnames=said.aliases)
    return replace(made, consent_required=True, consent_versions=(VERSION,)) if said.consent else made


def make_world(seed: int, questions: int = 60) -> World:
    """The world of a seed; the same for the same seed."""
    dice = random.Random(seed)
    names = [_name(dice) for _ in range(24)]
    scopes = (Trigger.EXACT, Trigger.BELOW, BOTH)
    lists = tuple(
        Held({dice.choice(names): (dice.choice(scopes), dice.choice(ACTIONS)) for _ in range(dice.randint(0, 10))},
             dice.random() < 0.3, dice.choice((None, None, SINKHOLE, Action(ActionKind.REFUSED))))
        for _ in range(dice.randint(1, 5))
    )  # fmt: skip
    terms = tuple(
        tuple(
            None if dice.random() < 0.2 else Said(dice.choice(CLAUSES), dice.random() < 0.3, dice.choice((Ede.BLOCKED, Ede.CENSORED)))
            for _ in lists
        )
        for _ in range(2)
    )
    exceptions = {(dice.randrange(len(lists)), dice.choice(names)): dice.choice(scopes) for _ in range(dice.randint(0, 3))}
    customers = tuple(_customer(dice, number, len(lists)) for number in range(12))
    over = frozenset(one.id for one in customers if one.budget_rate and dice.random() < 0.6)
    sources = [*(_address(dice, one) for one in customers for _ in range(2)), STRANGER, NETWORK]
    lists = tuple(replace(one, clients=_clients(dice, sources)) for one in lists)
    asked = tuple(_question(dice, names, sources) for _ in range(questions))
    excepted = tuple((order, name, scope) for (order, name), scope in exceptions.items())
    unlisted = _unlisted(dice, lists)
    customers = (*customers, _six(dice, customers[-1], len(lists)))
    lists = tuple(replace(one, clients=one.clients | _clients_of_six(dice)) for one in lists)
    unlisted += tuple((order, prefix) for order, one in enumerate(lists) for prefix in one.clients if ":" in prefix and dice.random() < 0.2)
    asked += tuple(_question(dice, names, [SIX]) for _ in range(questions // 6))
    people: dict[str, Person] = {}
    if dice.random() < 0.6:
        people = make_people(dice, [one.id for one in customers], len(lists), CLAUSES)
        terms = tuple(tuple(said and replace(said, consent=dice.random() < 0.4) for said in one) for one in terms)
    spared: tuple[tuple[int, str], ...] = ()
    if dice.random() < 0.6:
        lists = tuple(replace(one, addresses=_addresses(dice)) for one in lists)
        spared = tuple((order, prefix) for order in range(len(lists)) for prefix in _SERVERS if dice.random() < 0.06)
        terms = tuple(tuple(said and replace(said, aliases=dice.random() < 0.5) for said in one) for one in terms)
    sanctions: dict[str, Sanctions] = {}
    if dice.random() < 0.5:
        sanctions = make_sanctions(dice, [one.id for one in customers], NOW)
        customers = tuple(sanctions[one.id].on(one, NOW) for one in customers)
    shared: tuple[str, ...] = ()
    if dice.random() < 0.5:
        shared = (*(_address(dice, one) for one in customers[:-1] if dice.random() < 0.2), SHARED_ALONE, SHARED_ALLOWED)
        asked += tuple(_question(dice, names, [*shared]) for _ in range(6))
    if dice.random() < 0.5:
        customers = (*customers, replace(dice.choice(customers), id="c-inside", prefixes=(Prefix.parse(INSIDE),), budget_rate=0))
        asked += tuple(_question(dice, names, [_address(dice, customers[-1])]) for _ in range(6))
        if people:
            people |= make_people(dice, ["c-inside"], len(lists), CLAUSES)
    return World(seed, lists, terms, excepted, unlisted, spared, people, customers, over, asked, sanctions, shared)


def _name(dice: random.Random) -> str:
    return ".".join([*(dice.choice(LABELS) for _ in range(dice.randint(0, 3))), dice.choice(ZONES)])


def _customer(dice: random.Random, number: int, lists: int) -> CustomerRow:
    prefixes = [f"127.30.{number}.0/24"]
    if dice.random() < 0.3:
        prefixes.append(f"127.30.{(number + 1) % 12}.{dice.randrange(8) * 8}/29")  # within a neighbour's: the longest counts
    mask = dice.getrandbits(lists) if dice.random() < 0.8 else 0
    row = {"silenced": False, "garden": False, "measure": 0, "limiter": 0, "budget_rate": 0, "budget_burst": 0, "over_truncate": False}
    standing = dice.random()
    if standing < 0.12:
        row |= {"silenced": True, "measure": 1}
    elif standing < 0.24:
        row |= {"garden": True, "measure": 2}
    elif standing < 0.5:
        row |= {"budget_rate": 1, "budget_burst": 1000, "over_truncate": dice.random() < 0.5, "limiter": dice.randrange(2)}
    return CustomerRow(f"c-{number}", tuple(Prefix.parse(one) for one in prefixes), mask, dice.randrange(2), **row)


def _clients(dice: random.Random, sources: list[str]) -> dict[str, Action | None]:
    """Prefixes of clients that a list holds, some within others; mostly none."""
    if dice.random() < 0.6:
        return {}
    lengths = (20, 23, 24, 29, 32, 32)
    there = (ip_network(f"{dice.choice(sources)}/{dice.choice(lengths)}", strict=False) for _ in range(dice.randint(1, 4)))
    return {str(prefix): dice.choice(ACTIONS) for prefix in there}


_SERVERS = (
    "203.0.113.66/32", "203.0.113.64/26", "203.0.113.0/24", "203.0.113.7/32", "198.51.100.0/29", "2001:db8:bad::/48", "2001:db8:bad::66/128",
)  # fmt: skip


def _addresses(dice: random.Random) -> dict[str, Action | None]:
    return {prefix: dice.choice(ACTIONS) for prefix in _SERVERS if dice.random() < 0.35}


def _six(dice: random.Random, like: CustomerRow, lists: int) -> CustomerRow:
    """A customer of an IPv6 prefix, who is as another is but for the lists."""
    prefix = Prefix.parse(dice.choice(("::1/128", "::/120", "::/112")))
    return replace(like, id="c-six", prefixes=(prefix,), mask=dice.getrandbits(lists) if dice.random() < 0.8 else 0, budget_rate=0)


def _clients_of_six(dice: random.Random) -> dict[str, Action | None]:
    return {prefix: dice.choice(ACTIONS) for prefix in ("::1/128", "::/124", "::/104") if dice.random() < 0.1}


def _unlisted(dice: random.Random, lists: tuple[Held, ...]) -> tuple[tuple[int, str], ...]:
    """Exceptions of clients: of prefixes a list holds, and of such within them."""
    found = set()
    for order, one in enumerate(lists):
        for prefix in one.clients:
            net = ip_network(prefix)
            if dice.random() < 0.4:
                longer = min(net.prefixlen + dice.choice((0, 0, 1, 4)), net.max_prefixlen)
                found.add((order, str(ip_network((int(net.network_address), longer)))))
    return tuple(sorted(found))


def _address(dice: random.Random, one: CustomerRow) -> str:
    net = ip_network(str(one.prefixes[0])) if "/" in str(one.prefixes[0]) else None
    assert net is not None
    return str(net[dice.randrange(1, net.num_addresses - 1)])


def _question(dice: random.Random, names: list[str], sources: list[str]) -> Question:
    name = dice.choice(names) if dice.random() < 0.8 else _name(dice)
    if dice.random() < 0.4:
        longer = f"{dice.choice(LABELS)}.{name}"
        name = longer if len(longer) <= LONGEST else name
    if dice.random() < 0.05:
        name = dice.choice(LET_OUT)
    if dice.random() < 0.3:
        name = "".join(dice.choice((str.upper, str.lower))(letter) for letter in name)
    return Question(dice.choice(sources), name, dice.choice(tuple(TYPES)), dice.random() < 0.2, dice.random() < 0.75)


def spend(world: World, rows: Mapping[str, int], full: np.ndarray, now: int) -> None:
    """Let customers' budgets, by their rows, be as the world says, at monotonic `now` (ns)."""
    for one in world.customers:
        full[rows[one.id]] = now + 1_000_900_000_000 if one.id in world.over else 0
