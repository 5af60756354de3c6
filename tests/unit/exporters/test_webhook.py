"""Webhook: what is signed, and that a receiver can check it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest

from sekisho.model.events import OptOutAdded, RecordedAct
from sekisho_exporters.cloudevents import envelope
from sekisho_exporters.webhook import delivery, read_secret, sign

SECRET = b"a secret of thirty-two octets..."
EVENTS = [envelope(RecordedAct(number, 1_700_000_000.0, "uid:0(root)", OptOutAdded("c-1", "c2", "c-1")), "urn:x") for number in (7, 8)]


def test_the_signature_is_that_of_the_schemes_own_example():
    # Standard Webhooks 1.0, the example of its reference libraries.
    secret = read_secret(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    body = b'{"test": 2432232314}'
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body) == expected


def test_a_receiver_can_check_a_delivery_with_nothing_but_the_secret():
    body, headers = delivery(EVENTS[:1], SECRET, 1_700_000_123.9, batch=False)
    assert headers["webhook-id"] == "7"
    assert headers["webhook-timestamp"] == "1700000123"
    assert headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    signed = b"7.1700000123." + body
    assert headers["webhook-signature"] == "v1," + base64.b64encode(hmac.digest(SECRET, signed, hashlib.sha256)).decode()
    assert json.loads(body) == EVENTS[0]


def test_a_batch_keeps_its_id_when_it_is_tried_again():
    first, second = (delivery(EVENTS, SECRET, now, batch=True) for now in (1.0, 2.0))
    assert first[0] == second[0]
    assert first[1]["webhook-id"] == second[1]["webhook-id"] == "7-8"
    assert first[1]["webhook-signature"] != second[1]["webhook-signature"]
    assert first[1]["content-type"].startswith("application/cloudevents-batch+json")
    assert json.loads(first[0]) == EVENTS


def test_without_a_secret_nothing_is_signed():
    assert "webhook-signature" not in delivery(EVENTS[:1], None, 1.0, batch=False)[1]


@pytest.mark.parametrize("raw", [b"", b"short", b"whsec_c2hvcnQ=", b"whsec_no base64!"])
def test_what_is_no_secret_is_refused_and_not_repeated(raw):
    with pytest.raises(ValueError) as caught:
        read_secret(raw)
    assert "short" not in str(caught.value).replace("fewer", "")
