"""Feeds over HTTP(S): conditional requests, time-outs, redirects.

Apart from `feeds`, which imports it when the first such list is fetched.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx

from sekisho.drivers.feeds import CHUNK, TOTAL_FACTOR, Decoder, Fetched, Validators
from sekisho.drivers.webclient import open_client
from sekisho.model.errors import FeedError
from sekisho.model.lists import ListDefinition

MAX_REDIRECTS = 5

_NOT_MODIFIED = 304
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class WebFeeds:
    """Fetches by one client, which is opened with the first request and closed at the end."""

    def __init__(self) -> None:
        self._client: httpx.AsyncClient | None = None

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def fetch(self, definition: ListDefinition, known: Validators) -> Fetched | None:
        """The bytes of a list's source, or None if it did not change since `known`. Raises FeedError."""
        shown = shown_url(definition.source)
        total = definition.timeout * TOTAL_FACTOR
        try:
            async with asyncio.timeout(total):
                return await self._fetch(definition, known, shown)
        except TimeoutError:
            raise FeedError(f"{shown} took longer than {total:g} s; set a longer `timeout` of the list if it is that slow") from None
        except httpx.TimeoutException:
            raise FeedError(f"{shown} gave nothing for {definition.timeout:g} s; check it, or set a longer `timeout` of the list") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise FeedError(f"{shown} cannot be fetched ({_reason(error)}); check the address and the way to it") from None

    async def _fetch(self, definition: ListDefinition, known: Validators, shown: str) -> Fetched | None:
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
            self._client = open_client()
        return self._client


def shown_url(source: str) -> str:
    """A URL as it may stand in a message: without user, password, query and fragment."""
    try:
        url = httpx.URL(source)
    except httpx.InvalidURL:
        return "the source"
    port = f":{url.port}" if url.port is not None else ""
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{url.scheme}://{host}{port}{url.path}"


async def _body(response: httpx.Response, definition: ListDefinition, shown: str) -> bytearray:
    declared = response.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > definition.max_bytes:
        raise FeedError(f"{shown} says it has {declared} octets; set a larger `max_bytes` of the list if it should")
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip", ""):
        raise FeedError(f"{shown} is encoded as {encoding[:20]!r}, which was not asked for")
    decoder = Decoder(definition.max_bytes, shown, always=encoding.endswith("gzip"))
    async for chunk in response.aiter_raw(CHUNK):
        # In a thread: some octets of a source that means harm take most of a second to undo, and acts of operators wait for the loop.
        await asyncio.to_thread(decoder.add, chunk)
    if declared.isdigit() and response.num_bytes_downloaded < int(declared):
        raise FeedError(f"{shown} ended before all of it came")
    return decoder.finish()


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
