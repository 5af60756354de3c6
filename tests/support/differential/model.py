"""The expected verdict, in plain Python: no table, no digest, no mask but the customer's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

from sekisho.drivers.tablerows import CustomerRow
from sekisho.model.lists import Action, ActionKind, Trigger
from support.differential.upstream import leads
from support.differential.world import ALLOWED, CLAUSES, LET_OUT, TYPES, Question, World
from support.plane import GROUNDS, PAGE

NXDOMAIN = Action(ActionKind.NXDOMAIN)
Record = tuple[int, int, bytes]


@dataclass(frozen=True)
class Verdict:
    """What a client sees. `kind`: "silence", "answered" (the resolver's answer) or "ours"."""

    kind: str
    rcode: int = 0
    tc: bool = False
    records: frozenset[Record] = frozenset()
    """Type, TTL, data."""
    soa: int | None = None
    """Seconds a negative answer may be kept."""
    ede: tuple[int, str] | None = None
    action: ActionKind = ActionKind.DEFAULT
    """Which decided; no client sees it, and it does not count in comparisons."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Verdict) and self._seen() == other._seen()

    def __hash__(self) -> int:
        return hash(self._seen())

    def _seen(self) -> tuple[object, ...]:
        return self.kind, self.rcode, self.tc, self.records, self.soa, self.ede


SILENCE, ANSWERED = Verdict("silence"), Verdict("answered")


def expected(world: World, question: Question, *, answers: bool = True) -> Verdict:
    """What `question` must be answered in `world`; without `answers` where the query alone is judged."""
    found = _verdict(world, question, answers=answers)
    return found if question.edns else replace(found, ede=None)


def _verdict(world: World, question: Question, *, answers: bool) -> Verdict:
    name = question.name.lower()
    customer = customer_of(world, question.source)
    if customer is None:
        network = ip_address(question.source) in ip_network(ALLOWED)
        return ANSWERED if network else Verdict("ours", 5, ede=(18, ""))
    if customer.silenced:
        return SILENCE
    if customer.id in world.over:
        return Verdict("ours", tc=True) if customer.over_truncate and not question.tcp else SILENCE
    if customer.garden and not any(name == one or name.endswith(f".{one}") for one in LET_OUT):
        return answer(PAGE, question, 10, (15, GROUNDS[customer.measure - 1]))
    asked = []
    for order in _ranked(world, customer):
        decided, action = said_of(world, order, question.source, name)
        if decided:
            found = _of_list(world, customer, order, action, question)
            if found != ANSWERED:
                return found
            break
        asked.append(order)
    return _of_answer(world, customer, question, name, asked) if answers else ANSWERED


def _ranked(world: World, customer: CustomerRow) -> list[int]:
    """The lists that reach a customer, in the order they are asked."""
    terms = world.terms[customer.profile]
    reaching = [order for order in range(len(world.lists)) if reaches(world, customer, order)]
    return sorted(reaching, key=lambda order: not ((said := terms[order]) is not None and said.mandatory))


def _of_list(world: World, customer: CustomerRow, order: int, action: Action | None, question: Question) -> Verdict:
    """What a list that holds something says of a query: ANSWERED where it lets it through."""
    said, held = world.terms[customer.profile][order], world.lists[order]
    action = action or held.answer or NXDOMAIN
    if said is None or action.kind is ActionKind.PASSTHRU or (action.kind is ActionKind.TCP_ONLY and question.tcp):
        return ANSWERED
    return answer(action, question, 60, (int(said.ede), "" if held.sealed else said.clause))


def _of_answer(world: World, customer: CustomerRow, question: Question, name: str, asked: list[int]) -> Verdict:
    """What the lists that were asked and held nothing say of what the answer leads to."""
    aliases, addresses = leads(name)
    for order in asked:
        said = world.terms[customer.profile][order]
        if is_excepted(world, order, name):
            continue
        for alias in aliases if said is not None and said.aliases else ():
            decided, action = held_by(world, order, alias)
            if decided:
                return _of_list(world, customer, order, action, question)
        found = []
        for address in addresses.get(question.rdtype, ()):
            known = {*world.lists[order].addresses, *(prefix for of, prefix in world.spared if of == order)}
            within = [prefix for prefix in known if ip_address(address) in ip_network(prefix)]
            longest = max(within, key=lambda prefix: ip_network(prefix).prefixlen, default=None)
            if longest is not None and (order, longest) not in world.spared:
                found.append((-ip_network(longest).prefixlen, int(ip_address(address)), longest))
        if found:
            return _of_list(world, customer, order, world.lists[order].addresses[min(found)[2]], question)
    return ANSWERED


def is_excepted(world: World, order: int, name: str) -> bool:
    """Whether the longest entry for a name is an exception."""
    labels = name.split(".")
    exceptions = {name: triggers for where, name, triggers in world.exceptions if where == order}
    for start in range(len(labels)):
        owner, trigger = ".".join(labels[start:]), Trigger.BELOW if start else Trigger.EXACT
        if exceptions.get(owner, Trigger(0)) & trigger:
            return True
        if world.lists[order].entries.get(owner, (Trigger(0), None))[0] & trigger:
            return False
    return False


def reaches(world: World, customer: CustomerRow, order: int) -> bool:
    """Whether a list is in force for a customer."""
    person, said = world.people.get(customer.id), world.terms[customer.profile][order]
    if person is None:
        return bool(customer.mask >> order & 1)
    return said is not None and person.is_reached(f"list-{order}", said.clause, mandatory=said.mandatory, consent=said.consent)


def customer_of(world: World, source: str) -> CustomerRow | None:
    """By the longest prefix; of a prefix two have, the last. Who shares an address by its ports is known by none."""
    if source in world.shared:
        return None
    best, length = None, -1
    for one in world.customers:
        for prefix in one.prefixes:
            net = ip_network(str(prefix))
            if ip_address(source) in net and net.prefixlen >= length:
                best, length = one, net.prefixlen
    return best


def said_of(world: World, order: int, source: str, name: str) -> tuple[bool, Action | None]:
    """Whether a list holds a client, or else a name, and that entry's own action."""
    decided, action = client_held_by(world, order, source)
    return (decided, action) if decided else held_by(world, order, name)


def client_held_by(world: World, order: int, source: str) -> tuple[bool, Action | None]:
    """Whether a list holds a client by its longest prefix, and that prefix's own action."""
    longest = longest_of(world, order, source)
    if longest is None or (order, longest) in world.unlisted:
        return False, None
    return True, world.lists[order].clients[longest]


def longest_of(world: World, order: int, source: str) -> str | None:
    """The longest prefix of a list, those excepted from it included, that holds a client."""
    known = {*world.lists[order].clients, *(prefix for of, prefix in world.unlisted if of == order)}
    within = [prefix for prefix in known if ip_address(source) in ip_network(prefix)]
    return max(within, key=lambda prefix: ip_network(prefix).prefixlen) if within else None


def held_by(world: World, order: int, name: str) -> tuple[bool, Action | None]:
    """Whether a list holds a name by its longest entry, and that entry's own action."""
    labels = name.split(".")
    exceptions = {name: triggers for where, name, triggers in world.exceptions if where == order}
    for start in range(len(labels)):
        owner, trigger = ".".join(labels[start:]), Trigger.BELOW if start else Trigger.EXACT
        if exceptions.get(owner, Trigger(0)) & trigger:
            return False, None
        triggers, action = world.lists[order].entries.get(owner, (Trigger(0), None))
        if triggers & trigger:
            return True, action
    return False, None


def answer(action: Action, question: Question, ttl: int, ede: tuple[int, str]) -> Verdict:
    kind = action.kind
    if kind is ActionKind.DROP:
        return replace(SILENCE, action=kind)
    if kind in (ActionKind.TCP_ONLY, ActionKind.CHASE) and not question.tcp:
        return Verdict("ours", tc=True, action=kind)
    if kind is ActionKind.CHASE:
        return Verdict("ours", records=frozenset((one.rtype, one.ttl, one.rdata) for one in action.records), action=kind)
    if kind is ActionKind.REFUSED:
        return Verdict("ours", 5, ede=ede, action=kind)
    if kind in (ActionKind.NXDOMAIN, ActionKind.NODATA):
        return Verdict("ours", 3 if kind is ActionKind.NXDOMAIN else 0, soa=ttl, ede=ede, action=kind)
    records = frozenset((one.rtype, one.ttl, one.rdata) for one in action.records if one.rtype == TYPES[question.rdtype])
    return Verdict("ours", records=records, soa=None if records else ttl, ede=ede, action=kind)


assert CLAUSES[2] == "gunma/19-2"
