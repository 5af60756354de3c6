"""`sekishod`, the control plane: reads the site, keeps the record, publishes the tables, serves the API."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from sekisho.app.process import begin, loading
from sekisho.drivers.notify import Notifier
from sekisho.model.errors import ConfigError, SekishoError

_FLAGS = {"compile": "compile the collector of flow records, for a start that need not, and end"}


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of `sekishod`. Exit codes: 0 stopped as told, 1 could not start or go on, 2 usage."""
    arguments = begin("sekishod", "The control plane of Sekisho.", argv, _FLAGS)
    sys.exit(warm() if arguments.compile else run(arguments.config))


def warm() -> int:
    """Compile, or see that it is compiled, and end."""
    # Imported here: what it brings is compiled, and the folder that is kept in had to be known first.
    from sekisho.drivers.flowswarm import warm_up  # noqa: PLC0415

    warm_up()
    return 0


def run(config: Path) -> int:
    try:
        with loading():
            # Imported here, and not before `begin`: they bring compiled code, and the folder it is kept in had to be known.
            from sekisho.app.control_daemon import serve  # noqa: PLC0415
            from sekisho.drivers.site import load_site  # noqa: PLC0415

            site = load_site(config)
        asyncio.run(serve(config, site, Notifier()))
    except ConfigError as error:
        _tell(f"{error}\nsekishod: {len(error.faults)} faults in the configuration; correct them and start again")
        return 1
    except SekishoError as error:
        _tell(f"sekishod: {error}")
        return 1
    return 0


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
