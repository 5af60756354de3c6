"""The machine code a plugin in a resolver calls, with what its caller has to know: one file.

Owns the choice of the function and its types, which are those of the TCP server's: what the plane compiles
serves the plugins too. The file is whole or not there, and is for processors like this one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sekisho.drivers.durable import write_file
from sekisho.drivers.tcpcontext import TcpContext
from sekisho.drivers.tcpverdict import Judge
from sekisho.drivers.warmup import empty
from sekisho.model.errors import UnavailableError
from sekisho.plane.asking import ANSWER_AT, rule_on
from sekisho.plane.verdict import R_ACTION, R_HELD, R_ROW
from sekisho.plane.worker import DESK, make_desk
from sekisho.plugin.judge import CONVENTION
from sekisho.snapshot import layout
from sekisho.snapshot.digest import key_of
from sekisho.snapshot.keptcode import Kept, kinds_of
from sekisho.snapshot.layout import Counts, Customers, Hits, Snapshot, empty_counts, empty_hits
from sekisho.snapshot.machinecode import pack_code, processor, read_code


def write_plugin_code(path: Path) -> None:
    """Write the file, compiling first what is not compiled yet (half a minute). Raises UnavailableError."""
    snapshot, customers, counts, hits = empty(Snapshot), empty(Customers), empty(Counts), empty(Hits)
    buckets, key, desk = np.zeros(1, np.uint64), key_of(bytes(16)), make_desk()
    Judge(TcpContext((snapshot, customers, buckets, key, 1), counts, hits, desk)).compile()
    word = np.uint64(0)
    arguments = (
        snapshot.view, customers.view, buckets, key, 1, counts.view, hits.view, desk, 0, word, word, True, True, 0, 0, word,
    )  # fmt: skip
    kept = Kept.of(rule_on.py_func, kinds_of(arguments))
    found = read_code(kept.path) if kept else None
    if found is None:
        raise UnavailableError("the compiled verdict is kept nowhere; name a folder that can be written with NUMBA_CACHE_DIR")
    told, code = found
    try:
        write_file(path, pack_code(about() | {"symbol": told["symbol"]}, code), mode=0o644)
    except OSError as error:
        raise UnavailableError(f"{path} cannot be written ({error.strerror})") from error


def about() -> dict[str, Any]:
    """Versions, shapes and places, for a caller without NumPy."""
    fields: Any = DESK.fields
    ruling = fields["ruling"][1]
    return {
        "processor": processor(),
        "convention": CONVENTION,
        "versions": {
            "snapshot": layout.SNAPSHOT_VERSION,
            "customers": layout.CUSTOMERS_VERSION,
            "counts": layout.COUNTS_VERSION,
            "hits": layout.HITS_VERSION,
            "head": layout.HEAD_VERSION,
            "budgets": layout.BUDGETS_VERSION,
        },
        "views": {"snapshot": Snapshot.names(), "customers": Customers.names(), "counts": Counts.names(), "hits": Hits.names()},
        "desk": {
            "size": DESK.itemsize,
            "packets": fields["packets"][1],
            "answers": fields["answers"][1],
            "answer_at": ANSWER_AT,
            "row": ruling + 8 * R_ROW,
            "action": ruling + 8 * R_ACTION,
            "held": ruling + 8 * R_HELD,
        },
        "watched": (layout.WATCH_LISTS, layout.WATCH_CHAINS),
        "row_words": layout.ROW_WORDS,
        "numbers": layout.PLUGINS,
        "counts": _shapes(empty_counts(1), ("customers", "patterns")),
        "hits": _shapes(empty_hits(), ()),
    }


def _shapes(sections: dict[str, Any], by_row: tuple[str, ...]) -> list[tuple[str, str, int, int]]:
    """Name, type, rows (-1: as many as customers), columns (0: one axis) of each section."""
    return [
        (name, array.dtype.str, -1 if name in by_row else array.shape[0], array.shape[1] if array.ndim == 2 else 0)
        for name, array in sections.items()
    ]
