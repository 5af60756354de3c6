"""The lines there are, whose each address is, and what the kernel is known to hold: and what a change of some customers takes.

Owns the working out. When it is written, and that it was, is `control_lines`'s.
"""

from __future__ import annotations

from collections.abc import Mapping

from sekisho.app.control_linecounts import LineCounts
from sekisho.app.control_linewants import LineWants
from sekisho.enforce.difference import Change, Known, both, difference
from sekisho.enforce.drift import Places
from sekisho.enforce.plan import Plan, rivals_in
from sekisho.enforce.wanted import Line, Where, contested, state_of
from sekisho.model.customers import Prefix

AT_ONCE = 1000
"""Customers whose lines are worked out and written in one step: a change that is told meanwhile waits for one."""


class LineBook:
    """What is known, kept up with each change."""

    def __init__(self, wants: LineWants, counts: LineCounts) -> None:
        self._wants, self._counts = wants, counts
        self._lines: dict[str, Line] = {}
        self._rivals: dict[Prefix, set[str]] = {}
        """Customers by prefixes that more than one of them has."""
        self._owners: dict[Prefix, str] = {}
        self.known = Known()
        self.touched: Places | None = None
        """What was written since the look that is under way began; None: there is none."""

    @property
    def lines(self) -> Mapping[str, Line]:
        return self._lines

    @property
    def owners(self) -> Mapping[Prefix, str]:
        """Whose each address is."""
        return self._owners

    def take(self, lines: dict[str, Line], plan: Plan) -> None:
        """What was planned for all lines is done."""
        self.known, self._lines, self._owners, self._rivals = plan.known, lines, plan.owners, plan.rivals

    def forget(self) -> None:
        """Nothing is known of any line."""
        self.known, self._lines, self._owners, self._rivals = Known(), {}, {}, {}

    def noted(self, change: Change) -> None:
        """For a look that is under way: this is our hand."""
        if self.touched is not None:
            self.touched.add(change)

    def change(self, dirty: dict[str, None], where: Where, *, counted: bool) -> Change:
        """What some of `dirty` customers' lines need now, from what the kernel is known to hold; it is known as done.

        Those told last come first, and are taken out.
        """
        customers = [dirty.popitem()[0] for _ in range(min(AT_ONCE, len(dirty)))]
        fresh = self._wants.lines(customers, counted=counted)
        # Who has an address that is somebody else's now is looked at too: it may have gone from one to the other.
        for one in self._concerned(fresh):
            fresh[one] = self._wants.line(one, counted=counted)
            dirty.pop(one, None)
        old = [self._lines[one] for one in fresh if one in self._lines]
        new = [line for line in fresh.values() if line is not None]
        disputed = contested(new)
        wanted = state_of(new, where, disputed)
        found = self.known.part(both(state_of(old, where), wanted))
        change = difference(found, wanted, read=False)
        if change.size:
            self.noted(change)
            self.known.take(change)
        self.moved(fresh, counted=counted)
        for before in old:
            for prefix in before.prefixes:
                self._owners.pop(prefix, None)
                self._rivals.pop(prefix, None)
        for customer, line in fresh.items():
            self._lines.pop(customer, None)
            if line is not None:
                self._lines[customer] = line
                for prefix in line.prefixes:
                    self._owners[prefix] = customer
        if disputed:
            self._rivals |= rivals_in(fresh, disputed)
        return change

    def _concerned(self, fresh: Mapping[str, Line | None]) -> set[str]:
        """Other customers who have, or had, one of the addresses of these or of what these were."""
        before = (line for one in fresh if (line := self._lines.get(one)) is not None)
        given = [prefix for line in (*fresh.values(), *before) if line is not None for prefix in line.prefixes]
        held = {owner for prefix in given if (owner := self._owners.get(prefix)) is not None}
        if self._rivals:
            held.update(rival for prefix in given for rival in self._rivals.get(prefix, ()))
        return held - fresh.keys()

    def moved(self, fresh: Mapping[str, Line | None], *, counted: bool) -> None:
        """Tell who counts of addresses that are another customer's with these lines."""
        if not counted:
            return
        pairs = ((prefix, customer) for customer, line in fresh.items() if line is not None for prefix in line.prefixes)
        self._counts.moved(prefix for prefix, customer in pairs if self._owners.get(prefix, customer) != customer)
