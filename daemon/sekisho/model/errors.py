"""The exception tree. Errors are raised; only the outermost boundary of a process catches all.

    SekishoError
    ├── ConfigError        faults in files an operator wrote; carries every fault at once
    ├── RefusedError       a request of an operator or customer that cannot be carried out
    ├── FeedError          a list source could not be fetched, transferred or understood
    ├── TableError         a shared table or state file is damaged or of another version
    ├── LedgerError        the record could not be written or does not verify
    ├── SinkError          an event could not be told; it is tried again
    └── UnavailableError   the other side of a socket (daemon, resolver, primary) is not there

The text of each says what is wrong and what to do about it.
"""

from __future__ import annotations

from dataclasses import dataclass


class SekishoError(Exception):
    """Root of every error Sekisho raises on purpose."""


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One fault in a file. `line` counts from 1; 0 means the file as a whole."""

    file: str
    line: int
    message: str
    path: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        what = f"{self.path}: {self.message}" if self.path else self.message
        return f"{where}: {what}"


class ConfigError(SekishoError):
    """Every fault found in the configuration, in the order of file and line."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = sorted(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class RefusedError(SekishoError):
    """The request was understood and is refused; the text says why and what to do."""


class FeedError(SekishoError):
    """A list source failed; the last good list stays in force."""


class TableError(SekishoError):
    """A shared table or state file is damaged, truncated or of another version."""


class LedgerError(SekishoError):
    """The ledger could not be written, or its chain does not verify."""


class SinkError(SekishoError):
    """An event could not be told to another system. `retry_after` (seconds) is when it asked to be tried again."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class UnavailableError(SekishoError):
    """A peer process or server does not answer."""
