"""What is said of the measurements is so: settings, what `make bench` runs, and what it installs for that."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench import settings
from support.binaries import PACKAGES

ROOT = Path(__file__).resolve().parents[3]
BENCH = ROOT / "tests" / "bench"
FILES = sorted(BENCH.glob("test_*.py"))
CONTRACT = ["compare", "path", "start", "growth", "flood"]
"""What `make bench` runs, in this order."""
REQUIRED = re.compile(r'require_binary\("(\w+)"\)')


def table() -> dict[str, str]:
    """The README's settings, and the default it tells of each."""
    rows = re.findall(r"^\| (`BENCH_.+?) \|.*\| (.+?) \|$", (BENCH / "README.md").read_text(), re.MULTILINE)
    return {name: default for names, default in rows for name in re.findall(r"`(BENCH_\w+)`", names)}


def recipe(target: str) -> str:
    """The line that runs pytest."""
    inner = {key: value for key, value in os.environ.items() if not key.startswith("MAKE") and key != "MFLAGS"}
    done = subprocess.run(["make", "-n", "--no-print-directory", target], cwd=ROOT, env=inner, capture_output=True, text=True, check=True)
    (line,) = [line for line in done.stdout.splitlines() if " pytest " in line]
    return line


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_measurement_reads_no_setting_of_its_own(path: Path) -> None:
    assert not re.search(r"""(environ|getenv).*["']BENCH_""", path.read_text())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_measurement_is_shorter_where_a_short_one_is_asked_for(path: Path) -> None:
    """By a setting, whose default is less then, by `pick`, or by another file's that has these."""
    text = path.read_text()
    sizes = "|".join(name.removeprefix("BENCH_") for name, (whole, quick) in settings.DEFAULTS.items() if quick < whole)
    shared = "bench.test_plugin import CLIENT, measure"
    assert shared in text or re.search(rf"from bench\.settings import .*\b(pick|{sizes})\b", text)


def test_the_table_of_settings_has_each_and_its_default() -> None:
    read = set(re.findall(r'"(BENCH_\w+)"', Path(settings.__file__).read_text()))
    told = table()
    assert sorted(told) == sorted(read)
    for name, (whole, quick) in settings.DEFAULTS.items():
        assert told[name] == (f"{whole:g}" if whole == quick else f"{whole:.10g} ({quick:.10g})"), name


@pytest.mark.parametrize(
    ("given", "quick"), [({}, False), ({"BENCH_QUICK": "0"}, False), ({"BENCH_QUICK": ""}, False), ({"BENCH_QUICK": "1"}, True)], ids=str
)
def test_quick_is_what_is_not_zero(given: dict[str, str], quick: bool) -> None:
    inner = {key: value for key, value in os.environ.items() if not key.startswith("BENCH_")} | given
    code = "from bench import settings; print(settings.QUICK, settings.NAMES, settings.pick(5, 2))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "tests", env=inner, capture_output=True, text=True, check=True)
    assert done.stdout.split() == (["True", "100000", "2"] if quick else ["False", "1000000", "5"])


def test_make_bench_runs_the_comparison_and_what_it_rests_on_in_the_order_written() -> None:
    line = recipe("bench")
    assert re.findall(r"tests/bench/test_(\w+)\.py", line) == CONTRACT
    assert "-p no:randomly" in line


def test_make_bench_all_runs_every_measurement_once() -> None:
    line = recipe("bench-all")
    ran = re.findall(r"tests/bench/test_(\w+)\.py", line)
    assert ran[: len(CONTRACT)] == CONTRACT
    assert sorted(f"test_{name}" for name in ran) == [path.stem for path in FILES]
    assert "-p no:randomly" in line


@pytest.mark.parametrize(
    ("installed", "files"),
    [
        ("", [BENCH / "contenders.py"]),
        ("all", [*BENCH.glob("*.py"), ROOT / "tests/support/differential/fronts.py", ROOT / "tests/peers/rpzpeers.py"]),
    ],
    ids=["bench", "bench-all"],
)
def test_what_a_measurement_talks_to_is_installed_for_it(installed: str, files: list[Path], tmp_path: Path) -> None:
    """The script asks another for programs and their packages: what it asks for is written down instead."""
    (tmp_path / "bench").mkdir()
    (tmp_path / "peers").mkdir()
    (tmp_path / "bench" / "install.sh").write_text((BENCH / "install.sh").read_text())
    (tmp_path / "peers" / "install.sh").write_text('printf "%s\\n" "$@"\n')
    done = subprocess.run(["sh", tmp_path / "bench" / "install.sh", installed], capture_output=True, text=True, check=True)
    words = done.stdout.split()
    asked = dict(zip(words[::2], words[1::2], strict=True))
    wanted = {name for path in files for name in REQUIRED.findall(path.read_text())}
    assert {"dnsdist", "unbound", "knotd"} <= wanted
    assert {name: asked.get(name) for name in wanted} == {name: PACKAGES[name] for name in wanted}
