"""A site whose terms slow whoever occupies a line, and its control plane alone."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from scenarios.harness import Site, folders, write_site
from sekisho.cli.client import Client
from support import wait_until
from support.netns import CUSTOMER, DOWN, NEIGHBOUR, Field

_PACK = """\
version: 1
pack: heavy
document: {{title: Rules of heavy use, operator: Example ISP, version: "1"}}
clauses:
  - id: heavy/1
    article: "1"
    ja: 帯域の占有
    en: Whoever occupies a shared line for long may be slowed as far as needed.
    rules:
      - {{kind: measure, ground: mass-traffic, detector: bandwidth, share: 50%, window: {window}, effect: limit-rate, keep: 25%,
         extent: partial, notice: none, {more}fees: continue,
         record: {{fields: [time, customer, clause, action], retention: 180d}}}}
"""


def pack(window: str, more: str = "") -> str:
    """The terms: half of the line over `window` is too much, a quarter of it is left; `more` are further keys of the rule."""
    return _PACK.format(window=window, more=more and f"{more}, ")


@contextlib.contextmanager
def two_lines(field: Field, path: Path, every: str, *more: str) -> Iterator[Site]:
    """A site of two lines that are looked at `every` so often; `more` are further prefixes of the first."""
    with folders(path) as (folder, runtime):
        (folder / "heavy.yaml").write_text(pack("30m"), encoding="utf-8")
        yield write_site(
            folder,
            runtime,
            [1],
            terms=["./heavy.yaml"],
            measures={"mode": "enforce"},
            lines={"mode": "enforce", "customers": [DOWN], "namespace": field.gateway, "on_stop": "remove", "every": every},
            customers=[
                {"id": "c-1", "terms": ["heavy"], "prefixes": [CUSTOMER, *more], "plan": {"down_mbps": 40, "up_mbps": 20}},
                {"id": "c-2", "terms": ["heavy"], "prefixes": [NEIGHBOUR], "plan": {"down_mbps": 40, "up_mbps": 20}},
            ],
        )


@contextlib.contextmanager
def control(site: Site, *program: str) -> Iterator[tuple[subprocess.Popen[bytes], Client]]:
    """The control plane, until it has ended as it was told; `program` is what Python runs instead of the module."""
    log = site.folder / "log"
    argv = [sys.executable, *(program or ("-m", "sekisho.app.control")), "--config", str(site.config)]
    with log.open("ab") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output, env=os.environ.copy())
    door = site.runtime / "sekishod.sock"

    def ready() -> bool:
        assert process.poll() is None, log.read_text()[-3000:]
        return door.exists()

    try:
        wait_until(ready, deadline=120, what="a daemon that is ready")
        yield process, Client(door)
    finally:
        process.terminate()
        assert process.wait(120) == 0, log.read_text()[-3000:]


def sekisho(site: Site, *arguments: str) -> str:
    """What the operator's command prints."""
    argv = [sys.executable, "-m", "sekisho.cli.main", "--config", str(site.config), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout
