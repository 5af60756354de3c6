"""Where something may have been left in a kernel: a file that says so, for a start with another configuration."""

from __future__ import annotations

from pathlib import Path

import structlog

from sekisho.drivers.durable import write_file

log = structlog.get_logger("sekisho.lines")


class LinesLeft:
    """The file, if there is one to be."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def namespace(self) -> str | None:
        """The namespace (empty: the daemon's own) in which something of ours may be; None: in none."""
        try:
            return self._path.read_text(encoding="utf-8").strip() if self._path is not None else None
        except (OSError, UnicodeError):
            return None

    def remember(self, namespace: str | None) -> None:
        """What cannot be remembered is told."""
        if self._path is None:
            return
        try:
            if namespace is None:
                self._path.unlink(missing_ok=True)
            else:
                write_file(self._path, f"{namespace}\n".encode())
        except OSError as error:
            log.error("lines-not-remembered", file=str(self._path), error=error.strerror)  # noqa: TRY400
