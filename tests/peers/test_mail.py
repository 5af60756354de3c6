"""Notices over a real mail server: encrypted, logged in, taken, put off, refused, bounced."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import email.policy
import smtplib
import socket
import threading
from collections.abc import Iterator
from email.message import EmailMessage

import pytest

from sekisho.drivers.mail import MailServer, _transact
from sekisho.drivers.noticefiles import load_templates
from sekisho.measures.notices import Outcome
from sekisho.measures.texts import SAMPLE, Text
from sekisho.measures.words import Language
from sekisho.model.measures import Occasion
from support import wait_until
from support.exim import PASSWORD, USER, Exim, running_exim
from unit.control.sites import ACTOR, Folder, run

pytestmark = pytest.mark.peers
AT = 1_775_003_400.0
PACK = """\
version: 1
pack: attentive
document: {title: Terms, operator: Example ISP, version: "1"}
clauses:
  - {id: attentive/38, article: Article 38, ja: 注意喚起を行うことがある。, en: Attention may be called., informative: By hand.}
"""


@pytest.fixture(scope="module")
def exim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exim]:
    with running_exim(tmp_path_factory.mktemp("exim")) as one:
        yield one


@pytest.fixture(scope="module")
def text() -> Text:
    words = "本文。\n.\n.starts with a dot"
    return dataclasses.replace(load_templates().render(Occasion.BEFORE, Language.JA, SAMPLE), paragraphs=(tuple(words.split("\n")),))


@pytest.fixture
def server(exim: Exim, tmp_path) -> MailServer:
    secret = tmp_path / "password"
    secret.write_text(f"{PASSWORD}\n")
    return MailServer("127.0.0.1", exim.port, "Example ISP <notices@example.net>", True, exim.ca, USER, secret, 60.0)


def test_a_notice_arrives_whole_over_an_encrypted_and_logged_in_connection(exim: Exim, server: MailServer, text: Text) -> None:
    exim.set("log-in", there=True)
    told = server.send("n-1", "whole@example.com", text, AT)
    exim.set("log-in", there=False)
    assert told.outcome is Outcome.SENT, told
    [mail] = wait_until(lambda: exim.mails("whole"), what="the mail delivered")
    assert mail["Message-ID"] == "<n-1.1775003400@example.net>"
    assert (mail["Auto-Submitted"], mail["Sekisho-Notice"], mail["To"]) == ("auto-generated", "n-1", "whole@example.com")
    plain, html = mail.get_payload()
    assert plain.get_payload(decode=True).decode().splitlines() == ["本文。", ".", ".starts with a dot"]
    assert "<h1>" in html.get_payload(decode=True).decode()
    log = (exim.folder / "log" / "mainlog").read_text()
    assert "A=plain:sekisho" in log
    assert "X=TLS1." in log


def test_lines_that_start_with_a_dot_arrive_as_they_are(exim: Exim) -> None:
    """RFC 5321, section 4.5.2."""
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"], message["To"] = "notices@example.net", "dots@example.com"
    message.set_content("first\n.\n..two\n", cte="7bit")
    with smtplib.SMTP("127.0.0.1", exim.port, "test.example.net", timeout=10) as connection:
        connection.ehlo()
        assert _transact(connection, "n-8", "notices@example.net", "dots@example.com", message).outcome is Outcome.SENT
    [mail] = wait_until(lambda: exim.mails("dots"), what="the mail delivered")
    assert mail.get_payload().splitlines()[:3] == ["first", ".", "..two"]


@pytest.mark.parametrize(
    ("to", "outcome", "code", "status"),
    [
        ("nobody@example.com", Outcome.BOUNCED, 550, "5.1.1"),
        ("policy@example.com", Outcome.REFUSED, 550, "5.7.1"),
        ("spam@example.com", Outcome.REFUSED, 550, "5.7.1"),
        ("later@example.com", Outcome.DEFERRED, 451, "4.7.1"),
    ],
)
def test_what_the_server_says_is_what_becomes_of_the_notice(server: MailServer, text: Text, to, outcome, code, status) -> None:
    told = server.send("n-2", to, text, AT)
    assert (told.outcome, told.code, told.status) == (outcome, code, status)
    assert to.partition("@")[0] not in told.detail, "the server's words may name the customer"


def test_what_was_put_off_is_taken_later(exim: Exim, server: MailServer, text: Text) -> None:
    assert server.send("n-3", "later@example.com", text, AT).outcome is Outcome.DEFERRED
    exim.set("open", there=True)
    assert server.send("n-3", "later@example.com", text, AT).outcome is Outcome.SENT
    exim.set("open", there=False)
    wait_until(lambda: len(exim.mails("later")) == 1, what="the mail delivered")


def test_a_wrong_password_a_wrong_certificate_and_nobody_there_are_put_off(exim: Exim, server: MailServer, text: Text, tmp_path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("not it")
    cases = {
        "535": dataclasses.replace(server, password_file=wrong),
        "certificate": dataclasses.replace(server, ca=None),
        "cannot be read": dataclasses.replace(server, password_file=tmp_path / "none"),
        "not reached": dataclasses.replace(server, port=1),
    }
    for words, one in cases.items():
        told = one.send("n-4", "whole@example.com", text, AT)
        assert told.outcome is Outcome.DEFERRED
        assert words in told.detail


def test_without_starttls_nothing_is_sent_in_clear(exim: Exim, server: MailServer, text: Text) -> None:
    """A server, or someone in between, that offers none."""
    with scripted(b"220 x\r\n", b"250 x\r\n") as (port, seen):
        told = dataclasses.replace(server, port=port).send("n-5", "whole@example.com", text, AT)
    assert told.outcome is Outcome.DEFERRED
    assert "offers no STARTTLS" in told.detail
    assert all(not line.upper().startswith((b"AUTH", b"MAIL")) for line in seen)


@pytest.mark.parametrize(
    ("replies", "outcome"),
    [
        ([b"220 x\r\n", b"250 x\r\n", b"250 x\r\n", b"250 x\r\n", b"354 go\r\n", b""], Outcome.UNKNOWN),
        ([b"220 x\r\n", b"250 x\r\n", b"250 x\r\n", b"250 x\r\n", b"354 go\r\n", b"451 4.3.0 full\r\n"], Outcome.DEFERRED),
        ([b"220 x\r\n", b"250 x\r\n", b"250 x\r\n", b"250 x\r\n", b"354 go\r\n", b"250 taken\r\n"], Outcome.SENT),
        ([b"220 x\r\n", b"250 x\r\n", b"250 x\r\n", b""], Outcome.DEFERRED),
        ([b"220 x\r\n", b""], Outcome.DEFERRED),
        ([b"554 no\r\n"], Outcome.DEFERRED),
    ],
    ids=["gone after the data", "full after the data", "gone after it was taken", "gone before the data", "gone at once", "turned away"],
)
def test_a_connection_lost_leaves_open_only_what_nobody_can_know(server: MailServer, text: Text, replies, outcome) -> None:
    plain = dataclasses.replace(server, starttls=False, user=None)
    with scripted(*replies) as (port, _):
        assert dataclasses.replace(plain, port=port).send("n-6", "c@example.com", text, AT).outcome is outcome


def test_a_server_that_says_nothing_is_given_up_in_time(server: MailServer, text: Text) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        told = dataclasses.replace(server, port=silent.getsockname()[1], timeout=0.3).send("n-7", "c@example.com", text, AT)
    assert (told.outcome, "no answer in time" in told.detail) == (Outcome.DEFERRED, True)


def test_a_daemon_calls_a_customers_attention_by_mail_and_learns_that_another_is_unreachable(exim: Exim, tmp_path) -> None:
    """From a report to the mailbox: the whole way, over the ledger on disk."""
    folder = Folder(tmp_path)
    folder.write("attentive.yaml", PACK)
    people = (("household", "198.51.100.1"), ("nobody", "198.51.100.2"))
    folder.customers(
        [
            {"id": who, "terms": "attentive", "prefixes": [address], "contacts": {"email": f"{who}@example.com", "language": "en"}}
            for who, address in people
        ]
    )
    smtp = {"server": f"127.0.0.1:{exim.port}", "ca": str(exim.ca)}
    folder.set(
        terms=["./attentive.yaml"], lists=None, notices={"from": "notices@example.net", "contact": "support@example.net", "smtp": smtp}
    )

    async def scenario(control):
        lines = [{"line": number, "address": address, "at": 1_700_000_000.0} for number, (_, address) in enumerate(people, 2)]
        await control.import_report("r-1", "attentive/38", lines, actor=ACTOR)
        task = asyncio.create_task(control.core.desk.run())
        async with asyncio.timeout(90):
            while any(one["state"] in {"queued", "tried"} for one in (await control.show_notices(None, None, limit=10))["notices"]):
                await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return await control.show_notices(None, None, limit=10)

    body = run(folder, scenario)
    assert {(one["customer"], one["state"], one["attempts"]) for one in body["notices"]} == {
        ("household", "sent", 1),
        ("nobody", "failed", 1),
    }
    assert [(one["customer"], one["address"]) for one in body["unreachable"]] == [("nobody", "nobody@example.com")]
    [mail] = wait_until(lambda: exim.mails("household"), what="the mail delivered")
    assert "198.51.100.1" in mail.get_payload()[0].get_payload(decode=True).decode()


class scripted:  # noqa: N801 - reads as a function
    """A server that gives its replies one a command - the data counts as one - and hangs up after the last."""

    def __init__(self, *replies: bytes) -> None:
        self._replies = replies
        self._seen: list[bytes] = []

    def __enter__(self) -> tuple[int, list[bytes]]:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self._server.getsockname()[1], self._seen

    def __exit__(self, *_: object) -> None:
        self._server.close()
        self._thread.join(10)

    def _serve(self) -> None:
        connection, _ = self._server.accept()
        with contextlib.suppress(ConnectionError), connection, connection.makefile("rb") as lines:
            in_data = False
            for number, reply in enumerate(self._replies):
                if number:
                    line = lines.readline()
                    while in_data and line not in {b".\r\n", b""}:
                        line = lines.readline()
                    self._seen.append(line)
                connection.sendall(reply)
                in_data = reply.startswith(b"354")
