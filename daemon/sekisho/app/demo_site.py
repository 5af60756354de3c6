"""The demo's site: the files an operator would write, under reserved names and loopback addresses.

Owns the customers of the demo and the text of its configuration; what is asked and shown is `demo`'s.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sekisho

C2_LIST = "c2-sample"
CHILD_ABUSE_LIST = "child-abuse-sample"
C2_NAME = "c2.example.com"
CHILD_ABUSE_NAME = "abuse.example.org"
HARMLESS_NAME = "www.example.com"


@dataclass(frozen=True, slots=True)
class DemoCustomer:
    id: str
    address: str
    terms: tuple[str, ...]
    about: str
    consented: bool = True


BOTH = DemoCustomer("hanako", "127.0.0.11", ("gunma", "nbnet"), "both contracts, consent given")
OPTING_OUT = DemoCustomer("jiro", "127.0.0.12", ("gunma", "nbnet"), "both contracts, opts out of C&C blocking")
GUNMA_ALONE = DemoCustomer("saburo", "127.0.0.13", ("gunma",), "contract gunma alone: no child-abuse clause")
NBNET_ALONE = DemoCustomer("shiro", "127.0.0.14", ("nbnet",), "contract nbnet alone: no C&C clause")
UNCONSENTED = DemoCustomer("goro", "127.0.0.15", ("gunma", "nbnet"), "both contracts, no consent on record", consented=False)
FLOODING = DemoCustomer("rokuro", "127.0.0.16", ("gunma", "nbnet"), "a machine of his asks without end")
CUSTOMERS = (BOTH, OPTING_OUT, GUNMA_ALONE, NBNET_ALONE, UNCONSENTED, FLOODING)
STRANGER = "127.0.0.99"
"""An address that is no customer's."""


@dataclass(frozen=True, slots=True)
class DemoSite:
    folder: Path
    runtime: Path
    config: Path
    host: str
    port: int
    metrics_port: int


def samples_folder() -> Path:
    """The sample lists: beside the package when installed, at the top of a checkout otherwise."""
    package = Path(sekisho.__file__).parent
    installed = package / "_blocklists"
    return installed if installed.is_dir() else package.parents[1] / "blocklists"


def choose_port(host: str, wanted: int, taken: Sequence[int] = ()) -> int:
    """`wanted` if it is free for UDP and TCP on `host`, else one that is."""
    for candidate in (wanted, *[0] * 20):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
            try:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                stream.bind((host, candidate))
                port: int = stream.getsockname()[1]
                datagram.bind((host, port))
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
                continue
            if port not in taken:
                return port
    raise OSError(errno.EADDRINUSE, f"no port of {host} is free for UDP and TCP")


def shared_memory_folder(environ_folder: Path = Path("/dev/shm")) -> Path | None:  # noqa: S108 - that is where Linux has it
    """Where shared tables are memory and no disk; None where the system has no such place."""
    return environ_folder if os.access(environ_folder, os.W_OK | os.X_OK) else None


def make_folders() -> tuple[Path, Path]:
    """A fresh folder for configuration and state, and one for the shared tables."""
    folder = Path(tempfile.mkdtemp(prefix="sekisho-demo-"))
    return folder, Path(tempfile.mkdtemp(prefix="sekisho-demo-", dir=shared_memory_folder() or folder))


def write_site(folder: Path, runtime: Path, upstream_port: int, wanted: tuple[int, int] = (5353, 9153)) -> DemoSite:
    """Write the configuration into `folder`; `wanted` are the ports of DNS and metrics, 0 for any."""
    host = "127.0.0.1"
    port = choose_port(host, wanted[0], (upstream_port,))
    metrics_port = choose_port(host, wanted[1], (upstream_port, port))
    config = folder / "sekisho.yaml"
    # JSON is YAML; the product's own example shows the form a person writes.
    _write(
        config,
        {
            "version": 1,
            "listen": [f"{host}:{port}"],
            "upstream": {"address": f"{host}:{upstream_port}"},
            "state": str(folder / "state"),
            "runtime": str(runtime),
            "terms": ["gunma", "nbnet"],
            "lists": str(samples_folder() / "lists.yaml"),
            "customers": "customers.yaml",
            "metrics": f"{host}:{metrics_port}",
            "workers": 2,
        },
    )
    _write(folder / "customers.yaml", {"version": 1, "customers": [_record(one) for one in CUSTOMERS]})
    return DemoSite(folder, runtime, config, host, port, metrics_port)


def _record(customer: DemoCustomer) -> dict[str, object]:
    record: dict[str, object] = {"id": customer.id, "terms": list(customer.terms), "prefixes": [f"{customer.address}/32"]}
    if customer.consented:
        record["consent"] = {"version": "2021-02-01", "at": "2024-04-01"}
    return record


def _write(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
