"""The `coa:` section, and what its templates say."""

from __future__ import annotations

import re

import pytest

from sekisho.config.coa import VENDORS, CoaSettings, NasAttribute, NasSettings, NasTemplate
from sekisho.config.radiusattributes import ATTRIBUTES, Attribute, AttributeType, encode
from sekisho.config.settings import parse_settings
from sekisho.enforce.naslines import Request
from sekisho.enforce.templates import compose
from sekisho.model.customers import Prefix
from sekisho.model.errors import ConfigError, RefusedError
from sekisho.model.nas import Limit, RequestKind, Target

HEAD = "version: 1\nupstream: {address: 192.0.2.53}\ncoa:\n"
NAS = '  nas: [{id: bng-1, address: "192.0.2.1", secret_file: s, vendor: %s}]\n'
SLOW = Limit(10_000_000, 1_000_000, 100_000_000, 50_000_000)
TARGET = Target(
    "bng-1",
    "81C0FFEE",
    "c1@example.net",
    "c-1",
    (Prefix.parse("198.51.100.7"), Prefix.parse("2001:db8:1::/64"), Prefix.parse("2001:db8:100::/56")),
)


def read(section):
    return parse_settings(HEAD + section, "/etc/sekisho/sekisho.yaml").coa


def fault(section):
    with pytest.raises(ConfigError) as caught:
        read(section)
    assert len(caught.value.faults) == 1, caught.value.faults
    return str(caught.value.faults[0])


def said(settings, kind=RequestKind.LIMIT, target=TARGET, limit=SLOW):
    message = compose(Request(kind, target, limit), settings)
    return message.disconnect, dict(message.shown)


def test_the_example_names_every_key_with_its_default(root):
    text = (root / "daemon/sekisho.example.yaml").read_text(encoding="utf-8")
    block = text[text.index("# coa:\n") :]
    block = re.sub(r"^# ?", "", block[: block.index("\n\n")], flags=re.MULTILINE)
    shown = parse_settings(HEAD.removesuffix("coa:\n") + block, "/x/s.yaml").coa
    for model, section in ((CoaSettings, shown), (NasSettings, shown.nases[0]), (NasTemplate, shown.vendors["my-bng"])):
        for name, field in model.model_fields.items():
            assert re.search(rf"^[ -]+{field.alias or name}:", block, flags=re.MULTILINE), name
            if not field.is_required() and name not in {"vendors", "secret_file"}:
                assert getattr(section, name) == field.get_default(call_default_factory=True), name
    assert all(f"{name}:" in block for name in NasAttribute.model_fields)


def test_a_nas_takes_requests_on_port_3799_where_none_is_given():
    assert read(NAS % "mikrotik").nases[0].address.port == 3799


@pytest.mark.parametrize("vendor", VENDORS)
def test_every_shipped_template_says_both_ways_and_names_the_session(vendor):
    settings = read(NAS % vendor)
    slow, full = (said(settings, kind) for kind in (RequestKind.LIMIT, RequestKind.LIFT))
    assert slow != full
    assert not slow[0]
    assert {"Acct-Session-Id", "User-Name"} & set(slow[1])


@pytest.mark.parametrize(
    ("vendor", "slow", "full"),
    [
        ("mikrotik", {"Mikrotik-Rate-Limit": "1000k/10000k"}, {"Mikrotik-Rate-Limit": "50000k/100000k"}),
        ("wispr", {"WISPr-Bandwidth-Max-Down": "10000000", "WISPr-Bandwidth-Max-Up": "1000000"}, {"WISPr-Bandwidth-Max-Down": "100000000"}),
        ("filter-id", {"Filter-Id": "sekisho-10000-1000"}, {"Filter-Id": "sekisho-100000-50000"}),
        ("erx", {"ERX-Qos-Profile-Name": "sekisho-10000k"}, {"ERX-Qos-Profile-Name": "sekisho-100000k"}),
        ("cisco", {"Cisco-AVPair": "ip:sub-qos-policy-in=sekisho-1000k"}, {"Cisco-AVPair": "ip:sub-qos-policy-in=sekisho-50000k"}),
        ("huawei", {"Huawei-Output-Average-Rate": "10000000"}, {"Huawei-Input-Average-Rate": "50000000"}),
    ],
)
def test_a_shipped_template_says_the_speed_from_the_right_side(vendor, slow, full):
    settings = read(NAS % vendor)
    assert slow.items() <= said(settings)[1].items()
    assert full.items() <= said(settings, RequestKind.LIFT)[1].items()


def test_several_values_of_one_attribute_are_all_sent():
    message = compose(Request(RequestKind.LIMIT, TARGET, SLOW), read(NAS % "cisco"))
    assert dict(message.attributes)[(9, 1)] == (b"ip:sub-qos-policy-out=sekisho-10000k", b"ip:sub-qos-policy-in=sekisho-1000k")


def test_the_session_is_named_by_what_is_known_of_it():
    everything = "[User-Name, NAS-IP-Address, Acct-Session-Id, Framed-IP-Address, Framed-IPv6-Prefix, Delegated-IPv6-Prefix]"
    settings = read((NAS % "own") + f"  vendors: {{own: {{identify: {everything}, limit: {{Filter-Id: x}}, lift: {{Filter-Id: y}}}}}}\n")
    assert said(settings)[1] == {
        "User-Name": "c1@example.net",
        "NAS-IP-Address": "192.0.2.1",
        "Acct-Session-Id": "81C0FFEE",
        "Framed-IP-Address": "198.51.100.7",
        "Framed-IPv6-Prefix": "2001:db8:1::/64",
        "Delegated-IPv6-Prefix": "2001:db8:100::/56",
        "Filter-Id": "x",
    }


def test_a_line_without_accounting_is_named_by_its_address():
    fixed = Target("bng-1", "", "", "c-1", (Prefix.parse("198.51.100.7"),))
    assert said(read(NAS % "filter-id"), target=fixed)[1] == {
        "NAS-IP-Address": "192.0.2.1",
        "Framed-IP-Address": "198.51.100.7",
        "Filter-Id": "sekisho-10000-1000",
    }


def test_a_request_that_names_no_session_is_refused_since_it_would_reach_any():
    nobody = Target("bng-1", "", "", "c-1")
    with pytest.raises(RefusedError, match="names the session"):
        said(read(NAS % "filter-id"), target=nobody)


def test_a_session_is_ended_without_attributes_of_speed():
    assert said(read(NAS % "mikrotik"), RequestKind.DISCONNECT, limit=None) == (
        True,
        {"User-Name": "c1@example.net", "NAS-IP-Address": "192.0.2.1", "Acct-Session-Id": "81C0FFEE", "Framed-IP-Address": "198.51.100.7"},
    )


def test_where_nothing_gives_the_speed_back_the_session_is_ended():
    settings = read((NAS % "own") + "  vendors: {own: {limit: {Filter-Id: slow}, lift: disconnect}}\n")
    assert said(settings, RequestKind.LIFT)[0]
    assert "Filter-Id" not in said(settings, RequestKind.LIFT)[1]


def test_a_template_of_ones_own_takes_the_place_of_a_shipped_one_and_may_use_attributes_of_its_own():
    settings = read(
        (NAS % "cisco")
        + "  attributes: {My-Rate: {vendor: 32473, number: 7, type: integer}}\n"
        + '  vendors: {cisco: {limit: {My-Rate: "{down_kbps}"}, lift: {My-Rate: "{full_down_kbps}"}}}\n'
    )
    message = compose(Request(RequestKind.LIMIT, TARGET, SLOW), settings)
    assert dict(message.attributes)[(32473, 7)] == ((10_000).to_bytes(4, "big"),)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        (NAS % "mikrotick", "did you mean `mikrotik`"),
        ("  nas: []\n", "nas"),
        (
            '  nas: [{id: a, address: "192.0.2.1", vendor: cisco}, {id: a, address: "192.0.2.2", vendor: cisco}]\n',
            "several NASes have the id a",
        ),
        ((NAS % "own") + '  vendors: {own: {limit: {Filter-Id: "{down_kbp}"}, lift: disconnect}}\n', "did you mean `down_kbps`"),
        ((NAS % "own") + '  vendors: {own: {limit: {Filter-Id: "{down_kbps.__class__}"}, lift: disconnect}}\n', "no placeholder"),
        ((NAS % "own") + '  vendors: {own: {limit: {Filter-Id: "{down_kbps"}, lift: disconnect}}\n', "brace without its other"),
        ((NAS % "own") + "  vendors: {own: {limit: {Filtr-Id: x}, lift: disconnect}}\n", "did you mean `Filter-Id`"),
        (
            (NAS % "own") + "  vendors: {own: {limit: {WISPr-Bandwidth-Max-Up: fast}, lift: disconnect}}\n",
            "no value of WISPr-Bandwidth-Max-Up",
        ),
        ((NAS % "own") + "  vendors: {own: {limit: {}, lift: disconnect}}\n", "has no attributes"),
        ((NAS % "own") + "  vendors: {own: {identify: [NAS-IP-Address], limit: {Filter-Id: x}, lift: disconnect}}\n", "names no session"),
        (
            (NAS % "own") + "  vendors: {own: {identify: [Calling-Station-Id], limit: {Filter-Id: x}, lift: disconnect}}\n",
            "does not identify",
        ),
        ((NAS % "cisco") + "  attributes: {Filter-Id: {number: 11}}\n", "known already"),
        ((NAS % "own") + "  attributes: {E: {number: 55}}\n  vendors: {own: {limit: {E: x}, lift: disconnect}}\n", "by itself"),
        ('  nas: [{id: a, address: "192.0.2.1", vendor: cisco, nas_ip: here}]\n', "nas_ip"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(section, words):
    assert words in fault(section)


def test_values_are_encoded_as_their_types_say():
    assert encode(ATTRIBUTES["Framed-IP-Address"], "192.0.2.1") == bytes((192, 0, 2, 1))
    assert encode(ATTRIBUTES["Delegated-IPv6-Prefix"], "2001:db8:100::/56") == bytes.fromhex("0038 20010db8010000".replace(" ", ""))
    assert encode(ATTRIBUTES["Framed-IPv6-Address"], "2001:db8::1") == bytes.fromhex("20010db8000000000000000000000001")
    assert encode(Attribute("N", 0, 5, AttributeType.INTEGER), "258") == bytes((0, 0, 1, 2))
    for attribute, value in (("Filter-Id", "x" * 254), ("Cisco-AVPair", "x" * 248), ("Filter-Id", ""), ("Session-Timeout", "4294967296")):
        with pytest.raises(ValueError, match=attribute):
            encode(ATTRIBUTES[attribute], value)
