"""Customers in bulk: CSV, read as it streams, a million rows in seconds.

The columns are the keys of a customer as the YAML file nests them (RFC 4180, UTF-8, header first):

    id,terms,consent.version,consent.at,prefixes,plan.down_mbps,plan.up_mbps,group,exempt,contacts.email

`id` and `terms` are required; columns may stand in any order and an empty cell is a key left out.
`contacts.language`, `logins`, `fee.monthly` and `fee.yearly` (whole yen) are read too where they stand.
Several terms, prefixes, exemptions or log-in names stand in one cell, separated by spaces. Also read: the last
word alone or an underscore for the dot (`email`, `consent_version`), and one column for a nested
key (`consent` as `2021-02-01@2021-03-15`, `plan` as `1000/100`). Lines that start with `#` are
comments; `# version: 1` may stand first.

Rows are entered thousands at a time, by columns: what customers share (terms, plan, group,
exemptions; consents of one day) is read once for each different text, and only where something
in such a batch is unusual are its rows looked at one by one.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol, TypeVar

from sekisho.config.cells import (
    Cells,
    read_consent,
    read_contract,
    read_email,
    read_fee,
    read_group,
    read_language,
    read_plan,
    read_terms,
    several,
)
from sekisho.config.contacts import LANGUAGES
from sekisho.config.customers import as_customer_id, as_login
from sekisho.config.faultlist import Faults
from sekisho.config.prefixes import read_prefix
from sekisho.config.register import Contract, Customers
from sekisho.config.validation import did_you_mean, shown
from sekisho.model.errors import ConfigError, Fault

COLUMNS = (
    "id",
    "terms",
    "consent.version",
    "consent.at",
    "prefixes",
    "plan.down_mbps",
    "plan.up_mbps",
    "group",
    "exempt",
    "contacts.email",
)
"""The documented header."""
FEE_COLUMNS = ("fee.monthly", "fee.yearly")
"""Read too where they stand: whole yen without tax, one of the two."""

_ALIASES = {
    **{name: name for name in (*COLUMNS, "contacts.language", "logins", *FEE_COLUMNS, "consent", "plan")},
    **{name.replace(".", "_"): name for name in (*COLUMNS, "contacts.language", *FEE_COLUMNS)},
    "down_mbps": "plan.down_mbps",
    "up_mbps": "plan.up_mbps",
    "email": "contacts.email",
    "language": "contacts.language",
    "contacts": "contacts.email",
    "prefix": "prefixes",
}
_CONTRACT = ("terms", "plan", "plan.down_mbps", "plan.up_mbps", "group", "exempt", *FEE_COLUMNS)
_CONSENT = ("consent", "consent.version", "consent.at")
_TOGETHER = 8192
"""Rows entered at a time."""
_PLAIN_IDS = re.compile(r"[0-9A-Za-z@._-]{1,128}(?:\n[0-9A-Za-z@._-]{1,128})*")
_PLAIN_EMAILS = re.compile(r"(?:[0-9A-Za-z._+-]+@[0-9A-Za-z.-]+)?(?:\n(?:[0-9A-Za-z._+-]+@[0-9A-Za-z.-]+)?)*")
_PLAIN_LOGINS = re.compile(r"[0-9A-Za-z@._ \n-]*")
_LONGEST_LOGIN = 253
_VERSION = re.compile(r"#\s*version\s*:\s*(.*)")

A = TypeVar("A")
T = TypeVar("T")


class _Reader(Protocol):
    """What `csv.reader` gives."""

    @property
    def line_num(self) -> int: ...
    def __iter__(self) -> Iterator[list[str]]: ...


def parse_bulk(lines: Iterable[str], file: str) -> Customers:
    """The customers of a CSV file, streaming. Raises ConfigError with its faults, overlapping prefixes included."""
    customers, faults = read_bulk(lines, file)
    if faults:
        raise ConfigError(faults)
    return customers


def read_bulk(lines: Iterable[str], file: str) -> tuple[Customers, list[Fault]]:
    """The same for one who looks on for further faults: of a row with a fault, what is sound is in the register.

    Raises ConfigError for a header no row can be read by.
    """
    faults = Faults(file)
    customers = Customers(file)
    reader = csv.reader(lines, strict=True)
    try:
        _rows(reader, _Layout.of(_header(reader, file)), customers, faults)
    except csv.Error as error:
        faults.add(reader.line_num, f"broken CSV: {error}; a quote inside a quoted cell is written twice")
    customers.close(faults)
    return customers, faults.all()


def _header(reader: _Reader, file: str) -> list[str]:
    """The columns, by their full names. Raises ConfigError: without a header no row can be read."""
    for row in reader:
        if row and row[0].lstrip().startswith("#"):
            version = _VERSION.fullmatch(row[0].strip())
            if version and version[1].strip() != "1":
                raise ConfigError([Fault(file, reader.line_num, f"this program reads version 1 of the file; found {shown(version[1])}")])
        elif row:
            return _columns(row, reader.line_num, file)
    raise ConfigError([Fault(file, 0, f"the file is empty; its first line is the header: {','.join(COLUMNS)}")])


def _columns(row: Sequence[str], line: int, file: str) -> list[str]:
    if len(row) == 1 and re.search(r"[;\t]", row[0]):
        raise ConfigError([Fault(file, line, "the columns are separated by commas, not by semicolons or tabs")])
    faults = []
    columns = []
    for cell in row:
        name = cell.strip().lower()
        column = _ALIASES.get(name)
        if column is None:
            faults.append(Fault(file, line, f"unknown column {shown(cell)}{did_you_mean(name, COLUMNS)}"))
        elif column in columns:
            faults.append(Fault(file, line, f"the column {column} stands twice; keep one of them"))
        columns.append(column or name)
    for whole in ("consent", "plan"):
        parts = [column for column in columns if column.startswith(whole + ".")]
        if whole in columns and parts:
            faults.append(Fault(file, line, f"{whole} stands beside {' and '.join(parts)}; keep one form"))
    faults.extend(Fault(file, line, f"the column {name} is missing; add it") for name in ("id", "terms") if name not in columns)
    if faults:
        raise ConfigError(faults)
    return columns


@dataclass(slots=True)
class _Layout:
    """Where the columns of a file are, and what was read of the shared ones."""

    width: int
    identity: int
    prefixes: int | None
    email: int | None
    language: int | None
    logins: int | None
    contract: dict[str, int]
    consent: dict[str, int]
    contracts: dict[tuple[str, ...], int] = field(default_factory=dict)
    consents: dict[tuple[str, ...], int] = field(default_factory=dict)
    numbers: dict[Contract, int] = field(default_factory=dict)

    @classmethod
    def of(cls, header: list[str]) -> _Layout:
        places = {column: index for index, column in enumerate(header)}
        return cls(
            len(header),
            places["id"],
            places.get("prefixes"),
            places.get("contacts.email"),
            places.get("contacts.language"),
            places.get("logins"),
            {column: places[column] for column in _CONTRACT if column in places},
            {column: places[column] for column in _CONSENT if column in places},
        )


def _rows(reader: _Reader, layout: _Layout, customers: Customers, faults: Faults) -> None:
    """Read the rows, many at a time: what is sound goes in by columns, and what is not is told row by row."""
    rows: list[list[str]] = [[]]
    while rows:
        before, rows = reader.line_num, []
        try:
            rows.extend(islice(reader, _TOGETHER))
        finally:  # what was read before broken CSV is entered all the same
            lines: Sequence[int] = range(before + 1, before + 1 + len(rows))
            if reader.line_num != before + len(rows):
                lines = _lines(rows, before)
            if rows and not _enter_together(rows, lines, layout, customers):
                for row, line in zip(rows, lines, strict=True):
                    if row and not row[0].startswith("#"):
                        _enter_one(row, line, layout, customers, faults)


def _lines(rows: list[list[str]], before: int) -> list[int]:
    """The line at which each row ends, where cells of several lines stand among them."""
    lines = []
    for row in rows:
        before += 1 + sum(cell.count("\n") for cell in row)
        lines.append(before)
    return lines


def _enter_together(rows: list[list[str]], lines: Sequence[int], layout: _Layout, customers: Customers) -> bool:
    """Enter rows by columns; False, and nothing entered, if any of them needs a closer look."""
    if set(map(len, rows)) != {layout.width}:
        return False
    columns = list(zip(*rows, strict=True))
    if "\n#" in "\n".join(("", *columns[0])):
        return False
    identities = columns[layout.identity]
    emails: Sequence[str] = columns[layout.email] if layout.email is not None else [""] * len(rows)
    prefixes: Sequence[str] = columns[layout.prefixes] if layout.prefixes is not None else [""] * len(rows)
    languages: Sequence[str] = columns[layout.language] if layout.language is not None else ()
    if not {"", *LANGUAGES}.issuperset(languages):
        return False
    if not (_PLAIN_IDS.fullmatch("\n".join(identities)) and _PLAIN_EMAILS.fullmatch("\n".join(emails))):
        return False
    try:
        contracts = _numbers(
            columns, layout.contract, layout.contracts, lambda cells: _contract_number(read_contract(cells), layout, customers)
        )
        consents = _numbers(columns, layout.consent, layout.consents, lambda cells: customers.add_consent(read_consent(cells)))
    except ValueError:
        return False
    logins: Sequence[str] = columns[layout.logins] if layout.logins is not None else ()
    if not _PLAIN_LOGINS.fullmatch("\n".join(logins)) or max(map(len, logins), default=0) > _LONGEST_LOGIN:
        return False
    entered = customers.extend(
        identities, lines, contracts or [0] * len(rows), consents or [0] * len(rows), prefixes, [one or None for one in emails], languages
    )
    if entered:
        for identity, names in zip(identities, logins, strict=False):
            if names:
                customers.add_logins(identity, names.split())
    return entered


def _numbers(
    columns: Sequence[tuple[str, ...]], places: dict[str, int], known: dict[tuple[str, ...], int], make: Callable[[Cells], int]
) -> list[int]:
    """The number of what the cells at `places` say, row by row; what is not known yet is made. Raises ValueError."""
    cells = [columns[at] for at in places.values()]
    numbers = list(map(known.get, zip(*cells, strict=True)))
    if None in numbers:
        for key in set(zip(*cells, strict=True)).difference(known):
            known[key] = make(dict(zip(places, key, strict=True)))
        numbers = list(map(known.get, zip(*cells, strict=True)))
    return [number for number in numbers if number is not None]


def _contract_number(contract: Contract, layout: _Layout, customers: Customers) -> int:
    number = layout.numbers.get(contract)
    if number is None:
        number = layout.numbers[contract] = customers.add_contract(contract)
    return number


def _enter_one(row: list[str], line: int, layout: _Layout, customers: Customers, faults: Faults) -> None:
    """Enter what is sound of one row, and tell every fault of it."""
    if len(row) != layout.width:
        faults.add(line, f"the row has {len(row)} cells, the header {layout.width}; a cell with a comma in it stands in quotes")
        return

    def told(column: str, step: Callable[[A], T], value: A) -> T | None:
        try:
            return step(value)
        except ValueError as error:
            faults.add(line, str(error), column)
            return None

    cells = {column: row[at] for column, at in (layout.contract | layout.consent).items()}
    identity = told("id", as_customer_id, row[layout.identity])
    terms = told("terms", read_terms, cells)
    plan, group, exempt = told("plan", read_plan, cells), told("group", read_group, cells), several(cells.get("exempt", ""))
    contract = Contract(terms or (), plan, group, exempt, told("fee.monthly", read_fee, cells))
    consent = told("consent", read_consent, cells)
    texts = row[layout.prefixes].split() if layout.prefixes is not None else []
    prefixes = [one for text in texts if (one := told("prefixes", read_prefix, text))]
    email = told("contacts.email", read_email, row[layout.email]) if layout.email is not None else None
    language = told("contacts.language", read_language, row[layout.language]) if layout.language is not None else None
    names = row[layout.logins].split() if layout.logins is not None else []
    logins = [login for name in names if (login := told("logins", as_login, name))]
    if identity is None:
        return
    number = _contract_number(contract, layout, customers)
    known = customers.add(identity, line, number, customers.add_consent(consent), dict.fromkeys(prefixes), email, language)
    if known:
        faults.add(line, f"customer {identity} already stands on line {known}; keep one of them", "id")
    else:
        customers.add_logins(identity, logins)
