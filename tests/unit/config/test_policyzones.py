"""The `policy_zones:` section: who may transfer."""

from __future__ import annotations

import pytest

from sekisho.config.policyzones import PolicyZones
from sekisho.config.settings import parse_settings
from sekisho.model.errors import ConfigError

MAIN = """version: 1
upstream: {address: 192.0.2.53}
policy_zones:
  zone: rpz.example
  keys: [{name: one.key.example, secret_file: /etc/sekisho/secret}]
  secondaries: [{id: resolver-1, address: 192.0.2.7%s}]
"""


def read(text: str) -> PolicyZones | None:
    return parse_settings(MAIN % text, "/etc/sekisho/sekisho.yaml").policy_zones


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no key; name one of `keys`, or say `unsigned: true` for a resolver that cannot sign"),
        (", resolver: bind", "names no key; name one of `keys`"),
        (", resolver: unbound", "names no key; name one of `keys`"),
        (", unsigned: false", "names no key; name one of `keys`"),
        (", key: one.key.example, unsigned: true", "has a key and is unsigned; keep the key"),
        (
            ", key: two.key.example",
            "secondary resolver-1 signs with two.key.example, which is none of `keys`; did you mean `one.key.example`?",
        ),
    ],
)
def test_who_may_transfer_without_a_key_is_said_and_not_left_out(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    (fault,) = caught.value.faults
    assert words in fault.message
    assert fault.line in {3, 4, 6}


@pytest.mark.parametrize(("text", "key"), [(", key: one.key.example", "one.key.example"), (", unsigned: true", None)])
def test_a_secondary_has_a_key_or_is_said_to_have_none(text: str, key: str | None) -> None:
    found = read(text)
    assert found is not None
    assert [one.key for one in found.secondaries] == [key]
