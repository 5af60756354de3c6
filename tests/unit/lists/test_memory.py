"""What a feed takes while it is compiled: a small multiple of its text whatever it is made of, and no more rows than are allowed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from sekisho.lists import guard, jsonfeed, policyzone, rows, scan, zonefile, zonetransfer
from sekisho.lists.compile import FeedResult, compile_feed
from sekisho.lists.rows import Rows, Tally
from sekisho.lists.zonetransfer import ZoneReader
from sekisho.model.errors import FeedError
from sekisho.model.lists import ListDefinition, ListFormat, Scope
from sekisho.snapshot.digest import key_of
from unit.lists import peaks

KEY = key_of(bytes(16))
TEXT = sorted(set(ListFormat) - {ListFormat.AXFR})
MULTIPLE, ROOM = 16, 24 << 20
"""Times a feed's text, and octets beside: what is read at a time, and what NumPy keeps."""


@pytest.fixture(scope="module")
def process() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, peaks.__file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
        yield started
        started.stdin.close()


def peak(process: subprocess.Popen[str], form: ListFormat, kind: str) -> tuple[int, int]:
    """Octets of a feed's text, and of what compiling it took beside it."""
    process.stdin.write(f"{form.value} {kind}\n")
    process.stdin.flush()
    text, taken = map(int, process.stdout.readline().split())
    return text, taken


@pytest.mark.parametrize("form", TEXT)
def test_a_feed_of_nothing_but_line_feeds_takes_less_than_its_text_again(process: subprocess.Popen[str], form: ListFormat) -> None:
    text, taken = peak(process, form, "newlines")
    assert taken < text


@pytest.mark.parametrize("form", TEXT)
def test_a_feed_of_one_line_takes_less_than_its_text_again(process: subprocess.Popen[str], form: ListFormat) -> None:
    text, taken = peak(process, form, "line")
    assert taken < text


@pytest.mark.parametrize("form", TEXT)
def test_a_feed_that_is_one_value_of_many_takes_a_small_multiple_of_its_text(process: subprocess.Popen[str], form: ListFormat) -> None:
    text, taken = peak(process, form, "elements")
    assert taken < 4 * text


@pytest.mark.parametrize(
    ("form", "kind"), [*((form, "short") for form in sorted(peaks.SHORT)), *((form, "distinct") for form in sorted(peaks.DISTINCT))]
)
def test_a_feed_of_short_lines_takes_a_small_multiple_of_its_text(process: subprocess.Popen[str], form: ListFormat, kind: str) -> None:
    text, taken = peak(process, form, kind)
    assert taken < MULTIPLE * text + ROOM


def compiled(text: str, form: ListFormat, zone: str | None = None) -> FeedResult:
    column = "name" if form is ListFormat.JSON else None
    definition = ListDefinition("list", 0, "c2", "list", form, Scope.EXACT, column=column, zone=zone)
    return compile_feed(definition, text.encode(), KEY, file="feed")


def test_a_value_of_json_that_is_too_long_is_told_with_its_line_and_passed_over() -> None:
    long = "x" * jsonfeed.ELEMENT
    result = compiled(
        f'["a.example",\n{{"name": "{long}"}}, "b.example",\n"{long}", "c.example",\n[{"[]," * (jsonfeed.ELEMENT // 2)}[]], "d.example"]',
        ListFormat.JSON,
    )
    assert result.report.entries == 4
    told = f"skipped: one value has more than {jsonfeed.ELEMENT} characters; a feed has a name, or an object, in each"
    assert [(fault.line, fault.message) for fault in result.report.faults] == [(2, told), (3, told), (4, told)]


@pytest.mark.parametrize("step", [1, 7, 1 << 18])
def test_what_stands_in_a_value_that_is_too_long_is_no_name(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Whatever brackets, quotes and line ends are in it."""
    monkeypatch.setattr(jsonfeed, "ELEMENT", 40)
    monkeypatch.setattr(jsonfeed, "_STEP", step)
    sites = ",\n".join(f'"site{number}.example": {{"note": "}}]\\\\", "other": ["x.example", "\\""]}}' for number in range(9))
    texts = [(f'{{\n"stats": {{\n{sites}\n}},\n"name": [\n"evil.example",\n"bad.example"\n]\n}}\n', 2)]
    texts.append((f'[{{"kind": "a",\n"names": {{{sites}}}}},\n"evil.example"]', 1))
    for text, entries in texts:
        report = compiled(text, ListFormat.JSON).report
        assert report.entries == entries
        (fault,) = report.faults
        assert "one value has more than" in fault.message


def test_a_value_that_is_too_long_and_has_no_end_is_the_end_of_the_feed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonfeed, "ELEMENT", 40)
    monkeypatch.setattr(jsonfeed, "_STEP", 7)
    endless = '{"stats": {\n"x.example": 1,\n"' + 'y.example": 2,\n"' * 9
    report = compiled('{"name": "a.example"}\n[' + endless, ListFormat.JSON).report
    assert report.entries == 1
    assert len(report.faults) == 2
    assert "one value has more than" in report.faults[0].message
    assert "the feed breaks off" in report.faults[1].message
    with pytest.raises(FeedError, match="breaks off"):
        compiled('["a.example",\n' + endless, ListFormat.JSON)


def test_json_is_read_alike_wherever_what_is_decoded_ahead_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text is decoded some octets at a time, in whose midst characters, values and line ends lie."""
    text = '{"meta": 1,\n"name" : [ "b\u00fccher.example",\n\n"\u6307\u4ee4.example", 7, {"name": "c.example"} ]}\n\n{"name": "d.example"}\noops\n"e.example"'
    whole = compiled(text, ListFormat.JSON).report
    monkeypatch.setattr(jsonfeed, "ELEMENT", 24)
    for step in range(1, 40):
        monkeypatch.setattr(jsonfeed, "_STEP", step)
        assert compiled(text, ListFormat.JSON).report == whole
    assert (whole.entries, [fault.line for fault in whole.faults]) == (5, [4, 7])


def test_more_rows_than_a_list_may_have_are_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (rows, scan):
        monkeypatch.setattr(module, "MOST", 100)
        monkeypatch.setattr(module, "MOST_OCTETS", 4096)
    with pytest.raises(FeedError, match=r"more than 100 entries.*divide it"):
        compiled("".join(f"a{number}.example\n" for number in range(101)), ListFormat.DOMAINS)


def test_names_longer_in_all_than_a_list_may_have_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A letter stands for a name of 250 octets under an origin of so many."""
    for module in (rows, scan):
        monkeypatch.setattr(module, "MOST", 200)
        monkeypatch.setattr(module, "MOST_OCTETS", 20_000)
    text = "$ORIGIN " + ".".join(["x" * 60] * 4) + ".\n" + "".join(f"a{number} CNAME .\n" for number in range(150))
    with pytest.raises(FeedError, match="more than 20000 octets"):
        compiled(text, ListFormat.RPZ, zone="x" * 60)


def test_more_local_data_than_a_list_may_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policyzone, "MOST_RECORDS", 100)
    with pytest.raises(FeedError, match="more than 100 records of local data"):
        compiled("".join(f"a{number}.example A 192.0.2.1\n" for number in range(101)), ListFormat.RPZ)


def test_a_name_with_more_records_than_an_answer_holds_keeps_what_is_before_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policyzone, "MOST_OF_NAME", 10)
    result = compiled("".join(f"a.example A 192.0.2.{number}\n" for number in range(12)), ListFormat.RPZ)
    assert [len(action.records) for action in result.compiled.actions] == [10]
    assert [fault.line for fault in result.report.faults] == [11, 12]


def test_kinds_that_a_feed_makes_up_are_told_apart_up_to_a_bound() -> None:
    result = compiled("".join(f"a{number}.example CNAME rpz-x{number}.\n" for number in range(200)), ListFormat.RPZ)
    assert result.report.unkept == 200
    assert len(result.report.kinds) == rows.KINDS + 1
    assert dict(result.report.kinds)["of another kind"] == 200 - rows.KINDS


def test_parentheses_that_do_not_close_are_looked_for_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would be looked for through 64 KiB, of which there may be as many as lines."""
    monkeypatch.setattr(zonefile, "_MAX_VAIN", 1 << 18)
    result = compiled("(\n" * 20_000 + "a.example CNAME .\n", ListFormat.RPZ)
    assert (result.report.entries, result.report.skipped) == (1, 20_000)


@pytest.mark.parametrize("bound", ["MOST_STEPS", "MOST_CHANGES"])
def test_differences_without_end_are_given_up(monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    monkeypatch.setattr(zonetransfer, bound, 3)
    zone = b"\3rpz\0"
    reader = ZoneReader(zone, Tally("zone", sealed=False), asked=1)
    serials = [9, 1, 2, 2, 3, 3, 4, 4]
    soas = [zone + b"\0\6\0\1\0\0\0\1\0\x16\0\0" + serial.to_bytes(4, "big") + bytes(16) for serial in serials]
    with pytest.raises(FeedError, match="the whole zone is smaller"):
        _ = [reader.feed(b"\0\0\x84\0\0\0\0\1\0\0\0\0" + soa) for soa in soas]


def test_rows_that_repeat_others_go_before_they_are_sorted() -> None:
    """A row goes only where name, triggers and action are those of one before it: what holds of a name is what held."""
    found = Rows()
    for _ in range(1000):
        found.add(b"\1a\7example\0", 1, 1, rows.NXDOMAIN)
        found.add(b"\1b\7example\0", 2, 1, rows.NXDOMAIN)
    found.add(b"\1a\7example\0", 3, 2, rows.NXDOMAIN)
    found.add(b"\1b\7example\0", 4, 1, rows.EXCEPT)
    digests, depths = guard.sift_rows(found, KEY, guard.build_guard(KEY), lambda *_: pytest.fail("none is refused"))
    assert (len(digests), len(depths), found.count) == (4, 4, 4)
    assert found.lines[:4].tolist() == [1, 2, 3, 4]
    assert [found.name(row)[1:2] for row in range(4)] == [b"a", b"b", b"a", b"b"]
