"""Feeds of JSON that are cut off or broken: refused where they are one value, and read line by line where they are one a line."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sekisho.drivers.liststore import ListStore
from sekisho.lists import jsonfeed
from sekisho.model.errors import FeedError
from sekisho.model.lists import ListDefinition, ListFormat, Scope
from unit.lists.test_formats import KEY, compiled, names


def read(text: str, column: str | None = "domain") -> tuple[set[str], list[int]]:
    """The names, and the lines of faults."""
    result = compiled(text, "json", column=column)
    return names(result.compiled), [fault.line for fault in result.report.faults]


WHOLE = """{
  "version": 3,
  "allowed": ["let.example"],
  "domain": [
    "a.example",
    {"domain": "b.example", "seen": {"in.example": 1}}
  ],
  "sources": {"s.example": ["t.example"]}
}
"""


def test_a_feed_that_is_one_value_is_refused_wherever_it_is_cut_off() -> None:
    assert read(WHOLE) == ({"a.example", "b.example"}, [])
    for end in range(1, len(WHOLE) - 1):
        with pytest.raises(FeedError, match=r"breaks off: what was opened in line 1 .* is not closed at its end, line \d+; see"):
            read(WHOLE[:end])


@pytest.mark.parametrize("column", ["domain", None])
@pytest.mark.parametrize(
    "text",
    [
        '["a.example",\n"b.example"',
        '["a.example", "b.exam',
        '[{"domain": "a.example"},\n{"domain": "b.exam',
        '{"domain": [\n"a.example", "b.example"',
        '{"domain": ["a.example", "b.exam',
        '{"data": ["x"], "domain":\n["a.example", "b.example"]',
        '{"meta": {"a.example": 1,',
        "[",
    ],
)
def test_json_cut_short_on_its_way_is_refused(text: str, column: str | None) -> None:
    with pytest.raises(FeedError, match="breaks off"):
        read(text, column)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{\n"count": 0123,\n"a.example": "b.example",\n"allowed": [\n"c.example"\n]\n}\n', 2),
        ('{"count": oops,\n"a.example": [\n"b.example"\n]}\n', 1),
        ('{"meta": {\n"x": {"a.example": 1}\n"b.example": 2\n},\n"domain": ["c.example"]}\n', 1),
        ('{"meta": {"x": oops}\n, "a.example": [\n"b.example"\n]}\n', 1),
        ('[\n{\n"domain": oops,\n"tags": [\n"a.example"\n]\n},\n{"domain": "b.example"}\n]\n', 7),
        ('{"domain": [\n{\n"domain": oops,\n"tags": [\n"a.example"\n]},\n{"domain": "b.example"}\n]}\n', 8),
    ],
)
def test_a_value_of_several_lines_that_is_broken_is_refused_and_its_keys_are_no_names(text: str, line: int) -> None:
    with pytest.raises(FeedError, match=f"its JSON is broken at line {line}, "):
        read(text, None)


def test_a_key_whose_object_could_not_be_read_is_no_name() -> None:
    text = '[\n{\n"domain": oops,\n"a.example" : 1\n},\n{"domain": "b.example"},\n"c.example"\n]\n'
    assert read(text) == ({"b.example", "c.example"}, [2, 3, 4, 5])


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('{"domain": "a.example"}\n{"domain": "b.example"}\n{"domain": "c.exam', [3]),
        ('{"domain": "x.exam\n{"domain": "a.example"}\n{"domain": "b.example"}\n', [1]),
        ('{"domain": "a.example", "tags": [oops]}\n{"domain": "b.example"}\n', [1]),
        ('{"domain": oops}\n{"domain": "a.example"}\n}\n"x.example": 1\n{"domain": "b.example"}\n', [1, 3, 4]),
        ('"a.example"\n}\n"b.example"\n', [2]),
        ('{"domain": ["a.example", "b.example", oops]}\n', [1]),
        ('["a.example", "b.example", oops]\n', [1]),
        ('[\n"a.example",\n"b.example", oops]\n', [3]),
    ],
)
def test_a_bad_line_of_one_value_a_line_or_of_an_array_costs_that_line(text: str, lines: list[int]) -> None:
    assert read(text) == ({"a.example", "b.example"}, lines)


def test_json_whose_last_line_cannot_be_read_is_told_once() -> None:
    assert len(compiled('["a.example", oops]\n', "json", column="domain").report.faults) == 1


def test_a_value_of_several_lines_is_judged_alike_wherever_what_is_decoded_ahead_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [
        WHOLE[:70],
        '{"x": oops }\n\n  {"domain": "a.example" }\n',
        '[\n{\n"domain" \n: oops,\n"a.example" \n : 1\n},\n"c.example"\n]\n',
    ]

    def said() -> list[object]:
        found: list[object] = []
        for text in texts:
            try:
                found.append(read(text))
            except FeedError as error:
                found.append(str(error))
        return found

    whole = said()
    assert [type(one) for one in whole] == [str, tuple, tuple]
    monkeypatch.setattr(jsonfeed, "ELEMENT", 60)
    for step in range(1, 40):
        monkeypatch.setattr(jsonfeed, "_STEP", step)
        assert said() == whole


def test_of_a_feed_that_was_cut_off_the_last_good_version_stays_in_force(tmp_path: Path) -> None:
    source = tmp_path / "feed.json"
    definition = ListDefinition("sample", 0, "c2", str(source), ListFormat.JSON, scope=Scope.SUBTREE, column="domain", max_shrink=1.0)

    async def story() -> None:
        store = ListStore(tmp_path / "state", KEY)
        await store.define([definition])
        source.write_text(WHOLE)
        assert await store.refresh("sample", 1000.0)
        source.write_text(WHOLE[: WHOLE.index('{"domain"')])
        assert not await store.refresh("sample", 2000.0)
        status = store.status("sample", 2000.0)
        assert (status.entries, status.fetched_at) == (2, 1000.0)
        assert "breaks off" in status.last_error

    asyncio.run(story())
