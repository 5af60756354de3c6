"""What a front cannot express, as the table of daemon/README.md has it: the verdict it gives instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from sekisho.drivers.tablerows import CustomerRow
from sekisho.model.lists import Action, ActionKind, Trigger
from support.differential.model import (
    ANSWERED,
    NXDOMAIN,
    SILENCE,
    Verdict,
    answer,
    client_held_by,
    customer_of,
    expected,
    held_by,
    is_excepted,
    longest_of,
    reaches,
    said_of,
)
from support.differential.upstream import leads
from support.differential.world import CHASE, LOCAL, Held, Question, World
from support.plane import PAGE

JUDGES_ANSWERS = {"plane", "unbound"}
"""The others judge queries alone."""


def said_by(front: str, world: World, question: Question) -> Verdict:
    """What a reader of the tables says."""
    wanted = expected(world, question, answers=front in JUDGES_ANSWERS)
    if front == "recursor":
        return _recursor(question, wanted)
    if front == "dnsdist" and wanted.kind == "ours" and wanted.soa is None and not wanted.records:
        # It makes the OPT record of such an answer itself.
        return replace(wanted, ede=None)
    return wanted


def _recursor(question: Question, wanted: Verdict) -> Verdict:
    if wanted.action is ActionKind.CHASE and not question.tcp:
        return Verdict("ours", records=frozenset((one.rtype, one.ttl, one.rdata) for one in CHASE.records), action=wanted.action)
    return wanted


def said_by_zones(front: str, world: World, question: Question) -> Verdict | None:
    """What policy zones say, read off the table of README; None where they are not asked.

    Not said: budgets, names let out of the walled garden, terms that differ beyond one order, an exception to one list
    alone below a wildcard or within a wider prefix, EDE, SOA, REFUSED. Not asked: addresses that are nobody's, prefixes within another
    customer's, which no site has, other names of names, which resolvers ask the zones of as they come by them, and what is by chance.
    """
    customer = customer_of(world, question.source)
    address = ip_address(question.source)
    within = [one for one in world.customers for prefix in one.prefixes if address in ip_network(str(prefix))]
    if len(within) > 1 or (customer is None and address not in ip_network("127.99.0.0/24")):
        return None
    if customer is None:
        # Let through before the first list that may reach anybody.
        return ANSWERED
    if customer.silenced:
        return SILENCE
    if leads(question.name.lower())[0]:
        return None
    known = _READ_BY[front](world) if front in _READ_BY else world
    found = answer(PAGE, question, 10, (15, "")) if customer.garden else _by_lists(front, world, known, question, customer)
    if front == "rpz-recursor" and not customer.garden:
        found = _by_clients(world, question, customer) or found
    if found is None:
        return None
    if front == "rpz-recursor" and found.action is ActionKind.LOCAL_DATA:
        # One TTL for all data of a name: that of its first record.
        found = replace(found, records=frozenset((rtype, LOCAL.records[0].ttl, rdata) for rtype, _, rdata in found.records))
    return _by_knot(found, question) if front == "rpz-knot" else _without_reasons(found, question)


def _by_lists(front: str, world: World, known: World, question: Question, customer: CustomerRow) -> Verdict | None:
    """`known` has the entries that the resolver understands. None: by chance."""
    found, before = _by_query(front, world, known, question, customer)
    if front == "rpz-bind":
        # It keeps to the order of the zones: an address of one comes before a name of the next.
        return _bind_by_addresses(world, before, question) or found
    if front == "rpz-recursor" and found == ANSWERED and found.action is not ActionKind.TCP_ONLY:
        return _recursor_by_addresses(world, before, question)
    return found


def _by_query(front: str, world: World, known: World, question: Question, customer: CustomerRow) -> tuple[Verdict, list[int]]:
    """What the zones say of client and name, and the lists whose zones were asked before and said nothing."""
    name, terms = question.name.lower(), world.terms[customer.profile]
    before: list[int] = []
    for order in _order(world):
        if not reaches(world, customer, order) or terms[order] is None:
            break
        if front == "rpz-unbound" and _let_through_by(known, order, question.source):
            # The names of the same zone still count.
            decided, action = held_by(known, order, name)
            if not decided:
                break
        elif _excepted_within_a_wider_prefix(known, order, question.source):
            break
        else:
            decided, action = said_of(known, order, question.source, name)
        if decided:
            return _said(world, order, action, question), before
        if _excepted_below_a_wildcard(world, order, name) or (world.lists[order].addresses and is_excepted(world, order, name)):
            break
        before.append(order)
    return ANSWERED, before


def _said(world: World, order: int, action: Action | None, question: Question) -> Verdict:
    """What a list's zone says by an entry with this action of its own."""
    action = action or world.lists[order].answer or NXDOMAIN
    passed = action.kind is ActionKind.PASSTHRU or (action.kind is ActionKind.TCP_ONLY and question.tcp)
    return replace(ANSWERED, action=action.kind) if passed else answer(action, question, 60, (15, ""))


Triggers = dict[IPv4Network | IPv6Network, Action | None]


def _addresses_of(world: World, order: int) -> Triggers:
    """The triggers on addresses in a list's zone: what is excepted is gone, or let through where a wider one is left."""
    spared = {ip_network(prefix) for of, prefix in world.spared if of == order}
    held: Triggers = {net: action for prefix, action in world.lists[order].addresses.items() if (net := ip_network(prefix)) not in spared}
    lifted = [one for one in spared if any(one.version == net.version and one.subnet_of(net) for net in held)]  # type: ignore[arg-type]
    return held | dict.fromkeys(lifted, Action(ActionKind.PASSTHRU))


def _bind_by_addresses(world: World, orders: Sequence[int], question: Question) -> Verdict | None:
    """BIND: the first zone decides, in it the longest prefix.

    But of several addresses the second and later are not looked at where a zone behind the one that was found holds them alike.
    """
    zones = [_addresses_of(world, order) for order in orders]
    best: tuple[int, int] | None = None
    decided: tuple[int, Action | None] | None = None
    for address in sorted(map(ip_address, leads(question.name.lower())[1].get(question.rdtype, ())), key=int):
        left = range(len(zones))
        while left:
            net, holding = _nearest(zones, left, address)
            if net is None or (best is not None and (best[0] < holding or (best[0] == holding and best[1] > net.prefixlen))):
                break
            best, decided = (holding, net.prefixlen), (orders[holding], zones[holding][net])
            left = range(holding)
    return _said(world, *decided, question) if decided is not None else None


def _nearest(zones: Sequence[Triggers], left: range, address: IPv4Address | IPv6Address) -> tuple[IPv4Network | IPv6Network | None, int]:
    """The longest prefix for an address that no earlier of some zones hides by a shorter one, and the last of the zones with it."""
    found: tuple[IPv4Network | IPv6Network | None, int] = None, -1
    reach = len(left)
    for net in sorted({net for place in left for net in zones[place] if address in net}, key=lambda net: net.prefixlen):
        there = [place for place in left if net in zones[place]]
        if there[0] < reach:
            found, reach = (net, there[-1]), there[0] + 1
    return found


def _recursor_by_addresses(world: World, orders: Sequence[int], question: Question) -> Verdict | None:
    """PowerDNS Recursor: any address that a zone holds decides, by the first zone that holds it; None: which one is by chance."""
    found = set()
    for address in map(ip_address, leads(question.name.lower())[1].get(question.rdtype, ())):
        for order in orders:
            held = _addresses_of(world, order)
            longest = max((net for net in held if address in net), key=lambda net: net.prefixlen, default=None)
            if longest is not None:
                # As a client sees them: one that leads elsewhere and one that wants TCP are not alike there.
                found.add(_without_reasons(_said(world, order, held[longest], question), question))
                break
    return (found.pop() if found else ANSWERED) if len(found) < SEVERAL else None


SEVERAL = 2


def _by_clients(world: World, question: Question, customer: CustomerRow) -> Verdict | None:
    """Recursor asks all zones for the client before it asks any for the name: what a list says of a client comes first."""
    for order in _order(world):
        if not reaches(world, customer, order) or world.terms[customer.profile][order] is None:
            return None
        if _excepted_within_a_wider_prefix(world, order, question.source):
            return None
        decided, action = client_held_by(world, order, question.source)
        if decided:
            action = action or world.lists[order].answer or NXDOMAIN
            if action.kind is ActionKind.TCP_ONLY and question.tcp:
                return ANSWERED
            return None if action.kind is ActionKind.PASSTHRU else answer(action, question, 60, (15, ""))
    return None


def _order(world: World) -> list[int]:
    """Lists in the order of their zones: mandatory for anybody first."""
    said = [[terms[order] for terms in world.terms if terms[order] is not None] for order in range(len(world.lists))]
    there = [order for order, some in enumerate(said) if some]
    return sorted(there, key=lambda order: not any(one.mandatory for one in said[order] if one is not None))


def _excepted_below_a_wildcard(world: World, order: int, name: str) -> bool:
    """Whether an exception is why a list does not hold a name that an entry above the exception would reach."""
    labels = name.split(".")
    exceptions = {owner: triggers for of, owner, triggers in world.exceptions if of == order}
    entries = world.lists[order].entries
    excepted = False
    for start in range(len(labels)):
        owner, trigger = ".".join(labels[start:]), Trigger.BELOW if start else Trigger.EXACT
        lifted = bool(exceptions.get(owner, Trigger(0)) & trigger)
        if excepted and lifted:
            return False
        if excepted and entries.get(owner, (Trigger(0), None))[0] & Trigger.BELOW:
            return True
        excepted = excepted or lifted
    return False


def _excepted_within_a_wider_prefix(world: World, order: int, source: str) -> bool:
    """Whether a client is let through, as its own prefix is excepted and a wider one of the list holds it."""
    longest = longest_of(world, order, source)
    if longest is None or (order, longest) not in world.unlisted:
        return False
    excepted = {prefix for of, prefix in world.unlisted if of == order}
    wider = [one for one in world.lists[order].clients if one not in excepted and ip_address(source) in ip_network(one)]
    return any(ip_network(one).prefixlen < ip_network(longest).prefixlen for one in wider)


def _let_through_by(world: World, order: int, source: str) -> bool:
    """Whether a list's zone has PASSTHRU for a client."""
    decided, action = client_held_by(world, order, source)
    passed = decided and (action or world.lists[order].answer or NXDOMAIN).kind is ActionKind.PASSTHRU
    return passed or _excepted_within_a_wider_prefix(world, order, source)


KNOT_EDE = {"blocked": (15, ""), "forged": (4, "5DO5")}
KNOT_SOA = 10800


def _read_by_knot(world: World) -> World:
    """Knot Resolver leaves out what leads to another name, and a list's clients."""

    def kept(one: Held) -> Held:
        chased = {name for name, (_, action) in one.entries.items() if action is not None and action.kind is ActionKind.CHASE}
        return replace(one, entries={name: entry for name, entry in one.entries.items() if name not in chased}, clients={})

    return replace(world, lists=tuple(map(kept, world.lists)), unlisted=())


def _read_by_unbound(world: World) -> World:
    """Unbound leads no client to another name: there is no data instead."""

    def kept(one: Held) -> Held:
        chased = {prefix for prefix, action in one.clients.items() if action is not None and action.kind is ActionKind.CHASE}
        return replace(one, clients=one.clients | dict.fromkeys(chased, Action(ActionKind.NODATA)))

    return replace(world, lists=tuple(map(kept, world.lists)))


_READ_BY: Mapping[str, Callable[[World], World]] = {"rpz-knot": _read_by_knot, "rpz-unbound": _read_by_unbound}


def _by_knot(found: Verdict, question: Question) -> Verdict:
    """Knot Resolver: a SOA of its own where there is no data, and an EDE that says what it did, by no clause."""
    if found.kind != "ours" or found.tc:
        return found
    rcode = 0 if found.action is ActionKind.REFUSED else found.rcode
    soa = found.soa if rcode else None if found.records else KNOT_SOA
    return replace(found, rcode=rcode, soa=soa, ede=KNOT_EDE["blocked" if rcode else "forged"] if question.edns else None)


def _without_reasons(verdict: Verdict, question: Question) -> Verdict:
    """No EDE and no SOA; a name gets no data where the list says REFUSED."""
    if verdict.kind != "ours":
        return verdict
    if verdict.action is ActionKind.CHASE and not question.tcp:
        # No TCP is asked for: the resolver follows the alias itself.
        return Verdict("ours", records=frozenset((one.rtype, one.ttl, one.rdata) for one in CHASE.records), action=verdict.action)
    rcode = 0 if verdict.action is ActionKind.REFUSED else verdict.rcode
    return replace(verdict, rcode=rcode, soa=None, ede=None)
