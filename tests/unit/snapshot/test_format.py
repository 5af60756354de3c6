"""FORMAT.md suffices: the reader written from it alone takes what the writer writes, and refuses the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.drivers.sharedfiles import BUDGETS, make_folder, map_table
from sekisho.drivers.tablerows import CustomerRow
from sekisho.drivers.tables import TableWriter
from sekisho.drivers.workerfiles import WorkerFiles
from sekisho.model.customers import Prefix
from sekisho.model.lists import Action, ActionKind, LocalRecord
from sekisho.snapshot import layout
from sekisho.snapshot.build import build
from sekisho.snapshot.sections import Kind
from support.plane import KEY, compile_entries, definition, entry, profile, rule, wire
from support.tablefiles import TablesDamagedError, TablesMissingError, TablesVersionError
from support.tablereader import Step, Tables

SECRET = bytes(range(16))
SOURCE, NAME = "192.0.2.2", wire("www.one.example")
NOW = 10**15
TO_SUBNAMES = Action(ActionKind.CHASE, (LocalRecord(5, 30, wire("*.garden.example.org")),))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Tables with one list, whose names are aliases, and a customer of one query a second, one at once."""
    tables = tmp_path / "plane"
    make_folder(tables)
    writer = TableWriter(tables)
    held = [(definition(0), compile_entries([entry("one.example", TO_SUBNAMES)]))]
    writer.publish_snapshot(build(1, held, [profile(rule("gunma/別記-1"))], (), KEY), 1)
    writer.replace_customers([CustomerRow("c-1", (Prefix.parse(SOURCE),), 1, 0, budget_rate=1, budget_burst=1)], [], 1)
    WorkerFiles(tables).budgets(10)
    return tables


def change(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_an_alias_of_a_list_takes_the_name_asked_for_where_it_begins_with_a_star(folder: Path) -> None:
    said = Tables(folder, SECRET).verdict(SOURCE, None, NAME, 1, tcp=True, now=NOW)
    assert said.records == ((5, 30, wire("www.one.example.garden.example.org")),)
    assert (said.step, said.order, said.clause) == (Step.ENTITLED, 0, 0)


def test_a_budget_is_spent_once_and_another_boots_debt_is_forgotten(folder: Path) -> None:
    tables = Tables(folder, SECRET)
    assert [tables.verdict(SOURCE, None, NAME, 1, now=NOW).step for _ in range(2)] == [Step.ENTITLED, Step.BUDGET]
    full = map_table(folder / BUDGETS, Kind.BUDGETS, layout.BUDGETS_VERSION, writable=True).arrays["full"]
    full[1] = NOW + 10**12
    assert Tables(folder, SECRET).verdict(SOURCE, None, NAME, 1, now=NOW).step is Step.ENTITLED


@pytest.mark.parametrize(
    ("file", "at", "error"),
    [("snapshot-1", 12, TablesVersionError), ("snapshot-1", 8, TablesVersionError), ("snapshot-1", -1, TablesDamagedError),
     ("customers-1", 24, TablesDamagedError), ("head", 0, TablesDamagedError)],
)  # fmt: skip
def test_what_the_format_does_not_describe_is_refused(folder: Path, file: str, at: int, error: type[Exception]) -> None:
    change(folder / file, at)
    with pytest.raises(error, match=file):
        Tables(folder, SECRET)


def test_another_key_and_missing_tables_are_told_apart(folder: Path) -> None:
    with pytest.raises(TablesVersionError, match="key"):
        Tables(folder, bytes(16))
    (folder / "customers-1").unlink()
    with pytest.raises(TablesMissingError, match="customers-1"):
        Tables(folder, SECRET)


def test_tables_that_cannot_be_read_leave_the_last_good_ones_in_force(folder: Path) -> None:
    tables = Tables(folder, SECRET)
    (folder / "snapshot-2").write_bytes(b"")
    map_table(folder / "head", Kind.HEAD, layout.HEAD_VERSION, writable=True).arrays["values"][0] = 2
    assert tables.verdict(SOURCE, None, NAME, 1, now=NOW).step is Step.ENTITLED
    assert isinstance(tables.refused[0], TablesDamagedError)
