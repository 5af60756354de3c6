"""Where a name could leak to, and the search for it in every form it could take there."""

from __future__ import annotations

import base64
import contextlib
import urllib.request
from collections.abc import Collection, Iterator
from pathlib import Path

from click.testing import CliRunner

from scenarios.harness.checkpoint import Checkpoint
from sekisho.cli.main import cli


def forms(mark: str) -> dict[str, bytes]:
    """A mark in lower-case ASCII as it could stand in a file: as text or wire, in hex, base64 or UTF-16."""
    raw = mark.encode()
    found = {"text or wire": raw, "hexadecimal": raw.hex().encode(), "utf-16": mark.encode("utf-16-le")}
    for shift in range(3):
        # Of base64, what does not depend on the neighbours of the mark; compared in lower case like all else.
        encoded = base64.b64encode(b"x" * shift + raw + b"x" * 3)
        found[f"base64 at {shift}"] = encoded[4 : (shift + len(raw)) // 3 * 4].lower()
    return found


def traces(content: bytes, mark: str) -> list[str]:
    """The forms in which some content has the mark, whatever the case."""
    lowered = content.lower()
    return [form for form, wanted in forms(mark).items() if wanted in lowered]


def files(*folders: Path, but: Collection[Path] = ()) -> Iterator[tuple[str, bytes]]:
    """What stands in files, and their names; a file may go while the others are read."""
    for folder in folders:
        for path in list(folder.rglob("*")):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file() and path not in but:
                    yield str(path), path.read_bytes()
            yield f"the name of {path.parent}/...", path.name.encode()


def answers(checkpoint: Checkpoint, customers: Collection[str], lists: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Whatever can be asked of the daemon, as a program and as a person, and of its metrics."""
    verbs = [
        ("status",),
        ("events", "--limit", "10000"),
        ("optout", "show"),
        ("customers", "show"),
        ("lists", "show"),
        *(("customers", "show", one) for one in customers),
        *(("events", "--customer", one) for one in customers),
        *(("lists", "show", one) for one in lists),
    ]
    runner = CliRunner()
    for verb in verbs:
        for form in ((), ("--json",)):
            done = runner.invoke(cli, ["--config", str(checkpoint.site.config), *form, *verb])
            assert done.exit_code == 0, done.output
            yield " ".join(("sekisho", *form, *verb)), done.output.encode()
    url = f"http://{checkpoint.site.host}:{checkpoint.site.metrics_port}/metrics"
    for accept in ("text/plain", "application/openmetrics-text"):
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept}), timeout=30) as response:
            yield f"/metrics as {accept}", response.read()
