"""The names index against a plain dictionary: lists, scopes, triggers, actions, exceptions, masks, profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dns.name
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.drivers.tablerows import CustomerRow
from sekisho.model.lists import Action, ActionKind, Entry, LocalRecord, Trigger
from sekisho.model.verdicts import Step
from sekisho.plane.names import PRINT_WORDS
from sekisho.plane.verdict import R_KIND, R_LIST, R_MATCH, R_SLOTS, ask_lists
from sekisho.snapshot.digest import digest_name
from support.plane import (
    KEY,
    UNCOMPILED,
    address,
    at,
    compile_entries,
    definition,
    exempt,
    make_customers,
    make_snapshot,
    profile,
    rule,
    wire,
)

pytestmark = UNCOMPILED

# Few labels, so that names meet each other's suffixes.
NAME = (
    st.lists(st.sampled_from(["a", "b", "example", "www", "x" * 63]), min_size=1, max_size=5)
    .map(".".join)
    .filter(lambda name: len(name) < 250)
)
KINDS = [kind for kind in ActionKind if kind not in (ActionKind.DEFAULT, ActionKind.EXCEPT)]
ACTION = st.one_of(st.none(), st.sampled_from([Action(kind, (LocalRecord(1, 60, bytes(4)),)) for kind in KINDS]))
ENTRIES = st.dictionaries(
    NAME, st.tuples(st.sampled_from([Trigger.EXACT, Trigger.BELOW, Trigger.EXACT | Trigger.BELOW]), ACTION, ACTION), max_size=12
)
Entries = Mapping[str, tuple[Trigger, Action | None, Action | None]]


@dataclass(frozen=True)
class Model:
    """What the lists say, in dictionaries: name → (triggers, action of the name, action of what is below)."""

    lists: Sequence[Entries]
    exceptions: Sequence[tuple[int, str, Trigger]]
    mandatory: frozenset[int]

    def holds(self, order: int, name: str) -> tuple[str, ActionKind] | None:
        """The entry of one list that decides on a name, the longest first, the name itself before a wildcard."""
        labels = name.split(".")
        for start in range(len(labels)):
            owner = ".".join(labels[start:])
            trigger = Trigger.BELOW if start else Trigger.EXACT
            if any(where == order and excepted == owner and trigger & triggers for where, excepted, triggers in self.exceptions):
                return None
            if owner in self.lists[order]:
                triggers, exact, below = self.lists[order][owner]
                if triggers & trigger:
                    action = below if start else exact
                    return owner, ActionKind.NXDOMAIN if action is None else action.kind
        return None

    def verdict(self, name: str, mask: int, *, tcp: bool) -> tuple[Step, int, ActionKind, str]:
        orders = [order for order in range(len(self.lists)) if mask >> order & 1]
        for step, wanted in ((Step.MANDATORY, True), (Step.ENTITLED, False)):
            for order in orders:
                if (order in self.mandatory) is not wanted:
                    continue
                found = self.holds(order, name)
                if found is not None:
                    through = found[1] is ActionKind.PASSTHRU or (found[1] is ActionKind.TCP_ONLY and tcp)
                    return Step.CACHE if through else step, order, found[1], found[0]
        return Step.CACHE, -1, ActionKind.DEFAULT, ""


@settings(max_examples=max(150, settings.default.max_examples))
@given(
    st.lists(ENTRIES, min_size=1, max_size=5),
    st.lists(
        st.tuples(st.integers(0, 4), NAME, st.sampled_from([Trigger.EXACT, Trigger.BELOW, Trigger.EXACT | Trigger.BELOW])), max_size=4
    ),
    st.frozensets(st.integers(0, 4)),
    st.lists(st.tuples(NAME, st.integers(0, 31), st.booleans()), min_size=1, max_size=12),
)
def test_the_index_says_what_dictionaries_say(
    lists: list[Entries],
    exceptions: list[tuple[int, str, Trigger]],
    mandatory: frozenset[int],
    queries: list[tuple[str, int, bool]],
) -> None:
    exceptions = [item for item in exceptions if item[0] < len(lists)]
    model = Model(lists, exceptions, mandatory)
    compiled = [
        (definition(order), compile_entries(Entry(wire(name), *what) for name, what in entries.items()))
        for order, entries in enumerate(lists)
    ]
    terms = profile(*(rule(f"clause-{order}", mandatory=order in mandatory) for order in range(len(lists))))
    snapshot = make_snapshot(compiled, [terms], [exempt(*item) for item in exceptions])
    customers = make_customers([CustomerRow(str(mask), at("192.0.2.1"), mask, 0) for mask in range(32)])
    masks, combos, prints, ruling = (
        np.zeros(130, np.uint64),
        np.zeros(130, np.int64),
        np.zeros((130, PRINT_WORDS), np.uint64),
        np.zeros(R_SLOTS, np.int64),
    )
    # Names of the lists are asked as well as names drawn: mostly something is found.
    asked = [*queries, *((name, 31, False) for entries in lists for name in entries)]
    for name, mask, tcp in asked:
        lower, labels = np.zeros(264, np.uint8), np.zeros(130, np.int64)
        octets = wire(name)
        lower[: len(octets)] = np.frombuffer(octets, np.uint8)
        count = len(dns.name.from_text(name)) - 1
        for index in range(1, count):
            labels[index] = labels[index - 1] + octets[labels[index - 1]] + 1
        ruling[:] = 0
        ruling[R_LIST] = -1
        step = Step(
            ask_lists(
                snapshot.view,
                customers.view,
                KEY,
                mask + 1,
                *address("192.0.2.1"),
                lower,
                labels,
                count,
                tcp,
                masks,
                combos,
                prints,
                ruling,
            )
        )
        expected = model.verdict(name, mask & (1 << len(lists)) - 1, tcp=tcp)
        assert (step, int(ruling[R_LIST]), ActionKind(int(ruling[R_KIND]))) == expected[:3]
        if expected[3]:
            assert tuple(map(int, prints[int(ruling[R_MATCH]), :2])) == digest_name(wire(expected[3]), KEY)
