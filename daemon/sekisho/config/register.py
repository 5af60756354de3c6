"""The register: every customer of the customer file, in little memory.

A million customers are a million ids and a few arrays: what customers share (terms, plan, group,
exemptions; consents of one day) is kept once, prefixes are numbers, and a `Customer` is made when
one is asked for. Lines are kept, so that a fault found later still says where.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from sekisho.config.faultlist import MAX_FAULTS, Faults
from sekisho.config.overlaps import Keys, Words, find_overlaps, overlapping_rows, sorted_keys, sorted_order
from sekisho.config.prefixes import Numbers, PrefixColumn
from sekisho.model.customers import Consent, Customer, Fee, Plan, Prefix, together


@dataclass(frozen=True, slots=True)
class Contract:
    """What customers share: all but id, consent, prefixes and contacts."""

    terms: tuple[str, ...]
    plan: Plan | None = None
    group: str | None = None
    exempt: tuple[str, ...] = ()
    fee: Fee | None = None


@dataclass(frozen=True, slots=True)
class Overlap:
    """A prefix of one customer that overlaps a prefix of another."""

    prefix: Prefix
    other: str
    other_prefix: Prefix
    where: str
    """`customers.csv:17`, where the other one stands; empty if in no file."""


class Customers:
    """The customers of one file: sized, iterable in the file's order, asked by id."""

    def __init__(self, file: str = "") -> None:
        self.file = file
        self._rows: dict[str, int] = {}
        self._lines = array("I")
        self._contracts: list[Contract] = []
        self._contract_of = array("I")
        self._consents: list[Consent | None] = [None]
        self._consent_of = array("I")
        self._prefixes = PrefixColumn()
        self._emails: list[str | None] = []
        self._languages: dict[int, str] = {}
        self._names: list[str] = []
        self._logins: dict[str, int] = {}
        self._logins_of: dict[int, tuple[str, ...]] = {}
        self._logins_twice: list[tuple[int, str, int]] = []
        self._owners: NDArray[np.uint32] | None = None
        self._order: NDArray[np.intp] = np.empty(0, np.intp)
        self._keys: Keys = np.empty(0, "S16")
        self._present: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[Customer]:
        contracts, consents, prefixes = self._contracts, self._consents, self._prefixes
        rows = zip(self._rows, self._contract_of, self._consent_of, self._emails, prefixes.rows(), strict=True)
        for row, (identity, number, agreed, email, held) in enumerate(rows):
            contract = contracts[number]
            shared = (contract.plan, contract.group, contract.exempt)
            language, logins = self._languages.get(row), self._logins_of.get(row, ())
            yield Customer(identity, contract.terms, held, consents[agreed], *shared, email, contract.fee, language, logins)

    def __contains__(self, identity: object) -> bool:
        return identity in self._rows

    def get(self, identity: str) -> Customer | None:
        row = self._rows.get(identity)
        return None if row is None else self._make(identity, row)

    def prefixes_of(self, identity: str) -> tuple[Prefix, ...]:
        """A customer's prefixes: a part of `get`, in a third of the time."""
        row = self._rows.get(identity)
        return () if row is None else self._prefixes.row(row)

    def prefixes_of_each(self, identities: Iterable[str]) -> list[tuple[Prefix, ...]]:
        """The same of many: none of who is none."""
        rows = np.array([-1 if row is None else row for row in map(self._rows.get, identities)], np.int64)
        column, known = self._prefixes, rows >= 0
        starts = np.frombuffer(column.starts, np.uint32)
        first = starts[np.where(known, rows, 0)].astype(np.int64)
        many = np.where(known, starts[np.where(known, rows + 1, 0)] - first, 0)
        ends = np.cumsum(many)
        index = np.repeat(first - (ends - many), many) + np.arange(many.sum())
        highs, lows, lengths = (
            np.frombuffer(part, kind)[index].tolist()
            for part, kind in ((column.high, np.uint64), (column.low, np.uint64), (column.lengths, np.uint8))
        )
        values = [high << 64 | low for high, low in zip(highs, lows, strict=True)]
        prefixes = iter(together(values, lengths))
        return [tuple(islice(prefixes, size)) for size in many.tolist()]

    def ids(self) -> Iterator[str]:
        return iter(self._rows)

    def line(self, identity: str) -> int:
        """Where a customer stands in the file; 0 if nowhere."""
        row = self._rows.get(identity)
        return 0 if row is None else self._lines[row]

    @property
    def contracts(self) -> tuple[Contract, ...]:
        """Every different contract there is."""
        return tuple(self._contracts)

    def lines_under(self, contracts: Iterable[int]) -> list[tuple[int, int]]:
        """Lines of the customers under the given contracts, by number: (line, contract)."""
        of = np.frombuffer(self._contract_of, np.uint32)
        rows = np.flatnonzero(np.isin(of, np.fromiter(contracts, np.uint32)))
        return [(self._lines[row], self._contract_of[row]) for row in rows.tolist()]

    def agreed(self, chosen: Callable[[Consent], bool]) -> Iterator[tuple[int, Customer]]:
        """Customers whose consent is one of those chosen, each with the line."""
        numbers = [number for number, one in enumerate(self._consents) if one is not None and chosen(one)]
        for row in np.flatnonzero(np.isin(np.array(self._consent_of, np.uint32), numbers)).tolist() if numbers else ():
            yield self._lines[row], self._make(self._names[row], row)

    def overlaps_with(self, prefixes: Iterable[Prefix], *, but: Container[str] = ()) -> list[Overlap]:
        """Customers, other than `but`, whose prefixes overlap any of these. Takes no pass over all of them."""
        _, _, lengths, owners = self.columns()
        found = []
        for prefix, row in overlapping_rows(prefixes, self._keys, lengths, self._order, self._present):
            owner = int(owners[row])
            name = self._names[owner]
            if name not in but:
                found.append(Overlap(prefix, name, self._prefixes.at(row), f"{self.file}:{self._lines[owner]}"))
        return found

    def columns(self) -> tuple[Words, Words, NDArray[np.uint8], NDArray[np.uint32]]:
        """The prefixes of all: high and low words, lengths, and the row each belongs to."""
        column = self._prefixes
        if self._owners is None:
            starts = np.array(column.starts, np.int64)
            self._owners = np.repeat(np.arange(len(self), dtype=np.uint32), starts[1:] - starts[:-1])
        if not len(column):
            return np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.uint8), self._owners
        return (
            np.frombuffer(column.high, np.uint64),
            np.frombuffer(column.low, np.uint64),
            np.frombuffer(column.lengths, np.uint8),
            self._owners,
        )

    def contract_rows(self) -> NDArray[np.uint32]:
        """The contract of each customer, by number, in the file's order."""
        return np.array(self._contract_of, np.uint32)

    def groups(self) -> tuple[NDArray[np.int64], list[Customer]]:
        """Customers that are alike to the terms: the group of each, in the file's order, and what a group's share.

        Alike means the same contract and consent to the same version; the customers returned stand for
        their groups and have no id, prefixes nor contacts.
        """
        versions = [None if one is None else one.version for one in self._consents]
        known = list(dict.fromkeys(versions))
        numbers = {version: number for number, version in enumerate(known)}
        version_of = np.array([numbers[version] for version in versions], np.int64)
        pairs = np.array(self._contract_of, np.int64) * len(known) + version_of[np.array(self._consent_of, np.int64)]
        found, groups = np.unique(pairs, return_inverse=True)
        shared = []
        for pair in found.tolist():
            contract, version = self._contracts[pair // len(known)], known[pair % len(known)]
            agreed = None if version is None else Consent(version, "")
            shared.append(Customer("", contract.terms, (), agreed, contract.plan, contract.group, contract.exempt))
        return groups.astype(np.int64).reshape(-1), shared

    # Building, by the readers of files.

    def add(
        self,
        identity: str,
        line: int,
        contract: int,
        consent: int,
        prefixes: Iterable[Numbers],
        email: str | None,
        language: str | None = None,
    ) -> int:
        """Add a customer; returns the line of the one that already has the id, or 0."""
        row = len(self._lines)
        known = self._rows.setdefault(identity, row)
        if known != row:
            return self._lines[known]
        self._lines.append(line)
        self._contract_of.append(contract)
        self._consent_of.append(consent)
        self._prefixes.append(prefixes)
        self._emails.append(email)
        if language:
            self._languages[row] = language
        return 0

    def extend(
        self,
        identities: Sequence[str],
        lines: Sequence[int],
        contracts: Sequence[int],
        consents: Sequence[int],
        prefixes: Sequence[str],
        emails: Sequence[str | None],
        languages: Sequence[str | None] = (),
    ) -> bool:
        """Add many customers at once, or none and return False: some prefix is wrong or some id is known."""
        row = len(self._lines)
        fresh = dict(zip(identities, range(row, row + len(identities)), strict=True))
        if len(fresh) < len(identities) or not self._rows.keys().isdisjoint(fresh):
            return False
        try:
            self._prefixes.extend(prefixes)
        except ValueError:
            return False
        self._rows.update(fresh)
        self._lines.extend(lines)
        self._contract_of.extend(contracts)
        self._consent_of.extend(consents)
        self._emails.extend(emails)
        self._languages.update((row + at, language) for at, language in enumerate(languages) if language)
        return True

    def add_logins(self, identity: str, logins: Iterable[str]) -> None:
        """Names a customer who was added logs in by. One that is another's already is told by `close`."""
        row = self._rows[identity]
        names = tuple(dict.fromkeys(logins))
        for name in names:
            other = self._logins.setdefault(name, row)
            if other != row:
                self._logins_twice.append((row, name, other))
        if names:
            self._logins_of[row] = names

    def with_login(self, name: str) -> str | None:
        """The customer who logs in by a name: by one of their own, or by the id."""
        row = self._logins.get(name)
        if row is not None:
            return self._names[row]
        return name if name in self._rows else None

    def with_email(self, address: str) -> list[str]:
        """Customers whose mail address this is, upper and lower case alike."""
        wanted = address.casefold()
        rows = [row for row, email in enumerate(self._emails) if email is not None and email.casefold() == wanted]
        return [self._names[row] for row in rows]

    def add_contract(self, contract: Contract) -> int:
        self._contracts.append(contract)
        return len(self._contracts) - 1

    def add_consent(self, consent: Consent | None) -> int:
        """The number of a consent; 0 is none."""
        if consent is None:
            return 0
        self._consents.append(consent)
        return len(self._consents) - 1

    def complete(self, group: str, consent: Consent | None, plan: Plan | None, email: str | None, language: str | None) -> None:
        """Have the customers of a group have what they have none of themselves."""
        numbers = [number for number, contract in enumerate(self._contracts) if contract.group == group]
        if not numbers:
            return
        members = np.flatnonzero(np.isin(np.array(self._contract_of, np.uint32), numbers)).tolist()
        for number in numbers if plan is not None else ():
            if self._contracts[number].plan is None:
                self._contracts[number] = replace(self._contracts[number], plan=plan)
        agreed = self.add_consent(consent)
        for row in members:
            self._consent_of[row] = self._consent_of[row] or agreed
            self._emails[row] = self._emails[row] or email
            if language is not None:
                self._languages.setdefault(row, language)

    def close(self, faults: Faults) -> None:
        """The file is read, and nothing is added any more: put the prefixes in order and tell those that overlap."""
        self._prefixes.close()
        self._names = list(self._rows)
        high, low, lengths, owners = self.columns()
        self._order = sorted_order(high, low, lengths)
        self._keys = sorted_keys(high, low, self._order)
        self._present = frozenset(np.unique(lengths).tolist())
        twice = self._logins_twice
        twice += [(row, name, self._rows[name]) for name, row in self._logins.items() if self._rows.get(name, row) != row]
        for row, name, owner in twice:
            faults.add(
                self._lines[row],
                f"{name} is customer {self._names[owner]}'s ({self.file}:{self._lines[owner]}), as id or log-in name; keep it with one",
                "logins",
            )
        told = 0
        for outer, inner in find_overlaps(high, low, lengths, owners, self._order):
            first, second = sorted((outer, inner))  # told where the later of the two stands
            mine, other = int(owners[second]), int(owners[first])
            if told == MAX_FAULTS:
                faults.count(self._lines[mine])
                continue
            told += 1
            faults.add(
                self._lines[mine],
                f"{self._prefixes.at(second)} of customer {self._names[mine]} overlaps {self._prefixes.at(first)} of customer "
                f"{self._names[other]} ({self.file}:{self._lines[other]}); an address can be one customer's only: "
                "take one of them away or divide the prefix",
                "prefixes",
            )

    def _make(self, identity: str, row: int) -> Customer:
        contract = self._contracts[self._contract_of[row]]
        return Customer(
            identity,
            contract.terms,
            self._prefixes.row(row),
            self._consents[self._consent_of[row]],
            contract.plan,
            contract.group,
            contract.exempt,
            self._emails[row],
            contract.fee,
            self._languages.get(row),
            self._logins_of.get(row, ()),
        )
