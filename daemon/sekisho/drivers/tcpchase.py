"""CNAME local data over TCP: the alias a list gives a name, and what that alias leads to.

A policy zone may answer a name with a CNAME (draft-vixie-dnsop-dns-rpz-00 section 3.6). Over UDP such a query is
sent here with TC=1. The target is looked up as it stands, by no list; a target `*.garden.example` is
the query name put before `garden.example`. Rare and not compiled: dnspython does the records.
"""

from __future__ import annotations

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from sekisho.drivers.tcpforward import Forwarder
from sekisho.drivers.tcpupstream import Pool
from sekisho.drivers.tcpverdict import Match, Query, Reply
from sekisho.plane.answer import UDP_SIZE
from sekisho.plane.asking import LIMIT
from sekisho.plane.wire import CD, RD, TYPE_ANY, TYPE_CNAME
from sekisho.snapshot.layout import Snapshot

_COUNTS = b"\x00\x01\x00\x00\x00\x00\x00\x00"


async def chase(forwarder: Forwarder, pool: Pool, snapshot: Snapshot, query: Query, match: Match) -> bytes:
    """The answer to a query whose name a list makes an alias: the CNAME and, unless that was asked for, what it leads to."""
    answer = _start(query, match, snapshot)
    name = answer.question[0].name
    alias = alias_of(snapshot, match.action)
    if alias is None:
        answer.set_rcode(dns.rcode.SERVFAIL)
        return _wire(answer)
    ttl, target = alias
    try:
        target = expand(target, name)
    except dns.exception.DNSException:
        answer.set_rcode(dns.rcode.YXDOMAIN)
        return _wire(answer)
    wire = target.to_wire() or b""
    cname = dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.CNAME, wire, 0, len(wire))
    answer.answer.append(dns.rrset.from_rdata(name, ttl, cname))
    if query.qtype in (TYPE_CNAME, TYPE_ANY):
        return _wire(answer)
    head = b"\0\0\0\0" + _COUNTS + wire + query.head[-4:]
    reply = await forwarder.resolve(pool, head, query.flags & CD | RD, query.dnssec)
    if reply is None or not _append(answer, reply):
        return forwarder.give_up(query)
    return _wire(answer)


def alias_of(snapshot: Snapshot, action: int) -> tuple[int, dns.name.Name] | None:
    """TTL and target of an action's CNAME."""
    first, count = int(snapshot.actions[action, 1]), int(snapshot.actions[action, 2])
    for rtype, ttl, start, size in snapshot.records[first : first + count].tolist():
        if rtype == TYPE_CNAME:
            name, _ = dns.name.from_wire(snapshot.rdata[start : start + size].tobytes(), 0)
            return ttl, name
    return None


def expand(target: dns.name.Name, name: dns.name.Name) -> dns.name.Name:
    """The target with a leading `*` replaced by the labels of `name`. Raises dns.name.NameTooLong."""
    if target.labels[0] != b"*":
        return target
    return dns.name.Name(name.labels[:-1] + target.labels[1:])


def _start(query: Query, match: Match, snapshot: Snapshot) -> dns.message.Message:
    """An answer with the question as spelled, the client's flags, and the rule's Extended DNS Error."""
    question = dns.message.from_wire(query.head[:2] + query.flags.to_bytes(2, "big") + _COUNTS + query.head[12:])
    answer = dns.message.make_response(question, recursion_available=True)
    answer.flags |= query.flags & CD
    if query.edns:
        code = dns.edns.EDECode(int(snapshot.ede[match.profile, match.order]))
        start, size = snapshot.spans[int(snapshot.notes[match.profile, match.order])].tolist()
        text = snapshot.text[start : start + size].tobytes().decode() or None
        options: list[dns.edns.Option] = [dns.edns.EDEOption(code, text)]
        answer.use_edns(0, query.dnssec << 15, UDP_SIZE, options=options)
    return answer


def _append(answer: dns.message.Message, reply: Reply) -> bool:
    """Add what the target resolved to; False if it cannot be read."""
    try:
        found = dns.message.from_wire(reply.message)
    except (dns.exception.DNSException, ValueError):
        return False
    answer.set_rcode(found.rcode())
    answer.answer.extend(found.answer)
    # What says that there is nothing may be kept as long as it says (RFC 2308 section 5).
    answer.authority.extend(one for one in found.authority if one.rdtype in (dns.rdatatype.SOA, dns.rdatatype.NSEC, dns.rdatatype.NSEC3))
    return True


def _wire(answer: dns.message.Message) -> bytes:
    try:
        return answer.to_wire(max_size=LIMIT)
    except dns.exception.TooBig:
        answer.answer, answer.authority = [], []
        answer.set_rcode(dns.rcode.SERVFAIL)
        return answer.to_wire(max_size=LIMIT)
