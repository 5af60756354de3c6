"""The one resolver behind all fronts, in a process of its own: those who ask keep this one's interpreter busy.

Where a name leads is in its first label: `x-1` is another name of the rest, `mail`, `a` and `twin` have addresses that lists may hold.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.name
import dns.rrset

from scenarios.harness import Resolver
from scenarios.harness.resolver import honest
from support import free_port

CLEAN = {"A": ("198.51.100.7",), "AAAA": ("2001:db8::7",)}
SERVERS = {
    "mail": {"A": ("203.0.113.66",), "AAAA": ("2001:db8:bad::66",)},
    "a": {"A": ("198.51.100.7", "203.0.113.7"), "AAAA": ("2001:db8::7", "2001:db8:bad::7")},
    "twin": {"A": ("203.0.113.5", "203.0.113.70")},
}
"""By first label, and type."""
ALIAS, LEAST = "x-1", 3
"""A name with that first label, and no fewer labels, is an alias."""


def leads(name: str) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """The aliases of a name (lower case), one after the other, and the addresses of the last, by type."""
    labels, aliases = name.split("."), []
    while labels[0] == ALIAS and len(labels) >= LEAST:
        labels = labels[1:]
        aliases.append(".".join(labels))
    return aliases, SERVERS.get(labels[0], CLEAN)


def behave(packet: bytes) -> list[tuple[bytes, bool]]:
    query = dns.message.from_wire(packet)
    question = query.question[0]
    aliases, addresses = leads(question.name.to_text(omit_final_dot=True).lower())
    data = addresses.get(question.rdtype.name, ())
    if not data and not aliases:
        return honest(packet)
    answer, owner = dns.message.make_response(query, recursion_available=True, our_payload=1232), question.name
    for alias in aliases:
        answer.answer.append(dns.rrset.from_text(owner, 300, "IN", "CNAME", f"{alias}."))
        owner = dns.name.from_text(alias)
    data = data or ('"' + "x" * 202 + '"',)
    if question.rdtype.name in {"A", "AAAA", "TXT"}:
        answer.answer.append(dns.rrset.from_text_list(owner, 300, "IN", question.rdtype, data))
    return [(answer.to_wire(), False)]


@contextlib.contextmanager
def answering() -> Iterator[int]:
    """The port of a resolver that answers every name."""
    port = free_port()
    argv = [sys.executable, "-c", f"from support.differential.upstream import serve; serve({port})"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield port
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(20)


def serve(port: int) -> None:
    """Answer until the input ends."""
    with Resolver(port=port, behave=behave).running():
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.read()
