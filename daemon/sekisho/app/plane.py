"""`sekisho-plane`, the data plane: answers DNS by the shared tables, with or without a control plane.

Owns the process: arguments, sockets, start and stop. It reads of the configuration what concerns
packets (addresses, resolvers, cache) and nothing of people or lists: those come by the tables.
"""

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
from sekisho.model.errors import ConfigError, SekishoError

_DEFAULT = "/etc/sekisho/sekisho.yaml"


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of `sekisho-plane`. Exit codes: 0 stopped as told, 1 could not start or go on, 2 usage."""
    sys.exit(run(_parser().parse_args(argv)))


def run(arguments: argparse.Namespace) -> int:
    keep_no_core()
    os.umask(0o027)
    configure(arguments.log_level, arguments.log_format)
    use_compile_cache()
    # Imported here: what they bring is compiled, and the cache's folder had to be known first.
    if arguments.compile:
        from sekisho.drivers.warmup import warm_up  # noqa: PLC0415

        warm_up()
        return 0
    from sekisho.app.plane_process import PlaneProcess  # noqa: PLC0415
    from sekisho.config.settings import parse_settings  # noqa: PLC0415

    config = Path(arguments.config or os.environ.get("SEKISHO_CONFIG") or _DEFAULT)
    try:
        settings = parse_settings(config.read_text(encoding="utf-8"), str(config))
        asyncio.run(PlaneProcess(settings, Notifier()).run())
    except ConfigError as error:
        for fault in error.faults:
            print(fault, file=sys.stderr)
        return 1
    except (OSError, UnicodeDecodeError) as error:
        print(f"sekisho-plane: {config} cannot be read ({error}); name the configuration with --config", file=sys.stderr)
        return 1
    except SekishoError as error:
        print(f"sekisho-plane: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sekisho-plane", description="The data plane of Sekisho. `sekisho --help` shows the operator's commands."
    )
    parser.add_argument("--config", metavar="FILE", help=f"the configuration; default $SEKISHO_CONFIG, then {_DEFAULT}")
    level = os.environ.get("SEKISHO_LOG_LEVEL", "info")
    parser.add_argument("--log-level", choices=LEVELS, default=level if level in LEVELS else "info")
    parser.add_argument("--log-format", choices=("json", "text"), help="default: text on a terminal, JSON otherwise")
    parser.add_argument("--compile", action="store_true", help="compile the packet path, for a start that need not, and end")
    parser.add_argument("--version", action="version", version=f"sekisho-plane {sekisho.__version__}")
    return parser


if __name__ == "__main__":
    main()
