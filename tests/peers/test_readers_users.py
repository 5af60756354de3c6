"""Readers in resolvers of several users: each counts in files of its own, in the folder as it is shipped."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import sekisho
from sekisho.drivers.sharedfiles import map_table, numbered_files
from sekisho.drivers.tables import TableWriter
from sekisho.model.customers import Prefix
from sekisho.snapshot import layout
from sekisho.snapshot.build import Garden, build
from sekisho.snapshot.sections import Kind
from support import require_binary
from support.plane import GROUNDS, KEY, PAGE, CustomerRow, at, compile_entries, definition, entry, profile, rule

pytestmark = [pytest.mark.peers, pytest.mark.skipif(os.geteuid() != 0, reason="processes of two users need root")]

FIRST, SECOND, GROUP = 64002, 64003, 64001
READER = Path(sekisho.__file__).parent / "plugin" / "sekisho.lua"


@pytest.fixture
def tables() -> Iterator[Path]:
    """With tables in them, where all users come to."""
    with tempfile.TemporaryDirectory(prefix="sekisho-", dir="/tmp") as name:
        folder = Path(name) / "plane"
        folder.mkdir()
        (folder.parent / "list.key").write_bytes(bytes(range(16)))
        (folder.parent / "sekisho.lua").write_bytes(READER.read_bytes())
        for path in (folder.parent, *folder.parent.glob("*")):
            path.chmod(0o755)
        os.chown(folder, GROUP, GROUP)
        folder.chmod(0o3770)
        writer = TableWriter(folder)
        held = [(definition(0), compile_entries([entry("c2.example")]))]
        writer.publish_snapshot(build(1, held, [profile(rule("gunma/別記-1"))], [], KEY, grounds=GROUNDS, garden=Garden(PAGE)), 1)
        writer.replace_customers([CustomerRow("c-1", at("127.40.0.1"), 1, 0)], [Prefix.parse("127.0.0.0/8")], 1)
        for path in folder.glob("*"):
            path.chmod(0o644)
        yield folder


def said(tables: Path, user: int, many: int = 1) -> str:
    """What readers say that one process of that user opens, and their numbers; dnsdist's Lua runs them while it checks a configuration."""
    config = tables.parent / f"dnsdist-{user}.conf"
    key, reader = tables.parent / "list.key", tables.parent / "sekisho.lua"
    config.write_text(
        f'local reader = dofile("{reader}")\nopened = {{}}\nfor one = 1, {many} do\n'
        f'  opened[one] = reader.open{{tables = "{tables}", key = "{key}", closed = false, log = function(said) print(said) end}}\n'
        '  print("number " .. tostring(opened[one].number))\nend\n'
    )
    config.chmod(0o644)
    done = subprocess.run(
        [require_binary("dnsdist"), "--check-config", "-C", str(config)],
        capture_output=True, text=True, timeout=120, check=False, user=user, group=user, extra_groups=[GROUP], umask=0o022,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def numbers(tables: Path, user: int, many: int = 1) -> list[int]:
    """The numbers of readers that take the tables."""
    output = said(tables, user, many)
    assert "tables taken" in output, output
    return [int(one) for one in re.findall(r"^number (\d+)$", output, re.MULTILINE)]


def test_readers_of_several_users_count_beside_each_other_and_their_files_stay_few(tables: Path) -> None:
    first, second, third = layout.PLUGINS[:3]
    for _ in range(2):
        assert numbers(tables, FIRST) == [first]
        assert numbers(tables, SECOND, 2) == [second, third]
    assert [number for number, _ in numbered_files(tables, ".plugin-")] == [first, second, third]
    assert [number for number, _ in numbered_files(tables, "counts-")] == [first, second, third]
    for number in (first, second, third):
        path = tables / f"counts-{number}"
        map_table(path, Kind.COUNTS, layout.COUNTS_VERSION)
        assert (path.stat().st_gid, path.stat().st_mode & 0o777) == (GROUP, 0o640)


def test_a_file_that_cannot_be_opened_for_another_reason_than_its_owner_is_said(tables: Path) -> None:
    path = tables / f".plugin-{layout.PLUGINS[0]}"
    path.symlink_to(path)
    output = said(tables, FIRST)
    assert f"{path} cannot be written (Too many levels of symbolic links); see the folder's room and rights" in output
    assert "number nil" in output


def test_a_folder_the_reader_may_not_write_is_said(tables: Path) -> None:
    tables.chmod(0o755)
    assert f"{tables} cannot be written; give this process the tables' group" in said(tables, FIRST)
