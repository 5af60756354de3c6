"""`sekisho run`: both processes in the foreground, for a small site, a trial or the demo.

Owns the listening sockets while it runs and hands them to the plane as systemd would, so queries
wait instead of failing while the plane restarts. Does not own what the processes do: under systemd
the same two run as units of their own, and the plane then outlives the control plane. Here none
outlives the supervisor.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from sekisho.app.keeper import Program, Say, keep
from sekisho.config.settings import Settings, parse_settings
from sekisho.drivers.compilecache import use_compile_cache
from sekisho.drivers.listeners import bind_listeners
from sekisho.drivers.site import load_site
from sekisho.model.errors import ConfigError, UnavailableError


def run(config: Path, environ: Mapping[str, str] | None = None, say: Say | None = None, *, options: tuple[str, ...] = ()) -> int:
    """Run the checkpoint of `config` until it is told to stop; both programs get `options`. Returns the exit code."""
    tell = say or _to_stderr
    inner = dict(os.environ if environ is None else environ)
    use_compile_cache(inner)
    try:
        settings = _settings(config)
        workers = settings.workers or len(os.sched_getaffinity(0))
        listeners = bind_listeners(settings.listen, workers)
    except ConfigError as error:
        tell(f"{config} cannot be used:\n{error}")
        return 1
    except UnavailableError as error:
        tell(str(error))
        return 1
    with contextlib.ExitStack() as stack:
        for _, one in listeners:
            stack.enter_context(one)
        handed = tuple((name, one.fileno()) for name, one in listeners)
        tell(f"listening on {', '.join(str(one) for one in settings.listen)}, UDP and TCP")
        # -P: a file of the folder one happens to stand in (http.py) is no module of ours.
        python = (sys.executable, "-P", "-m")
        return keep(
            (
                Program("sekishod", (*python, "sekisho.app.control", "--config", str(config), *options), reloads=True),
                Program("sekisho-plane", (*python, "sekisho.app.plane", "--config", str(config), *options), handed, succeeded=True),
            ),
            inner,
            tell,
        )


def _settings(config: Path) -> Settings:
    """The main file alone, for its addresses; a fault in it brings out every fault of every file."""
    try:
        return parse_settings(config.read_text(encoding="utf-8"), str(config))
    except (ConfigError, OSError, UnicodeDecodeError):
        return load_site(config).settings


def _to_stderr(text: str) -> None:
    with contextlib.suppress(OSError):  # a terminal that went away, a full disk: no reason to stop
        print(f"sekisho: {text}", file=sys.stderr, flush=True)
