"""A resolver's user counts in the tables' folder as it is shipped for it, and sekishod reads that and keeps what is its own."""

from __future__ import annotations

import os
import re
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sekisho.drivers import plugincode, pluginfiles
from sekisho.drivers.planebanks import Bank
from sekisho.drivers.plugincode import about
from sekisho.drivers.sharedfiles import make_folder, map_table
from sekisho.drivers.tables import TableWriter
from sekisho.model.errors import TableError
from sekisho.plugin import memory
from sekisho.plugin.ledgers import Ledgers
from sekisho.snapshot import layout
from sekisho.snapshot.sections import Kind

TMPFILES = Path(__file__).parents[3] / "systemd" / "sekisho-plugin.tmpfiles"
SEKISHO, UNBOUND, OTHER = 64001, 64002, 64003


def as_user(user: int, groups: list[int], umask: int, step: Callable[[], None]) -> None:
    """Do a step in a process of that user; what fails there fails here."""
    child = os.fork()
    if child == 0:
        failed = 1
        try:
            os.setgroups(groups)
            os.setgid(user)
            os.setuid(user)
            os.umask(umask)
            step()
            failed = 0
        except BaseException:  # noqa: BLE001 - the test runner's own copy must not go on
            traceback.print_exc()
        finally:
            os._exit(failed)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that other users come to, which those of the test runner are not."""
    with tempfile.TemporaryDirectory(prefix="sekisho-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def make_shipped(open_folder: Path) -> tuple[Path, int]:
    """The tables' folder as it is shipped for a plugin, and its mode."""
    line = re.search(r"^d (\S+) ([0-7]+) sekisho sekisho -$", TMPFILES.read_text(), re.MULTILINE)
    assert line is not None
    assert line[1] == "/run/sekisho/plane"
    runtime = open_folder / "run"
    folder = runtime / "plane"
    folder.mkdir(parents=True)
    for one in (runtime, folder):
        os.chown(one, SEKISHO, SEKISHO)
    runtime.chmod(0o751)
    folder.chmod(int(line[2], 8))
    return folder, int(line[2], 8)


@pytest.mark.skipif(os.geteuid() != 0, reason="processes of two users need root")
@pytest.mark.parametrize("umask", [0o022, 0o007, 0o077])
def test_resolvers_of_several_users_count_beside_each_other_and_their_files_stay_few(open_folder: Path, umask: int) -> None:
    """Each has numbers of its own, again after a restart, in the order they came; `umask` is the first one's."""
    folder, _ = make_shipped(open_folder)
    shapes, first, second, third = about(), *layout.PLUGINS[:3]

    def count(*numbers: int, rows: int = 10) -> None:
        ones = [Ledgers(folder, shapes) for _ in numbers]
        assert [one.number for one in ones] == list(numbers)
        for one in ones:
            counts, _, _ = one.fit(rows, 1, 1)
            counts.section("totals").words()[3] += 5
            # Grown: its files are replaced.
            _, _, budgets = one.fit(10 * rows, 2, 2)
            assert budgets.section("full").items >= 10 * rows

    def daemon() -> None:
        totals = [map_table(path, Kind.COUNTS, layout.COUNTS_VERSION).arrays["totals"][3] for path in sorted(folder.glob("counts-*"))]
        assert sum(int(one) for one in totals) == 15

    for _ in range(2):
        as_user(UNBOUND, [SEKISHO], umask, lambda: count(first))
        as_user(OTHER, [SEKISHO], 0o022, lambda: count(second, third, rows=20))
    assert len(list(folder.glob(".plugin-*"))) == 3
    assert len(list(folder.glob("counts-*"))) == 3
    assert {path.name for path in folder.glob(".*")} <= {
        f".{what}-{number}" for what in ("plugin", "budgets") for number in layout.PLUGINS[:3]
    }
    if umask != 0o077:
        as_user(SEKISHO, [], 0o027, daemon)


@pytest.mark.skipif(os.geteuid() != 0, reason="processes of two users need root")
def test_where_all_numbers_are_taken_by_other_users_it_says_so(open_folder: Path) -> None:
    folder, _ = make_shipped(open_folder)
    shapes = about() | {"numbers": layout.PLUGINS[:2]}

    def full() -> None:
        with pytest.raises(TableError, match="as other users"):
            Ledgers(folder, shapes)

    def stranger() -> None:
        with pytest.raises(TableError, match="give this process the tables' group"):
            Ledgers(folder, about())

    for _ in range(2):
        as_user(UNBOUND, [SEKISHO], 0o022, lambda: [Ledgers(folder, shapes) for _ in range(2)] and None)
    as_user(OTHER, [SEKISHO], 0o022, full)
    as_user(OTHER, [], 0o022, stranger)


@pytest.mark.skipif(os.geteuid() != 0, reason="processes of two users need root")
def test_the_folder_shipped_for_a_plugin_lets_it_count_and_sekishod_read_it(open_folder: Path) -> None:
    folder, mode = make_shipped(open_folder)
    shapes = about()
    number = layout.PLUGINS[0]

    def daemon() -> None:
        make_folder(folder)
        TableWriter(folder)
        Bank(folder)

    def plugin() -> None:
        one = Ledgers(folder, shapes)
        assert one.number == number
        counts, _, _ = one.fit(10, 1, 1)
        counts.section("totals").words()[3] = 5
        memory.map_table(folder / "head", memory.HEAD, layout.HEAD_VERSION)
        with pytest.raises(TableError):
            memory.map_table(folder / "head", memory.HEAD, layout.HEAD_VERSION, writable=True)
        with pytest.raises(PermissionError):
            (folder / "head").unlink()

    def reader() -> None:
        assert int(map_table(folder / f"counts-{number}", Kind.COUNTS, layout.COUNTS_VERSION).arrays["totals"][3]) == 5
        map_table(folder / f"hits-{number}", Kind.HITS, layout.HITS_VERSION)
        Bank(folder)
        (folder / f"counts-{number}").unlink()

    as_user(SEKISHO, [], 0o027, daemon)
    as_user(UNBOUND, [SEKISHO], 0o022, plugin)
    as_user(SEKISHO, [], 0o027, reader)
    assert folder.stat().st_mode & 0o7777 == mode, "the daemon leaves it as it finds it"


def test_what_is_printed_names_the_key_the_folder_and_what_apparmor_has_to_allow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugincode, "write_plugin_code", lambda _: None)
    plan = pluginfiles.PluginPlan(tmp_path, Path("/run/sekisho/plane"), tmp_path / "list.key", closed=False)
    told = pluginfiles.write_plugin("unbound", plan)
    readme = (TMPFILES.parent / "README.md").read_text()
    assert "usermod -aG sekisho unbound" in told
    assert "usermod -aG sekisho unbound\n" in readme
    for line in ("#include <abstractions/python>", "/run/sekisho/plane/{,**} rwk,"):
        assert f"#   {line}\n" in told
        assert line in readme
    package = Path(pluginfiles.sekisho.__file__).parent.parent
    for line in (f"{package}/{{,**}} r,", f"{tmp_path}/{{,**}} r,", f"{tmp_path}/list.key r,"):
        assert f"#   {line}\n" in told
    assert "site-packages/**.so* mr," in told or "dist-packages/**.so* mr," in told
    assert f"/var/lib/sekisho/list.key {tmp_path}/list.key\n" in told
