"""The ends of a connection that the targets of streams hold in the place of sockets."""

from __future__ import annotations

from collections.abc import Callable


class Incoming:
    """What a client wrote, some octets at a time."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data, self._size = data, size

    async def read(self, most: int) -> bytes:
        piece, self._data = self._data[: min(most, self._size)], self._data[min(most, self._size) :]
        return piece


class Outgoing:
    """The other side of a connection: it takes what is written, and tells of it. It is its own transport."""

    def __init__(self, told: Callable[[], object] | None = None) -> None:
        self.written = b""
        self._told = told
        self._closed = False

    @property
    def transport(self) -> Outgoing:
        return self

    def write(self, data: bytes) -> None:
        self.written += data
        if self._told is not None:
            self._told()

    async def drain(self) -> None:
        """There is always room."""

    async def wait_closed(self) -> None:
        """It is."""

    def close(self) -> None:
        self._closed = True

    abort = close

    def is_closing(self) -> bool:
        return self._closed

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int) -> None:
        """They are not reached."""

    def get_extra_info(self, _name: str) -> tuple[str, int]:
        return "192.0.2.53", 53
