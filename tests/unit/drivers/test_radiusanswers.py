"""How long an answer to a NAS is held, and how many of them."""

from __future__ import annotations

from sekisho.drivers import radiusanswers
from sekisho.drivers.radiusanswers import ANSWERED_FOR, Answers, key_of

SOURCE = ("192.0.2.7", 40000)


def given(answers: Answers, number: int, now: float, kind: str = "start") -> bytes:
    key = key_of(3, number.to_bytes(20, "big"), SOURCE)
    answers.expect(key, kind)
    answers.give(key, b"answer %d" % number, now)
    return key


def test_a_request_in_work_is_known_and_has_no_answer_yet():
    answers = Answers()
    key = key_of(3, bytes(20), SOURCE)
    assert answers.find(key) is None
    answers.expect(key, "stop")
    assert answers.find(key) == ("stop", None)
    answers.give(key, b"done", 0.0)
    assert answers.find(key) == ("stop", b"done")


def test_an_answer_is_held_29_seconds_at_least_and_30_at_most():
    answers = Answers()
    times = {given(answers, number, number / 4): number / 4 for number in range(400)}
    for now in range(100, 140):
        answers.forget(float(now))
        held = [at for key, at in times.items() if answers.find(key) is not None]
        assert all(now - at <= ANSWERED_FOR for at in held)
        assert {at for at in times.values() if now - at < ANSWERED_FOR - 1} <= set(held)
    assert not len(answers)


def test_beyond_what_may_be_held_the_oldest_are_forgotten(monkeypatch):
    monkeypatch.setattr(radiusanswers, "HELD", 100)
    answers = Answers()
    keys = [given(answers, number, number / 10) for number in range(1000)]
    assert 50 <= len(answers) <= 100
    assert answers.find(keys[0]) is None
    assert answers.find(keys[-1]) == ("start", b"answer 999")


def test_the_same_octets_from_elsewhere_or_on_another_socket_are_another_request():
    data = bytes(range(44))
    keys = {key_of(3, data, SOURCE), key_of(4, data, SOURCE), key_of(3, data, ("192.0.2.7", 40001)), key_of(3, data, ("192.0.2.8", 40000))}
    assert len(keys) == 4
    assert key_of(3, data[:20] + b"more", SOURCE) in keys
