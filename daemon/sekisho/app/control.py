"""`sekishod`, the control plane: reads the site, keeps the record, publishes the tables, serves the API."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import sekisho
from sekisho.drivers.compilecache import use_compile_cache
from sekisho.drivers.log import LEVELS, configure
from sekisho.drivers.notify import Notifier
from sekisho.drivers.processes import keep_no_core
from sekisho.drivers.site import load_site
from sekisho.model.errors import ConfigError, SekishoError

_DEFAULT = "/etc/sekisho/sekisho.yaml"


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of `sekishod`. Exit codes: 0 stopped as told, 1 could not start or go on, 2 usage."""
    sys.exit(run(_parser().parse_args(argv)))


def run(arguments: argparse.Namespace) -> int:
    keep_no_core()
    os.umask(0o027)
    configure(arguments.log_level, arguments.log_format)
    config = Path(arguments.config or os.environ.get("SEKISHO_CONFIG") or _DEFAULT)
    try:
        site = load_site(config)
    except ConfigError as error:
        _tell(f"{error}\nsekishod: {len(error.faults)} faults in the configuration; correct them and start again")
        return 1
    use_compile_cache()
    # Imported once the configuration holds: it brings the compiled parts with it.
    from sekisho.app.control_daemon import serve  # noqa: PLC0415

    try:
        asyncio.run(serve(config, site, Notifier()))
    except SekishoError as error:
        _tell(f"sekishod: {error}")
        return 1
    return 0


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _parser() -> argparse.ArgumentParser:
    about = "The control plane of Sekisho. `sekisho --help` shows the operator's commands."
    parser = argparse.ArgumentParser(prog="sekishod", description=about)
    parser.add_argument("--config", metavar="FILE", help=f"the configuration; default $SEKISHO_CONFIG, then {_DEFAULT}")
    level = os.environ.get("SEKISHO_LOG_LEVEL", "info")
    parser.add_argument("--log-level", choices=LEVELS, default=level if level in LEVELS else "info")
    parser.add_argument("--log-format", choices=("json", "text"), help="default: text on a terminal, JSON otherwise")
    parser.add_argument("--version", action="version", version=f"sekishod {sekisho.__version__}")
    return parser


if __name__ == "__main__":
    main()
