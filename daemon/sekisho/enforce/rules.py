"""Our tables of nftables: chains and rules, as JSON of libnftables-json(5).

Two tables are ours, both named `sekisho`: of the family `inet` all that is decided where a packet passes, and of `netdev` what
leads the packets of slowed customers through the device on which they wait their turn - that has to happen before a packet
has a way, which the family `inet` does not know. Nothing else in the kernel is read or written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from itertools import groupby
from typing import Any

from sekisho.enforce.state import COUNTING, PARTED, PARTS, WHOLE, Role, Table
from sekisho.enforce.wanted import Where
from sekisho.model.customers import Prefix

Json = dict[str, Any]

NAME = "sekisho"
INET, NETDEV = "inet", "netdev"
FAMILIES = (INET, NETDEV)
MAIL_PORTS = (25, 465, 587)
_BEFORE_TRACKING = -300
_MANGLE = -150
_SOURCE = frozenset({Role.SILENCE, Role.NO_MAIL, Role.MAIL, Role.UP, Role.COUNT_UP, Role.COUNT_MAIL, Role.COUNT_QUERIES})
_COUNTED = COUNTING | {Role.SILENCE}
_MAPS = {Role.DOWN: "classid", Role.UP: "classid", Role.MAIL: "limit"}


@dataclass(frozen=True, slots=True)
class Chain:
    """One chain: how it is hooked in (None: another one jumps to it), and its rules."""

    family: str
    name: str
    hook: Json | None
    rules: tuple[tuple[Json, ...], ...]


@dataclass(frozen=True, slots=True)
class Names:
    """Where the name servers answer: addresses by port; `anywhere`: ports at every address of this machine."""

    at: tuple[tuple[int, tuple[Prefix, ...]], ...] = ()
    anywhere: tuple[int, ...] = ()
    counted: tuple[Prefix, ...] = ()
    """Name servers, at port 53, the queries to which are counted where that is wanted: those whose queries nobody else counts."""


def family_of(role: Role) -> str:
    return NETDEV if role is Role.UP else INET


def set_body(table: Table) -> tuple[str, Json]:
    """The kind of object a table is (`set`, `map`), and what it is made with."""
    body: Json = {"family": family_of(table.role), "table": NAME, "name": table.name, "type": "ipv6_addr" if table.six else "ipv4_addr"}
    if table.role in _MAPS:
        return "map", {**body, "map": _MAPS[table.role]}
    return "set", {**body, "stmt": [{"counter": None}]} if table.role in _COUNTED else body


def table_named(name: str) -> Table | None:
    """The table of a name; None for a name that is none of ours."""
    word, _, place = name.partition("_")
    bits, _, part = place.partition("_")
    if not word or word[-1] not in "46" or not bits.isdecimal() or len(bits) > 3 or len(part) > 1:
        return None
    try:
        table = Table(Role(word[:-1]), word[-1] == "6", int(bits), int(part, 16) if part else WHOLE)
    except ValueError:
        return None
    if table.part != WHOLE and table.role not in PARTED:
        return None
    return table if table.name == name and table.bits <= _width(table) else None


def chains(tables: Iterable[Table], where: Where, names: Names) -> tuple[Chain, ...]:
    """All chains there have to be for these tables. Longest prefixes are looked up first."""
    by_role: dict[Role, list[Table]] = {}
    for table in sorted(tables, key=lambda one: (one.six, -one.bits, one.part)):
        by_role.setdefault(table.role, []).append(table)
    made = [one for role, known in by_role.items() for one in _inner(role, known, where)]
    # What is dropped comes no further: it is not counted twice.
    asked = (*(_to_names(names) if Role.SILENCE in by_role else ()), *(_asked(names) if Role.COUNT_QUERIES in by_role else ()))
    if asked:
        made.append(_base(INET, "names", "prerouting", _BEFORE_TRACKING, asked))
    forward = _forward(by_role, where)
    if forward:
        made.append(_base(INET, "forward", "forward", _MANGLE, forward))
    if Role.UP in by_role and where.down:
        # A chain for each device: older libraries do not take several in JSON.
        hook = {"type": "filter", "hook": "ingress", "prio": 0, "policy": "accept"}
        for number, device in enumerate(where.down, 1):
            made.append(Chain(NETDEV, f"ingress{number}", hook | {"dev": device}, ((_jump(Role.UP),),)))
    return tuple(sorted(made, key=lambda one: (one.family, one.hook is not None, one.name)))


def _inner(role: Role, tables: Sequence[Table], where: Where) -> Iterator[Chain]:
    """The chain that looks an address up, where what is found ends the look-up, and one for each part of a table.

    Whose part has them not comes back to the chain and is looked up among the shorter prefixes. Parts that led on to each other's
    would be as deep as there are lengths, and the kernel takes no chains deeper than sixteen.
    """
    groups = [list(group) for _, group in groupby(tables, key=lambda one: (one.six, one.bits))]
    yield Chain(family_of(role), role.value, None, tuple(rule for group in groups for rule in _look_up(role, group, where)))
    for table in tables:
        if table.part != WHOLE:
            yield Chain(family_of(role), table.name, None, (_does(role, table, where),))


def _look_up(role: Role, group: Sequence[Table], where: Where) -> Iterator[tuple[Json, ...]]:
    """Rules for the tables of one family and length."""
    yield from (_does(role, table, where) for table in group if table.part == WHOLE)
    parts = [table for table in group if table.part != WHOLE]
    if parts:
        yield (_send(parts),)


def _send(parts: Sequence[Table]) -> Json:
    """To the part an address is in, and back."""
    shift = _width(parts[0]) - parts[0].bits
    among = [(table.part << shift, {"jump": {"target": table.name}}) for table in parts if not table.part << shift >> _width(table)]
    ways: list[object] = [[_address(value, six=parts[0].six), verdict] for value, verdict in among]
    mask = _address((PARTS - 1 << shift) & (1 << _width(parts[0])) - 1, six=parts[0].six)
    return {"vmap": {"key": {"&": [_payload(parts[0]), mask]}, "data": {"set": ways}}}


def _does(role: Role, table: Table, where: Where) -> tuple[Json, ...]:
    key = _key(table)
    found: Json = _equal(key, f"@{table.name}")
    mapped: Json = {"map": {"key": key, "data": f"@{table.name}"}}
    classify: Json = {"mangle": {"key": {"meta": {"key": "priority"}}, "value": mapped}}
    refuse: Json = {"reject": {"type": "tcp reset"}}
    steps: Mapping[Role, tuple[Json, ...]] = {
        Role.SILENCE: (found, {"drop": None}),
        Role.NO_MAIL: (found, refuse),
        Role.MAIL: (_proto("tcp"), {"limit": mapped}, refuse),
        Role.DOWN: (classify, {"return": None}),
        Role.UP: (classify, {"fwd": {"dev": where.up}}),
        # The last that is done in its hook: whoever is counted is through, in whatever chain that was.
        Role.COUNT_QUERIES: (found, {"accept": None}),
    }
    return steps.get(role, (found, {"return": None}))


def _key(table: Table) -> Json:
    width = _width(table)
    if table.bits == width:
        return _payload(table)
    return {"&": [_payload(table), _address((1 << width) - (1 << width - table.bits), six=table.six)]}


def _payload(table: Table) -> Json:
    return {"payload": {"protocol": "ip6" if table.six else "ip", "field": "saddr" if table.role in _SOURCE else "daddr"}}


def _width(table: Table) -> int:
    """Bits of an address."""
    return 128 if table.six else 32


def _address(value: int, *, six: bool) -> str:
    return str(IPv6Address(value) if six else IPv4Address(value))


def _to_names(names: Names) -> tuple[tuple[Json, ...], ...]:
    """Queries to the name servers: who is silenced is looked up for them and for nothing else."""
    rules: list[tuple[Json, ...]] = []
    local: Json = _equal({"fib": {"result": "type", "flags": ["daddr"]}}, "local")
    rules.extend((*_queries(port), local, _jump(Role.SILENCE)) for port in names.anywhere)
    for port, prefixes in names.at:
        rules.extend((*_queries(port), to, _jump(Role.SILENCE)) for to in _to(prefixes))
    return tuple(rules)


def _asked(names: Names) -> tuple[tuple[Json, ...], ...]:
    """Queries to name servers that are counted: each datagram, and of TCP each connection, however much is asked on it."""
    port: Json = _equal({"payload": {"protocol": "th", "field": "dport"}}, 53)
    return tuple(
        (*kind, to, _jump(Role.COUNT_QUERIES))
        for to in _to(names.counted)
        for kind in ((_proto("udp"), port), (_proto("tcp"), port, _opening()))
    )


def _to(prefixes: Iterable[Prefix]) -> Iterator[Json]:
    """That a packet goes to one of some addresses, for each family."""
    texts = [str(one).partition("/")[0] for one in prefixes]
    for protocol, six in (("ip", False), ("ip6", True)):
        own = sorted(text for text in texts if (":" in text) is six)
        if own:
            yield _equal({"payload": {"protocol": protocol, "field": "daddr"}}, _any(own))


def _queries(port: int) -> tuple[Json, Json]:
    kind: Json = _equal({"meta": {"key": "l4proto"}}, _any(["tcp", "udp"]))
    return kind, _equal({"payload": {"protocol": "th", "field": "dport"}}, port)


def _forward(by_role: Mapping[Role, object], where: Where) -> tuple[tuple[Json, ...], ...]:
    """What passes: counted first, then refused, then put in a class."""
    rules: list[tuple[Json, ...]] = [(_jump(role),) for role in (Role.COUNT_DOWN, Role.COUNT_UP) if role in by_role]
    mail: list[Role] = [role for role in (Role.COUNT_MAIL, Role.NO_MAIL, Role.MAIL) if role in by_role]
    ports: Json = _equal({"payload": {"protocol": "tcp", "field": "dport"}}, _any(list(MAIL_PORTS)))
    rules += [(ports, _opening(), _jump(role)) for role in mail]
    if Role.DOWN in by_role and where.down:
        out: Json = _equal({"meta": {"key": "oifname"}}, _any(list(where.down)))
        rules.append((out, _jump(Role.DOWN)))
    return tuple(rules)


def _base(family: str, name: str, hook: str, priority: int, rules: tuple[tuple[Json, ...], ...]) -> Chain:
    return Chain(family, name, {"type": "filter", "hook": hook, "prio": priority, "policy": "accept"}, rules)


def _proto(name: str) -> Json:
    return _equal({"meta": {"key": "l4proto"}}, name)


def _opening() -> Json:
    """The first packet of a connection of TCP."""
    return _equal({"&": [{"payload": {"protocol": "tcp", "field": "flags"}}, ["fin", "syn", "rst", "ack"]]}, "syn")


def _jump(role: Role) -> Json:
    return {"jump": {"target": role.value}}


def _equal(left: Json, right: object) -> Json:
    return {"match": {"op": "==", "left": left, "right": right}}


def _any(values: Sequence[object]) -> object:
    """One value, or a set of several."""
    return values[0] if len(values) == 1 else {"set": list(values)}
