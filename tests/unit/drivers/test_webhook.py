"""The webhook: signed, never redirected, and what each answer means."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sekisho.drivers.secrets import read_credential
from sekisho.drivers.webhook import Webhook
from sekisho.measures.notices import Outcome
from sekisho.model.errors import UnavailableError

SECRET = "0123456789abcdef0123"
NOW = 1_775_003_400.9


class Receiver:
    """An HTTP server that answers with a status, or hangs up for 0."""

    def __init__(self, status):
        self.requests = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append((self.path, dict(self.headers), body))
                if status:
                    self.send_response(status)
                    self.send_header("Location", "/elsewhere")
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def post(url, secret_file, timeout=60.0):
    async def scenario():
        hook = Webhook(url, secret_file, timeout)
        try:
            return await hook.post("n-1", {"id": "n-1", "text": "本文"}, NOW)
        finally:
            await hook.close()

    return asyncio.run(scenario())


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    return path


def test_a_notice_is_posted_with_a_signature_its_receiver_can_check(secret):
    with Receiver(204) as receiver:
        assert post(receiver.url, secret).outcome is Outcome.SENT
    [(path, headers, body)] = receiver.requests
    stamp, digest = (part.partition("=")[2] for part in headers["Sekisho-Signature"].split(","))
    assert (path, stamp) == ("/hook", "1775003400")
    assert digest == hmac.new(SECRET.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    assert json.loads(body) == {"id": "n-1", "text": "本文"}
    assert headers["Idempotency-Key"] == "n-1"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (500, Outcome.DEFERRED),
        (503, Outcome.DEFERRED),
        (429, Outcome.DEFERRED),
        (400, Outcome.REFUSED),
        (302, Outcome.REFUSED),
        (0, Outcome.UNKNOWN),
    ],
)
def test_what_an_answer_means(secret, status, outcome):
    with Receiver(status) as receiver:
        assert post(receiver.url, secret).outcome is outcome
    assert [path for path, _, _ in receiver.requests] == ["/hook"], "no redirect is followed"


def test_nobody_there_or_no_secret_is_put_off(secret, tmp_path):
    assert post("http://127.0.0.1:1/hook", secret).outcome is Outcome.DEFERRED
    with Receiver(200) as receiver:
        assert "cannot be read" in post(receiver.url, tmp_path / "none").detail
        secret.write_text("short")
        assert "shorter than 16" in post(receiver.url, secret).detail
    assert receiver.requests == [], "nothing goes out unsigned"


def test_a_systemd_credential_comes_before_the_file(secret, tmp_path):
    folder = tmp_path / "credentials"
    folder.mkdir()
    assert read_credential("webhook-secret", secret, str(folder)) == SECRET
    (folder / "webhook-secret").write_text("of systemd")
    assert read_credential("webhook-secret", secret, str(folder)) == "of systemd"
    with pytest.raises(UnavailableError, match="name its file"):
        read_credential("smtp-password", None, str(folder))
