"""The YAML reader: strict, and sure of its lines."""

from __future__ import annotations

import pytest

from sekisho.config.document import read_document, scan_document
from sekisho.model.errors import ConfigError


def _faults(text):
    with pytest.raises(ConfigError) as caught:
        read_document(text, "site.yaml")
    return caught.value.faults


def test_every_duplicate_key_is_told_with_both_lines():
    faults = _faults("version: 1\nlisten: a\nlisten: b\nupstream:\n  timeout: 1s\n  timeout: 2s\n")
    assert [(fault.line, fault.path) for fault in faults] == [(3, "listen"), (6, "upstream.timeout")]
    assert "first on line 2" in faults[0].message
    assert "first on line 5" in faults[1].message


def test_one_who_looks_on_gets_the_first_of_two_equal_keys():
    document = scan_document("workers: 1\nworkers: 2\n", "site.yaml")
    assert document.value == {"workers": 1}
    assert len(document.faults) == 1


def test_a_tab_in_the_indentation_is_one_fault_at_its_line():
    (fault,) = _faults("version: 1\nupstream:\n\taddress: 192.0.2.53\n")
    assert fault.line == 3
    assert "tab" in fault.message


@pytest.mark.parametrize(
    "text",
    ["version: 1\nlisten: [a, b\nworkers: 1\n", 'version: 1\na: "b\n', "a: b: c\n", "a: *nobody\n", "a: 1\n---\nb: 2\n", "a: \x01\n"],
)
def test_broken_yaml_is_one_fault_with_a_line(text):
    (fault,) = _faults(text)
    assert fault.line >= 1


def test_an_empty_file_is_told_how_it_starts():
    assert "version: 1" in _faults("# nothing\n")[0].message


def test_a_document_that_contains_itself_is_refused():
    assert "alias" in _faults("a: &x [*x]\n")[0].message


def test_a_document_nested_without_end_is_refused():
    _faults("[" * 4000)


@pytest.mark.parametrize("depth", [100, 900, 5000, 100_000])
@pytest.mark.parametrize(
    ("text", "line"),
    [
        (lambda depth: "version: 1\nx: " + "[" * depth + "]" * depth, 2),
        (lambda depth: "version: 1\nx: " + "{a: " * depth + "1" + "}" * depth, 2),
        (lambda depth: "version: 1\nx:\n  " + "- " * depth + "1", 3),
    ],
)
def test_a_document_nested_too_deep_is_refused_with_its_line(text, line, depth):
    (fault,) = _faults(text(depth))
    assert fault.line == line
    assert "nested more than 64 levels deep" in fault.message


def test_a_document_made_deep_by_aliases_is_refused():
    text = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 400))
    assert "nested more than 64 levels deep" in _faults(text)[0].message


def test_words_that_older_yaml_takes_for_truth_values_stay_words():
    values = read_document("a: no\nb: on\nc: 12:30\nd: 0123\ne: 2021-02-01\nf: true\ng: ~\nh: 1_000\n", "x").value
    assert values == {"a": "no", "b": "on", "c": "12:30", "d": "0123", "e": "2021-02-01", "f": True, "g": None, "h": "1_000"}


def test_a_version_number_keeps_its_trailing_zero():
    value = read_document("version: 2.10\n", "x").value["version"]
    assert value == pytest.approx(2.1)
    assert value.text == "2.10"


def test_the_line_of_a_missing_key_is_that_of_the_mapping_it_misses_in():
    document = read_document("version: 1\nlists:\n  - id: a\n  - id: b\n    scope: exact\n", "x")
    assert document.locate(("lists", 1, "format")) == (4, ("lists", 1, "format"))
    assert document.locate(("lists", 1, "scope")) == (5, ("lists", 1, "scope"))


def test_parts_of_a_path_that_are_not_in_the_file_are_not_shown():
    document = read_document("rules:\n  - kind: dns-block\n    notice: never\n", "x")
    assert document.fault(("rules", 0, "dns-block", "notice"), "m").path == "rules[0].notice"
