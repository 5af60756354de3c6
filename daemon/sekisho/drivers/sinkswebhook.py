"""Events to a web server: one POST at a time, signed, taken when it was answered 2xx.

Imported when the first such sink is made: the HTTP client takes long to import.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import email.utils
from collections.abc import Callable
from pathlib import Path

import httpx

from sekisho.drivers.sinks import Run, Transport
from sekisho.drivers.webclient import open_client
from sekisho.drivers.webfeeds import shown_url
from sekisho.model.errors import SinkError
from sekisho_exporters.cloudevents import Envelope
from sekisho_exporters.webhook import delivery, read_secret

_READ = 65536
"""Octets of an answer that are read, so that its connection can be used again."""
_MAX_SECRET = 4096


class WebhookTransport(Transport):
    """Posts to `url` by one client, opened with the first event."""

    def __init__(self, url: str, secret: Path | None, timeout: float, batch: int, clock: Callable[[], float]) -> None:
        self.batch = batch
        self._url, self._secret, self._timeout, self._clock = url, secret, timeout, clock
        self._shown = shown_url(url)
        self._client: httpx.AsyncClient | None = None

    async def send(self, events: list[Envelope], run: Run) -> None:
        """Raises SinkError."""
        secret = await run(self._read_secret)
        body, headers = delivery(events, secret, self._clock(), batch=self.batch > 1)
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._open_client().stream("POST", self._url, content=body, headers=headers) as response,
            ):
                read = 0
                async for chunk in response.aiter_raw():
                    read += len(chunk)
                    if read > _READ:
                        break
        except (TimeoutError, httpx.TimeoutException):
            raise SinkError(
                f"{self._shown} took longer than {self._timeout:g} s; check it, or set a longer `timeout` of the sink"
            ) from None
        except httpx.ConnectError:
            raise SinkError(f"{self._shown} cannot be reached (no connection); check the address and the way to it") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise SinkError(f"{self._shown} broke off ({type(error).__name__}); check the address and the server") from None
        if not response.is_success:
            after = _seconds(response.headers.get("retry-after", ""), self._clock())
            raise SinkError(f"{self._shown} answered with status {response.status_code}; it has to answer 2xx to take an event", after)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _read_secret(self) -> bytes | None:
        if self._secret is None:
            return None
        try:
            with self._secret.open("rb") as file:
                return read_secret(file.read(_MAX_SECRET))
        except OSError as error:
            raise SinkError(f"the secret {self._secret} cannot be read ({error.strerror}); make it readable for the daemon") from None
        except ValueError as error:
            raise SinkError(
                f"the secret {self._secret} is none: {error}; write 24 octets or more, `openssl rand -hex 24` makes some"
            ) from None

    def _open_client(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = open_client(self._timeout)
        return self._client


def _seconds(text: str, now: float) -> float | None:
    """`Retry-After` (RFC 9110 section 10.2.3) in seconds from now; None for none."""
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        at = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return max(0.0, at.replace(tzinfo=at.tzinfo or dt.UTC).timestamp() - now)
