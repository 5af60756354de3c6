"""A list as a zone: a name means in the zone what it means on the list."""

from __future__ import annotations

from collections.abc import Sequence

import dns.name
import dns.node
import dns.rdatatype
import dns.zone
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.lists.compile import compile_feed
from sekisho.lists.idn import to_wire
from sekisho.model.addresses import key_of as key_of_prefix
from sekisho.model.customers import Prefix
from sekisho.model.lists import Action, ActionKind, ListDefinition, ListFormat, Scope, Trigger
from sekisho.rpz.listzone import ListContent, difference, list_content
from sekisho.rpz.text import master_lines
from sekisho.snapshot.build import Exemption
from sekisho.snapshot.digest import digest_name, key_of

KEY = key_of(bytes(range(16)))
ORIGIN = b"\x03rpz\x04test\0"
NAMES = [f"{prefix}{name}.test" for name in ("x", "y") for prefix in ("", "a.", "b.", "a.a.", "b.a.", "c.b.a.", "d.c.b.a.")]


def content(records: str, exceptions: tuple[Exemption, ...] = (), names: Sequence[str | bytes] = ()) -> ListContent:
    definition = ListDefinition(id="one", order=0, category="c2", source="one", format=ListFormat.RPZ, zone="list.test")
    text = f"$ORIGIN list.test.\n$TTL 60\n@ SOA a. b. 1 1 1 1 1\n{records}"
    compiled = compile_feed(definition, text.encode(), KEY, file="one").compiled
    return list_content(
        compiled,
        Action(ActionKind.NXDOMAIN),
        KEY,
        ORIGIN,
        60,
        exceptions,
        [name if isinstance(name, bytes) else to_wire(name) for name in names],
    )


def lines(one: ListContent) -> list[str]:
    found = [line.strip() for count, octets in one.blocks() for line in master_lines(count, octets)]
    assert len(found) == len(one)
    return sorted(found)


def asked(one: ListContent, name: str) -> str | None:
    """What the zone says of a name by the rules of wildcards (RFC 4592)."""
    text = "@ 60 SOA a. b. 1 1 1 1 1\n@ 60 NS a.\n" + "\n".join(lines(one))
    zone = dns.zone.from_text(text, "rpz.test.", relativize=False, check_origin=False)
    names = set()
    for owner in zone.nodes:
        for depth in range(len(owner.labels)):
            names.add(dns.name.Name(owner.labels[depth:]))
    wanted = dns.name.from_text(name, dns.name.from_text("rpz.test."))
    if wanted in names:
        node = zone.get_node(wanted)
    else:
        encloser = wanted
        while encloser not in names:
            encloser = encloser.parent()
        node = zone.get_node(dns.name.Name((b"*", *encloser.labels)))
    rdataset = node.get_rdataset(1, dns.rdatatype.CNAME) if node is not None else None
    return None if rdataset is None else rdataset[0].target.to_text()


ACTIONS = {"CNAME .": ".", "CNAME *.": "*.", "CNAME rpz-drop.": "rpz-drop."}


def meant(entries: dict[str, str], name: str) -> str | None:
    """What the list says of a name: the most specific trigger that reaches it."""
    labels = name.split(".")
    for depth in range(len(labels)):
        suffix = ".".join(labels[depth:])
        found = entries.get(suffix if not depth else f"*.{suffix}")
        if found is not None:
            return ACTIONS[found]
    return None


ENTRIES = st.dictionaries(st.sampled_from([*NAMES, *(f"*.{name}" for name in NAMES)]), st.sampled_from(sorted(ACTIONS)), max_size=8)


@settings(max_examples=20, deadline=None)
@given(ENTRIES)
def test_every_name_means_in_the_zone_what_it_means_on_the_list(entries: dict[str, str]) -> None:
    one = content("".join(f"{name} {action}\n" for name, action in entries.items()))
    for name in [*NAMES, *(f"z.{name}" for name in NAMES)]:
        assert asked(one, name) == meant(entries, name), name


@settings(max_examples=20, deadline=None)
@given(ENTRIES, ENTRIES)
def test_a_difference_makes_one_version_of_the_other(first: dict[str, str], second: dict[str, str]) -> None:
    before, after = (content("".join(f"{name} {action}\n" for name, action in entries.items())) for entries in (first, second))
    change = difference(before, after)
    assert change is not None
    removed, added = ([line.strip() for record in some for line in master_lines(1, record)] for some in (change.removed, change.added))
    had = set(lines(before))
    assert set(removed) <= had
    assert not set(added) & had
    assert (had - set(removed)) | set(added) == set(lines(after))


def except_(name: str, triggers: int) -> Exemption:
    return Exemption(0, *digest_name(to_wire(name), KEY), name.count(".") + 1, triggers)


def test_an_exception_takes_the_name_out_and_below_a_wildcard_it_is_let_through() -> None:
    one = content("x.test CNAME .\ny.test CNAME .\n*.y.test CNAME .\na.y.test CNAME .\n", (except_("x.test", 1), except_("a.y.test", 1)))
    assert asked(one, "x.test") is None
    assert asked(one, "a.y.test") == "rpz-passthru."
    assert asked(one, "b.a.y.test") == "."
    assert asked(one, "b.y.test") == "."


def test_without_addresses_a_list_and_its_differences_are_all_the_rest() -> None:
    records = "x.test CNAME .\n32.7.2.0.192.rpz-client-ip CNAME .\n"
    addresses = "24.0.113.0.203.rpz-ip CNAME .\n48.zz.bad.db8.2001.rpz-ip CNAME *.\n"
    excepted = key_of_prefix(Prefix.parse("203.0.113.67"))
    before, after = content(records), content(f"{records}y.test CNAME .\n{addresses}", names=[excepted])
    assert (before.addresses, after.addresses) == (0, 2)
    kept = [line.strip() for count, octets in after.blocks(addresses=False) for line in master_lines(count, octets)]
    assert sorted(kept) == [line for line in lines(after) if "rpz-ip" not in line]
    assert sum("rpz-ip" in line for line in lines(after)) == 3
    change = difference(before, after)
    assert change is not None
    assert len(change) == 4
    (added,) = change.without_addresses().added
    assert added.startswith(b"\1y\4test")
    assert "rpz-ip" in "".join(lines(after)), "nothing of it changed"


@pytest.mark.parametrize(("trigger", "word"), [(Trigger.ADDRESS, "rpz-ip"), (Trigger.CLIENT, "rpz-client-ip")])
def test_an_exception_of_a_prefix_takes_it_out_and_within_a_wider_one_it_is_let_through(trigger: Trigger, word: str) -> None:
    other = "rpz-ip" if trigger is Trigger.CLIENT else "rpz-client-ip"
    wide, narrow = f"24.0.2.0.192.{word}", f"32.7.2.0.192.{word}"

    def of(records: str, *excepted: str) -> set[str]:
        keys = [key_of_prefix(Prefix.parse(one), trigger) for one in excepted]
        items = [Exemption(0, *digest_name(key, KEY), key[1], int(Trigger.EXACT | trigger)) for key in keys]
        return set(lines(content(records, tuple(items), keys)))

    blocked, passed = f"{narrow} 60 CNAME .", f"{narrow} 60 CNAME rpz-passthru."
    assert of(f"{narrow} CNAME .\n", "192.0.2.7") == set(), "nothing else holds it"
    assert of(f"{wide} CNAME .\n{narrow} CNAME .\n", "192.0.2.7") == {f"{wide} 60 CNAME .", passed}
    assert of(f"{wide} CNAME .\n", "192.0.2.7") == {f"{wide} 60 CNAME .", passed}
    assert of(f"{wide} CNAME .\n{narrow} CNAME .\n", "192.0.2.0/24") == {blocked}
    assert of(f"{wide} CNAME .\n", "192.0.2.7", "192.0.2.0/24") == set(), "the wider one is excepted too"
    assert of(f"24.0.2.0.192.{other} CNAME .\n", "192.0.2.7") == {f"24.0.2.0.192.{other} 60 CNAME ."}


def test_an_exception_of_a_name_is_let_through_where_the_list_holds_addresses_that_it_may_lead_to() -> None:
    records = "x.test CNAME .\ny.test CNAME .\n*.y.test CNAME .\nd.a.test CNAME .\n"
    exceptions, names = (except_("x.test", 1), except_("a.test", 3), except_("b.y.test", 1)), ("x.test", "a.test", "b.y.test")
    without, holding = content(records, exceptions, names), content(f"{records}32.66.113.0.203.rpz-ip CNAME .\n", exceptions, names)
    wanted = {
        "x.test": "rpz-passthru.", "a.test": "rpz-passthru.", "e.a.test": "rpz-passthru.", "d.a.test": ".", "e.d.a.test": "rpz-passthru.",
        "b.y.test": "rpz-passthru.", "c.b.y.test": ".", "y.test": ".",
    }  # fmt: skip
    assert {name: asked(holding, name) for name in wanted} == wanted
    assert [asked(without, name) for name in ("x.test", "a.test", "e.a.test")] == [None] * 3, "nothing else stops them"


def test_an_exception_that_is_no_entry_is_let_through_below_one() -> None:
    records = "x.test CNAME .\ny.test CNAME .\n*.y.test CNAME .\nc.b.a.y.test CNAME *.\n"
    exceptions = except_("a.y.test", 3), except_("d.y.test", 1), except_("z.x.test", 3)
    unnamed, named = content(records, exceptions), content(records, exceptions, ("a.y.test", "d.y.test", "z.x.test", "x.test"))
    assert asked(unnamed, "d.y.test") == ".", "its digest alone makes no record"
    wanted = {
        "a.y.test": "rpz-passthru.", "e.a.y.test": "rpz-passthru.", "b.a.y.test": None, "c.b.a.y.test": "*.", "y.test": ".", "e.y.test": ".",
        "d.y.test": "rpz-passthru.", "e.d.y.test": ".", "x.test": ".", "z.x.test": None,
    }  # fmt: skip
    assert {name: asked(named, name) for name in wanted} == wanted
    change = difference(content(records), named)
    assert change is not None
    assert set(lines(content(records))) - set(lines(named)) == {line.strip() for one in change.removed for line in master_lines(1, one)}


def test_a_name_too_long_for_the_zone_is_left_out_and_counted() -> None:
    long = ".".join(["x" * 60] * 3 + ["y" * 50])
    one = content(f"{long}.test CNAME .\nshort.test CNAME .\n")
    assert one.left_out == 0
    definition = ListDefinition(id="one", order=0, category="c2", source="one", format=ListFormat.DOMAINS, scope=Scope.SUBTREE)
    compiled = compile_feed(definition, f"{long}.test\nshort.test\n".encode(), KEY, file="one").compiled
    assert list_content(compiled, Action(ActionKind.NXDOMAIN), KEY, to_wire("list-one.rpz.example.test"), 60).left_out == 2


def test_a_list_that_is_another_one_is_told_whole() -> None:
    definition = ListDefinition(id="one", order=0, category="c2", source="one", format=ListFormat.DOMAINS, scope=Scope.SUBTREE)

    def of(start: int) -> ListContent:
        text = "".join(f"h{number}.example\n" for number in range(start, start + 2000))
        return list_content(compile_feed(definition, text.encode(), KEY, file="one").compiled, Action(ActionKind.NXDOMAIN), KEY, ORIGIN, 60)

    assert difference(of(0), of(5000)) is None
    change = difference(of(0), of(20))
    assert change is not None
    assert (len(change.removed), len(change.added)) == (40, 40)


@pytest.mark.parametrize("trigger", [Trigger.EXACT, Trigger.BELOW])
def test_an_empty_list_is_an_empty_zone(trigger: Trigger) -> None:
    assert lines(content("")) == []
