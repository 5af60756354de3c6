"""Feeds: the bytes of a list from a file or over HTTP(S).

Owns conditional requests, time-outs, size limits and redirects. The bytes are never put on disk. Does
not own what the bytes mean (`lists`), when they are fetched (`liststore`), nor in which process: those
of a sealed list come to one of its own alone (`sealedlists`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from sekisho.model.errors import FeedError
from sekisho.model.lists import ListDefinition, ListFormat

MAX_REDIRECTS = 5
TOTAL_FACTOR = 20
"""A fetch as a whole may take this many times the definition's time-out, so that a server that
sends an octet now and then does not hold it for ever."""

_CHUNK = 1 << 18
_LOOPBACK = ("all://127.0.0.1", "all://localhost", "all://[::1]")
_GZIP = b"\x1f\x8b"
_NOT_MODIFIED = 304
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


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

    def __init__(self, client: httpx.AsyncClient | None = None) -> None:
        self._client = client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def fetch(self, definition: ListDefinition, known: Validators | None = None) -> Fetched | None:
        """The bytes of a list's source, or None if it did not change since `known`. Raises FeedError."""
        if not is_url(definition.source):
            return await asyncio.to_thread(_read_file, definition, known)
        shown = shown_url(definition.source)
        total = definition.timeout * TOTAL_FACTOR
        try:
            async with asyncio.timeout(total):
                return await self._fetch_url(definition, known or Validators(), shown)
        except TimeoutError:
            raise FeedError(f"{shown} took longer than {total:g} s; set a longer `timeout` of the list if it is that slow") from None
        except httpx.TimeoutException:
            raise FeedError(f"{shown} gave nothing for {definition.timeout:g} s; check it, or set a longer `timeout` of the list") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise FeedError(f"{shown} cannot be fetched ({_reason(error)}); check the address and the way to it") from None

    async def _fetch_url(self, definition: ListDefinition, known: Validators, shown: str) -> Fetched | None:
        headers = {"Accept-Encoding": "gzip"}
        if known.etag:
            headers["If-None-Match"] = known.etag
        if known.modified:
            headers["If-Modified-Since"] = known.modified
        async with self._following(definition, headers, shown) as response:
            if response.status_code == _NOT_MODIFIED:
                return None
            if response.status_code != 200:
                raise FeedError(f"{shown} answered with status {response.status_code}; check the address of the list")
            data = await _body(response, definition, shown)
            validators = Validators(response.headers.get("etag", ""), response.headers.get("last-modified", ""))
        return Fetched(data, validators)

    @contextlib.asynccontextmanager
    async def _following(self, definition: ListDefinition, headers: dict[str, str], shown: str) -> AsyncIterator[httpx.Response]:
        """The response after at most MAX_REDIRECTS redirects, none of them from HTTPS to HTTP."""
        client = self._open_client()
        request = client.build_request("GET", definition.source, headers=headers, timeout=httpx.Timeout(definition.timeout))
        for _ in range(MAX_REDIRECTS + 1):
            response = await client.send(request, stream=True)
            try:
                if response.status_code not in _REDIRECTS or response.next_request is None:
                    yield response
                    return
                if request.url.scheme == "https" and response.next_request.url.scheme != "https":
                    raise FeedError(f"{shown} redirects from HTTPS to HTTP; set `source` to an address that stays with HTTPS")
                request = response.next_request
            finally:
                await response.aclose()
        raise FeedError(f"{shown} redirects more than {MAX_REDIRECTS} times; set `source` to the address it ends at")

    def _open_client(self) -> httpx.AsyncClient:
        if self._client is None:
            # A proxy of the environment is for the world outside, never for this host.
            mounts = dict.fromkeys(_LOOPBACK, None)
            self._client = httpx.AsyncClient(mounts=mounts, headers={"User-Agent": "sekisho"})
        return self._client


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


def shown_url(source: str) -> str:
    """A URL as it may stand in a message: without user, password, query and fragment."""
    try:
        url = httpx.URL(source)
    except httpx.InvalidURL:
        return "the source"
    port = f":{url.port}" if url.port is not None else ""
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{url.scheme}://{host}{port}{url.path}"


class _Decoder:
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


async def _body(response: httpx.Response, definition: ListDefinition, shown: str) -> bytearray:
    declared = response.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > definition.max_bytes:
        raise FeedError(f"{shown} says it has {declared} octets; set a larger `max_bytes` of the list if it should")
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip", ""):
        raise FeedError(f"{shown} is encoded as {encoding[:20]!r}, which was not asked for")
    decoder = _Decoder(definition.max_bytes, shown, always=encoding.endswith("gzip"))
    async for chunk in response.aiter_raw(_CHUNK):
        decoder.add(chunk)
    if declared.isdigit() and response.num_bytes_downloaded < int(declared):
        raise FeedError(f"{shown} ended before all of it came")
    return decoder.finish()


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
        decoder = _Decoder(definition.max_bytes, str(path), always=False)
        try:
            while chunk := file.read(_CHUNK):
                decoder.add(chunk)
        except OSError as error:
            raise FeedError(f"{path} cannot be read ({error.strerror}); check the disk") from None
        return Fetched(decoder.finish(), validators)


def _validators(status: os.stat_result) -> Validators:
    return Validators(etag=f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}")


def _reason(error: Exception) -> str:
    """What went wrong, in words that carry no address."""
    match error:
        case httpx.ConnectError():
            return "no connection"
        case httpx.RemoteProtocolError():
            return "the server broke off or does not speak HTTP"
        case httpx.UnsupportedProtocol() | httpx.InvalidURL():
            return "it is no address for HTTP"
        case _:
            return type(error).__name__
