"""The `dnstap:` section."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.config.dnstap import Counted, DnstapSettings
from sekisho.config.settings import parse_settings
from sekisho.model.errors import ConfigError

MAIN = "version: 1\nupstream: {address: 192.0.2.53}\ndnstap: "


def read(text: str) -> DnstapSettings | None:
    return parse_settings(MAIN + text, "/etc/sekisho/sekisho.yaml").dnstap


def test_nobody_tells_of_queries_unless_it_says_so() -> None:
    assert read("null") is None


def test_a_path_is_enough_and_starts_at_the_folder_of_the_file() -> None:
    found = read("{socket: dnstap.sock}")
    assert found == DnstapSettings.model_construct(socket=Path("/etc/sekisho/dnstap.sock"))
    assert (found.mode, found.group, found.count) == (0o660, None, Counted.QUERIES)


def test_every_key_is_read() -> None:
    found = read('{socket: /run/d.sock, group: 70, mode: "0606", count: responses, connections: 2}')
    assert found is not None
    assert (found.group, found.mode, found.count, found.connections) == (70, 0o606, Counted.RESPONSES, 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "socket"),
        ('{socket: /s, mode: "0777"}', "no mode of a socket"),
        ('{socket: /s, mode: "0060"}', "no mode of a socket"),
        ("{socket: /s, mode: 660}", "in quotes"),
        ('{socket: /s, mode: "rw"}', "in quotes"),
        ("{socket: /s, count: names}", "queries"),
        ("{socket: /s, connections: 0}", "connections"),
        ("{socket: /s, group: nowhere}", "groupadd"),
    ],
)
def test_faults_say_what_to_write(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read(text)
