"""Lines and segments by row: whose line it is, what it carries, under which rules, and on which segments."""

from __future__ import annotations

import numpy as np

from sekisho.app.control_segments import index_after, index_of
from sekisho.config.bandwidth import Segment
from sekisho.model.customers import Prefix
from sekisho.model.measures import Detector
from unit.control.sites import ACTOR, run

CUSTOMERS = [
    {"id": "c-1", "terms": "nbnet", "prefixes": ["192.0.2.1"], "plan": {"down_mbps": 1000, "up_mbps": 100}, "group": "hq"},
    {"id": "c-2", "terms": "nbnet", "prefixes": ["192.0.2.2", "2001:db8:2::/48"], "plan": {"down_mbps": 100, "up_mbps": 100}},
    {"id": "c-3", "terms": "gunma", "prefixes": ["198.51.100.3"]},
]
LATE = {"id": "c-4", "terms": "nbnet", "prefixes": ["2001:db8:4::/48"], "plan": {"down_mbps": 1000, "up_mbps": 100}, "group": "hq"}


def segments(**on):
    return tuple(Segment.model_validate({"id": name, "down": "1Gbit/s", "up": "1Gbit/s", **told}) for name, told in on.items())


def test_lines_are_on_segments_by_group_prefix_plan_or_all(folder):
    folder.customers(CUSTOMERS)
    told = segments(
        group={"groups": "hq"},
        four={"prefixes": "192.0.2.0/24"},
        six={"prefixes": ["2001:db8::/32"]},
        plan={"plans": ["1000/100"]},
        all={"everybody": True},
    )

    async def steps(control):
        core = control.core
        await control.add_customer(LATE, replace=False, actor=ACTOR)
        await control.add_customer(CUSTOMERS[1] | {"plan": {"down_mbps": 1000, "up_mbps": 100}}, replace=True, actor=ACTOR)
        await control.remove_customer("c-3", actor=ACTOR)
        index = index_of(core.people, core.tables.rows, told)
        return index, {name: core.tables.row_of(name) for name in ("c-1", "c-2", "c-3", "c-4")}

    index, rows = run(folder, steps)
    on = {name: [told[one].id for one in index.lines.on(row)] for name, row in rows.items()}
    assert on == {
        "c-1": ["group", "four", "plan", "all"],
        "c-2": ["four", "six", "plan", "all"],
        "c-3": [],
        "c-4": ["group", "six", "plan", "all"],
    }
    assert [index.names[row] if row < len(index.names) else "" for row in rows.values()] == ["c-1", "c-2", "", "c-4"]
    assert index.lines.capacity[:, rows["c-2"]].tolist() == [1e9, 1e8], "as it was replaced at run time"
    assert np.all(np.diff(index.lines.members[0]) >= 0)
    detectors = [rule.detector for rule in index.lines.rules[int(index.lines.terms[rows["c-1"]])]]
    assert detectors == [Detector.MAIL_VOLUME, Detector.BANDWIDTH]


def test_a_dynamic_line_is_on_the_segment_its_session_has_an_address_of(folder):
    folder.customers([{"id": "c-1", "terms": "nbnet"}, {"id": "c-2", "terms": "nbnet", "prefixes": ["192.0.2.2"]}])
    told = segments(bas={"prefixes": ["192.0.2.0/24", "198.51.100.0/24"]})

    async def steps(control):
        rows = control.core.tables.rows
        held = {"c-1": (Prefix.parse("198.51.100.7"),), "c-2": (Prefix.parse("192.0.2.2"), Prefix.parse("203.0.113.1"))}
        index = index_of(control.core.people, rows, told, lambda name: held.get(name, ()))
        return [index.lines.on(rows[name]) for name in ("c-1", "c-2")], index_of(control.core.people, rows, told).lines.on(rows["c-1"])

    assert run(folder, steps) == ([[0], [0]], [])


def test_who_moved_is_put_on_segments_as_all_are(folder):
    folder.customers([*CUSTOMERS, *({"id": f"d-{number}", "terms": "nbnet"} for number in range(20))])
    told = segments(group={"groups": "hq"}, one={"prefixes": "203.0.113.0/25"}, other={"prefixes": ["203.0.113.128/25", "192.0.2.0/24"]})

    async def steps(control):
        people, rows = control.core.people, control.core.tables.rows
        held = {f"d-{number}": (Prefix.parse(f"203.0.113.{number}"),) for number in range(20)}
        before = index_of(people, rows, told, lambda name: held.get(name, ()))
        for number in range(0, 20, 3):
            held[f"d-{number}"] = (Prefix.parse(f"203.0.113.{200 + number}"),)
        del held["d-5"]
        held["c-1"] = (Prefix.parse("203.0.113.99"),)
        moved = [f"d-{number}" for number in range(0, 20, 3)] + ["d-5", "c-1", "nobody"]
        after = index_after(before, people, rows, moved, lambda name: held.get(name, ()))
        return before, after, index_of(people, rows, told, lambda name: held.get(name, ()))

    before, after, anew = run(folder, steps)
    assert after.lines.members.tolist() == anew.lines.members.tolist()
    assert after.lines.members.tolist() != before.lines.members.tolist()
    assert after.names is before.names


def test_a_site_without_customers_has_no_lines(folder):
    folder.customers([])

    async def steps(control):
        return index_of(control.core.people, control.core.tables.rows, segments(all={"everybody": True}))

    assert run(folder, steps).lines.rows == 0
