"""HTTP/1.1 from callers who may say nothing, never finish saying it, or take no response: how many connections, and how long.

uvicorn's own time begins after a response, so that a connection on which none is ever asked for would be there for good, with
a descriptor of the daemon's; and so would one whose response waits, before its end, for room that the caller never makes.
"""

from __future__ import annotations

import asyncio
import fcntl
import sys
import termios
from typing import ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

CONNECTIONS = 64
"""Connections one user may have open to the API at once, root any number; and all who read `/metrics` together."""
PATIENCE = 10.0
"""Seconds a request has to come whole, from the connection or from the response before it, and some of a response to be taken."""


class BoundedProtocol(H11Protocol):
    """Closes a connection on which no whole request comes in time, or nothing is taken of a response that waits for that."""

    patience: ClassVar[float] = PATIENCE
    """Seconds."""
    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._wait()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # A response may come before its request is whole: the time of the one is not what is left of the other's.
        self._wait_anew()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait_anew()

    def resume_writing(self) -> None:
        super().resume_writing()
        # Some was taken, and as much and more may be written now: what was left when the time began says nothing any more.
        self._wait_anew()

    def _wait(self) -> None:
        """Have the time run while a request is to come, or what is left of responses to be taken, and not while the daemon is at work."""
        at_work = _is_worked_on(self.cycle) and not self.flow.write_paused
        if at_work and not self.transport.is_closing():
            self._wait_no_more()
        elif self._waiting is None:
            self._waiting = self.loop.call_later(self.patience, self._end, self._left())

    def _end(self, before: int) -> None:
        """The time is over. `before`: what was left when it began."""
        self._waiting = None
        if 0 < self._left() < before:
            self._wait()
        else:
            # Not closed: that would wait for a caller who takes no response either.
            self.transport.abort()

    def _left(self) -> int:
        """Bytes of responses the caller has still to take; 0 once the kernel has the last of them, which it keeps for the caller."""
        here = self.transport.get_write_buffer_size()
        if not here:
            return 0
        # The kernel takes more only in lumps, over TCP of a megabyte, for which a slow caller needs longer than there is.
        kept = fcntl.ioctl(self.transport.get_extra_info("socket"), termios.TIOCOUTQ, bytes(4))
        return here + int.from_bytes(kept, sys.byteorder)

    def _wait_anew(self) -> None:
        self._wait_no_more()
        self._wait()

    def _wait_no_more(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


def _is_worked_on(cycle: RequestResponseCycle | None) -> bool:
    """Whether a request came whole and its response is to come; None: no request was begun."""
    return cycle is not None and not cycle.more_body and not cycle.response_complete


class LimitedProtocol(BoundedProtocol):
    """And has so many connections, whosever they are."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
