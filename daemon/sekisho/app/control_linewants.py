"""What is wanted of each line now: who a measure is in force on, where they are, and the number of a slowed line.

Owns the numbers: one line's for as long as it needs one, and found again in the kernel after a restart.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from sekisho.enforce.state import MOST_NUMBERS, NO_NUMBER, Class, State
from sekisho.enforce.wanted import Line, line_of, needs_number, numbers_found, outermost
from sekisho.model.customers import Customer, Prefix
from sekisho.model.measures import NONE, Enforcement

_TURN = 1000


class Addresses(Protocol):
    """Who knows where customers are now."""

    def prefixes_of(self, customer: str) -> tuple[Prefix, ...]:
        """The fixed prefixes of a customer and those of live sessions; never an address that is shared by ranges of ports."""
        ...

    def prefixes_of_each(self, customers: Sequence[str]) -> list[tuple[Prefix, ...]]:
        """The same of many."""
        ...


class Customers(Protocol):
    """Who the customers are (`control_people.People`)."""

    def find(self, identity: str) -> Customer | None: ...

    def ids(self) -> Iterator[str]: ...


class LineWants:
    """The lines as the record wants them."""

    def __init__(
        self, people: Callable[[], Customers], enforced: Callable[[], Mapping[str, Enforcement]], addresses: Addresses | None = None
    ) -> None:
        self._people = people
        self._enforced = enforced
        self.addresses = addresses
        self._numbers: dict[str, int] = {}
        self._used: set[int] = set()
        self._last = 0
        self._unslowed = itertools.count(MOST_NUMBERS + 1)
        self.unnumbered = 0
        """Lines that cannot be slowed, since all numbers are taken."""

    def as_if(self, customer: str, what: Enforcement) -> Line:
        """A line as it would be with something in force on it. Without a number yet it has the first."""
        return line_of(self._prefixes(customer), what, self._numbers.get(customer, 1) if needs_number(what) else 0)

    async def all(self, found: State, *, counted: bool) -> dict[str, Line]:
        """Every line something is done to, or that is counted."""
        enforced = dict(self._enforced())
        numbered: dict[str, tuple[Prefix, ...]] = {}
        for some in _turns([one for one, what in enforced.items() if needs_number(what)]):
            numbered.update(zip(some, self._prefixes_of_each(some), strict=True))
            await asyncio.sleep(0)
        kept = await asyncio.to_thread(numbers_found, found, numbered)
        self._numbers = {one: kept.get(one) or self._numbers[one] for one in numbered if one in kept or one in self._numbers}
        for one in [one for one, number in self._numbers.items() if number > MOST_NUMBERS and enforced[one].rate is not None]:
            del self._numbers[one]
        taken: dict[int, str] = {}
        for one, number in list(self._numbers.items()):
            if taken.setdefault(number, one) != one:
                del self._numbers[one]
        self._used = set(taken) | {one.number for one in found.classes}
        self.unnumbered = 0
        customers = self._people().ids() if counted else iter(enforced)
        lines: dict[str, Line] = {}
        for some in _turns([*dict.fromkeys([*customers, *enforced])]):
            lines.update((one, line) for one, line in self.lines(some, counted=counted).items() if line is not None)
            await asyncio.sleep(0)
        return lines

    async def changed(self, lines: Mapping[str, Line], classes: Collection[Class], *, counted: bool) -> list[str]:
        """Customers whose line is another one than in `lines`; `classes` are there. Numbers nobody has any more are free again."""
        self._used = {*self._numbers.values(), *(one.number for one in classes)}
        self.unnumbered = 0
        customers = self._people().ids() if counted else iter(())
        found: list[str] = []
        for some in _turns([*dict.fromkeys([*customers, *self._enforced(), *lines])]):
            found += [one for one, line in self.lines(some, counted=counted).items() if line != lines.get(one)]
            await asyncio.sleep(0)
        return found

    def lines(self, customers: Iterable[str], *, counted: bool) -> dict[str, Line | None]:
        """Some customers' lines, as `line` has each: of a hundred thousand, looking up where they are takes most of the time."""
        enforced = self._enforced()
        found: dict[str, Line | None] = dict.fromkeys(customers)
        wanted = {one: what for one in found if self._concerns(what := enforced.get(one, NONE), counted=counted)}
        for (one, what), prefixes in zip(wanted.items(), self._prefixes_of_each([*wanted]), strict=True):
            if self._numbers or needs_number(what):
                found[one] = self._line(one, what, prefixes, counted=counted)
            else:
                found[one] = Line(prefixes if len(prefixes) < 2 else outermost(prefixes), what, 0, counted)
        for one in found.keys() - wanted.keys() if self._numbers else ():
            self._numbers.pop(one, None)
        return found

    def line(self, customer: str, *, counted: bool) -> Line | None:
        """A line as it is to be now; None: nothing is done to it, nor is it counted."""
        what = self._enforced().get(customer, NONE)
        if not self._concerns(what, counted=counted):
            self._numbers.pop(customer, None)
            return None
        return self._line(customer, what, self._prefixes(customer), counted=counted)

    @staticmethod
    def _concerns(what: Enforcement, *, counted: bool) -> bool:
        return counted or what.silenced or what.rate is not None or what.mail is not None

    def _line(self, customer: str, what: Enforcement, prefixes: tuple[Prefix, ...], *, counted: bool) -> Line:
        number = 0
        if needs_number(what):
            number = self._numbers.get(customer, 0)
            if not number or (number > MOST_NUMBERS and what.rate is not None):
                number = self._new_number(slowed=what.rate is not None)
            if number:
                self._numbers[customer] = number
            else:
                self.unnumbered += 1
        elif self._numbers:
            self._numbers.pop(customer, None)
        return Line(prefixes if len(prefixes) < 2 else outermost(prefixes), what, number, counted)

    def _new_number(self, *, slowed: bool) -> int:
        """A number no line has, and no class that is still there; 0: there is none. Who is not slowed needs none that a class can have."""
        if not slowed:
            while (number := next(self._unslowed)) in self._used:
                pass
            self._used.add(number)
            return number
        for _ in range(MOST_NUMBERS):
            self._last = self._last % MOST_NUMBERS + 1
            if self._last not in self._used and self._last != NO_NUMBER:
                self._used.add(self._last)
                return self._last
        return 0

    def _prefixes(self, customer: str) -> tuple[Prefix, ...]:
        if self.addresses is not None:
            return self.addresses.prefixes_of(customer)
        found = self._people().find(customer)
        return found.prefixes if found is not None else ()

    def _prefixes_of_each(self, customers: Sequence[str]) -> list[tuple[Prefix, ...]]:
        if self.addresses is not None:
            return self.addresses.prefixes_of_each(customers)
        return list(map(self._prefixes, customers))


def _turns(customers: Sequence[str]) -> Iterator[Sequence[str]]:
    """As many at a time as others wait for."""
    return (customers[begin : begin + _TURN] for begin in range(0, len(customers), _TURN))
