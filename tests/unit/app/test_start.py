"""The start: what takes long to import waits until it is needed, and a start that is broken off ends at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sekisho.app.demo_site import DemoSite, write_site
from sekisho.app.exitcodes import REFUSED
from sekisho.drivers.notify import NotifyChannel
from support import wait_until

HEAVY = frozenset({"numba", "numpy", "pydantic", "yaml", "dns", "httpx", "uvicorn", "starlette", "prometheus_client", "structlog"})

SUPERVISOR = """
import sys
from sekisho.app import supervise
import sekisho.cli.main

def keep(programs, environ, say):
    next(iter(programs))
    print(*sys.modules)
    return 0

supervise.keep = keep
supervise.run({config!r}, {{}})
"""
CONTROL = """
import asyncio, sys
from pathlib import Path
from sekisho.app.control_base import in_force
from sekisho.drivers.site import load_site

async def start():
    async with in_force(load_site(Path({config!r}))) as base:
        assert base.tables.published.epoch
        print(*sys.modules)

asyncio.run(start())
"""
PLANE = """
import sys
import sekisho.app.plane, sekisho.app.plane_process, sekisho.config.settings
print(*sys.modules)
"""
ENTRIES = """
import sys
import sekisho.app.control, sekisho.app.plane
print(*sys.modules)
"""


@pytest.fixture
def site(tmp_path: Path) -> DemoSite:
    made = write_site(tmp_path, tmp_path / "run", 9, (0, 0))
    (tmp_path / "names.txt").write_text("c2.example\n")
    one = {"id": "c2", "category": "c2", "source": "names.txt", "format": "domains", "scope": "subtree", "answer": "nxdomain"}
    (tmp_path / "lists.yaml").write_text(json.dumps({"version": 1, "lists": [one]}))
    made.config.write_text(json.dumps(json.loads(made.config.read_text()) | {"lists": "lists.yaml"}))
    return made


def imported(code: str, site: DemoSite) -> set[str]:
    """What a program has imported at the end; of packages of others the package's own name."""
    argv = [sys.executable, "-P", "-c", code.format(config=str(site.config))]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names = done.stdout.splitlines()[-1].split()
    return {name if name.startswith("sekisho") else name.partition(".")[0] for name in names}


def test_the_control_plane_is_started_before_anything_heavy_is_imported(site: DemoSite) -> None:
    assert imported(SUPERVISOR, site) & HEAVY == set()


def test_where_compiled_code_is_kept_is_settled_before_anything_compiled_is_imported(site: DemoSite) -> None:
    assert "numba" not in imported(ENTRIES, site)


def test_lists_and_customers_are_in_force_before_what_is_needed_later_is_imported(site: DemoSite) -> None:
    found = imported(CONTROL, site)
    later = ("sekisho.app.control_core", "sekisho.app.control_measures", "sekisho.app.control_watch", "sekisho.drivers.matches")
    assert found & set(later) == set()
    assert {name for name in found if name.startswith(("sekisho.api", "sekisho.rpz", "sekisho.enforce", "sekisho.flows"))} == set()
    assert found & {"dns", "httpx", "uvicorn", "starlette", "prometheus_client"} == set()
    assert {name for name in found if name.startswith("sekisho.plane.")} == set()


def test_the_plane_imports_nothing_of_terms_lists_and_people(site: DemoSite) -> None:
    found = imported(PLANE, site)
    assert found & {"dns", "httpx", "uvicorn", "starlette", "prometheus_client"} == set()
    assert {name for name in found if name.startswith(("sekisho.terms", "sekisho.lists", "sekisho.drivers.site"))} == set()


@pytest.mark.parametrize(("module", "word"), [("control", "loading"), ("plane", "compiles")])
def test_a_process_told_to_stop_while_it_compiles_ends_at_once(module: str, word: str, site: DemoSite, tmp_path: Path) -> None:
    """By the signal itself: a start that went on to its end would end with code 0."""
    environ = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    argv = [sys.executable, "-P", "-m", f"sekisho.app.{module}", "--config", str(site.config)]
    with NotifyChannel() as channel, subprocess.Popen(argv, env={**environ, "NOTIFY_SOCKET": channel.address}) as process:
        try:
            wait_until(
                lambda: any(word in words.get("STATUS", "") for _, words in channel.take()), 60, f"the {module}'s word that it starts"
            )
        finally:
            process.terminate()
        assert process.wait(60) == -signal.SIGTERM


def test_a_fault_of_the_main_file_stops_the_control_plane_and_is_told_with_all_others(site: DemoSite) -> None:
    (site.folder / "customers.yaml").write_text(json.dumps({"version": 1, "customers": [{"id": "c-1", "colour": "red"}]}))
    site.config.write_text(json.dumps(json.loads(site.config.read_text()) | {"wrokers": 2}))
    argv = [sys.executable, "-P", "-m", "sekisho.cli.main", "--config", str(site.config), "run"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == REFUSED
    assert "wrokers" in done.stderr
    assert "colour" in done.stderr
    assert not (site.folder / "state").exists()
