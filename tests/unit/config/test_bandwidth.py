"""The sections `bandwidth:` and `duplicates:`: what can be said, and how what cannot is answered."""

from __future__ import annotations

import pytest

from sekisho.config.settings import parse_settings
from sekisho.model.customers import Prefix
from sekisho.model.errors import ConfigError

START = 'version: 1\nupstream: {address: "127.0.0.1:5300"}\n'


def read(text):
    return parse_settings(START + text, "x")


def test_a_segment_says_what_it_carries_and_who_is_on_it():
    (one,) = read(
        "bandwidth: {segments: [{id: pon-3, down: 2.5Gbit/s, up: 900Mbit/s, prefixes: 192.0.2.0/24, plans: [1000/100]}]}"
    ).bandwidth.segments
    assert (one.down, one.up) == (2.5e9, 9e8)
    assert one.prefixes == (Prefix.parse("192.0.2.0/24"),)
    assert one.plans == ((1000.0, 100.0),)
    assert one.congested is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("bandwidth: {segments: [{id: a, down: 1Gbit/s, up: 1Gbit/s}]}", "nobody is on it"),
        ("bandwidth: {segments: [{id: a, down: fast, up: 1Gbit/s, everybody: true}]}", "expected a rate"),
        ("bandwidth: {segments: [{id: a, down: 0Mbit/s, up: 1Gbit/s, everybody: true}]}", "expected a rate"),
        ("bandwidth: {segments: [{id: a, down: 1Gbit/s, up: 1Gbit/s, plans: [gold]}]}", "expected a plan"),
        ("bandwidth: {segments: [&a {id: a, down: 1Gbit/s, up: 1Gbit/s, everybody: true}, *a]}", "stands twice"),
        ("bandwidth: {sustained: 6}", "more than the windows"),
        ("bandwidth: {every: 2h}", "every 1s to 1h"),
        ("bandwidth: {congestion_window: 1m}", "5m to 24h"),
        ("bandwidth: {factor: 0.5}", "1 or more"),
        ("duplicates: {plans: {gold: 2}}", "expected a plan"),
        ("duplicates: {allowed: 0}", "allowed"),
    ],
)
def test_what_cannot_be_is_answered_with_a_sentence(text, says):
    with pytest.raises(ConfigError) as refused:
        read(text)
    assert any(says in f"{fault}" for fault in refused.value.faults)


def test_a_plan_may_have_more_sessions():
    told = read("duplicates: {allowed: 1, plans: {1000/1000: 3}}").duplicates
    assert (told.allowed_for(1000, 1000), told.allowed_for(100, 100), told.allowed_for(None, None)) == (3, 1, 1)
