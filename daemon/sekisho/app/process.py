"""What `sekishod` and `sekisho-plane` do alike as processes, before they differ: arguments, and the first steps.

Owns the options of both programs, the place of the configuration, and what keeps memory secret. It
imports nothing that is compiled: where compiled code is kept has to be settled before that is imported.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import sekisho
from sekisho.drivers.compilecache import use_compile_cache
from sekisho.drivers.processes import give_large_memory_back, keep_no_core
from sekisho.model.frozen import make_quickly

_DEFAULT = "/etc/sekisho/sekisho.yaml"
_LEFT_OUT = ("rich", "coverage")
"""What structlog and Numba would bring along where it is installed, for a tenth of the start, and nothing here uses."""
_NO_FLAGS: Mapping[str, str] = {}


def begin(program: str, about: str, argv: Sequence[str] | None = None, flags: Mapping[str, str] = _NO_FLAGS) -> argparse.Namespace:
    """Read the arguments, set the process up, and return them, `config` as a path. Exits with code 2 on wrong usage.

    `flags` are the program's own, with their help.

    Until a process has something to finish, SIGTERM and Ctrl-C end it at once: a start is as safe to
    break off as a crash is, and the first one compiles for a minute.
    """
    make_quickly()
    # Nothing here multiplies matrices, and numpy would start a thread for each processor to do it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for package in _LEFT_OUT:
        sys.modules.setdefault(package, None)  # type: ignore[arg-type]
    from sekisho.drivers.log import configure  # noqa: PLC0415 - brings structlog, for which the others are left out

    arguments = _parser(program, about, flags).parse_args(argv)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    keep_no_core()
    give_large_memory_back()
    os.umask(0o027)
    configure(arguments.log_level, arguments.log_format)
    use_compile_cache()
    arguments.config = Path(arguments.config or os.environ.get("SEKISHO_CONFIG") or _DEFAULT)
    return arguments


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Around imports and the reading of files: what comes of them stays, so nothing of it is looked through for garbage.

    The collector would go through it again and again, for a tenth of the start, and later whenever it runs.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _parser(program: str, about: str, flags: Mapping[str, str]) -> argparse.ArgumentParser:
    from sekisho.drivers.log import LEVELS  # noqa: PLC0415 - see `begin`

    parser = argparse.ArgumentParser(prog=program, description=f"{about} `sekisho --help` shows the operator's commands.")
    parser.add_argument("--config", metavar="FILE", help=f"the configuration; default $SEKISHO_CONFIG, then {_DEFAULT}")
    level = os.environ.get("SEKISHO_LOG_LEVEL", "info")
    parser.add_argument("--log-level", choices=LEVELS, default=level if level in LEVELS else "info")
    parser.add_argument("--log-format", choices=("json", "text"), help="default: text on a terminal, JSON otherwise")
    for name, meaning in flags.items():
        parser.add_argument(f"--{name}", action="store_true", help=meaning)
    parser.add_argument("--version", action="version", version=f"{program} {sekisho.__version__}")
    return parser
