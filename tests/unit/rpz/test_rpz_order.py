"""The order of zones, and the one a customer stands in."""

from __future__ import annotations

from sekisho.drivers.site import load_pack
from sekisho.model.lists import ListDefinition, ListFormat, Scope
from sekisho.rpz.order import GARDEN, SILENCED, plan, standing
from sekisho.terms.entitlement import profile_of

LISTS = [
    ListDefinition(id=name, order=order, category=category, source="x", format=ListFormat.DOMAINS, scope=Scope.EXACT)
    for order, (name, category) in enumerate([("c2", "c2"), ("abuse", "child-abuse"), ("c2-more", "c2"), ("other", "opinions")])
]
PACKS = {name: load_pack(name) for name in ("gunma", "nbnet")}
EVERYBODY = [profile_of(PACKS, (name,), LISTS) for name in PACKS]
PUBLISHED = [one.id for one in LISTS]
GUNMA = profile_of(PACKS, ("gunma",), LISTS)
MADE = plan(LISTS, EVERYBODY, PUBLISHED, {"gunma": GUNMA}, garden=True)
CLASS = MADE.classes[-1]


def test_silence_is_first_then_what_nobody_opts_out_of_then_the_rest() -> None:
    assert MADE.zones(CLASS) == (
        SILENCED,
        GARDEN,
        "pass-abuse",
        "list-abuse",
        "pass-c2",
        "list-c2",
        "pass-c2-more",
        "list-c2-more",
    )


def test_a_list_no_clause_speaks_of_is_no_zone_and_neither_is_one_that_is_withheld() -> None:
    assert "list-other" not in MADE.list_zones()
    without = plan(LISTS, EVERYBODY, ["c2"], {}, garden=False)
    assert without.zones(without.classes[-1]) == (SILENCED, "pass-c2", "list-c2")


def test_a_customer_is_let_through_before_the_first_list_that_does_not_reach_them() -> None:
    def of(mask: int, **more: bool) -> tuple[str | None, tuple[str, ...]]:
        one = standing(CLASS, mask, **{"silenced": False, "garden": False} | more)
        return one.zone, one.missed

    assert of(0b111) == (None, ())
    assert of(0b010) == ("pass-c2", ())
    assert of(0b110) == ("pass-c2", ("c2-more",)), "and what comes later is counted as missed"
    assert of(0b011) == ("pass-c2-more", ())
    assert of(0b101) == ("pass-abuse", ("c2", "c2-more"))
    assert of(0b111, silenced=True) == (SILENCED, ())
    assert of(0b000, garden=True) == (GARDEN, ())


def test_a_class_has_an_order_of_its_own_and_shares_the_lists() -> None:
    one = MADE.class_of(("gunma",))
    assert one.id == "gunma"
    assert MADE.zones(one) == (SILENCED, GARDEN, "pass-c2.gunma", "list-c2", "pass-c2-more.gunma", "list-c2-more")
    assert MADE.class_of(("gunma", "nbnet")) is CLASS
    assert standing(one, 0b101, silenced=False, garden=False).missed == ()
