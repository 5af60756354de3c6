"""What the Lua reader costs: dnsdist, PowerDNS Recursor and Knot Resolver alone and with it, CPU time a query.

dnsperf asks names that are cached, and names that are listed, from one customer's address over loopback. Alone a resolver has both in its cache.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.test_plugin import CLIENT, measure, place
from support.differential.fronts import Front, Place, dnsdist, knot, recursor
from support.differential.model import ANSWERED
from support.differential.world import Question

__all__ = ["place"]
NAMES = 200
"""Of each kind: few, so that every resolver has them in its cache."""


@dataclass(frozen=True)
class Alone(Place):
    """A place where resolvers load nothing."""

    def plugin(self, resolver: str, *, closed: bool = False) -> Path:
        into = self.folder / resolver
        into.mkdir()
        (into / f"sekisho_{resolver}.lua").touch()
        return into


@pytest.mark.parametrize("start", [dnsdist, recursor, knot])
def test_what_the_reader_costs_a_query(place: Place, tmp_path: Path, start: Callable[[Place], AbstractContextManager[Front]]) -> None:
    cached, listed = tmp_path / "cached", tmp_path / "listed"
    cached.write_text("".join(f"w{number}.harmless.example A\n" for number in range(NAMES)))
    listed.write_text("".join(f"n{number}.listed.example A\n" for number in range(NAMES)))
    for title, kind in (("alone", Alone), ("with the reader", Place)):
        folder = tmp_path / kind.__name__
        folder.mkdir()
        with start(kind(folder, place.tables, place.key, place.upstream)) as front:
            asked = front.ask(Question(CLIENT, "n1.listed.example", "A", tcp=False, edns=True), 5)
            assert (asked == ANSWERED) == (kind is Alone), asked
            for names in (cached, listed):
                measure(front, names, 1)
            (fast, rate), (block, blocked) = measure(front, cached), measure(front, listed)
            print(
                f"\n{front.name} {title}: cached {fast:.1f} us, {rate:.0f}/s; listed {block:.1f} us, {blocked:.0f}/s",
                file=sys.stderr,
            )
            assert fast > 0 < block
