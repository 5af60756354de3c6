"""What `sekishod` and `sekisho-plane` do alike as processes, before they differ: arguments, and the first steps.

Owns the options of both programs, the place of the configuration, and what keeps memory secret. It
imports nothing that is compiled: where compiled code is kept has to be settled before that is imported.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import os
import resource
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import sekisho
from sekisho.drivers.compilecache import use_compile_cache
from sekisho.drivers.log import LEVELS, configure

_PR_SET_DUMPABLE = 4
_M_PERTURB, _WIPE = -6, 0x5A
_DEFAULT = "/etc/sekisho/sekisho.yaml"


def begin(program: str, about: str, argv: Sequence[str] | None = None) -> Path:
    """Read the arguments, set the process up, and return where its configuration is. Exits with code 2 on wrong usage.

    Until a process has something to finish, SIGTERM and Ctrl-C end it at once: a start is as safe to
    break off as a crash is, and the first one compiles for a minute.
    """
    arguments = _parser(program, about).parse_args(argv)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    keep_no_core()
    os.umask(0o027)
    configure(arguments.log_level, arguments.log_format)
    use_compile_cache()
    return Path(arguments.config or os.environ.get("SEKISHO_CONFIG") or _DEFAULT)


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


def keep_no_core() -> None:
    """No core file and no debugger of another user: memory holds the list key and, for moments, a sealed list's text."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    # What is freed is overwritten at once, so that nothing of a sealed list's text stays in memory given back.
    libc.mallopt(_M_PERTURB, _WIPE)


def _parser(program: str, about: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description=f"{about} `sekisho --help` shows the operator's commands.")
    parser.add_argument("--config", metavar="FILE", help=f"the configuration; default $SEKISHO_CONFIG, then {_DEFAULT}")
    level = os.environ.get("SEKISHO_LOG_LEVEL", "info")
    parser.add_argument("--log-level", choices=LEVELS, default=level if level in LEVELS else "info")
    parser.add_argument("--log-format", choices=("json", "text"), help="default: text on a terminal, JSON otherwise")
    parser.add_argument("--version", action="version", version=f"{program} {sekisho.__version__}")
    return parser
