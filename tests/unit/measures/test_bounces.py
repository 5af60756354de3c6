"""Delivery reports, and what a mail server's reply means."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.measures.bounces import Bounced, attempt, read_report
from sekisho.measures.notices import Outcome
from sekisho.model.errors import RefusedError

REPORT = """\
From: MAILER-DAEMON@mail.example.net
To: notices@example.net
Subject: Undelivered
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="B"

--B
Content-Type: text/plain

It did not get there.

--B
Content-Type: message/delivery-status

Reporting-MTA: dns; mail.example.net
{envelope}
Original-Recipient: rfc822;c-1@example.com
Final-Recipient: rfc822; other@example.com
Action: {action}
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user

--B
Content-Type: {kind}

From: notices@example.net
Sekisho-Notice: n-8

--B--
"""


def report(envelope="Original-Envelope-Id: n-7\n", action="failed", kind="text/rfc822-headers"):
    return REPORT.format(envelope=envelope, action=action, kind=kind).encode()


def test_a_failed_recipient_is_told_with_the_notice_of_the_envelope():
    assert read_report(report()) == [Bounced("c-1@example.com", "5.1.1", "n-7")]


@pytest.mark.parametrize("kind", ["text/rfc822-headers", "message/rfc822"])
def test_without_an_envelope_id_the_returned_message_tells_the_notice(kind):
    assert read_report(report(envelope="", kind=kind)) == [Bounced("c-1@example.com", "5.1.1", "n-8")]


@pytest.mark.parametrize("action", ["delayed", "delivered", "relayed", ""])
def test_a_delay_or_a_delivery_is_no_bounce(action):
    assert read_report(report(action=action)) == []


def test_an_automatic_answer_is_refused_with_what_to_give():
    with pytest.raises(RefusedError, match="no delivery report"):
        read_report(b"Subject: On holiday\n\nBack on Monday.\n")


@given(st.binary(max_size=300), st.integers(0, 900), st.integers(0, 60))
def test_whatever_comes_it_is_read_or_refused(noise, place, cut):
    raw = report()
    mangled = raw[:place] + noise + raw[place + cut :]
    with contextlib.suppress(RefusedError):
        assert isinstance(read_report(mangled), list)


@pytest.mark.parametrize(
    ("code", "text", "recipient", "expected"),
    [
        (250, "2.1.5 ok", True, Outcome.SENT),
        (451, "4.7.1 greylisted", True, Outcome.DEFERRED),
        (550, "5.1.1 no such user", True, Outcome.BOUNCED),
        (550, "Unrouteable address", True, Outcome.BOUNCED),
        (550, "5.7.1 relaying denied", True, Outcome.REFUSED),
        (554, "5.7.1 spam", False, Outcome.REFUSED),
        (552, "too large", False, Outcome.REFUSED),
        (421, "closing", False, Outcome.DEFERRED),
    ],
)
def test_a_permanent_refusal_of_the_address_is_a_bounce(code, text, recipient, expected):
    told = attempt(code, text, recipient=recipient)
    assert told.outcome is expected
    assert "user" not in told.detail, "the server's words may name the customer"
