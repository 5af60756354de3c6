"""A verdict asked in dry run: the plane's compiled steps on the plane's tables, one by one.

Owns the words of `explain`. The decision is `plane.verdict`'s; no budget is charged, nothing is
counted, and the name is in no sentence.
"""

from __future__ import annotations

import ipaddress
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sekisho.drivers.maps import MappedCustomers, MappedSnapshot
from sekisho.drivers.sharedfiles import BUDGETS, map_table
from sekisho.drivers.tablerows import SHARED
from sekisho.model.customers import V4_MAPPED
from sekisho.model.errors import TableError
from sekisho.model.lists import ActionKind
from sekisho.model.verdicts import STEPS, Step, Verdict
from sekisho.plane import wire
from sekisho.plane.addresses import find_customer
from sekisho.plane.names import PRINT_WORDS
from sekisho.plane.verdict import R_KIND, R_LIST, R_ROW, R_RULE, R_SLOTS, decide
from sekisho.plane.wire import NAME_ROOM
from sekisho.snapshot import layout
from sekisho.snapshot.digest import U64, Key
from sekisho.snapshot.people import fields_of
from sekisho.snapshot.sections import Kind

_WORK = 130
_REFUSED_TYPES = range(wire.TYPE_TSIG - 1, wire.TYPE_MAILA + 1)


@dataclass(frozen=True, slots=True)
class StepResult:
    """One step of the table: what was asked and what came of it."""

    step: Step
    label: str
    question: str
    outcome: str
    decided: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """A verdict with its steps. `customer` is None for strangers and allowed networks."""

    verdict: Verdict
    step: Step
    customer: str | None
    list: str | None
    clause: str | None
    steps: tuple[StepResult, ...]
    action: ActionKind = ActionKind.DEFAULT


def explain(
    folder: Path,
    snapshot: MappedSnapshot,
    customers: MappedCustomers,
    key: Key,
    address: str,
    port: int,
    name: bytes,
    qtype: int,
    *,
    tcp: bool,
) -> Explanation:
    """Ask the compiled verdict about one query. `name` is canonical wire form.

    The port is of no account while no address is shared by port ranges. Raises ValueError for what is no address.
    """
    del port
    if qtype in _REFUSED_TYPES or qtype in (0, wire.TYPE_OPT):
        return _explanation(Verdict.REFUSED, Step.MALFORMED, {Step.MALFORMED: "No: a resolver does not serve this type."})
    ruling = np.zeros(R_SLOTS, np.int64)
    step = Step(_decide(folder, snapshot, customers, key, address, name, ruling, tcp=tcp))
    row, kind = int(ruling[R_ROW]), ActionKind(int(ruling[R_KIND]))
    standing = fields_of(customers.tables.rows, layout.ROW)
    who = customers.name(row) if row > 0 else None
    if who == SHARED:
        return _explanation(
            Verdict.REFUSED, Step.SOURCE, {Step.MALFORMED: "Yes.", Step.SOURCE: "No, customers share it by ports: refused."}
        )
    listed = snapshot.directory.lists.get(int(ruling[R_LIST])) if int(ruling[R_LIST]) >= 0 else None
    rule = int(ruling[R_RULE])
    clause = snapshot.directory.clauses[rule] if rule < len(snapshot.directory.clauses) else None
    mask, flags = (int(standing["mask"][row]), int(standing["flags"][row])) if row >= 0 else (0, 0)
    outcomes = _outcomes(step, row, who, listed, clause, kind, mask)
    if flags & layout.GARDEN and step > Step.GARDEN:
        outcomes[Step.GARDEN] = "Yes, but this name is let out of the walled garden."
    verdict = next(one.verdict for one in STEPS if one.step is step)
    return _explanation(verdict, step, outcomes, who, listed, clause, kind)


def _decide(
    folder: Path, snapshot: MappedSnapshot, customers: MappedCustomers, key: Key, address: str, name: bytes, ruling: object, *, tcp: bool
) -> int:
    number = int(ipaddress.ip_address(address))
    if ":" not in address:
        number |= V4_MAPPED
    lower, labels = np.zeros(NAME_ROOM, np.uint8), np.zeros(_WORK, np.int64)
    lower[: len(name)] = np.frombuffer(name, np.uint8)
    count = position = 0
    while name[position]:
        labels[count] = position
        count += 1
        position += name[position] + 1
    try:
        buckets = map_table(folder / BUDGETS, Kind.BUDGETS, layout.BUDGETS_VERSION).arrays["full"].copy()
    except TableError:
        buckets = np.zeros(1, np.uint64)
    buckets.flags.writeable = True
    high, low = U64(number >> 64), U64(number & (2**64 - 1))
    return int(
        decide(
            snapshot.tables.view,
            customers.tables.view,
            buckets,
            key,
            find_customer(customers.tables.view, high, low),
            high,
            low,
            lower,
            labels,
            count,
            time.monotonic_ns(),
            False,
            tcp,
            np.zeros(_WORK, np.uint64),
            np.zeros(_WORK, np.int64),
            np.zeros((_WORK, PRINT_WORDS), np.uint64),
            ruling,
        )
    )


def _outcomes(
    step: Step, row: int, who: str | None, listed: str | None, clause: str | None, kind: ActionKind, mask: int
) -> dict[Step, str]:
    """What to say of each step up to the one that decided."""
    under = f" under {clause}" if clause else ""
    said = {
        Step.MALFORMED: "Yes.",
        Step.SOURCE: "No: refused." if row < 0 else f"Yes, customer {who}." if who else "Yes, an allowed network: served unfiltered.",
        Step.SILENCED: f"Yes: no answer at all{under}." if step is Step.SILENCED else "No.",
        Step.BUDGET: f"Yes: no answer, or a truncated one{under}." if step is Step.BUDGET else "No.",
        Step.GARDEN: f"Yes{under}: {_GARDENED[kind is ActionKind.REFUSED]}." if step is Step.GARDEN else "No.",
        Step.MANDATORY: "No.",
        Step.ENTITLED: "No." if mask else "No list is in force for this source: nothing is compared.",
        Step.CACHE: "Answered from the cache if it is there.",
        Step.FORWARD: "Otherwise the resolver is asked.",
    }
    if step in (Step.MANDATORY, Step.ENTITLED):
        said[step] = f"Yes, list {listed}{under}: {_ANSWERS.get(kind, kind.name.lower())}."
    elif listed is not None:
        said[Step.ENTITLED] = f"List {listed} holds it and lets it through."
    return said


_GARDENED = (
    "answered with the notice page's address, other types without data",
    "answered REFUSED, since no notice page is set (`walled_garden`)",
)
_ANSWERS = {
    ActionKind.NXDOMAIN: "answered that the name does not exist (NXDOMAIN)",
    ActionKind.NODATA: "answered without data (NODATA)",
    ActionKind.REFUSED: "answered REFUSED",
    ActionKind.DROP: "not answered",
    ActionKind.SINKHOLE: "answered with the operator's address",
    ActionKind.TCP_ONLY: "told to ask again over TCP",
    ActionKind.LOCAL_DATA: "answered with the list's own data",
    ActionKind.CHASE: "sent to the list's own name",
}


def _explanation(
    verdict: Verdict, step: Step, outcomes: dict[Step, str], who: str | None = None, listed: str | None = None,
    clause: str | None = None, kind: ActionKind = ActionKind.DEFAULT,
) -> Explanation:  # fmt: skip
    last = Step.FORWARD if step is Step.CACHE else step
    steps = tuple(
        StepResult(one.step, one.label, one.question, outcomes.get(one.step, ""), one.step is step) for one in STEPS if one.step <= last
    )
    return Explanation(verdict, step, who, listed, clause, steps, kind)
