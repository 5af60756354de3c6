"""`sekisho-plane`, the data plane: answers DNS by the shared tables, with or without a control plane.

Owns the process: sockets, start and stop. It reads of the configuration what concerns packets
(addresses, resolvers, cache) and nothing of people or lists: those come by the tables.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from sekisho.app.exitcodes import CRASHED, PASSING, REFUSED, STOPPED
from sekisho.app.process import begin, loading
from sekisho.drivers.notify import Notifier
from sekisho.model.errors import ConfigError, Fault, SekishoError

_FLAGS = {"compile": "compile the packet path, for a start that need not, and end"}


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of `sekisho-plane`. Exit codes: 2 usage, and those of `exitcodes`."""
    # Whoever tells every process to read its files again means the control plane: what changed comes by the tables.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    arguments = begin("sekisho-plane", "The data plane of Sekisho.", argv, _FLAGS)
    sys.exit(warm() if arguments.compile else run(arguments.config))


def warm() -> int:
    """Compile, or see that it is compiled, and end."""
    # Imported here: what it brings is compiled, and the folder that is kept in had to be known first.
    from sekisho.drivers.warmup import warm_up  # noqa: PLC0415

    warm_up()
    return 0


def run(config: Path) -> int:
    notifier = Notifier()
    try:
        with loading():
            # Imported here, and not before `begin`: they bring compiled code, and the folder it is kept in had to be known.
            from sekisho.app.plane_process import PlaneProcess  # noqa: PLC0415
            from sekisho.config.packets import parse_packet_settings  # noqa: PLC0415

            settings = parse_packet_settings(_read(config), str(config))
        asyncio.run(PlaneProcess(settings, notifier).run())
    except ConfigError as error:
        for fault in error.faults:
            print(fault, file=sys.stderr)
        return REFUSED
    except SekishoError as error:
        print(f"sekisho-plane: {error}", file=sys.stderr)
        return CRASHED if notifier.was_ready else PASSING
    except Exception:  # noqa: BLE001 - the outermost boundary
        traceback.print_exc()
        return CRASHED
    return STOPPED


def _read(config: Path) -> str:
    try:
        return config.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Fault(str(config), 0, f"cannot be read ({error}); name the configuration with --config")]) from error


if __name__ == "__main__":
    main()
