"""What the compiled snapshot says of names that several lists hold, of policy zones' actions and of exceptions."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
import pytest

from sekisho.drivers.tablerows import CustomerRow
from sekisho.model.clauses import Ede, Profile
from sekisho.model.errors import RefusedError, TableError
from sekisho.model.lists import Action, ActionKind, Entry, LocalRecord, Trigger
from sekisho.model.verdicts import Step
from sekisho.plane.names import PRINT_WORDS
from sekisho.plane.verdict import R_ACTION, R_KIND, R_LIST, R_RULE, R_SLOTS, ask_lists
from sekisho.snapshot import layout
from sekisho.snapshot.build import build
from sekisho.snapshot.digest import digest_name
from sekisho.snapshot.entries import CompiledList, decode, encode
from sekisho.snapshot.layout import MAX_RULES, NO_RULE, Snapshot
from sekisho.snapshot.sections import Kind, unpack
from support.plane import (
    BOTH,
    KEY,
    SINKHOLE,
    UNCOMPILED,
    address,
    at,
    compile_entries,
    definition,
    entry,
    exempt,
    make_customers,
    make_snapshot,
    profile,
    rule,
    wire,
)

pytestmark = UNCOMPILED

ALL_LISTS = (1 << 64) - 1


class Said(NamedTuple):
    step: Step
    list: int
    kind: ActionKind
    action: int


def ask(snapshot: Snapshot, name: str, mask: int = ALL_LISTS, *, tcp: bool = False) -> Said:
    """What steps 5 and 6 say of a name to a customer of the first profile."""
    customers = make_customers([CustomerRow("customer", at("192.0.2.1"), mask, 0)])
    octets = wire(name)
    lower, labels = np.zeros(264, np.uint8), np.zeros(130, np.int64)
    lower[: len(octets)] = np.frombuffer(octets, np.uint8)
    count = position = 0
    while octets[position]:
        labels[count], position, count = position, position + octets[position] + 1, count + 1
    ruling = np.zeros(R_SLOTS, np.int64)
    ruling[R_LIST], ruling[R_RULE] = -1, NO_RULE
    masks, combos, prints = np.zeros(130, np.uint64), np.zeros(130, np.int64), np.zeros((130, PRINT_WORDS), np.uint64)
    step = ask_lists(snapshot.view, customers.view, KEY, 1, *address("192.0.2.1"), lower, labels, count, tcp, masks, combos, prints, ruling)
    return Said(Step(step), int(ruling[R_LIST]), ActionKind(int(ruling[R_KIND])), int(ruling[R_ACTION]))


def in_order(*lists: CompiledList, terms: Profile | None = None) -> Snapshot:
    """The lists, each under a rule that customers may opt out of."""
    rules = terms or profile(*(rule(f"clause-{number}") for number in range(len(lists))))
    return make_snapshot([(definition(number), one) for number, one in enumerate(lists)], [rules])


def test_scope_exact_holds_the_name_alone_and_sub_tree_all_that_is_below() -> None:
    snapshot = in_order(
        compile_entries(
            [entry("exact.example", triggers=Trigger.EXACT), entry("tree.example"), entry("below.example", triggers=Trigger.BELOW)]
        )
    )
    held = {
        name
        for name in (
            "exact.example",
            "www.exact.example",
            "tree.example",
            "a.b.tree.example",
            "below.example",
            "www.below.example",
            "example",
            "xtree.example",
        )
        if ask(snapshot, name).list == 0
    }
    assert held == {"exact.example", "tree.example", "a.b.tree.example", "www.below.example"}


def test_the_first_list_that_applies_decides_where_several_hold_a_name() -> None:
    snapshot = in_order(
        compile_entries([entry("a.example")]),
        compile_entries([entry("a.example"), entry("b.example")]),
        compile_entries([entry("b.example")]),
    )
    assert ask(snapshot, "a.example").list == 0
    assert ask(snapshot, "a.example", mask=0b110).list == 1
    assert ask(snapshot, "b.example").list == 1
    assert ask(snapshot, "b.example", mask=0b100).list == 2
    assert ask(snapshot, "b.example", mask=0b001) == (Step.CACHE, -1, ActionKind.DEFAULT, 0)


def test_an_earlier_list_decides_even_by_a_shorter_name() -> None:
    """Order counts between lists; how much of the name an entry covers counts within one list only."""
    snapshot = in_order(compile_entries([entry("example", Action(ActionKind.REFUSED))]), compile_entries([entry("www.a.example")]))
    assert ask(snapshot, "www.a.example")[:3] == (Step.ENTITLED, 0, ActionKind.REFUSED)


def test_within_one_list_the_longest_entry_decides_and_the_name_before_its_wildcard() -> None:
    entries = [
        entry("example", Action(ActionKind.NODATA)),
        Entry(wire("a.example"), BOTH, Action(ActionKind.REFUSED), Action(ActionKind.DROP)),
        entry("b.a.example", Action(ActionKind.PASSTHRU), Trigger.EXACT),
    ]
    snapshot = in_order(compile_entries(entries))
    kinds = {name: ask(snapshot, name).kind for name in ("x.example", "a.example", "c.a.example", "b.a.example", "c.b.a.example")}
    assert kinds == {
        "x.example": ActionKind.NODATA,
        "a.example": ActionKind.REFUSED,
        "c.a.example": ActionKind.DROP,
        "b.a.example": ActionKind.PASSTHRU,
        "c.b.a.example": ActionKind.DROP,
    }


@pytest.mark.parametrize("kind", [kind for kind in ActionKind if kind not in (ActionKind.DEFAULT, ActionKind.EXCEPT)])
def test_each_action_of_a_policy_zone_keeps_its_meaning(kind: ActionKind) -> None:
    snapshot = in_order(compile_entries([entry("a.example", Action(kind, (LocalRecord(1, 60, b"\xc0\0\2\1"),)))]))
    said = ask(snapshot, "a.example")
    assert said.kind is kind
    assert said.step is (Step.CACHE if kind is ActionKind.PASSTHRU else Step.ENTITLED)
    assert ask(snapshot, "a.example", tcp=True).step is (
        Step.CACHE if kind in (ActionKind.PASSTHRU, ActionKind.TCP_ONLY) else Step.ENTITLED
    )


def test_passthru_lets_the_name_through_whatever_later_lists_say() -> None:
    snapshot = in_order(compile_entries([entry("good.example", Action(ActionKind.PASSTHRU))]), compile_entries([entry("example")]))
    assert ask(snapshot, "good.example")[:3] == (Step.CACHE, 0, ActionKind.PASSTHRU)
    assert ask(snapshot, "other.example").list == 1
    assert ask(snapshot, "good.example", mask=0b10).list == 1, "a list that is not in force lets nothing through"


def test_nbnet_21_1_no_passthru_of_another_list_lifts_the_mandatory_one() -> None:
    terms = profile(rule("gunma/別記-1"), rule("nbnet/21-1", mandatory=True))
    snapshot = in_order(
        compile_entries([entry("a.example", Action(ActionKind.PASSTHRU))]), compile_entries([entry("a.example")]), terms=terms
    )
    assert ask(snapshot, "a.example")[:2] == (Step.MANDATORY, 1)


def test_an_exception_lifts_one_list_and_leaves_the_others() -> None:
    lists = [(definition(number), compile_entries([entry("example"), entry("a.example")])) for number in range(2)]
    terms = profile(rule("one"), rule("two"))
    snapshot = make_snapshot(lists, [terms], [exempt(0, "a.example")])
    assert ask(snapshot, "a.example").list == ask(snapshot, "x.a.example").list == 1
    assert ask(snapshot, "example").list == ask(snapshot, "b.example").list == 0
    assert ask(snapshot, "a.example", mask=0b01).step is Step.CACHE


def test_nbnet_21_2_one_overblocked_name_is_excepted_and_its_siblings_stay_blocked() -> None:
    """The list holds the whole domain; the exception is of a name that is no entry of it."""
    snapshot = make_snapshot(
        [(definition(0), compile_entries([entry("example")]))],
        [profile(rule("nbnet/21-1", mandatory=True))],
        [exempt(0, "shop.example", Trigger.EXACT)],
    )
    assert ask(snapshot, "shop.example").step is Step.CACHE
    assert ask(snapshot, "www.shop.example").step is ask(snapshot, "other.example").step is Step.MANDATORY


@pytest.mark.parametrize(
    ("triggers", "name_held", "below_held"), [(Trigger.EXACT, False, True), (Trigger.BELOW, True, False), (BOTH, False, False)]
)
def test_an_exception_reaches_the_trigger_it_names(triggers: Trigger, name_held: bool, below_held: bool) -> None:
    held = compile_entries([Entry(wire("a.example"), BOTH, Action(ActionKind.REFUSED), Action(ActionKind.NODATA))])
    snapshot = make_snapshot([(definition(0), held)], [profile(rule("one"))], [exempt(0, "a.example", triggers)])
    assert (ask(snapshot, "a.example").list == 0) is name_held
    assert (ask(snapshot, "x.a.example").list == 0) is below_held


def test_an_exception_said_twice_does_not_fall_upon_another_list() -> None:
    lists = [(definition(number), compile_entries([entry(f"{number}.example")])) for number in range(3)]
    twice = [exempt(0, "a.example", Trigger.EXACT), exempt(0, "a.example", BOTH)]
    snapshot = make_snapshot(lists, [profile(rule("one"), rule("two"), rule("three"))], twice)
    assert ask(snapshot, "a.example").step is ask(snapshot, "x.a.example").step is Step.CACHE
    assert snapshot.holders.max() < 8


def test_exceptions_leave_the_compiled_list_as_it_was() -> None:
    held = compile_entries([entry("a.example", triggers=Trigger.EXACT)])
    make_snapshot([(definition(0), held)], [profile(rule("one"))], [exempt(0, "a.example")])
    assert held.triggers.tolist() == [1]
    assert held.exact.tolist() == held.below.tolist() == [0]


def test_sixty_four_lists_are_in_force_and_one_more_is_refused() -> None:
    lists = [(definition(number), compile_entries([entry(f"list-{number}.example"), entry("all.example")])) for number in range(64)]
    rules = profile(*(rule(f"clause-{number}", mandatory=number == 63) for number in range(64)))
    snapshot = make_snapshot(lists, [rules])
    for number in range(64):
        assert ask(snapshot, f"www.list-{number}.example").list == number
        assert ask(snapshot, "all.example", mask=1 << number).list == number
    assert ask(snapshot, "all.example")[:2] == (Step.MANDATORY, 63)
    assert ask(snapshot, "all.example", mask=ALL_LISTS >> 1).list == 0
    with pytest.raises(RefusedError, match="65 lists"):
        build(1, [*lists, (definition(64), lists[0][1])], [rules], [], KEY)


def test_a_combination_of_lists_is_stored_once_however_many_names_share_it() -> None:
    both = compile_entries(entry(f"host-{number}.example") for number in range(300))
    one = compile_entries(entry(f"single-{number}.example") for number in range(200))
    snapshot = in_order(
        both,
        CompiledList(
            *(np.concatenate([getattr(part, name) for part in (both, one)]) for name in ("digests", "triggers", "exact", "below", "depths"))
        ),
    )
    assert sorted(map(tuple, snapshot.holders.tolist())) == [(0b10, 0b10), (0b11, 0b11)]
    assert np.count_nonzero(snapshot.keys[:, 0]) == 500


def test_the_lists_own_answer_comes_before_the_rules_and_nxdomain_last() -> None:
    refused, nodata = Action(ActionKind.REFUSED), Action(ActionKind.NODATA)
    entries = compile_entries([entry("a.example")])
    for answer, ruled, expected in ((refused, nodata, refused), (None, nodata, nodata), (None, None, Action(ActionKind.NXDOMAIN))):
        snapshot = make_snapshot([(definition(0, answer=answer), entries)], [profile(rule("one", answer=ruled))])
        assert ask(snapshot, "a.example").kind is expected.kind


def test_a_sealed_lists_extended_error_has_no_text_and_an_open_ones_names_the_clause() -> None:
    entries = compile_entries([entry("a.example")])
    terms = profile(rule("gunma/別記-1"), rule("nbnet/21-1", mandatory=True, ede=Ede.CENSORED))
    snapshot = make_snapshot([(definition(0), entries), (definition(1, sealed=True), entries)], [terms])
    texts = [snapshot.text[start : start + size].tobytes().decode() for start, size in snapshot.spans[snapshot.notes[0, :2]]]
    assert texts == ["gunma/別記-1", ""]
    assert snapshot.ede[0, :2].tolist() == [15, 16]


def test_no_clause_no_measure() -> None:
    """A list without a rule in the customer's terms does not reach them, even where its bit is set."""
    snapshot = in_order(compile_entries([entry("a.example")]), terms=profile(None))
    assert ask(snapshot, "a.example").step is Step.CACHE


def test_more_clauses_than_the_tables_can_name_are_refused() -> None:
    profiles = [profile(*(rule(f"clause-{row}-{number}") for number in range(64))) for row in range(5)]
    lists = [(definition(number), compile_entries([])) for number in range(64)]
    with pytest.raises(RefusedError, match=f"{MAX_RULES} can be"):
        build(1, lists, profiles, [], KEY)


def test_a_snapshot_of_nothing_blocks_nothing() -> None:
    snapshot = make_snapshot([], [])
    assert ask(snapshot, "example").step is Step.CACHE
    assert ask(make_snapshot([(definition(0), compile_entries([]))], [profile(rule("one"))]), "a.example").step is Step.CACHE


def test_the_directory_names_lists_clauses_and_profiles_and_no_entry() -> None:
    data = build(
        9,
        [(definition(0, sealed=True), compile_entries([entry("secret.example")]))],
        [profile(rule("nbnet/21-1"), budget="gunma/19-2")],
        [],
        KEY,
    )
    header, arrays = unpack(data, Kind.SNAPSHOT, layout.SNAPSHOT_VERSION)
    directory = json.loads(arrays["directory"].tobytes())
    assert header.number == 9
    assert directory["clauses"] == ["nbnet/21-1", "gunma/19-2"]
    assert directory["lists"] == [{"id": "list-0", "order": 0, "category": "c2", "sealed": True, "entries": 1}]
    assert arrays["check"].tolist() == list(digest_name(layout.CHECK_NAME, KEY))
    assert b"secret" not in bytes(data)


def test_a_compiled_list_is_kept_on_disk_and_read_back() -> None:
    held = compile_entries([entry("a.example", SINKHOLE), entry("b.example", triggers=Trigger.EXACT)])
    found, about = decode(bytes(encode(held, {"version": "7"})))
    assert about == {"version": "7"}
    assert found.actions == held.actions
    for name in ("digests", "triggers", "exact", "below", "depths"):
        np.testing.assert_array_equal(getattr(found, name), getattr(held, name))
    assert [found.find(*digest_name(wire(name), KEY)) is not None for name in ("a.example", "b.example", "c.example")] == [
        True,
        True,
        False,
    ]


def test_a_damaged_compiled_list_is_refused_wherever_the_damage_lies() -> None:
    data = encode(compile_entries([entry("a.example", SINKHOLE)]), {})
    for bit in [*range(128, 512), *range(512, len(data) * 8, 97)]:
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            found, _ = decode(bytes(damaged))
        except TableError:
            continue
        np.testing.assert_array_equal(found.digests, decode(bytes(data))[0].digests)
