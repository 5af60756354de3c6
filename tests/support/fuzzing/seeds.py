"""What mutants of packets begin with: well-formed queries, answers of every kind, and what their parts look like."""

from __future__ import annotations

import dns.edns
import dns.message

from support.plane import (
    ENTRIES,
    query,
    reply_to,
)

_SOA = "example 600 IN SOA ns.example. hostmaster.example. 1 2 3 4 120"


def query_seeds() -> list[bytes]:
    """Well-formed queries: all that the lists hold, every shape of EDNS, the longest names."""
    names = [*ENTRIES, "www.bad.example", "sealed.example", "second.example", "www.example", "x" * 63 + ".example"]
    found = [query(name, kind) for name in names for kind in ("A", "TXT", "ANY")]
    found += [query(name, "AAAA", edns=0, payload=4096, want_dnssec=True) for name in names]
    cookies = [dns.edns.GenericOption(10, bytes(size)) for size in (8, 16, 24, 40)]
    found += [query("bad.example", edns=0, options=[cookie]) for cookie in cookies]
    found += [query("example", edns=0, options=[dns.edns.GenericOption(code, b"\0\1\0\0")]) for code in (3, 8, 11, 12, 15)]
    longest = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
    return [
        *found,
        query(longest),
        query(".".join("a" * 127)),
        query("example", "AXFR"),
        query("example", "SOA", flags=0),
        query(".", "NS"),
    ]


def answer_seeds() -> list[bytes]:
    """What a resolver may answer when asked for `000.a.example`: each kind of answer, names and addresses of lists, and the room it takes."""
    question = query("000.a.example")
    many = reply_to(question, *(f"@ 300 IN TXT {'x' * 200}{number}" for number in range(6)))
    errors = reply_to(question, "@ 300 IN A 198.51.100.7")
    errors.use_edns(0, options=[dns.edns.EDEOption(22, "no route"), dns.edns.GenericOption(10, bytes(24))])
    alias = reply_to(question, "@ 60 IN CNAME other.example.", "other.example 60 IN A 198.51.100.7")
    listed = [
        reply_to(question, "@ 60 IN A 198.51.100.7", "@ 60 IN A 203.0.113.66", "@ 60 IN AAAA 2001:db8:bad::1"),
        reply_to(
            question, "@ 60 IN CNAME a.bad.example.", "a.bad.example 60 IN CNAME local.example.", "local.example. 60 IN A 203.0.113.3"
        ),
        *(reply_to(question, f"@ 60 IN CNAME {name}.example.") for name in ("drop", "tcponly", "chase", "pass", "large", "sink")),
    ]
    negative = reply_to(question, rcode=3, authority=[_SOA])
    glue = reply_to(question, authority=["example 60 IN NS ns.example."])
    failed = reply_to(question, rcode=2)
    # And as many octets as a client takes, or a few more or less.
    full = [reply_to(question, *_records(size)) for limit in (512, 1232) for size in range(limit - 24, limit + 48, 8)]
    return [message.to_wire(max_size=4096) for message in (many, errors, alias, negative, glue, failed, *listed, *full)]


QUERY_TOKENS = [
    b"\xc0\x0c", b"\xc0\x00", b"\xff\xff", b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00", b"\x00\x00\x29\x04\xd0\x00\x01\x80\x00\x00\x04",
    b"\x00\x0a\x00\x08\x01\x02\x03\x04\x05\x06\x07\x08", b"\x00\x0f\x00\x02\x00\x0f", b"\x03bad\x07example\x00", b"\x07example\x00",
    b"\x00\x01\x00\x01", b"\x00\xff\x00\x01", b"\x00\x00\xfa\x00\xff\x00\x00\x00\x00\x00\x00", b"\x3f" + b"x" * 63, b"\x01a", b"\x00",
]  # fmt: skip


def _records(size: int) -> list[str]:
    """Text records that make an answer to a question of the target `size` octets long, its OPT record left out."""
    left, texts = size - 31, []
    while left > 12:
        text = min(200, left - 13)
        texts.append(f"@ 300 IN TXT {chr(97 + len(texts)) * max(1, text)}")
        left -= 13 + text
    return texts
