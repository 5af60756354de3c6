"""The tables in force in a plugin: followed as the head names them, without a reload of the resolver.

Owns what is asked when there are none. Tables that are damaged or of another version are refused: those in force
stay, and the control plane may be away for as long as it likes; where none are in force yet the plugin lets
through or refuses, as it is told (`fail`). Each reason is said once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sekisho.model.errors import TableError
from sekisho.plugin.judge import FORWARD, Judge
from sekisho.plugin.ledgers import Ledgers
from sekisho.plugin.listkey import digest_of, read_key
from sekisho.plugin.memory import CUSTOMERS, HEAD, SNAPSHOT, Table, map_table

_POLL = 0.1
"""Seconds between looks at the head; an opt-out does not wait for it, it is a store into a mapped table."""
_BEAT = 10
"""Looks between two signs of life."""
_EPOCH, _GENERATION = 0, 1
_CHECK = (b"sekisho-key", b"check", b"invalid")
REFUSE = -1
"""Of `rule`: there are no tables, and the plugin is told to fail closed."""
_CLOSED, _OPEN = (REFUSE, b"", -1), (FORWARD, b"", -1)


@dataclass(frozen=True, slots=True)
class Settings:
    folder: Path
    """Where the tables lie: `<runtime>/plane`."""
    key: Path
    """The list key."""
    code: Path
    """The machine code, made by `sekisho plugin config`."""
    closed: bool
    """Without tables refuse; else let through."""


class Checkpoint:
    """One plugin's checkpoint. `log` is told sentences."""

    def __init__(self, settings: Settings, log: Callable[[str], None]) -> None:
        self._settings, self._log = settings, log
        self._said: set[str] = set()
        self._judge: Judge | None = None
        self._ledgers: Ledgers | None = None
        self._head: Table | None = None
        self._renewed = False
        """The folder was made anew: what the ledgers write is not read any more."""
        self._snapshot: tuple[int, Table] | None = None
        self._customers: tuple[int, Table] | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._without = _CLOSED if settings.closed else _OPEN

    def start(self) -> None:
        """Take the tables that are there, and follow them from now on in a thread of its own."""
        self.follow()
        self._thread = threading.Thread(target=self._run, name="sekisho", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Follow no more, and leave what was counted to be read."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._ledgers is not None:
            self._ledgers.close()

    def rule(self, message: bytes, high: int, low: int, *, four: bool, stream: bool) -> tuple[int, bytes, int]:
        """What is to be done with a query; see `Judge.rule`. Never raises."""
        judge = self._judge
        if judge is None or not judge.ready:
            return self._without
        try:
            return judge.rule(message, high, low, four=four, stream=stream)
        except Exception as error:  # noqa: BLE001 - the boundary to the resolver: a query that fails us is treated as without tables
            self._say(f"a query failed the compiled verdict ({type(error).__name__}); it was {self._what}")
            return self._without

    @property
    def watches(self) -> bool:
        """Whether answers are to be judged (`rule_on_answer`)."""
        judge = self._judge
        return judge is not None and judge.watches

    def rule_on_answer(
        self, message: bytes, question: bytes, content: bytes, high: int, low: int, *, four: bool, stream: bool
    ) -> tuple[int, bytes, int]:
        """What is to be done with a resolver's answer; see `Judge.rule_on_answer`. Never raises."""
        judge = self._judge
        if judge is None or not judge.ready:
            return self._without
        try:
            return judge.rule_on_answer(message, question, content, high, low, four=four, stream=stream)
        except Exception as error:  # noqa: BLE001 - as in `rule`
            self._say(f"an answer failed the compiled verdict ({type(error).__name__}); its query was {self._what}")
            return self._without

    def target(self) -> tuple[int, bytes]:
        """TTL and name, in wire form, that the CHASE last ruled leads to."""
        return self._judge.target() if self._judge is not None else (0, b"\0")

    def count_missing(self, row: int) -> None:
        if self._ledgers is not None:
            self._ledgers.count_missing(row)

    @property
    def _what(self) -> str:
        return "refused" if self._settings.closed else "let through"

    def follow(self) -> None:
        """Take what the head names now, unless it is in force."""
        try:
            self._follow()
        except TableError as error:
            kept = self._judge is not None and self._judge.ready
            self._say(
                f"{error}; " + ("the last good tables stay in force" if kept else f"no tables are in force, and queries are {self._what}")
            )

    def _run(self) -> None:
        looks = 0
        while not self._stop.wait(_POLL):
            self.follow()
            looks += 1
            if looks % _BEAT == 0 and self._ledgers is not None:
                self._ledgers.beat()

    def _follow(self) -> None:
        settings = self._settings
        if self._judge is None:
            self._judge = Judge(settings.code)
        versions: dict[str, Any] = self._judge.about["versions"]
        self._map_head(versions["head"])
        epoch, generation = self._named()
        if not epoch or not generation:
            raise TableError("sekishod has published no tables yet")
        before = (self._snapshot and self._snapshot[0], self._customers and self._customers[0])
        if before == (epoch, generation):
            return
        try:
            snapshot = self._snapshot if before[0] == epoch else self._map("snapshot", epoch, SNAPSHOT)
            customers = self._customers if before[1] == generation else self._map("customers", generation, CUSTOMERS)
        except TableError:
            if (epoch, generation) == self._named():
                if self._ledgers is not None:
                    self._ledgers.refuse(epoch if before[0] != epoch else 0, generation if before[1] != generation else 0)
                raise
            return  # swapped in between
        if snapshot is None or customers is None or (epoch, generation) != self._named():
            return
        self._take(snapshot, customers)

    def _take(self, snapshot: tuple[int, Table], customers: tuple[int, Table]) -> None:
        judge = self._judge
        if judge is None:
            return
        key = read_key(self._settings.key)
        if tuple(snapshot[1].section("check").words()) != digest_of(_CHECK, key):
            raise TableError(f"snapshot {snapshot[0]} was built with another list key than {self._settings.key}; give both the same")
        before = self._ledgers
        ledgers = Ledgers(self._settings.folder, judge.about) if before is None or self._renewed else before
        try:
            rows = customers[1].section("rows").items // judge.about["row_words"]
            counts, hits, budgets = ledgers.fit(rows, snapshot[0], customers[0])
            judge.take(snapshot[1], customers[1], budgets, key, snapshot[0], counts, hits)
        except BaseException:
            if ledgers is not before:
                ledgers.close()
            raise
        self._ledgers, self._renewed = ledgers, False
        if before is not None and before is not ledgers:
            before.close()
        self._snapshot, self._customers = snapshot, customers
        self._said.clear()
        self._log(f"tables taken, epoch {snapshot[0]}, generation {customers[0]}")

    def _map_head(self, version: int) -> None:
        """Again if the control plane made it anew, as after its folder was wiped."""
        path = self._settings.folder / "head"
        try:
            status = path.stat()
        except OSError as error:
            if self._head is not None:
                return  # what is mapped stays
            raise TableError(f"{path} is missing; sekishod has not started, or another folder is its") from error
        if self._head is None or self._head.identity != (status.st_dev, status.st_ino):
            self._renewed = self._ledgers is not None
            self._head = map_table(path, HEAD, version)
            self._snapshot = self._customers = None

    def _named(self) -> tuple[int, int]:
        if self._head is None:
            return 0, 0
        values = self._head.section("values").words()
        return values[_EPOCH], values[_GENERATION]

    def _map(self, name: str, number: int, kind: int) -> tuple[int, Table]:
        version = self._judge.about["versions"][name] if self._judge else 0
        table = map_table(self._settings.folder / f"{name}-{number}", kind, version)
        return number, table

    def _say(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            self._log(sentence)
