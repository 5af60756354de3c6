"""`sekisho run`: both processes in the foreground, for a small site, a trial or the demo.

Owns the listening sockets while it runs and hands them to the plane as systemd would, so queries
wait instead of failing while the plane restarts; and how long either process may be silent. Does not
own what the processes do: under systemd the same two run as units of their own, and the plane then
outlives the control plane. Here none outlives the supervisor.

The control plane takes longest to be ready, so it is started before anything else is done, and this
module imports nothing that takes long. It refuses a faulty configuration itself.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from sekisho.app.exitcodes import PASSING, REFUSED
from sekisho.app.keeper import Program, Say, keep
from sekisho.drivers.compilecache import use_compile_cache
from sekisho.drivers.listeners import bind_listeners
from sekisho.model.errors import ConfigError, UnavailableError

CONTROL_WATCHDOG, PLANE_WATCHDOG = 60.0, 20.0
"""Seconds either process may be silent: what the units have as WatchdogSec=."""


def run(config: Path, environ: Mapping[str, str] | None = None, say: Say | None = None, *, options: tuple[str, ...] = ()) -> int:
    """Run the checkpoint of `config` until it is told to stop; both programs get `options`. Returns the exit code: that of `keep`, or
    as the services have it PASSING for an address that is taken and REFUSED for a configuration with faults.
    """
    tell = say or _to_stderr
    inner = dict(os.environ if environ is None else environ)
    use_compile_cache(inner)
    with contextlib.ExitStack() as stack:
        try:
            return keep(_programs(config, options, tell, stack), inner, tell)
        except ConfigError:
            tell(f"{config} cannot be used:\n{_every_fault(config)}")
        except UnavailableError as error:
            tell(str(error))
            return PASSING
    return REFUSED


def _programs(config: Path, options: tuple[str, ...], tell: Say, stack: contextlib.ExitStack) -> Iterator[Program]:
    """Both programs; `stack` closes the sockets. Raises ConfigError for the main file, UnavailableError for an address."""
    # -P: a file of the folder one happens to stand in (http.py) is no module of ours.
    python = (sys.executable, "-P", "-m")
    control = (*python, "sekisho.app.control", "--config", str(config), *options)
    yield Program("sekishod", control, reloads=True, watchdog=CONTROL_WATCHDOG)
    # Imported while the control plane starts: the models of configuration take longer than all else here.
    from sekisho.config.packets import parse_packet_settings  # noqa: PLC0415

    try:
        settings = parse_packet_settings(config.read_text(encoding="utf-8"), str(config))
    except (OSError, UnicodeDecodeError):
        raise ConfigError([]) from None
    listeners = bind_listeners(settings.listen, settings.workers or len(os.sched_getaffinity(0)))
    for _, one in listeners:
        stack.enter_context(one)
    tell(f"listening on {', '.join(str(one) for one in settings.listen)}, UDP and TCP")
    handed = tuple((name, one.fileno()) for name, one in listeners)
    plane = (*python, "sekisho.app.plane", "--config", str(config), *options)
    yield Program("sekisho-plane", plane, handed, succeeded=True, watchdog=PLANE_WATCHDOG)


def _every_fault(config: Path) -> str:
    """What is wrong with the files, all of them: for a fault of the main file alone the others would come one by one."""
    from sekisho.drivers.site import load_site  # noqa: PLC0415 - brings compiled code, and is needed for nothing else

    try:
        load_site(config)
    except ConfigError as error:
        return str(error)
    return "it was changed while it was read; start again"


def _to_stderr(text: str) -> None:
    with contextlib.suppress(OSError):  # a terminal that went away, a full disk: no reason to stop
        print(f"sekisho: {text}", file=sys.stderr, flush=True)
