"""The plugin's own readers and writers of tables agree with the daemon's, which use NumPy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sekisho.drivers.plugincode import about
from sekisho.drivers.sharedfiles import create_table, map_table
from sekisho.model.errors import TableError
from sekisho.plugin import ledgers, listkey, memory
from sekisho.snapshot import layout
from sekisho.snapshot.digest import digest_name, key_of
from sekisho.snapshot.layout import Counts, Hits
from sekisho.snapshot.sections import Kind
from support.waiting import end_of_waiting


def test_the_check_names_digest_is_the_compiled_one(tmp_path: Path) -> None:
    secret = bytes(range(16))
    (tmp_path / "raw").write_bytes(secret)
    (tmp_path / "hex").write_text(secret.hex() + "\n")
    for name in ("raw", "hex"):
        key = listkey.read_key(tmp_path / name)
        assert listkey.digest_of((b"sekisho-key", b"check", b"invalid"), key) == digest_name(layout.CHECK_NAME, key_of(secret))


def test_files_it_makes_are_what_the_daemon_maps(tmp_path: Path) -> None:
    one = ledgers.Ledgers(tmp_path, about())
    counts, _, _ = one.fit(10, 4, 7)
    counts.section("totals").words()[3] = 5
    one.count_missing(9)
    one.fit(100, 5, 8)  # grown: what was counted is carried over
    arrays = map_table(tmp_path / f"counts-{one.number}", Kind.COUNTS, layout.COUNTS_VERSION).arrays
    Counts(*(arrays[name] for name in Counts.names()))
    assert int(arrays["totals"][3]) == 5
    assert arrays["patterns"].shape == (125, layout.PATTERN_COLUMNS)
    assert int(arrays["patterns"][9, layout.PATTERN_NXDOMAIN]) == 1
    assert int(arrays["worker"][layout.WORKER_EPOCH]) == 5
    rings = map_table(tmp_path / f"hits-{one.number}", Kind.HITS, layout.HITS_VERSION).arrays
    assert Hits(*(rings[name] for name in Hits.names())).ring.shape == (layout.RING, layout.RING_WORDS)
    other = ledgers.Ledgers(tmp_path, about())
    assert other.number != one.number
    assert {one.number, other.number} <= set(layout.PLUGINS)
    one.close()
    assert ledgers.Ledgers(tmp_path, about()).number == one.number, "a number is free again when its holder has ended"


def test_another_kind_version_or_a_damaged_section_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "head"
    create_table(path, Kind.HEAD, 1, 0, {"values": bytes(64)})
    whole = path.read_bytes()
    memory.map_table(path, memory.HEAD, 1)
    damages = {
        "kind": (whole, memory.COUNTS, 1),
        "version": (whole, memory.HEAD, 2),
        "truncated": (whole[:100], memory.HEAD, 1),
        "empty": (b"", memory.HEAD, 1),
        "section": (whole[:64] + whole[64:96] + b"\xff" * 32 + whole[128:], memory.HEAD, 1),
    }
    for data, kind, version in damages.values():
        path.write_bytes(data)
        with pytest.raises(TableError):
            memory.map_table(path, kind, version)


@pytest.mark.parametrize("writable", [False, True])
def test_a_pipe_in_the_place_of_a_table_is_refused_at_once(tmp_path: Path, writable: bool) -> None:
    path = tmp_path / "head"
    os.mkfifo(path)
    with end_of_waiting(), pytest.raises(TableError):
        memory.map_table(path, memory.HEAD, 1, writable=writable)
    with end_of_waiting(), pytest.raises(TableError):
        map_table(path, Kind.HEAD, 1, writable=writable)


def test_what_runs_in_a_resolver_brings_no_numpy(root: Path) -> None:
    script = "import sys, sekisho.plugin.unbound; print(sorted({'numpy', 'numba', 'structlog'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(root / "daemon")}
    )
    assert done.stdout.strip() == "[]"
