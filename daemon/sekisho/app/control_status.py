"""How the daemon does: the answer to `status`, and the observation the exporters tell.

Both are made of the same parts at the time they are asked for. Counts, ages and ids of lists and
clauses only: no customer, no address and no name.
"""

from __future__ import annotations

import collections
import os
import time
from typing import Any

import sekisho
from sekisho.app import control_line_bodies, control_machine, control_policyshow, plane_sockets
from sekisho.app import control_session_questions as session_questions
from sekisho.app.control_core import Core
from sekisho.app.control_nas_show import observations
from sekisho.app.control_observed import of_record
from sekisho.app.control_policyshow import observed
from sekisho.model.clauses import BlockRule, BudgetRule
from sekisho.model.counters import Counter
from sekisho.model.errors import TableError
from sekisho.model.lists import ListDefinition
from sekisho.model.observation import ListObservation, Observation

Json = dict[str, Any]

_QUERIES = (Counter.QUERIES_UDP4, Counter.QUERIES_UDP6, Counter.QUERIES_TCP4, Counter.QUERIES_TCP6)


class Plane:
    """What the plane has counted, or that it never ran. Read anew at each `Plane(core)`."""

    def __init__(self, core: Core) -> None:
        self.totals: dict[Counter, int] = {}
        self.per_list: dict[str, int] = {}
        self.per_clause: dict[str, int] = {}
        self.latency: tuple[int, ...] = Observation(at=0.0, version="").latency
        self.workers_alive = 0
        self.epoch = 0
        self.restarts = 0
        self.refused_epoch = 0
        self.refused_generation = 0
        try:
            seen = core.reader.observe()
        except TableError:
            return
        self.totals = dict(seen.totals)
        self.per_list = dict(seen.per_list)
        self.per_clause = dict(seen.per_rule)
        self.latency = tuple(seen.latency)
        self.workers_alive, self.epoch, self.restarts = seen.workers_alive, seen.epoch, seen.restarts
        self.refused_epoch, self.refused_generation = seen.refused_epoch, seen.refused_generation

    def matches(self, definition: ListDefinition) -> int:
        return self.per_list.get(definition.id, 0)


def status(core: Core) -> Json:
    """The answer to `sekisho status`."""
    now = core.clock()
    plane = Plane(core)
    opted_out, _ = core.people.opted_out(now)
    unconsented, _ = core.people.unconsented()
    return {
        "daemon": {
            "version": sekisho.__version__,
            "pid": os.getpid(),
            "started": core.started,
            "uptime": core.steps.uptime(time.monotonic()),
            "config": str(core.config),
            "loaded": core.reload.loaded,
            "epoch": core.tables.published.epoch,
            "built": core.tables.published.built_at,
            "build_seconds": core.tables.published.seconds,
            "reload": {
                "at": core.reload.at,
                "failed": bool(core.reload.faults),
                "faults": [{"file": f.file, "line": f.line, "path": f.path, "message": f.message} for f in core.reload.faults],
            },
        },
        "plane": {
            "running": plane.workers_alive > 0,
            "workers_alive": plane.workers_alive,
            "workers": workers(core),
            "worker_restarts": plane.restarts,
            "epoch": plane.epoch,
            "refused_epoch": plane.refused_epoch,
            "refused_generation": plane.refused_generation,
            "queries": sum(plane.totals.get(counter, 0) for counter in _QUERIES),
        },
        "customers": {"known": len(core.people), "opted_out": opted_out, "unconsented": unconsented},
        "sessions": session_questions.standing(core.sessions),
        "ledger": {"acts": core.state.number, "verified_from": core.ledger.verified_from},
        "matches": {"lost": core.recorder.lost},
        "sinks": core.sinks.bodies(),
        "lists": lists(core, plane, now),
        "measures": measures(core),
        "dnstap": core.taps.body(),
        "warnings": [
            *warnings(core),
            *control_machine.warnings(core),
            *_plane_warnings(core, plane),
            *_measure_warnings(core),
            *core.nas.warnings(),
            *control_line_bodies.warnings(core),
            *core.taps.warnings(),
            *control_policyshow.warnings(core),
        ],
    }


def measures(core: Core) -> Json:
    """Open measures by state, and what concerns all of them."""
    book = core.measures.book
    states = collections.Counter(one.state.value for one in book.open())
    return {
        "mode": core.site.settings.measures.mode.value,
        "open": dict(sorted(states.items())),
        "enforced": len(core.measures.enforced()),
        "held": book.hold is not None,
        "emergency": core.measures.view(core.clock()).emergency_counts,
    }


def _measure_warnings(core: Core) -> list[str]:
    hold, view = core.measures.book.hold, core.measures.view(core.clock())
    found = []
    if hold is not None:
        found.append(f"enforcement is held by {hold.by} ({hold.reason}): no measure is enforced; `sekisho resume` ends that")
    if view.emergency_counts:
        found.append("an emergency is declared: customers without priority are limited; `sekisho emergency show` says until when")
    return found


def _plane_warnings(core: Core, plane: Plane) -> list[str]:
    said = plane_sockets.told(core.site.settings.runtime / "plane") if plane.workers_alive else []
    found = []
    if plane.refused_epoch:
        found.append(f"snapshot {plane.refused_epoch}")
    if plane.refused_generation:
        found.append(f"the customers' tables {plane.refused_generation}")
    if found:
        refused = " and ".join(found)
        said.append(f"the plane refused {refused} and answers by the last good; its log says why, `sekisho reload` makes new ones")
    return said


def lists(core: Core, plane: Plane, now: float, only: ListDefinition | None = None) -> list[Json]:
    """The lists, in order, as `status` and `lists show` tell them."""
    _, opted_out = core.people.opted_out(now)
    _, unconsented = core.people.unconsented()
    bodies = []
    for definition in core.people.lists if only is None else (only,):
        exceptions = core.state.exceptions.get(definition.id, {})
        body = {
            "id": definition.id,
            "order": definition.order,
            "category": definition.category,
            "format": definition.format.value,
            "sealed": definition.sealed,
            **core.lists.body(definition, now),
            "matches": plane.matches(definition),
            "opted_out": opted_out[definition.order],
            "unconsented": unconsented[definition.order],
            "excepted": len(exceptions),
            "clauses": clauses_of(core, definition),
        }
        if only is not None:
            body["exceptions"] = [
                {"entry": act.digest, "name": act.name, "subtree": bool(act.triggers & 2), "reason": act.reason}
                for act in exceptions.values()
            ]
        bodies.append(body)
    return bodies


def observe(core: Core) -> Observation:
    """The daemon as the exporters tell it."""
    now = core.clock()
    plane = Plane(core)
    opted_out, opted_per_list = core.people.opted_out(now)
    unconsented, unconsented_per_list = core.people.unconsented()
    published = core.tables.published
    return Observation(
        at=now,
        version=sekisho.__version__,
        lists=tuple(
            ListObservation(
                id=definition.id,
                matches=plane.matches(definition),
                opted_out=opted_per_list[definition.order],
                unconsented=unconsented_per_list[definition.order],
                excepted=len(core.state.exceptions.get(definition.id, {})),
                **core.lists.observation(definition, now),
            )
            for definition in core.people.lists
        ),
        clauses={clause: plane.per_clause.get(clause, 0) for clause in measure_clauses(core)},
        totals=plane.totals,
        latency=plane.latency,
        customers=len(core.people),
        opted_out=opted_out,
        unconsented=unconsented,
        epoch=published.epoch,
        built_at=published.built_at,
        build_seconds=published.seconds,
        plane_epoch=plane.epoch,
        plane_refuses=bool(plane.refused_epoch or plane.refused_generation),
        workers=workers(core),
        workers_alive=plane.workers_alive,
        worker_restarts=plane.restarts,
        hits_lost=core.recorder.lost,
        queries_lost=core.drops.look(core.site.settings.listen),
        acts=core.state.number,
        append_latency=tuple(core.ledger.latencies.counts),
        append_seconds=core.ledger.latencies.total,
        sinks=core.sinks.observations(),
        flows=core.flows.observation(),
        usage_batches={source.value: count for source, count in core.traffic.batches.items()},
        usage_last={source.value: at for source, at in core.traffic.last.items()},
        segments=core.bandwidth.observations(),
        lines=control_line_bodies.observation(core),
        radius_packets=dict(core.sessions.radius.counts),
        sessions=len(core.sessions.table),
        sessions_unknown=core.sessions.table.unknown,
        sessions_replaced=core.sessions.table.replaced,
        sessions_doubted=core.sessions.table.doubted,
        sessions_waiting=core.sessions.history.waiting,
        sessions_unfolded=core.sessions.history.unfolded,
        sessions_failing=core.sessions.history.failing is not None,
        policy_zones=observed(core),
        dnstap=core.taps.observation(),
        **of_record(core, now),
        **observations(core.nas),
    )


def measure_clauses(core: Core) -> list[str]:
    """Every clause of the packs that authorises a measure the plane counts."""
    rules = (rule for pack in core.site.packs.values() for rule in pack.rules)
    found = {rule.clause: None for rule in rules if isinstance(rule, BlockRule | BudgetRule)}
    return list(found)


def clauses_of(core: Core, definition: ListDefinition) -> list[str]:
    """Clauses under which a list may reach some customer."""
    found = dict.fromkeys(rule.clause for profile in core.people.profiles if (rule := profile.block[definition.order]) is not None)
    return list(found)


def workers(core: Core) -> int:
    """Workers the configuration asks for; 0 stands for one a core."""
    return core.site.settings.workers or len(os.sched_getaffinity(0))


def warnings(core: Core) -> list[str]:
    """What needs someone and is no fault of a single list."""
    found = [str(fault) for fault in core.site.warnings]
    found += core.people.warnings
    found += core.lists.warnings
    found += session_questions.faults(core.sessions)
    found += session_questions.refused(core.sessions, core.clock())
    found += core.flows.warnings()
    if core.zones.fault:
        found.append(core.zones.fault)
    gardened = core.tables.enforcements.gardened() if core.site.settings.walled_garden is None else 0
    if gardened:
        found.append(
            f"{gardened} suspended customers are answered REFUSED, with the clause: set `walled_garden: {{a: [...]}}` to lead them "
            "to the page that says why, and reload"
        )
    return found
