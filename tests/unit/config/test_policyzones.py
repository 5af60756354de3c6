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


@pytest.mark.parametrize(
    ("listen", "notify", "lacks"),
    [
        ("192.0.2.1:5353", "[2001:db8::53]:53", "IPv6"),
        ("[2001:db8::1]:5353", "192.0.2.53", "IPv4"),
        ("[::]:5353", "192.0.2.53", "IPv4"),
        ("0.0.0.0:5353", "192.0.2.53", ""),
    ],
)
def test_who_is_told_of_changes_is_told_from_an_address_of_the_family(listen: str, notify: str, lacks: str) -> None:
    document = MAIN % f", unsigned: true, notify: '{notify}'" + f"  listen: '{listen}'\n"
    if not lacks:
        parse_settings(document, "/etc/sekisho/sekisho.yaml")
        return
    with pytest.raises(ConfigError) as caught:
        parse_settings(document, "/etc/sekisho/sekisho.yaml")
    (fault,) = caught.value.faults
    assert f"secondary resolver-1 is told of changes at {notify}" in fault.message
    assert f"`listen` has no {lacks} address" in fault.message
