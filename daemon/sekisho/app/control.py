"""`sekishod`, the control plane: reads the site, keeps the record, publishes the tables, serves the API."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from sekisho.app.exitcodes import CRASHED, PASSING, REFUSED, STOPPED
from sekisho.app.process import begin, loading
from sekisho.drivers.notify import Notifier
from sekisho.model.errors import ConfigError, SekishoError, TableError

if TYPE_CHECKING:
    from sekisho.app.control_base import Base

_FLAGS = {"compile": "compile what reads lists, flow records and dnstap, for a start that need not, and end"}


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of `sekishod`. Exit codes: 2 usage, and those of `exitcodes`."""
    arguments = begin("sekishod", "The control plane of Sekisho.", argv, _FLAGS)
    sys.exit(warm() if arguments.compile else run(arguments.config))


def warm() -> int:
    """Compile, or see that it is compiled, and end."""
    # Imported here: what they bring is compiled, and the folder that is kept in had to be known first.
    from sekisho.drivers import dnstapwarm, flowswarm, listwarm  # noqa: PLC0415

    flowswarm.warm_up()
    listwarm.warm_up()
    dnstapwarm.warm_up()
    return 0


def run(config: Path) -> int:
    notifier = Notifier()
    try:
        with loading():
            restored = _restore(config)
            # Imported here, and not before `begin`: they bring compiled code, and the folder it is kept in had to be known.
            from sekisho.app.control_base import in_force  # noqa: PLC0415
            from sekisho.drivers.site import load_site  # noqa: PLC0415

            site = load_site(config)
        asyncio.run(_live(config, in_force(site, restored), notifier))
    except ConfigError as error:
        _tell(f"{error}\nsekishod: {len(error.faults)} faults in the configuration; correct them and start again")
        return REFUSED
    except SekishoError as error:
        _tell(f"sekishod: {error}")
        return CRASHED if notifier.was_ready else PASSING
    except Exception:  # noqa: BLE001 - the outermost boundary
        traceback.print_exc()
        return CRASHED
    return STOPPED


def _restore(config: Path) -> str | None:
    """Put the tables the daemon ended with in force, before anything that takes long to import or to read.

    Whatever keeps them from it only has the plane wait for what is loaded; faults of the configuration are told with that.
    """
    import structlog  # noqa: PLC0415 - see `process.begin`

    from sekisho.config.packets import parse_packet_settings  # noqa: PLC0415 - see `run`
    from sekisho.drivers.kepttables import KeptTables  # noqa: PLC0415

    log = structlog.get_logger("sekisho.control")
    try:
        settings = parse_packet_settings(config.read_text(encoding="utf-8"), str(config))
    except (ConfigError, OSError, UnicodeDecodeError):
        return None
    try:
        restored = KeptTables(settings.state, settings.runtime / "plane").restore(config, time.time())
    except (OSError, TableError) as error:
        log.warning("tables-not-restored", error=str(error))
        return None
    if restored is not None:
        log.info("tables-restored")
    return restored


async def _live(config: Path, tables: AbstractAsyncContextManager[Base], notifier: Notifier) -> None:
    hang_up = asyncio.Event()
    # What changes while the files are read is read again afterwards.
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hang_up.set)
    notifier.status("loading lists and customers")
    async with tables as base:
        # All the rest takes as long to import again: the plane answers by the tables meanwhile.
        with loading():
            from sekisho.app.control_daemon import serve  # noqa: PLC0415
        await serve(base, config, hang_up, notifier)


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
