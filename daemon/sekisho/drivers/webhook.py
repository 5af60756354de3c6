"""Notices to a system of the operator's, as JSON over HTTP(S), signed.

    Sekisho-Notice: n-17
    Sekisho-Signature: t=<UNIX seconds>,v1=<hexadecimal HMAC-SHA256 over "<t>.<body>">

The notice's id is the same at every attempt: a receiver that knows it has it already. Redirects are not
followed, since they would carry a customer's notice to where nobody configured.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from sekisho.drivers.secrets import read_credential
from sekisho.drivers.webclient import open_client
from sekisho.measures.notices import Attempt, Outcome
from sekisho.model.errors import UnavailableError

SECRET = "webhook-secret"  # noqa: S105 - the name of the credential
MIN_SECRET = 16
_LATER = frozenset({408, 421, 425, 429})


def sign(secret: str, body: bytes, now: float) -> str:
    """The value of `Sekisho-Signature`."""
    stamp = str(int(now))
    digest = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256)
    return f"t={stamp},v1={digest.hexdigest()}"


class Webhook:
    """Posts to one address, by one client, opened with the first request. `timeout` in seconds."""

    def __init__(self, url: str, secret_file: Path | None, timeout: float) -> None:
        self._url = url
        self._secret_file = secret_file
        self._timeout = timeout
        self._client: httpx.AsyncClient | None = None

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def post(self, notice: str, content: Mapping[str, Any], now: float) -> Attempt:
        """Hand one notice over. Raises nothing: what went wrong is the outcome."""
        body = json.dumps(content, ensure_ascii=False, sort_keys=True).encode()
        try:
            secret = read_credential(SECRET, self._secret_file)
        except UnavailableError as error:
            return Attempt(Outcome.DEFERRED, str(error))
        if len(secret) < MIN_SECRET:
            return Attempt(Outcome.DEFERRED, f"the secret of the webhook is shorter than {MIN_SECRET} characters; make a longer one")
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": notice,
            "Sekisho-Notice": notice,
            "Sekisho-Signature": sign(secret, body, now),
        }
        try:
            response = await self._open().post(self._url, content=body, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            return Attempt(Outcome.DEFERRED, "the webhook was not reached")
        except httpx.TransportError as error:
            return Attempt(Outcome.UNKNOWN, f"the webhook broke off before it answered ({type(error).__name__})")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Attempt(Outcome.REFUSED, f"the webhook cannot be called ({type(error).__name__}); check its address")
        return _judge(response.status_code)

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = open_client(self._timeout)
        return self._client


def _judge(status: int) -> Attempt:
    if 200 <= status < 300:
        return Attempt(Outcome.SENT, code=status)
    outcome = Outcome.DEFERRED if status >= 500 or status in _LATER else Outcome.REFUSED
    return Attempt(outcome, f"the webhook answered with status {status}", status)
