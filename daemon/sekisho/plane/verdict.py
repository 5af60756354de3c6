"""The verdict: one function per step of the table in `model.verdicts`, asked in its order.

Every transport asks `decide`: the compiled UDP loop, TCP, `explain`, and other processes that map
the tables. Owns nothing but the decision; what is answered is `answer`'s.

A verdict is written to `ruling` (int64, `R_` slots). Steps 6 and 7 look the name up once: the
mask asked for is what the customer is entitled to, so for a customer who opted out no match is
computed (gunma/別記-3).
"""

from __future__ import annotations

import numpy as np

from sekisho.model.lists import ActionKind
from sekisho.model.verdicts import Step
from sekisho.plane.budgets import spend
from sekisho.plane.names import choose, excepted, match
from sekisho.plane.native import u8s, u16s, u32s, u64s
from sekisho.plane.prefixes import match_prefix
from sekisho.snapshot.compiling import compiled, inlined
from sekisho.snapshot.digest import U64
from sekisho.snapshot.layout import (
    ACTIVE,
    GARDEN,
    NO_RULE,
    ROW_BUDGET,
    ROW_MASK,
    ROW_STANDING,
    ROW_WORDS,
    SILENCED,
    WATCH_CHAINS,
    WATCH_CLIENTS,
    WATCH_LISTS,
)

R_STEP = 0
R_ROW = 1
"""Row of the customer, or -1."""
R_LIST = 2
"""Order of the list that decided, or -1."""
R_RULE = 3
R_ACTION = 4
"""Row of the snapshot's actions."""
R_KIND = 5
"""`ActionKind` of that action."""
R_MATCH = 6
"""Row of `prints` with the digest of the entry."""
R_PROFILE = 7
R_SPARED = 8
"""Lists, by bit, that do not look into the answer, since an operator excepted the name from them."""
R_RANK = 9
"""Only lists asked before this one look into the answer: it lets the name, or the client, through. UNRANKED: none does."""
R_HELD = 10
"""Lists, by bit, that hold something in the answer last judged, for whoever; -1: it was not looked through, so any may."""
R_SLOTS = 16

UNRANKED = 128
"""Behind every list: the ranks of mandatory lists are their orders, those of the others their orders and 64."""
SAVED_PRINT = 129
"""The last row of `prints`: the digest of what decided, where `names.match` was asked again since."""

_MALFORMED, _SOURCE, _SILENCED = int(Step.MALFORMED), int(Step.SOURCE), int(Step.SILENCED)
_BUDGET, _GARDEN = int(Step.BUDGET), int(Step.GARDEN)
_MANDATORY, _ENTITLED, _CACHE = int(Step.MANDATORY), int(Step.ENTITLED), int(Step.CACHE)
_DEFAULT, _PASSTHRU, _TCP_ONLY = int(ActionKind.DEFAULT), int(ActionKind.PASSTHRU), int(ActionKind.TCP_ONLY)
_ZERO, _R16, _R32, _R48, _LOW16, _LOW32 = U64(0), U64(16), U64(32), U64(48), U64(0xFFFF), U64(0xFFFFFFFF)


@inlined
def mask_of(customers, row):  # type: ignore[no-untyped-def]
    """Lists in force for the customer in `row`."""
    return u64s(customers.rows)[ROW_WORDS * row + ROW_MASK]


@inlined
def flags_of(customers, row):  # type: ignore[no-untyped-def]
    """Flags of the customer in `row`: `ACTIVE` and the others of `snapshot.layout`, in the low 16 bits."""
    return np.int64(u64s(customers.rows)[ROW_WORDS * row + ROW_STANDING] >> _R32)


@inlined
def profile_of(customers, row):  # type: ignore[no-untyped-def]
    """Row of the profile tables for the customer in `row`."""
    return np.int64(u64s(customers.rows)[ROW_WORDS * row + ROW_STANDING] & _LOW16)


@compiled
def decide(snapshot, customers, buckets, key, row, high, low, lower, labels, count, now, charge, stream, masks, combos, prints, ruling):  # type: ignore[no-untyped-def]
    """Reach the verdict on one well-formed query and write it to `ruling`; returns the step.

    `snapshot` and `customers` are views; `row`: the customer of the source `high`, `low`, as `find_customer` gives it;
    `lower`, `labels`, `count`: the name; `now`:
    monotonic ns; `charge`: take the query from the budget; `stream`: it came over TCP; `masks`,
    `combos`, `prints`: work space of `names.match`. CACHE means: let through.
    """
    ruling[R_LIST] = -1
    ruling[R_RULE] = NO_RULE
    ruling[R_ACTION] = 0
    ruling[R_KIND] = _DEFAULT
    ruling[R_SPARED] = 0
    ruling[R_RANK] = UNRANKED
    if not is_served(customers, row):
        row = -1
    ruling[R_ROW] = row
    if row < 0:
        step = _SOURCE
    elif is_silenced(customers, row):
        step = _SILENCED
        ruling[R_RULE] = measure_of(customers, row)
    elif not is_within_budget(customers, buckets, row, now, charge):
        step = _BUDGET
        ruling[R_RULE] = limiter_of(snapshot, customers, row)
    elif is_gardened(customers, row) and not is_let_out(snapshot, lower, labels, count):
        step = _GARDEN
        lead_to_garden(snapshot, customers, row, ruling)
    else:
        step = ask_lists(snapshot, customers, key, row, high, low, lower, labels, count, stream, masks, combos, prints, ruling)
    ruling[R_STEP] = step
    return step


@inlined
def is_served(customers, row):  # type: ignore[no-untyped-def]
    """Step 2: whether the source is a customer's or an allowed network's (never an open resolver, RFC 5358)."""
    return row >= 0 and (flags_of(customers, row) & ACTIVE) != 0


@inlined
def is_silenced(customers, row):  # type: ignore[no-untyped-def]
    """Step 3: whether a measure leaves the customer unanswered (nbnet/22-2-5)."""
    return (flags_of(customers, row) & SILENCED) != 0


@inlined
def is_within_budget(customers, buckets, row, now, charge):  # type: ignore[no-untyped-def]
    """Step 4: the hard budget (gunma/19-2, nbnet/22-2-5)."""
    budget = u64s(customers.rows)[ROW_WORDS * row + ROW_BUDGET]
    rate = np.int64(budget & _LOW32)
    if rate == 0 or row >= buckets.shape[0]:
        return True
    return spend(buckets, row, rate, np.int64(budget >> _R32), now, charge)


@inlined
def is_gardened(customers, row):  # type: ignore[no-untyped-def]
    """Step 5: whether a measure answers the customer with the notice page (a full suspension), but for the names let out."""
    return (flags_of(customers, row) & GARDEN) != 0


@compiled
def is_let_out(snapshot, lower, labels, count):  # type: ignore[no-untyped-def]
    """Whether the name, or one above it, resolves in the walled garden too: the notice page's own, the panel's."""
    passes, rdata = u32s(snapshot.passes), u8s(snapshot.rdata)
    for row in range(passes.shape[0] // 3):
        depth, start, size = np.int64(passes[3 * row]), np.int64(passes[3 * row + 1]), np.int64(passes[3 * row + 2])
        if depth > count or depth == 0:
            continue
        first = labels[count - depth]
        same = True
        for index in range(size):
            if lower[first + index] != rdata[start + index]:
                same = False
                break
        if same:
            return True
    return False


@compiled
def lead_to_garden(snapshot, customers, row, ruling):  # type: ignore[no-untyped-def]
    """Write the walled garden's action and the clause of the measure to `ruling`."""
    action = np.int64(u32s(snapshot.garden)[0])
    ruling[R_RULE] = measure_of(customers, row)
    ruling[R_ACTION] = action
    ruling[R_KIND] = np.int64(u32s(snapshot.actions)[4 * action])


@inlined
def measure_of(customers, row):  # type: ignore[no-untyped-def]
    """Rule of the measure that silences the customer or answers with the notice page, or NO_RULE."""
    return np.int64(((u64s(customers.rows)[ROW_WORDS * row + ROW_STANDING] >> _R16) - U64(1)) & _LOW16)


@compiled
def limiter_of(snapshot, customers, row):  # type: ignore[no-untyped-def]
    """Rule of the customer's budget: of the measure whose it is, else of the contract; NO_RULE where neither is known."""
    limiter = np.int64(u64s(customers.rows)[ROW_WORDS * row + ROW_STANDING] >> _R48)
    if limiter > 0:
        return limiter - 1
    profile, budgets = profile_of(customers, row), u16s(snapshot.budgets)
    return np.int64(budgets[profile]) if profile < budgets.shape[0] else NO_RULE


@inlined
def ask_lists(snapshot, customers, key, row, high, low, lower, labels, count, stream, masks, combos, prints, ruling):  # type: ignore[no-untyped-def]
    """Steps 6 and 7: mandatory lists first, then those the customer is entitled to."""
    profile = profile_of(customers, row)
    ruling[R_PROFILE] = profile
    mask = mask_of(customers, row)
    mandatory_of, watched = u64s(snapshot.mandatory), u64s(snapshot.watched)
    if mask == _ZERO or profile >= mandatory_of.shape[0]:
        return _CACHE
    if watched[WATCH_CLIENTS + WATCH_LISTS] & mask != _ZERO:
        return ask_with_clients(snapshot, key, profile, mask, high, low, lower, labels, count, stream, masks, combos, prints, ruling)
    found = match(snapshot, key[0], key[1], lower, labels, count, mask, masks, combos, prints)
    if found == 0:
        return _CACHE
    if watched[WATCH_LISTS] | watched[WATCH_CHAINS] != _ZERO:
        # Nobody else asks for it.
        ruling[R_SPARED] = np.int64(excepted(snapshot, masks, combos, found))
    rank, order, where, action = first_list(snapshot, masks, combos, found, mandatory_of[profile])
    if rank == UNRANKED or u16s(snapshot.rules)[64 * profile + order] == NO_RULE:
        ruling[R_RANK] = rank
        return _CACHE
    return write_ruling(snapshot, profile, rank, order, action, where, stream, ruling)


@compiled
def ask_with_clients(snapshot, key, profile, mask, high, low, lower, labels, count, stream, masks, combos, prints, ruling):  # type: ignore[no-untyped-def]
    """The same where a list holds clients' addresses: of one list that trigger comes before the name's (RPZ section 5)."""
    mandatory = u64s(snapshot.mandatory)[profile]
    best, order, action, at = np.int64(UNRANKED), np.int64(0), np.int64(0), np.int64(SAVED_PRINT)
    found = match_prefix(snapshot, key[0], key[1], WATCH_CLIENTS, high, low, mask, masks, combos, prints)
    if found > 0:
        best, order, where, action = first_list(snapshot, masks, combos, found, mandatory)
        if best != UNRANKED:
            prints[SAVED_PRINT, 0] = prints[where, 0]
            prints[SAVED_PRINT, 1] = prints[where, 1]
    found = match(snapshot, key[0], key[1], lower, labels, count, mask, masks, combos, prints)
    if found > 0:
        ruling[R_SPARED] = np.int64(excepted(snapshot, masks, combos, found))
        rank, one, where, what = first_list(snapshot, masks, combos, found, mandatory)
        if rank < best:
            best, order, action, at = rank, one, what, where
    if best == UNRANKED or u16s(snapshot.rules)[64 * profile + order] == NO_RULE:
        ruling[R_RANK] = best
        return _CACHE
    return write_ruling(snapshot, profile, best, order, action, at, stream, ruling)


@compiled
def first_list(snapshot, masks, combos, found, mandatory):  # type: ignore[no-untyped-def]
    """Of what `match` found the list that is asked first: (rank, order, row of the match, action); rank UNRANKED: none."""
    order, where, action = choose(snapshot, masks, combos, found, mandatory)
    if order >= 0:
        return np.int64(order), np.int64(order), np.int64(where), action
    order, where, action = choose(snapshot, masks, combos, found, ~mandatory)
    if order >= 0:
        return np.int64(order + 64), np.int64(order), np.int64(where), action
    return np.int64(UNRANKED), np.int64(0), np.int64(0), action


@compiled
def write_ruling(snapshot, profile, rank, order, action, where, stream, ruling):  # type: ignore[no-untyped-def]
    """Write what decided to `ruling`; returns the step, CACHE where the action lets through."""
    actions = u32s(snapshot.actions)
    if np.int64(actions[4 * action]) == _DEFAULT:
        action = np.int64(u32s(snapshot.defaults)[64 * profile + order])
    kind = np.int64(actions[4 * action])
    ruling[R_LIST] = order
    ruling[R_RULE] = np.int64(u16s(snapshot.rules)[64 * profile + order])
    ruling[R_ACTION] = action
    ruling[R_KIND] = kind
    ruling[R_MATCH] = where
    if kind == _PASSTHRU or (kind == _TCP_ONLY and stream):
        ruling[R_RANK] = rank
        return _CACHE
    return _MANDATORY if rank < 64 else _ENTITLED
