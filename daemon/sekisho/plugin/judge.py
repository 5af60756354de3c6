"""The compiled verdict, called in a process that is not ours.

Owns the machine code, the work space it is given, the calling convention of `snapshot.keptcode`, and what was found in answers under
the snapshot in force. The code was made by `drivers.plugincode`, with all a caller has to know of shapes, and is used only on the
processor it was made for.
"""

from __future__ import annotations

import ctypes
import mmap
import threading
import time
from pathlib import Path
from typing import Any

from sekisho.model.errors import TableError
from sekisho.plugin.answers import Judged, digest_of, records_of
from sekisho.plugin.memory import Table
from sekisho.snapshot.machinecode import GIVES_NOTHING, link, processor, raised_by, read_code

SILENCE, ANSWER, LAST, CLOSE, FORWARD, CHASE = range(6)
"""What is to be done with a query: `plane.asking.Outcome`."""

CONVENTION = 2
"""Of calls and of what the code's file says: one more with each change of either."""
_STANDS = (FORWARD, b"", -1)
_HEAD = bytes.fromhex("0000 8000 0001")
"""Id, flags (an answer) and the one question."""
_MOST = 65000
"""Octets of records of an answer that are judged; more no message holds."""
_P, _I, _U, _B = ctypes.c_void_p, ctypes.c_int64, ctypes.c_uint64, ctypes.c_uint8
_ARRAY = (_P, _P, _I, _I, _P, _I, _I)
_PARAMETERS = (
    _P, _P,  # result, exception
    _P, _P, *_ARRAY, _U, _U, _I, _P, _P, _P,  # snapshot, customers, buckets, key, epoch, counts, hits, desk
    _I, _U, _U, _B, _B, _I, _I, _U,  # length, address, IPv4, stream, now, answered, lists
)  # fmt: skip


class Judge:
    """The verdict and its desk. Calls come one at a time: the desk is one."""

    def __init__(self, path: Path) -> None:
        """Raises TableError if the file is damaged, or made for another processor or release."""
        found = read_code(path)
        if found is None:
            raise TableError(f"{path} is missing or damaged; make it with `sekisho plugin config`")
        self.about, code = found
        if self.about.get("convention") != CONVENTION:
            raise TableError(f"{path} was made by another release of Sekisho; make it anew, with `sekisho plugin config`")
        if self.about["processor"] != processor():
            raise TableError(f"{path} was made on another kind of processor; make it here, with `sekisho plugin config`")
        # Holds the GIL: a call is shorter than giving it back and taking it again.
        self._enter = ctypes.PYFUNCTYPE(ctypes.c_int32, *_PARAMETERS)(link(code, self.about["symbol"]))
        desk = self.about["desk"]
        self._memory = mmap.mmap(-1, desk["size"], flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._desk = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._packets, self._answers, self._answer = desk["packets"], desk["answers"], desk["packets"] + desk["answer_at"]
        self._action = ctypes.c_int64.from_buffer(self._memory, desk["action"])
        self._row = ctypes.c_int64.from_buffer(self._memory, desk["row"])
        self._lists = ctypes.c_uint64.from_buffer(self._memory, desk["held"])
        self._judged = Judged()
        self._result, self._raised = (ctypes.c_int64 * 2)(), ctypes.c_void_p()
        self._head: tuple[Any, ...] = ()
        self._held: tuple[Any, ...] = ()
        self.watches = False
        """Whether anything in answers is looked up in lists."""
        self._lock = threading.Lock()

    @property
    def ready(self) -> bool:
        """Whether there are tables to ask."""
        return bool(self._head)

    def take(self, snapshot: Table, customers: Table, buckets: Table, key: tuple[int, int], epoch: int, counts: Table, hits: Table) -> None:
        """Ask these tables from now on. Raises TableError if a section is missing."""
        views = self.about["views"]
        tables = (("snapshot", snapshot), ("customers", customers), ("counts", counts), ("hits", hits))
        made = {name: table.view(views[name]) for name, table in tables}
        at = {name: ctypes.addressof(view) for name, view in made.items()}
        full = buckets.section("full")
        array = (None, None, full.items, 8, full.address, full.items, 8)
        with self._lock:
            self._head = (
                ctypes.addressof(self._result), ctypes.addressof(self._raised), at["snapshot"], at["customers"], *array, *key, epoch,
                at["counts"], at["hits"], self._desk,
            )  # fmt: skip
            watched = snapshot.section("watched").words()
            if not self._held or self._held[1] is not snapshot:
                self._judged = Judged()
            self.watches = any(watched[place] for place in self.about["watched"])
            self._held = (made, snapshot, customers, buckets, counts, hits)

    def rule(self, message: bytes, high: int, low: int, *, four: bool, stream: bool) -> tuple[int, bytes, int]:
        """What is to be done with a query, the answer if there is one, and the row of who asked (-1: nobody's).

        `message` in wire form, `high` and `low` the source in the 128-bit space. Raises what the compiled code raised.
        """
        with self._lock:
            return self._ask(message, b"", high, low, four, stream, 0)

    def rule_on_answer(
        self, message: bytes, question: bytes, content: bytes, high: int, low: int, *, four: bool, stream: bool
    ) -> tuple[int, bytes, int]:
        """The same for what a resolver's answer holds (`answers`), to a query that was let through; FORWARD: it stands.

        `question` is the one in `message`. An answer that no list holds anything in is asked about once.
        """
        digest = digest_of(content)
        if self._judged.find(digest) == 0:
            return _STANDS
        count, records = records_of(content, _MOST)
        answer = b"".join((_HEAD, count.to_bytes(2, "big"), bytes(4), question, records))
        with self._lock:
            # Of the tables that are asked: they may be others by now.
            judged = self._judged
            ruled = self._ask(message, answer, high, low, four, stream, judged.find(digest) or 0)
            judged.keep(digest, self._lists.value)
        return ruled

    def _ask(self, message: bytes, answer: bytes, high: int, low: int, four: bool, stream: bool, lists: int) -> tuple[int, bytes, int]:
        size, answered = len(message), len(answer)
        self._memory[self._packets : self._packets + size] = message
        self._memory[self._answer : self._answer + answered] = answer
        status = self._enter(*self._head, size, high, low, four, stream, time.monotonic_ns(), answered, lists)
        if status not in {0, GIVES_NOTHING}:
            raise raised_by(self._raised.value)
        outcome, length = self._result
        return outcome, self._memory[self._answers : self._answers + length], self._row.value

    def target(self) -> tuple[int, bytes]:
        """TTL and data, in wire form, of the first record of the action last ruled: the name a CHASE leads to."""
        with self._lock:
            snapshot = self._held[1]
            row = 4 * snapshot.section("actions").cells()[4 * self._action.value + 1]
            _, ttl, start, size = snapshot.section("records").cells()[row : row + 4]
            return ttl, ctypes.string_at(snapshot.section("rdata").address + start, size)
