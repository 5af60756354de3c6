"""A world that asks each front what the table of daemon/README.md says of it: a row that stopped being true is a difference."""

from __future__ import annotations

from collections.abc import Mapping

from sekisho.drivers.tablerows import CustomerRow
from sekisho.model.clauses import Ede
from sekisho.model.customers import Prefix
from sekisho.model.lists import Action, ActionKind, Trigger
from support.differential.world import CHASE, CLAUSES, LET_OUT, LOCAL, Held, Question, Said, World
from support.plane import BOTH, SINKHOLE

_ENTRIES = {
    "cut.one.example": (BOTH, Action(ActionKind.NXDOMAIN)),
    "nodata.one.example": (BOTH, Action(ActionKind.NODATA)),
    "refused.one.example": (BOTH, Action(ActionKind.REFUSED)),
    "drop.one.example": (BOTH, Action(ActionKind.DROP)),
    "tcp.one.example": (BOTH, Action(ActionKind.TCP_ONLY)),
    "passed.one.example": (BOTH, Action(ActionKind.PASSTHRU)),
    "local.one.example": (BOTH, LOCAL),
    "alias.one.example": (BOTH, CHASE),
    "tree.one.example": (Trigger.BELOW, Action(ActionKind.NXDOMAIN)),
}
_LATER = {
    "mail.later.one.example": (BOTH, LOCAL),
    "mail.slow.one.example": (BOTH, Action(ActionKind.TCP_ONLY)),
    "x.tree.one.example": (BOTH, Action(ActionKind.NXDOMAIN)),
    "later.one.example": (BOTH, Action(ActionKind.NXDOMAIN)),
}
_ADDRESSES = {"203.0.113.66/32": SINKHOLE, "203.0.113.4/30": LOCAL, "203.0.113.70/32": SINKHOLE}
_LATER_ADDRESSES = {"203.0.113.70/32": SINKHOLE}
_PLAIN, _WITHOUT, _OVER, _GARDEN, _SILENCED, _LISTED, _LATER_LISTED, _LED, _LATER_TCP, _FREED, _PASSED = (
    f"127.30.{number}.9" for number in range(11)
)
_FREED_WITHIN = "127.30.5.8"
QUESTIONS: Mapping[str, Question] = {
    "why": Question(_PLAIN, "cut.one.example", "A", tcp=False, edns=True),
    "negative": Question(_PLAIN, "cut.one.example", "A", tcp=False, edns=False),
    "no data": Question(_PLAIN, "nodata.one.example", "A", tcp=False, edns=False),
    "refused": Question(_PLAIN, "refused.one.example", "A", tcp=False, edns=False),
    "why refused": Question(_PLAIN, "refused.one.example", "A", tcp=False, edns=True),
    "alias": Question(_PLAIN, "alias.one.example", "A", tcp=False, edns=False),
    "alias by TCP": Question(_PLAIN, "alias.one.example", "A", tcp=True, edns=False),
    "data": Question(_PLAIN, "local.one.example", "A", tcp=False, edns=False),
    "data of another TTL": Question(_PLAIN, "local.one.example", "TXT", tcp=False, edns=False),
    "drop": Question(_PLAIN, "drop.one.example", "A", tcp=False, edns=False),
    "drop by TCP": Question(_PLAIN, "drop.one.example", "A", tcp=True, edns=False),
    "TCP alone": Question(_PLAIN, "tcp.one.example", "A", tcp=False, edns=False),
    "TCP, by TCP": Question(_PLAIN, "tcp.one.example", "A", tcp=True, edns=False),
    "passed": Question(_PLAIN, "passed.one.example", "A", tcp=False, edns=True),
    "exception below a wildcard": Question(_PLAIN, "x.tree.one.example", "A", tcp=False, edns=False),
    "a list after one that does not reach": Question(_WITHOUT, "later.one.example", "A", tcp=False, edns=False),
    "budget": Question(_OVER, "www.harmless.example", "A", tcp=False, edns=False),
    "let out of the garden": Question(_GARDEN, LET_OUT[0], "A", tcp=False, edns=False),
    "client of a list": Question(_LISTED, "www.two.example", "A", tcp=False, edns=False),
    "client of a later list": Question(_LATER_LISTED, "passed.one.example", "A", tcp=False, edns=False),
    "TCP alone for a client of a later list": Question(_LATER_TCP, "local.one.example", "A", tcp=True, edns=False),
    "client excepted": Question(_FREED, "local.one.example", "A", tcp=False, edns=False),
    "client excepted within a wider prefix": Question(_FREED_WITHIN, "local.one.example", "A", tcp=False, edns=False),
    "client let through by a list": Question(_PASSED, "local.one.example", "A", tcp=False, edns=False),
    "client led to another name": Question(_LED, "www.two.example", "A", tcp=True, edns=False),
    "garden": Question(_GARDEN, "www.two.example", "A", tcp=False, edns=False),
    "address": Question(_PLAIN, "mail.two.example", "A", tcp=False, edns=False),
    "address of a list before that of the name": Question(_PLAIN, "mail.later.one.example", "A", tcp=False, edns=False),
    "address of a list before that of TCP alone, by TCP": Question(_PLAIN, "mail.slow.one.example", "A", tcp=True, edns=False),
    "several addresses": Question(_PLAIN, "twin.two.example", "A", tcp=False, edns=False),
    "name excepted from a list of addresses": Question(_PLAIN, "mail.freed.example", "A", tcp=False, edns=False),
    "silence": Question(_SILENCED, "www.two.example", "A", tcp=False, edns=False),
}
"""By what they are asked for."""

_ALL_ZONES = {
    "why",
    "no data",
    "refused",
    "why refused",
    "exception below a wildcard",
    "a list after one that does not reach",
    "budget",
    "let out of the garden",
}
_SEVERAL, _EARLIER = "several addresses", "address of a list before that of the name"
_SLOW = "address of a list before that of TCP alone, by TCP"
_ADDRESSED = {"address", _SEVERAL, _SLOW}
"""What leads to listed addresses, though no list before that has the name."""
_WITHIN = "client excepted within a wider prefix"
_OTHERS = _ALL_ZONES | {"negative", "alias"}
OTHERWISE: Mapping[str, set[str]] = {
    "plane": set(),
    "reader": _ADDRESSED,
    "unbound": set(),
    "dnsdist": _ADDRESSED | {"why refused"},
    "recursor": _ADDRESSED | {"alias"},
    "knot": _ADDRESSED,
    "rpz-bind": _OTHERS | {_WITHIN, _EARLIER, _SEVERAL},
    "rpz-unbound": _OTHERS | _ADDRESSED | {"client let through by a list", "client led to another name"},
    "rpz-recursor": _OTHERS
    | {_WITHIN, _SEVERAL, _SLOW, "data of another TTL", "client of a later list", "TCP alone for a client of a later list"},
    "rpz-knot": _ALL_ZONES
    | _ADDRESSED
    | {"alias", "alias by TCP", "client of a list", "client let through by a list", "client led to another name"},
}
"""By front, the questions it answers otherwise than the model does."""


def directed_world() -> World:
    lists = (
        Held(
            _ENTRIES,
            sealed=False,
            answer=None,
            clients={
                "127.30.5.0/24": SINKHOLE,
                "127.30.7.0/24": CHASE,
                "127.30.9.0/24": LOCAL,
                "127.30.10.0/24": Action(ActionKind.PASSTHRU),
            },
            addresses=_ADDRESSES,
        ),
        Held(
            _LATER,
            sealed=False,
            answer=None,
            clients={"127.30.6.0/24": LOCAL, "127.30.8.0/24": Action(ActionKind.TCP_ONLY)},
            addresses=_LATER_ADDRESSES,
        ),
    )
    said = Said(CLAUSES[0], mandatory=False, ede=Ede.BLOCKED)
    return World(
        -1,
        lists,
        ((said, said), (said, said)),
        ((0, "x.tree.one.example", BOTH), (0, "mail.freed.example", BOTH)),
        ((0, "127.30.5.8/32"), (0, "127.30.9.0/24")),
        (),
        {},
        (
            _customer(0),
            _customer(1, mask=0b10),
            _customer(2, budget_rate=1, budget_burst=1000),
            _customer(3, garden=True, measure=2),
            _customer(4, silenced=True, measure=1),
            _customer(5),
            _customer(6),
            _customer(7),
            _customer(8),
            _customer(9),
            _customer(10),
        ),
        frozenset({"c-2"}),
        tuple(QUESTIONS.values()),
    )


def _customer(number: int, mask: int = 0b11, **more: object) -> CustomerRow:
    row: dict[str, object] = {"silenced": False, "garden": False, "measure": 0, "limiter": 0, "budget_rate": 0, "budget_burst": 0}
    prefixes = (Prefix.parse(f"127.30.{number}.0/24"),)
    return CustomerRow(f"c-{number}", prefixes, mask, 0, **(row | {"over_truncate": False} | more))  # type: ignore[arg-type]
