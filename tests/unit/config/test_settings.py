"""The main file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sekisho.config.detection import LoadConditions
from sekisho.config.dnstap import DnstapSettings
from sekisho.config.lines import LineSettings
from sekisho.config.sections import RoleMembers, WalledGarden
from sekisho.config.settings import Endpoint, Settings, parse_settings
from sekisho.config.values import as_bytes, as_seconds, as_share, read_endpoint
from sekisho.model.customers import Prefix
from sekisho.model.errors import ConfigError

FULL = """\
version: 1
listen: ["127.0.0.1:5353", "[::1]:5353"]
upstream: {address: "127.0.0.1:5300", proxy_protocol: false}
state: state
runtime: run
terms: [gunma, ./mine.yaml]
lists: lists.yaml
customers: customers.csv
metrics: "127.0.0.1:9153"
allow: ["198.51.100.0/24"]
workers: 2
"""


def _faults(text, file="sekisho.yaml"):
    with pytest.raises(ConfigError) as caught:
        parse_settings(text, file)
    return caught.value.faults


def _fault(text):
    faults = _faults(text)
    assert len(faults) == 1, faults
    return faults[0]


def test_the_main_file_is_read_with_paths_relative_to_its_own_folder():
    settings = parse_settings(FULL, "/etc/sekisho/sekisho.yaml")
    assert settings.listen == (Endpoint("127.0.0.1", 5353), Endpoint("::1", 5353))
    assert settings.upstream.addresses == (Endpoint("127.0.0.1", 5300),)
    assert (settings.state, settings.runtime) == (Path("/etc/sekisho/state"), Path("/etc/sekisho/run"))
    assert settings.terms == ("gunma", "/etc/sekisho/mine.yaml")
    assert settings.lists == Path("/etc/sekisho/lists.yaml")
    assert settings.customers == Path("/etc/sekisho/customers.csv")
    assert settings.metrics == Endpoint("127.0.0.1", 9153)
    assert settings.allow == (Prefix.parse("198.51.100.0/24"),)
    assert settings.workers == 2


def test_an_absolute_path_stays_where_it_is():
    assert parse_settings("version: 1\nupstream: {address: 192.0.2.53}\nstate: /srv/s\n", "/etc/x.yaml").state == Path("/srv/s")


def test_the_resolver_may_be_one_or_several_and_port_53_need_not_be_said():
    settings = parse_settings('version: 1\nupstream: {address: [192.0.2.53, "[2001:db8::53]:5300"]}\n', "x")
    assert settings.upstream.addresses == (Endpoint("192.0.2.53", 53), Endpoint("2001:db8::53", 5300))


@pytest.mark.parametrize("word", ["null", "off", "~"])
def test_metrics_can_be_off(word):
    assert parse_settings(f"version: 1\nupstream: {{address: 192.0.2.53}}\nmetrics: {word}\n", "x").metrics is None


def test_the_example_file_states_the_true_defaults(root):
    text = (root / "daemon/sekisho.example.yaml").read_text(encoding="utf-8")
    stated = parse_settings(re.sub(r"^( *)#([a-z_-]+:)", r"\1\2", text, flags=re.MULTILINE), "x")
    left_out = parse_settings(text, "x")
    assert stated == left_out
    minimal = parse_settings('version: 1\nupstream: {address: "127.0.0.1:5300"}\n', "x")
    assert stated == minimal


def test_the_example_file_names_every_key_there_is(root):
    text = (root / "daemon/sekisho.example.yaml").read_text(encoding="utf-8")
    models = [
        Settings,
        *(
            Settings.model_fields[key].annotation
            for key in ("upstream", "cache", "roles", "measures", "events", "detection", "bandwidth", "duplicates")
        ),
        LoadConditions,
        RoleMembers,
    ]
    keys = {field.alias or name for model in models for name, field in model.model_fields.items()}
    missing = {key for key in keys if not re.search(rf"^ *#?{key}:", text, flags=re.MULTILINE)}
    missing |= {key for key in WalledGarden.model_fields if not re.search(rf"walled_garden:.*\{{.*\b{key}:", text)}
    missing |= {key for key in LineSettings.model_fields if not re.search(rf"^#   {key}:", text, flags=re.MULTILINE)}
    missing |= {key for key in DnstapSettings.model_fields if not re.search(rf"^#   {key}:", text, flags=re.MULTILINE)}
    assert not missing


def test_every_fault_is_told_at_once_with_its_line_and_path():
    faults = _faults(
        "version: 1\nlisten: [nonsense]\nupstream: {adress: 192.0.2.53}\nallow: [192.0.2.1/24]\nworkers: some\ncache: {mib: -1}\n",
        "/x/s.yaml",
    )
    assert {(fault.file, fault.line, fault.path) for fault in faults} == {
        ("/x/s.yaml", 2, "listen[0]"),
        ("/x/s.yaml", 3, "upstream.adress"),
        ("/x/s.yaml", 3, "upstream.address"),
        ("/x/s.yaml", 4, "allow[0]"),
        ("/x/s.yaml", 5, "workers"),
        ("/x/s.yaml", 6, "cache.mib"),
    }


def test_duplicate_keys_and_other_faults_are_told_together():
    paths = {fault.path for fault in _faults("version: 1\nworkers: 1\nworkers: 2\nupstream: {address: 192.0.2.53}\nlisen: []\n")}
    assert paths == {"workers", "lisen"}


def test_an_unknown_key_is_told_the_nearest_one():
    assert "did you mean `listen`?" in _fault("version: 1\nupstream: {address: 192.0.2.53}\nlisen: 127.0.0.1\n").message


def test_a_file_of_another_version_is_refused():
    assert "version 1" in _fault("version: 2\nupstream: {address: 192.0.2.53}\n").message


def test_a_file_without_a_version_is_refused():
    assert _fault("upstream: {address: 192.0.2.53}\n").path == "version"


def test_host_bits_in_an_allowed_network_are_told_the_right_prefix():
    assert "192.0.2.0/24" in _fault("version: 1\nupstream: {address: 192.0.2.53}\nallow: 192.0.2.7/24\n").message


def test_forwarding_to_itself_is_refused():
    fault = _fault('version: 1\nlisten: "127.0.0.1:53"\nupstream: {address: 127.0.0.1}\n')
    assert "come back" in fault.message


def test_queries_are_counted_to_name_servers_that_are_named():
    lines = "version: 1\nupstream: {address: 192.0.2.53}\nlines: {shaping: false, queries: true%s}\n"
    assert "name their addresses in `resolvers`" in _fault(lines % "").message
    found = parse_settings(lines % ", resolvers: 192.0.2.53", "sekisho.yaml").lines
    assert found is not None
    assert (found.counters, found.queries, found.counted) == (False, True, True)


def test_an_address_named_twice_is_refused():
    assert _fault('version: 1\nlisten: ["127.0.0.1:53", "127.0.0.1:53"]\nupstream: {address: 192.0.2.53}\n').path == "listen[1]"


def test_a_file_that_is_no_mapping_is_refused():
    assert "version: 1" in _fault("- a\n").message
    assert "version: 1" in _fault("5\n").message


@pytest.mark.parametrize(
    "text", ["::1:53", "[::1", "[::1]53", "192.0.2.1:", "192.0.2.1:99999", "host.example:53", "192.0.2.256", "[192.0.2.1]:53"]
)
def test_what_is_no_endpoint_is_refused_with_a_sentence(text):
    with pytest.raises(ValueError, match=r".{15,}"):
        read_endpoint(text, 53)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5m", 300), ("1h", 3600), ("7d", 604800), ("1.5h", 5400), ("250ms", 0.25), (9, 9)]
)
def test_durations_are_read(text, seconds):
    assert as_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "h", "1 hour", "-1s", "1h30m", True, None, "1e3s"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="duration"):
        as_seconds(text)


def test_sizes_and_shares_are_read():
    assert (as_bytes("64MiB"), as_bytes("1GB"), as_bytes(5)) == (64 << 20, 10**9, 5)
    assert (as_share("30%"), as_share(0.3), as_share(1)) == (pytest.approx(0.3), 0.3, 1.0)
    for wrong in ("130%", 1.5, -0.1, "x", True):
        with pytest.raises(ValueError, match="share"):
            as_share(wrong)


class FakeAccounts:
    def user(self, name):
        return {"alice": 1001, "root": 0}.get(name)

    def group(self, name):
        return {"watch": 70}.get(name)


ROLES = "version: 1\nupstream: {address: 192.0.2.53}\nroles:\n"


def test_roles_are_given_by_name_or_number_to_one_or_several():
    text = f"{ROLES}  viewer: {{users: [alice, 1002], groups: watch}}\n  operator: {{groups: 80}}\n"
    roles = parse_settings(text, "x", accounts=FakeAccounts()).roles
    assert (roles.viewer.users, roles.viewer.groups) == ((1001, 1002), (70,))
    assert (roles.operator.users, roles.operator.groups) == ((), (80,))


def test_a_user_or_group_nobody_knows_is_told_with_what_to_do():
    with pytest.raises(ConfigError) as caught:
        parse_settings(
            f"{ROLES}  viewer: {{users: [alice, bob], groups: [alice]}}\n  operator: {{users: 4294967295}}\n", "x", accounts=FakeAccounts()
        )
    told = {(fault.path, fault.line): fault.message for fault in caught.value.faults}
    assert set(told) == {("roles.viewer.users[1]", 4), ("roles.viewer.groups[0]", 4), ("roles.operator.users[0]", 5)}
    assert "there is no user 'bob' on this machine" in told["roles.viewer.users[1]", 4]
    assert "groupadd" in told["roles.viewer.groups[0]", 4]


def test_a_role_that_is_none_is_told_the_nearest_one():
    assert "did you mean `operator`?" in _fault(f"{ROLES}  operators: {{users: 5}}\n").message


def _garden(text):
    return parse_settings(f"version: 1\nupstream: {{address: 192.0.2.53}}\nwalled_garden: {text}\n", "x").walled_garden


def test_a_walled_garden_has_addresses_and_names_that_are_let_out():
    found = _garden("{a: 192.0.2.80, aaaa: ['2001:db8::80', '2001:db8::81'], allow: notice.example.com}")
    assert ([str(one) for one in found.a], [str(one) for one in found.aaaa]) == (["192.0.2.80"], ["2001:db8::80", "2001:db8::81"])
    assert found.allow == ("notice.example.com",)
    assert _garden("null") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "at least one address"),
        ("{allow: [notice.example.com]}", "at least one address"),
        ("{a: 2001:db8::80}", "is no IPv4 address such as"),
        ("{aaaa: 192.0.2.80}", "is no IPv6 address such as"),
        ("{a: 192.0.2.80, allow: ['not a name']}", "is no domain name"),
        ("{a: 192.0.2.80, names: [x]}", "names"),
        (f"{{a: [{', '.join(f'192.0.2.{one}' for one in range(9))}]}}", "8"),
        ("true", "mapping"),
    ],
)
def test_a_walled_garden_that_leads_nowhere_is_a_fault(text, said):
    (fault,) = _faults(f"version: 1\nupstream: {{address: 192.0.2.53}}\nwalled_garden: {text}\n")
    assert said in f"{fault.path} {fault.message}"
    assert fault.line == 3
