"""What is wanted of lines, what is in the kernel, and the difference: the answer to `lines show`.

The kernel is read anew for it. What is only observed - by `lines: mode`, by `measures:`, or held - is wanted here all the same,
and marked: that is what would be done.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from sekisho.app.control_core import Core
from sekisho.app.control_linekernel import ENFORCERS, HTB, NFTABLES
from sekisho.app.control_lineroles import roles_of
from sekisho.config.lines import LineMode, LineSettings
from sekisho.enforce.difference import Change, difference
from sekisho.enforce.state import COUNTING, DRAIN, Role, State, class_word, prefix_of
from sekisho.enforce.wanted import Line, Where, contested, state_of
from sekisho.model.errors import RefusedError, UnavailableError
from sekisho.model.measures import NONE, Enforcement, MeasureState
from sekisho.model.observation import LineObservation
from sekisho.model.words import counted

Json = dict[str, Any]


async def show(core: Core, customer: str | None, limit: int) -> Json:
    """Every line something is wanted or found of, or one customer's. Raises RefusedError where lines are nobody's business."""
    settings = core.site.settings.lines
    if settings is None:
        raise RefusedError("this daemon limits no lines; write `lines:` into sekisho.yaml and reload")
    wanted = _wanted(core, customer)
    try:
        sight = await core.lines.sight()
        found = sight.state if sight is not None else State()
    except UnavailableError:
        # Why stands beside each enforcer.
        found = State()
    where = _where(core, settings)
    lines = {one: core.lines.wants.as_if(one, what) for one, what in wanted.items()}
    shared = contested(lines.values())
    body: Json = {
        "mode": settings.mode.value,
        "enforcers": enforcers(core),
        "problems": core.lines.problems,
        "found": {role.value: found.role(role) for role in Role},
        "repairs": dict(core.lines.repairs),
        "customers": [],
    }
    claimed = state_of(lines.values(), where, shared)
    for identity, line in islice(lines.items(), limit):
        body["customers"].append(_row(core, identity, line, state_of([line], where, shared), found))
    body["more"] = max(0, len(lines) - limit)
    body["unwanted"] = list(islice(_ghosts(found, claimed), limit)) if customer is None else []
    return body


def _ghosts(found: State, claimed: State) -> Iterator[Json]:
    """What is found and limits somebody for nobody's sake; a class that is made fast already only lets out what waits in it."""
    for table, keys in found.entries.items():
        if table.role not in COUNTING:
            there = claimed.entries.get(table, {})
            yield from ({"what": table.role.value, "prefix": str(prefix_of(table, key))} for key in keys if key not in there)
    for one, rate in found.classes.items():
        if one not in claimed.classes and rate != DRAIN:
            yield {"what": "class", "prefix": None, "device": one.device, "class": class_word(one.number)}


def enforcers(core: Core) -> list[Json]:
    """Each, whether the configuration wants it, and why it cannot be used."""
    settings, kernel = core.site.settings.lines, core.lines.kernel
    if settings is None:
        return []
    roles = roles_of(settings)
    used = {NFTABLES: bool(roles), HTB: bool(roles & {Role.DOWN, Role.UP})}
    reasons = kernel.reasons if kernel is not None else {}
    return [{"enforcer": name, "on": used[name], "reason": reasons.get(name)} for name in ENFORCERS]


def observation(core: Core) -> LineObservation | None:
    """As the exporters tell it; None: no `lines:`."""
    if core.site.settings.lines is None:
        return None
    known = core.lines.known
    return LineObservation(
        enforcers={one["enforcer"]: one["reason"] is None for one in enforcers(core) if one["on"]},
        entries={role.value: known.state.role(role) for role in Role},
        slowed=len({one.number for one in known.classes}),
        repairs=dict(core.lines.repairs),
        dropped=core.lines.counts.dropped,
    )


def warnings(core: Core) -> list[str]:
    """What needs someone."""
    settings = core.site.settings.lines
    if settings is None:
        return []
    found = [f"lines: {problem}" for problem in core.lines.problems]
    if settings.mode is LineMode.OBSERVE:
        wanting = sum(_on_lines(what) for what in core.tables.enforced().values())
        if wanting:
            found.append(f"lines are observed only, and {wanting} would be limited; `lines: {{mode: enforce}}` does it")
    apart, window = core.lines.counts.apart, core.site.settings.detection.window
    if settings.queries and apart > window:
        found.append(
            f"queries of customers are read from the kernel every {apart:.0f} s, and a window of `detection` is {window:g} s: "
            "floods are found late or not at all, and measures end late; make `detection: {window: ...}` longer than that"
        )
    if core.lines.wants.unnumbered:
        found.append(
            f"{counted(core.lines.wants.unnumbered, 'line', 'lines')} cannot be slowed: the kernel has no more classes on one interface"
        )
    return found


def _wanted(core: Core, customer: str | None) -> dict[str, Enforcement]:
    """Customers of whom something is wanted of their lines, or would be."""
    view = core.measures.view(core.clock())
    if customer is not None:
        return {customer: view.observed(core.people.get(customer))}
    found: dict[str, Enforcement] = {}
    for identity in dict.fromkeys([*core.tables.enforced(), *view.book.customers()]):
        known = core.people.find(identity)
        if known is not None and _on_lines(what := view.observed(known)):
            found[identity] = what
    return found


def _where(core: Core, settings: LineSettings) -> Where:
    """As far as it is known to be possible; else as it is configured."""
    where = core.lines.where()
    return where if where.down or not settings.shaping else Where(settings.customers, where.up or "sekisho-up", roles_of(settings))


def _on_lines(what: Enforcement) -> bool:
    return what.silenced or what.rate is not None or what.mail is not None


def _row(core: Core, identity: str, line: Line, state: State, found: State) -> Json:
    in_force = core.tables.enforced().get(identity, NONE)
    settings = core.site.settings.lines
    done = in_force if settings is not None and settings.mode is LineMode.ENFORCE else NONE
    open_ = (one for one in core.measures.book.of(identity) if one.state in {MeasureState.IN_FORCE, MeasureState.ENDING})
    part = State(
        {table: _both(keys, found.entries.get(table, {})) for table, keys in state.entries.items()},
        {one: many for one, many in found.limits.items() if one in state.limits},
        {one: rate for one, rate in found.classes.items() if one in state.classes},
    )
    return {
        "customer": identity,
        "clauses": list(line.what.by) or sorted({one.clause for one in open_}),
        "prefixes": [str(one) for one in line.prefixes],
        "wanted": _words(line.what),
        "observed": (done.silenced, done.rate, done.mail) != (line.what.silenced, line.what.rate, line.what.mail),
        "found": _found(part),
        "difference": _missing(difference(part, state)),
    }


def _both(keys: Iterable[bytes], there: Mapping[bytes, str]) -> dict[bytes, str]:
    return {key: there[key] for key in keys if key in there}


def _words(what: Enforcement) -> Json:
    rate = {"down": what.rate[0], "up": what.rate[1]} if what.rate is not None else None
    return {"silenced": what.silenced, "rate": rate, "mail": what.mail}


def _found(part: State) -> Mapping[str, int]:
    return {role.value: many for role in Role if (many := part.role(role))}


def _missing(change: Change) -> list[str]:
    """What is not as it is wanted, one step each."""
    return [*_entries(change), *(f"{one.device} class {one.number:x}" for one in change.put_classes)]


def _entries(change: Change) -> Iterator[str]:
    for table, keys in change.entries().items():
        for key in sorted(keys):
            yield f"{table.role} {prefix_of(table, key)}"
