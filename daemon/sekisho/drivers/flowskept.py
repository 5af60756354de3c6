"""What exporters have said of themselves, kept over a restart: sessions, compiled templates, sampling rates.

Owns the file and the laying anew of the desk's tables, from the file or from themselves when they have filled up.
Nothing of traffic is in the file. Sessions over TCP end with their connection, and are not kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sekisho.drivers.durable import write_file
from sekisho.flows import layout
from sekisho.flows.restoring import restore_tables
from sekisho.model.errors import TableError
from sekisho.snapshot.sections import Array, Kind, pack, unpack

VERSION = 2
"""Another one whenever what fields mean is numbered anew: a compiled template has the numbers."""
_TCP = 1 << 16
_SHARE = 3 / 4
"""Of the places of a table: when it is laid anew, and how many of its sessions stay then."""
Kept = Mapping[str, Array]
_KINDS = {
    "sessions": np.uint64,
    "rates": np.float64,
    "templates": np.int64,
    "steps": np.int32,
    "samplers": np.int64,
    "sampled": np.float64,
}
NOTHING: Kept = {
    "sessions": np.zeros((0, layout.S_WORDS)),
    "rates": np.zeros(0),
    "templates": np.zeros((0, layout.T_WORDS)),
    "steps": np.zeros((0, layout.STEPS * layout.STEP)),
    "samplers": np.zeros(0),
    "sampled": np.zeros(0),
}


def kept(desk: Any) -> Kept:
    """The sessions of the desk with all they have, the one heard of last first."""
    sessions: NDArray[np.uint64] = desk.sessions
    rows = np.flatnonzero(sessions[:, layout.S_KEY] > layout.GONE)
    rows = rows[np.argsort(sessions[rows, layout.S_SEEN], kind="stable")[::-1]]
    number = np.full(layout.SESSIONS, -1)
    number[rows] = np.arange(len(rows))
    places = np.flatnonzero(desk.templates[:, layout.T_KEY] >> 16 > 0)
    templates = desk.templates[places].copy()
    owners = number[(templates[:, layout.T_KEY] >> 16) - 1]
    templates[:, layout.T_KEY] = owners << 16 | templates[:, layout.T_KEY] & 0xFFFF
    at = np.flatnonzero(desk.samplers >> np.uint64(32))
    samplers = desk.samplers[at].astype(np.int64)
    return {
        "sessions": sessions[rows].copy(),
        "rates": desk.rates[rows].copy(),
        "templates": templates[owners >= 0],
        "steps": desk.steps[places][owners >= 0],
        "samplers": number[(samplers >> 32) - 1] << 32 | samplers & 0xFFFFFFFF,
        "sampled": desk.sampled[at].copy(),
    }


def restore(desk: Any, told: Kept, *, counts: bool) -> bool:
    """Put into the desk, whose tables are empty, what `kept` gave; `counts`: what was counted too. False: it does not fit together."""
    arrays = [np.array(told[name], kind) for name, kind in _KINDS.items()]
    where = np.zeros(len(told["sessions"]), np.int64)
    good = restore_tables(desk, *arrays, where, int(counts))
    desk.cells[layout.C_DIRTY] = 0
    return bool(good)


def clear(desk: Any) -> None:
    """Empty the tables of sessions, templates and samplers."""
    for table in (desk.sessions, desk.templates, desk.steps, desk.rates, desk.samplers, desk.sampled):
        table[:] = 0
    desk.cells[[layout.C_SESSIONS, layout.C_TEMPLATES, layout.C_SAMPLERS]] = 0


def make_room(desk: Any) -> bool:
    """Lay the tables anew if one of them has filled up: without what was given up, and of sessions those heard of last."""
    full = (
        desk.cells[layout.C_SESSIONS] >= layout.SESSIONS * _SHARE
        or desk.cells[layout.C_TEMPLATES] >= layout.TEMPLATES * _SHARE
        or desk.cells[layout.C_SAMPLERS] >= layout.SAMPLERS * _SHARE
    )
    if full:
        told = kept(desk)
        clear(desk)
        restore(desk, _fewer(told), counts=True)
        desk.cells[layout.C_DIRTY] = 1
    return bool(full)


def _fewer(told: Kept) -> Kept:
    """The same with at most half the sessions, templates and samplers there is room for; the youngest sessions stay."""
    keep = min(len(told["sessions"]), layout.SESSIONS // 2)
    owners, holders = told["templates"][:, layout.T_KEY] >> 16, told["samplers"] >> 32
    while keep and ((owners < keep).sum() > layout.TEMPLATES // 2 or (holders < keep).sum() > layout.SAMPLERS // 2):
        keep = keep * 7 // 8
    some, held = owners < keep, (holders >= 0) & (holders < keep)
    return {
        "sessions": told["sessions"][:keep],
        "rates": told["rates"][:keep],
        "templates": told["templates"][some],
        "steps": told["steps"][some],
        "samplers": told["samplers"][held],
        "sampled": told["sampled"][held],
    }


def save(path: Path, desk: Any) -> None:
    """Write what is to outlast a restart. Raises OSError."""
    told = kept(desk)
    lasting = np.flatnonzero(told["sessions"][:, layout.S_KEY] & np.uint64(_TCP) == 0)
    number = np.full(len(told["sessions"]) + 1, -1)
    number[lasting] = np.arange(len(lasting))
    owners = number[told["templates"][:, layout.T_KEY] >> 16]
    holders = number[told["samplers"] >> 32]
    templates = told["templates"][owners >= 0]
    templates[:, layout.T_KEY] = owners[owners >= 0] << 16 | templates[:, layout.T_KEY] & 0xFFFF
    sections = {
        "sessions": told["sessions"][lasting],
        "rates": told["rates"][lasting],
        "templates": templates,
        "steps": told["steps"][owners >= 0],
        "samplers": (holders << 32 | told["samplers"] & 0xFFFFFFFF)[holders >= 0],
        "sampled": told["sampled"][holders >= 0],
    }
    write_file(path, pack(Kind.FLOWS, VERSION, 0, sections), durable=True)


def load(path: Path, desk: Any) -> None:
    """Put what was kept into an empty desk; without a file that is nothing. Raises TableError, the desk ready, if it cannot be used."""
    try:
        _, told = unpack(path.read_bytes(), Kind.FLOWS, VERSION)
        if restore(desk, told, counts=False):
            return
        message = f"{path} does not fit together; it is damaged"
    except FileNotFoundError:
        message = ""
    except OSError as error:
        message = f"{path} cannot be read ({error.strerror})"
    except (TableError, ValueError, IndexError) as error:
        message = f"{path} cannot be used ({error})"
    clear(desk)
    restore(desk, NOTHING, counts=False)
    if message:
        raise TableError(f"{message}; exporters send their templates again within minutes")
