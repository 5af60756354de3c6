"""Asking as one customer would: from an address of one's own, over UDP or TCP."""

from __future__ import annotations

import contextlib
import socket

import dns.edns
import dns.exception
import dns.message
import dns.query
import dns.rdatatype
import dns.rrset

PATIENCE = 30.0
"""Seconds an answer may take on a busy machine before a test gives up."""
AGAIN = 10.0
"""Seconds before a query over UDP is asked again. It is sent twice where the plane that took it died, not where the machine is slow:
tests count."""


def ask(
    host: str, port: int, source: str | None, name: str, rdtype: str = "A", *, tcp: bool = False, edns: bool = True, **options: object
) -> dns.message.Message:
    """One query and its answer. Over UDP it is asked again now and then, as a stub resolver does."""
    query = dns.message.make_query(name, rdtype, use_edns=0 if edns else -1, **options)  # type: ignore[arg-type]
    if tcp:
        return dns.query.tcp(query, host, port=port, source=source, timeout=PATIENCE)
    for _ in range(int(PATIENCE / AGAIN)):
        with contextlib.suppress(dns.exception.Timeout):
            return dns.query.udp(query, host, port=port, source=source, timeout=AGAIN)
    raise AssertionError(f"no answer for a query of type {rdtype} from {source}")


def silence(host: str, port: int, source: str, asked: dns.message.Message, after: dns.message.Message) -> bool:
    """Whether `asked` gets no answer although `after`, sent behind it from the same socket, gets one.

    Packets of one socket are dealt with in order by one worker, and `after` is one that has to be
    forwarded: once its answer is here, whatever was to be said to the first has been said.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.bind((source, 0))
        client.connect((host, port))
        client.settimeout(PATIENCE)
        client.send(asked.to_wire())
        client.send(after.to_wire())
        while True:
            identity = int.from_bytes(client.recv(65535)[:2], "big")
            if identity == after.id:
                return True
            if identity == asked.id:
                return False


def addresses(answer: dns.message.Message) -> set[str]:
    """The addresses an answer gives."""
    wanted = (dns.rdatatype.A, dns.rdatatype.AAAA)
    return {record.to_text() for rrset in answer.answer if rrset.rdtype in wanted for record in rrset}


def ede_code(answer: dns.message.Message) -> int | None:
    """The Extended DNS Error of an answer (RFC 8914)."""
    return next((int(option.code) for option in answer.options if isinstance(option, dns.edns.EDEOption)), None)


def soa_name(answer: dns.message.Message) -> str | None:
    """Whose SOA an answer carries in its authority section, for negative caching."""
    return next((rrset.name.to_text() for rrset in answer.authority if rrset.rdtype == dns.rdatatype.SOA), None)
