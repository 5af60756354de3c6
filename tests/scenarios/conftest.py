"""One checkpoint for the scenarios: every kind of list, and customers each test adds for itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scenarios.harness import Checkpoint, Resolver, folders, running, write_site

SEALED_MARK = "withheldmark"
"""Part of every name on the sealed lists of this site, and of the lines there that cannot be read."""

C2 = [f"c{number}.c2.example" for number in range(60)]
SEALED = [f"a{number}.{SEALED_MARK}.example" for number in range(60)]
SEALED_TREES = [f"t{number}.{SEALED_MARK}-tree.example" for number in range(5)]
EXACT = [f"e{number}.exact.example" for number in range(10)]
IN_BOTH = "in-both.example"

POLICY = """\
$TTL 60
@ SOA ns.policy.example. hostmaster.policy.example. 1 3600 900 604800 60
@ NS ns.policy.example.
gone.policy.example CNAME .
nodata.policy.example CNAME *.
drop.policy.example CNAME rpz-drop.
tcp.policy.example CNAME rpz-tcp-only.
data.policy.example A 192.0.2.80
data.policy.example AAAA 2001:db8::80
*.tree.policy.example CNAME .
pass.tree.policy.example CNAME rpz-passthru.
garden.policy.example CNAME walled.harmless.example.
32.7.2.0.192.rpz-nsip CNAME .
"""

LISTS: list[dict[str, object]] = [
    {"id": "abuse", "category": "child-abuse", "source": "abuse.txt", "format": "domains", "scope": "exact", "sealed": True},
    {"id": "abuse-trees", "category": "child-abuse", "source": "trees.txt", "format": "domains", "scope": "subtree", "sealed": True},
    {"id": "policy", "category": "c2", "source": "policy.rpz", "format": "rpz", "zone": "policy.rpz.test"},
    {"id": "c2", "category": "c2", "source": "c2.txt", "format": "domains", "scope": "subtree", "answer": "nxdomain"},
    {"id": "c2-exact", "category": "c2", "source": "exact.txt", "format": "domains", "scope": "exact"},
    {
        "id": "c2-sinkhole",
        "category": "c2",
        "source": "hosts",
        "format": "hosts",
        "scope": "exact",
        "answer": {"a": ["192.0.2.66"], "aaaa": ["2001:db8::66"]},
    },
    {"id": "opinions", "category": "opinions", "source": "opinions.txt", "format": "adblock", "scope": "subtree"},
]

SOURCES = {
    "abuse.txt": "\n".join(
        [*SEALED, IN_BOTH, "", f"no {SEALED_MARK} name at all", f"{SEALED_MARK}..example", "x" * 70 + f".{SEALED_MARK}.example"]
    ),
    "trees.txt": "\n".join([*SEALED_TREES, "com"]),
    "policy.rpz": POLICY,
    "c2.txt": "\n".join(["# C&C", *C2, IN_BOTH, "this line is none"]),
    "exact.txt": "\n".join(EXACT),
    "hosts": "0.0.0.0 sink.example\n",
    "opinions.txt": "||opinion.example^\n",
}


@pytest.fixture(scope="session")
def resolver() -> Iterator[Resolver]:
    with Resolver().running() as one:
        yield one


@pytest.fixture(scope="session")
def field(resolver: Resolver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkpoint]:
    """The site of most scenarios: `gunma` and `nbnet`, seven lists, no customer but those the tests add."""
    with folders(tmp_path_factory.mktemp("field")) as (folder, runtime):
        site = write_site(folder, runtime, [resolver.port], lists=LISTS, sources=SOURCES, allow=["127.9.9.0/24"])
        with running(site) as one:
            yield one
