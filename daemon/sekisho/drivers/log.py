"""Logging: events with fields, to standard error, for the journal or for people.

Owns the format and the last line of the secrecy of communications: a field that could carry a
queried name, a list's name or a packet is taken out before anything is written, whoever logged it
and at whatever level. It does not replace care: the event's own text is a fixed sentence.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO, cast

import structlog

LogFormat = Literal["json", "text"]

DENIED = frozenset({"name", "qname", "query", "question", "domain", "fqdn", "hostname", "wire", "packet", "payload", "answer", "rdata"})
"""Fields no log may carry. A list, a clause or a file is named by `list`, `clause`, `file`."""

WITHHELD = "[withheld]"

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


_NO_DESCRIPTOR = "socket.accept() out of system resource"
"""How a message of asyncio begins."""
SPARED = 10.0
"""Seconds in which a want of descriptors is told once. asyncio tells it a hundred times a second, with a traceback each."""


class _Sparing(logging.Filter):
    """Keeps what is said while descriptors are wanting from filling the disk as well."""

    def __init__(self) -> None:
        super().__init__()
        self._told = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name != "asyncio" or not str(record.msg).startswith(_NO_DESCRIPTOR):
            return True
        if 0.0 <= record.created - self._told < SPARED:
            return False
        self._told = record.created
        record.exc_info = None
        return True


class _Unfailing(io.TextIOBase):
    """A stream whose failures are nobody's: a log on a full disk must not end what it tells of."""

    def __init__(self, inner: TextIO) -> None:
        self._inner = inner

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            return self._inner.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._inner.flush()

    def isatty(self) -> bool:
        return self._inner.isatty()


def withhold(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace the value of every denied field, at any depth; the processor before the last."""
    for key, value in event.items():
        if key.lower() in DENIED:
            event[key] = WITHHELD
        elif isinstance(value, MutableMapping):
            withhold(_logger, _method, value)
    return event


def configure(level: str = "info", form: LogFormat | None = None, stream: TextIO | None = None) -> None:
    """Set the process's logging up, once, at its start.

    `form` None chooses readable text for a terminal and JSON otherwise. Log lines of libraries
    (asyncio, uvicorn, httpx) go the same way, from `warning` up: what they say below that can carry
    addresses fetched and asked. Raises ValueError for an unknown level.
    """
    if level not in LEVELS:
        raise ValueError(f"unknown log level {level!r}; use one of {', '.join(LEVELS)}")
    out = cast("TextIO", _Unfailing(sys.stderr if stream is None else stream))
    chosen = form or ("text" if out.isatty() else "json")
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if chosen == "json"
        else structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], bool_as_flag=False)
    )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        withhold,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.addFilter(_Sparing())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(LEVELS[level], logging.WARNING))
