"""The files of a site: configuration, list definitions with their sources, customers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from support import free_port

CONSENT = {"version": "2021-02-01", "at": "2024-04-01"}
"""What a customer of the annex of gunma has on record."""


@dataclass(frozen=True)
class Site:
    folder: Path
    runtime: Path
    config: Path
    host: str
    port: int
    metrics_port: int

    def edit(self, **settings: object) -> None:
        """Put keys over those of the main file."""
        write(self.config, json.loads(self.config.read_text()) | settings)


@contextlib.contextmanager
def folders(base: Path) -> Iterator[tuple[Path, Path]]:
    """A folder for configuration and state, and one for the shared tables: memory where the system has it."""
    shared = Path("/dev/shm")
    runtime = Path(tempfile.mkdtemp(prefix="sekisho-test-", dir=shared if os.access(shared, os.W_OK | os.X_OK) else base))
    folder = Path(tempfile.mkdtemp(prefix="site-", dir=base))
    try:
        yield folder, runtime
    finally:
        shutil.rmtree(runtime, ignore_errors=True)


def write_site(
    folder: Path,
    runtime: Path,
    upstream: Sequence[int],
    *,
    lists: Sequence[Mapping[str, object]] = (),
    sources: Mapping[str, str] | None = None,
    customers: Sequence[Mapping[str, object]] | str = (),
    ipv6: bool = False,
    **settings: object,
) -> Site:
    """Write a site whose resolvers are the ports `upstream` of this machine.

    `sources` are files of lists by name; `customers` may be the name of a file that is there.
    """
    host = "127.0.0.1"
    port, metrics_port = free_port(host), free_port(host)
    for name, text in (sources or {}).items():
        (folder / name).write_text(text, encoding="utf-8")
    write(folder / "lists.yaml", {"version": 1, "lists": list(lists)})
    if not isinstance(customers, str):
        write(folder / "customers.yaml", {"version": 1, "customers": list(customers)})
        customers = "customers.yaml"
    config = folder / "sekisho.yaml"
    document = {
        "version": 1,
        "listen": [f"{host}:{port}", *([f"[::1]:{port}"] if ipv6 else [])],
        "upstream": {"address": [f"{host}:{one}" for one in upstream]},
        "state": "state",
        "runtime": str(runtime),
        "terms": ["gunma", "nbnet"],
        "lists": "lists.yaml",
        "customers": customers,
        "metrics": f"{host}:{metrics_port}",
        "workers": 2,
        "cache": {"mib": 8},
    }
    write(config, document | settings)
    return Site(folder, runtime, config, host, port, metrics_port)


def write(path: Path, document: object) -> None:
    """As JSON, which is YAML; renamed into place, so that no reader sees a half of it."""
    aside = path.with_name(f".{path.name}")
    aside.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    aside.rename(path)
