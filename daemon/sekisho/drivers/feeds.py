"""Feeds: the bytes of a list from a file or over HTTP(S).

Owns size limits and compression, and what did not change is not read again; HTTP itself is `webfeeds`'.
The bytes are never put on disk. Does not own what they mean (`lists`), when they are fetched
(`liststore`), nor in which process: those of a sealed list come to one of its own alone (`sealedlists`).
"""

from __future__ import annotations

import asyncio
import os
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from sekisho.model.errors import FeedError
from sekisho.model.lists import ListDefinition, ListFormat

if TYPE_CHECKING:
    from sekisho.drivers.webfeeds import WebFeeds

TOTAL_FACTOR = 20
"""A fetch as a whole may take this many times the definition's time-out, so that a server that
sends an octet now and then does not hold it for ever."""

CHUNK = 1 << 18
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Validators:
    """By what a source tells whether it changed: HTTP's ETag and Last-Modified, or of a file its
    inode, size and time in `etag`.
    """

    etag: str = ""
    modified: str = ""


@dataclass(frozen=True, slots=True)
class Fetched:
    data: bytearray
    validators: Validators


class Feeds:
    """Fetches feeds. One for the daemon; closed at its end."""

    def __init__(self) -> None:
        self._web: WebFeeds | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        if self._web is not None:
            await self._web.close()
            self._web = None

    async def fetch(self, definition: ListDefinition, known: Validators | None = None) -> Fetched | None:
        """The bytes of a list's source, or None if it did not change since `known`. Raises FeedError."""
        if not is_url(definition.source):
            return await asyncio.to_thread(_read_file, definition, known)
        if self._web is None:
            # The HTTP client takes long to import: a start by what is on disk does not wait for it.
            from sekisho.drivers.webfeeds import WebFeeds  # noqa: PLC0415

            self._web = WebFeeds()
        return await self._web.fetch(definition, known or Validators())


def is_url(source: str) -> bool:
    return source.lower().startswith(("http://", "https://"))


def is_local(definition: ListDefinition) -> bool:
    """Whether a list is read from a file of this machine."""
    return definition.format is not ListFormat.AXFR and "://" not in definition.source


def is_unchanged(definition: ListDefinition, known: Validators) -> bool:
    """Whether a local list's file is the one that is known, told without opening it."""
    try:
        return _validators(Path(definition.source).stat()) == known
    except OSError:
        return False


class Decoder:
    """Undoes gzip, if it is there, and holds the data to its limit before and after."""

    def __init__(self, limit: int, shown: str, *, always: bool) -> None:
        self.data = bytearray()
        self._limit = limit
        self._shown = shown
        self._received = 0
        self._always = always
        self._inflate: zlib._Decompress | None = None

    def add(self, chunk: bytes) -> None:
        if not self._received and (self._always or chunk.startswith(_GZIP)):
            self._inflate = zlib.decompressobj(wbits=31)
        self._received += len(chunk)
        if self._received > self._limit:
            self._too_large()
        if self._inflate is None:
            self.data += chunk
            return
        try:
            while chunk:
                self.data += self._inflate.decompress(chunk, self._limit + 1 - len(self.data))
                if len(self.data) > self._limit:
                    self._too_large()
                chunk = self._inflate.unconsumed_tail
                if self._inflate.eof:
                    # More members may follow (RFC 1952 section 2.2).
                    chunk = self._inflate.unused_data
                    if not chunk.startswith(_GZIP[: len(chunk)]):
                        break
                    if chunk:
                        self._inflate = zlib.decompressobj(wbits=31)
        except zlib.error:
            raise FeedError(f"{self._shown} is damaged: it cannot be decompressed") from None

    def finish(self) -> bytearray:
        if self._inflate is not None and not self._inflate.eof:
            raise FeedError(f"{self._shown} is damaged: its compressed data ends too early")
        return self.data

    def _too_large(self) -> None:
        raise FeedError(f"{self._shown} is larger than {self._limit} octets; set a larger `max_bytes` of the list if it should be")


def _read_file(definition: ListDefinition, known: Validators | None) -> Fetched | None:
    path = Path(definition.source)
    try:
        # Not to wait for a writer should it be a pipe: what it is, is looked at first.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise FeedError(f"{path} cannot be read ({error.strerror}); check the path and that the daemon may read it") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise FeedError(f"{path} is no plain file; set `source` of the list to one")
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        validators = _validators(status)
        if known == validators:
            return None
        decoder = Decoder(definition.max_bytes, str(path), always=False)
        try:
            while chunk := file.read(CHUNK):
                decoder.add(chunk)
        except OSError as error:
            raise FeedError(f"{path} cannot be read ({error.strerror}); check the disk") from None
        return Fetched(decoder.finish(), validators)


def _validators(status: os.stat_result) -> Validators:
    return Validators(etag=f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}")
