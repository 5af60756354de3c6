"""Requests to NASes, to a real UDP server."""

from __future__ import annotations

import asyncio

import pytest

from sekisho.config.coa import NasSettings
from sekisho.drivers import coa
from sekisho.drivers.coa import CoaClient
from sekisho.enforce.templates import Message
from sekisho.model.nas import Answer, ErrorCause, Patience, RequestOutcome
from support import coaserver

NOW = 1_775_000_000.0
CHANGE = Message(False, ((1, (b"c1@example.net",)), ((14988, 8), (b"1000k/10000k",))), ())
END = Message(True, ((44, (b"81C0FFEE",)),), ())
QUICK = Patience(0.05, 0)
SLOW = Patience(60.0, 0)


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(coaserver.SECRET + b"\n")
    return path


def nas(port, secret, **more):
    return NasSettings.model_validate(
        {"id": "bng-1", "address": f"127.0.0.1:{port}", "secret_file": str(secret), "vendor": "mikrotik", **more}
    )


def ask(server, secret, message=CHANGE, patience=SLOW, client=None, **more):
    async def asking():
        asker = client or CoaClient(lambda: NOW)
        try:
            return await asker.ask(nas(server.port, secret, **more), message, patience)
        finally:
            await asker.close()

    return asyncio.run(asking())


def ignored(server, secret, why, message=CHANGE, **more):
    """The counts of answers that were dropped, once one was for a reason; the request waits on."""
    client = CoaClient(lambda: NOW)

    async def asking():
        request = asyncio.create_task(client.ask(nas(server.port, secret, **more), message, Patience(60.0, 0)))
        async with asyncio.timeout(50):
            while not client.dropped[why]:
                await asyncio.sleep(0.005)
        assert not request.done()
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
        await client.close()

    asyncio.run(asking())
    return client.dropped


def test_a_change_carries_what_it_says_its_time_and_both_authenticators(secret):
    with coaserver.running() as server:
        assert ask(server, secret) == Answer(RequestOutcome.ACKNOWLEDGED)
    (asked,) = server.asked
    assert asked.genuine
    assert not asked.disconnects
    assert asked.text(1) == ["c1@example.net"]
    assert asked.text((14988, 8)) == ["1000k/10000k"]
    assert int.from_bytes(asked.packet[55][0], "big") == NOW
    assert asked.raw[20] == 80, "the Message-Authenticator comes first"


def test_a_session_is_ended_by_a_disconnect_request(secret):
    with coaserver.running() as server:
        assert ask(server, secret, END).outcome is RequestOutcome.ACKNOWLEDGED
    assert server.asked[0].disconnects


@pytest.mark.parametrize("message", [CHANGE, END], ids=["change", "end"])
@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (503, ErrorCause.SESSION_CONTEXT_NOT_FOUND),
        (401, ErrorCause.UNSUPPORTED_ATTRIBUTE),
        (None, ErrorCause.NONE),
        (9999, ErrorCause.OTHER),
    ],
)
def test_a_refusal_says_why(secret, message, number, cause):
    with coaserver.running(coaserver.nak(number)) as server:
        assert ask(server, secret, message) == Answer(RequestOutcome.REFUSED, cause)


def test_a_request_is_sent_again_unchanged_from_the_same_port_until_it_is_answered(secret):
    def third(server, asked):
        return coaserver.ack(server, asked) if len(server.asked) == 3 else []

    with coaserver.running(third) as server:
        assert ask(server, secret, patience=Patience(0.05, 400)).outcome is RequestOutcome.ACKNOWLEDGED
    assert len(server.asked) >= 3
    assert len(server.requests) == 1


def test_silence_is_told_after_the_retransmissions(secret):
    with coaserver.running(coaserver.silence) as server:
        assert ask(server, secret, patience=Patience(0.05, 2)) == Answer(RequestOutcome.UNANSWERED)
    assert len(server.asked) == 3


def test_nobody_there_is_silence(secret):
    with coaserver.running() as server:
        pass
    assert ask(server, secret, patience=QUICK).outcome is RequestOutcome.UNANSWERED


@pytest.mark.parametrize("reply", [coaserver.forged, coaserver.wrongly_signed])
def test_an_answer_with_a_wrong_authenticator_is_no_answer(secret, reply):
    with coaserver.running(reply) as server:
        assert ignored(server, secret, "forged")["forged"] == 1


def test_the_right_answer_counts_after_a_forged_one(secret):
    def both(server, asked):
        return coaserver.forged(server, asked) + coaserver.nak(503)(server, asked)

    with coaserver.running(both) as server:
        assert ask(server, secret).cause is ErrorCause.SESSION_CONTEXT_NOT_FOUND


def test_an_answer_to_another_kind_of_request_is_no_answer(secret):
    def other(_server, asked):
        reply = asked.packet.CreateReply()
        reply.code = 41
        return [reply.ReplyPacket()]

    with coaserver.running(other) as server:
        assert ask(server, secret, CHANGE, QUICK).outcome is RequestOutcome.UNANSWERED


def test_where_answers_are_signed_an_unsigned_one_is_none(secret):
    with coaserver.running(coaserver.ack) as server:
        assert ask(server, secret, patience=QUICK, signed_answers=True).outcome is RequestOutcome.UNANSWERED
    with coaserver.running(coaserver.signed_ack) as server:
        assert ask(server, secret, signed_answers=True).outcome is RequestOutcome.ACKNOWLEDGED


def test_a_repeated_answer_and_a_late_one_change_nothing(secret):
    client = CoaClient()

    async def asking(server):
        asker = nas(server.port, secret)
        first = await client.ask(asker, CHANGE, SLOW)
        server.reply = coaserver.nak(503)
        second = await client.ask(asker, END, SLOW)
        server.reply = lambda _server, _asked: [late[0]]
        third = asyncio.create_task(client.ask(asker, CHANGE, Patience(60.0, 0)))
        async with asyncio.timeout(50):
            while client.dropped["stray"] < 2:
                await asyncio.sleep(0.005)
        assert not third.done()
        third.cancel()
        await asyncio.gather(third, return_exceptions=True)
        await client.close()
        return first.outcome, second.outcome

    late = []

    def twice(server, asked):
        late.extend(coaserver.ack(server, asked))
        return late * 2

    with coaserver.running(twice) as server:
        outcomes = asyncio.run(asking(server))
    assert outcomes == (RequestOutcome.ACKNOWLEDGED, RequestOutcome.REFUSED)
    assert client.dropped["stray"] == 2
    assert not client.dropped["forged"]


@pytest.mark.parametrize("junk", [b"", b"\x2c", bytes(19), b"\x2c%c\xff\xff" + bytes(16), b"\x2c%c\x00\x16" + bytes(16) + b"\x01\x00"])
def test_what_is_no_packet_is_dropped(secret, junk):

    def rubbish(_server, asked):
        return [junk.replace(b"%c", bytes((asked.packet.id,)))]

    with coaserver.running(rubbish) as server:
        dropped = ignored(server, secret, "malformed")
    assert dropped.total() == dropped["malformed"] == 1


def test_more_requests_than_identifiers_go_out_together_and_each_has_its_own(secret, monkeypatch):
    monkeypatch.setattr(coa, "ANSWERED_REST", 60.0)
    client = CoaClient()

    async def asking(server):
        asker = nas(server.port, secret)
        messages = [Message(False, ((1, (f"c{number}@example.net".encode(),)),), ()) for number in range(600)]
        answers = await asyncio.gather(*(client.ask(asker, one, Patience(20.0, 3)) for one in messages))
        await client.close()
        return answers

    with coaserver.running() as server:
        answers = asyncio.run(asking(server))
    assert {one.outcome for one in answers} == {RequestOutcome.ACKNOWLEDGED}
    assert len(server.requests) == 600
    assert len({(one.source, one.packet.id) for one in server.requests}) == 600, "none was used twice within its rest"


def test_more_than_all_ports_hold_is_not_sent_and_said(secret, monkeypatch):
    monkeypatch.setattr(coa, "MAX_PORTS", 1)
    client = CoaClient()

    async def asking(server):
        asker = nas(server.port, secret)
        answers = await asyncio.gather(*(client.ask(asker, CHANGE, QUICK) for _ in range(257)))
        await client.close()
        return answers

    with coaserver.running(coaserver.silence) as server:
        answers = asyncio.run(asking(server))
    (unsent,) = (one for one in answers if one.outcome is RequestOutcome.UNSENT)
    assert "under way" in unsent.error


def test_without_the_secret_nothing_is_sent_and_the_sentence_says_what_to_do(tmp_path):
    with coaserver.running() as server:
        answer = ask(server, tmp_path / "none")
        none = asyncio.run(CoaClient().ask(nas(server.port, tmp_path).model_copy(update={"secret_file": None}), CHANGE, QUICK))
    assert answer.outcome is none.outcome is RequestOutcome.UNSENT
    assert "cannot be read" in answer.error
    assert "coa-bng-1" in none.error
    assert server.asked == []


def test_the_credential_of_the_service_comes_before_the_file(tmp_path, monkeypatch):
    (tmp_path / "coa-bng-1").write_bytes(coaserver.SECRET)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with coaserver.running() as server:
        assert ask(server, tmp_path / "none").outcome is RequestOutcome.ACKNOWLEDGED
