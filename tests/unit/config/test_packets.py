"""What the data plane reads of the main file."""

from __future__ import annotations

import pytest

from sekisho.config.packets import ELSEWHERE, PacketSettings, parse_packet_settings
from sekisho.config.settings import Settings, parse_settings
from sekisho.model.errors import ConfigError

FULL = """\
version: 1
listen: [192.0.2.1, "[2001:db8::1]:5353"]
upstream: {address: [192.0.2.53, 192.0.2.54], proxy_protocol: true, timeout: 800ms}
state: state
runtime: /run/elsewhere
workers: 3
busy_poll: 50us
cache: {mib: 8, max_stale: 1h, shared: true}
"""


def test_the_same_text_says_the_same_to_both_planes() -> None:
    whole, ours = parse_settings(FULL, "/etc/sekisho/sekisho.yaml"), parse_packet_settings(FULL, "/etc/sekisho/sekisho.yaml")
    assert {name: getattr(ours, name) for name in PacketSettings.model_fields} == {
        name: getattr(whole, name) for name in PacketSettings.model_fields
    }
    assert ours.cache.mib == 8


def test_what_is_no_business_of_the_planes_keeps_it_from_nothing() -> None:
    """Users by name are looked up in the machine's accounts, which the plane does not do."""
    text = FULL + "roles: {viewer: {users: [nobody-of-this-machine]}}\ndetection: {windows: wrong}\ncoa: 7\n"
    assert parse_packet_settings(text, "x").workers == 3


def test_the_keys_of_others_are_all_the_others() -> None:
    assert set(Settings.model_fields) - set(PacketSettings.model_fields) == ELSEWHERE


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        (FULL.replace("listen:", "lisen:"), 2, "listen"),
        (FULL.replace("timeout", "timeuot"), 3, "timeout"),
        (FULL + "workers: 4\n", 9, "workers"),
        (FULL.replace("192.0.2.53,", "192.0.2.1,"), 0, "for ever"),
        ("- 1\n", 1, "version: 1"),
        ("version: 1\n", 0, "upstream"),
    ],
)
def test_its_own_keys_are_judged_as_strictly(text: str, line: int, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_packet_settings(text, "sekisho.yaml")
    assert [fault for fault in caught.value.faults if word in str(fault) and (not line or fault.line == line)], caught.value
