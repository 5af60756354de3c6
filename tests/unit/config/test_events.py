"""`events:` of the main file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from sekisho.config.events import EventSettings, FileSinkSettings, SyslogSinkSettings, SyslogTarget, WebhookSinkSettings
from sekisho.config.settings import parse_settings
from sekisho.config.values import Endpoint
from sekisho.model.errors import ConfigError

HEAD = "version: 1\nupstream: {address: 192.0.2.53}\n"


def events(text):
    return parse_settings(f"{HEAD}events: {text}\n", "/etc/sekisho/sekisho.yaml").events


def faults(text):
    with pytest.raises(ConfigError) as caught:
        events(text)
    return caught.value.faults


def sink(text):
    (found,) = events(f"{{sinks: [{text}]}}").sinks
    return found


def test_nothing_is_told_anywhere_unless_it_is_asked_for():
    assert parse_settings(HEAD, "x").events == EventSettings()
    assert EventSettings().sinks == ()


def test_every_kind_of_sink_is_read():
    file = sink("{id: a, kind: file, path: out/events.jsonl, rotate: 1MiB, rotate_count: 5, keep: 3, from: now, types: measure}")
    assert isinstance(file, FileSinkSettings)
    assert file.path == Path("/etc/sekisho/out/events.jsonl")
    assert (file.rotate, file.rotate_count, file.keep, file.begin, file.types) == (1 << 20, 5, 3, "now", ("measure",))
    web = sink("{id: b, kind: webhook, url: 'https://desk.example/hooks?k=1', secret: desk.secret, timeout: 3s, batch: 20}")
    assert isinstance(web, WebhookSinkSettings)
    assert (web.url, web.secret, web.timeout, web.batch) == ("https://desk.example/hooks?k=1", Path("/etc/sekisho/desk.secret"), 3.0, 20)
    assert sink("{id: d, kind: stdout}").kind == "stdout"


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("udp://192.0.2.30", SyslogTarget("udp", Endpoint("192.0.2.30", 514))),
        ("tcp://[2001:db8::1]:6514", SyslogTarget("tcp", Endpoint("2001:db8::1", 6514))),
        ("tcp://log.example", SyslogTarget("tcp", Endpoint("log.example", 601))),
        ("unix:///dev/log", SyslogTarget("unix", None, "/dev/log")),
    ],
)
def test_a_syslog_is_reached_by_udp_tcp_or_a_unix_socket(to, expected):
    found = sink(f"{{id: c, kind: syslog, to: '{to}', facility: audit}}")
    assert isinstance(found, SyslogSinkSettings)
    assert (found.to, found.facility) == (expected, "audit")
    assert str(SyslogTarget("unix", None, "/dev/log")) == "unix:///dev/log"


@pytest.mark.parametrize("name", ["measure.in-force", "measure", "measure.*", "jp.sekisho.measure.in-force.v1"])
def test_types_are_named_by_word_by_group_or_in_full(name):
    (word,) = sink(f"{{id: d, kind: stdout, types: ['{name}']}}").types
    assert word in {"measure", "measure.in-force"}


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        ("{sinks: [{id: a, kind: file}]}", "events.sinks[0].path", "missing"),
        ("{sinks: [{id: a, kind: kafka}]}", "events.sinks[0]", "kind must be one of"),
        ("{sinks: [{id: a, kind: stdout, types: measures}]}", "events.sinks[0].types[0]", "did you mean `measure`?"),
        ("{sinks: [{id: a, kind: webhook, url: 'desk.example/hooks'}]}", "events.sinks[0].url", "https://HOST/PATH"),
        ("{sinks: [{id: a, kind: webhook, url: 'ftp://desk.example'}]}", "events.sinks[0].url", "https://HOST/PATH"),
        ("{sinks: [{id: a, kind: webhook, url: 'https://desk.example', batch: 0}]}", "events.sinks[0].batch", "at least 1"),
        ("{sinks: [{id: a, kind: syslog, to: 'tls://192.0.2.1'}]}", "events.sinks[0].to", "udp://HOST:514"),
        ("{sinks: [{id: a, kind: syslog, to: 'unix://dev/log'}]}", "events.sinks[0].to", "unix:///dev/log"),
        ("{sinks: [{id: a, kind: syslog, to: 'udp://192.0.2.1', facility: kern}]}", "events.sinks[0].facility", "must be one of user"),
        ("{sinks: [{id: a, kind: stdout, from: yesterday}]}", "events.sinks[0].from", "must be one of beginning, now"),
        ("{source: 'two words'}", "events.source", "is no URI"),
        ("{sinks: [{id: a, kind: stdout}, {id: a, kind: stdout}]}", "events", "give each its own"),
        ("{sinks: [{id: a, kind: file, path: x}, {id: b, kind: file, path: x}]}", "events", "a file of its own"),
    ],
)
def test_a_fault_says_where_and_what_to_do(text, path, said):
    (fault,) = faults(text)
    assert said in fault.message
    assert fault.path == path


def test_a_secret_of_an_address_is_not_repeated_in_a_fault():
    (fault,) = faults("{sinks: [{id: a, kind: webhook, url: 'htps://user:topsecret@desk.example'}]}")
    assert "topsecret" not in str(fault)


def test_the_handbooks_example_is_one_that_can_be_used(root):
    text = (root / "exporters/README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n# sekisho.yaml\n(.*?)```", text, flags=re.DOTALL)
    found = parse_settings(HEAD + block, "x").events
    assert [one.kind for one in found.sinks] == ["file", "webhook", "syslog", "stdout"]


def test_the_example_file_shows_a_sink_of_every_kind_with_the_true_defaults(root):
    text = (root / "daemon/sekisho.example.yaml").read_text(encoding="utf-8")
    shown = text.partition("what may be left out:\n")[2]
    sinks = yaml.safe_load("\n".join(line.removeprefix("  # ") for line in shown.splitlines()))
    found = parse_settings(HEAD + yaml.safe_dump({"events": {"sinks": sinks}}), "x").events.sinks
    assert [one.kind for one in found] == ["file", "webhook", "syslog", "stdout"]
    for one in found:
        needed = {name: getattr(one, name) for name in ("path", "url", "to") if name in type(one).model_fields}
        bare = type(one).model_construct(id=one.id, kind=one.kind, **needed)
        assert one == bare
        assert all(re.search(rf"\b{field.alias or name}:", shown) for name, field in type(one).model_fields.items())
