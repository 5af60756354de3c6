"""The guards against over-blocking (`nbnet/21-2`) and against a feed that suddenly shrinks."""

from __future__ import annotations

import random
from pathlib import Path

import publicsuffixlist
import pytest
from publicsuffixlist import PublicSuffixList

from sekisho.lists import idn
from sekisho.lists.compile import compile_feed
from sekisho.lists.guard import SUFFIX, build_guard, digest_rows, parse_suffixes, reguard, shrink
from sekisho.lists.rows import Rows
from sekisho.model.errors import FeedError
from sekisho.model.lists import ListDefinition, ListFormat, Scope
from sekisho.snapshot.digest import key_of

KEY = key_of(bytes(range(16)))


def compiled(text: str, scope: Scope = Scope.SUBTREE, never_block: tuple[str, ...] = (), kind: str = "domains", **options):
    definition = ListDefinition("sample", 0, "c2", "feed", ListFormat(kind), scope=None if kind == "rpz" else scope, **options)
    return compile_feed(definition, text.encode(), KEY, file="feed", never_block=[idn.to_wire(name) for name in never_block])


def refused(name: str, *never_block: str, scope: Scope = Scope.SUBTREE) -> str:
    """Why the name is refused; empty if it is not."""
    report = compiled(name + "\n", scope, never_block).report
    assert report.entries + report.refused == 1
    return report.faults[0].message if report.refused else ""


@pytest.mark.parametrize("name", ["com", "co.jp", "unlisted-single-label", "github.io", "kobe.jp", "anything.ck", "jp"])
def test_nbnet_21_2_a_public_suffix_is_refused_and_reported(name: str) -> None:
    assert "public suffix" in refused(name)
    assert "public suffix" in refused(name, scope=Scope.EXACT)


@pytest.mark.parametrize("name", ["c2.com", "c2.co.jp", "someone.github.io", "city.kobe.jp", "www.ck", "c2.example"])
def test_a_name_under_a_public_suffix_is_no_public_suffix(name: str) -> None:
    assert not refused(name)


def test_the_guard_agrees_with_the_library_on_every_rule_and_around_it() -> None:
    library = PublicSuffixList()
    random_names = random.Random(7)
    rules = sorted(idn.to_text(wire) for wire, _ in parse_suffixes(open_list()))
    names = {name for rule in random_names.sample(rules, 1500) for name in (rule, f"x.{rule}", f"x.y.{rule}", rule.partition(".")[2])} - {
        ""
    }
    rows = Rows()
    for name in sorted(names):
        rows.add(idn.to_wire(name), 1, 3)
    codes = digest_rows(rows, KEY, build_guard(KEY))[2]
    for name, code in zip(sorted(names), codes.tolist(), strict=True):
        assert bool(code) == library.is_public(name), name


def open_list() -> str:
    return Path(publicsuffixlist.PSLFILE).read_text("utf-8")


def test_suffix_rules_are_read_with_comments_and_words_after_them() -> None:
    assert dict(parse_suffixes("// c\n\ncom\njp // x\n*.ck\n!www.ck\n"))[b"\3com\0"] == SUFFIX


def test_nbnet_21_2_never_block_names_are_meant_with_everything_below_and_above_them() -> None:
    assert "never-block" in refused("bank.example", "bank.example")
    assert "never-block" in refused("www.bank.example", "bank.example")
    assert "would cover" in refused("bank.example", "www.bank.example")
    assert not refused("bank.example", "www.bank.example", scope=Scope.EXACT)
    assert not refused("ban.example", "bank.example")
    assert not refused("xbank.example", "bank.example")


def test_the_never_block_names_of_a_definition_count_for_its_list() -> None:
    definition = ListDefinition("x", 0, "c2", "f", ListFormat.DOMAINS, scope=Scope.EXACT, never_block=("Bank.Example.",))
    assert compile_feed(definition, b"bank.example\nc2.example\n", KEY, file="f").report.refused == 1


def test_a_never_block_name_that_is_none_says_so() -> None:
    definition = ListDefinition("x", 0, "c2", "f", ListFormat.DOMAINS, scope=Scope.EXACT, never_block=("no name",))
    with pytest.raises(FeedError, match="never_block"):
        compile_feed(definition, b"", KEY, file="f")


def test_passthru_may_let_a_whole_suffix_through() -> None:
    report = compiled(
        "com CNAME rpz-passthru.\n*.com CNAME rpz-passthru.\nbank.example CNAME rpz-passthru.\n*.com CNAME .\n", kind="rpz"
    ).report
    assert (report.entries, report.refused) == (2, 1)


def test_a_stored_list_is_guarded_by_the_never_block_names_of_today() -> None:
    for sealed in (False, True):
        stored = compiled("bank.example\nshop.example\nc2.example\n", sealed=sealed).compiled
        again, lost = reguard(stored, build_guard(KEY, [idn.to_wire("bank.example"), idn.to_wire("www.shop.example")]))
        assert lost == 2
        assert len(again) == 2, "the ancestor keeps its exact trigger"
        assert sorted(again.triggers.tolist()) == [1, 3]
    assert reguard(stored, build_guard(KEY))[0] is stored


def test_a_version_that_loses_more_than_allowed_is_told_by_how_much() -> None:
    ten = compiled("".join(f"c{number}.example\n" for number in range(10))).compiled
    seven = compiled("".join(f"c{number}.example\n" for number in range(7))).compiled
    six = compiled("".join(f"c{number}.example\n" for number in range(6))).compiled
    assert shrink(ten, seven, 0.30) is None
    assert shrink(ten, six, 0.30) == pytest.approx(0.4)
    assert shrink(None, six, 0.30) is None
    assert shrink(six, ten, 0.0) is None
    assert shrink(ten, compiled("").compiled, 0.99) == 1.0


def test_rules_in_ascii_are_read_as_any_name() -> None:
    """A shorter way is taken for them; what it gives is what every other name is compared with."""
    rules = [
        line.split()[0].lstrip("!").removeprefix("*.") for line in open_list().splitlines() if line.strip() and not line.startswith("//")
    ]
    expected = {idn.to_wire(rule) for rule in rules}
    assert {wire for wire, _ in parse_suffixes(open_list())} == expected
    assert len(expected) > 9000
    assert dict(parse_suffixes("CO.Jp\n")) == {b"\2co\2jp\0": SUFFIX}
