"""The policy zones as they are served: their serials, over a restart too, and the one way to the primary's thread.

A serial is kept before it is served: a daemon that is killed comes back with none that stands for something else at a secondary.

After a stop in good order what changed of late is kept with a zone's serial (`rpz.journal`), so that who was behind is told the
difference. It holds for the very content the serial stood for, told by its print, and is forgotten with the first version after it was
read. No names are kept of a sealed list, and of customers no addresses: who was behind gets these zones whole.

Content and journal of a zone belong to the primary's loop; here is who hands it a new version. Not what zones hold
(`control_policystanding`, `rpz.listzone`), nor when they change (`control_policyzones`).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sekisho.config.policyzones import PolicyZones
from sekisho.drivers.durable import write_file
from sekisho.lists.idn import to_wire
from sekisho.rpz.journal import Change, Journal
from sekisho.rpz.serials import following
from sekisho.rpz.zone import Content, Few, Timers, Zone

if TYPE_CHECKING:
    # Brings the library for DNS with it, which only a site that publishes zones needs.
    from sekisho.drivers.policyprimary import PrimaryThread

_FORM = 1
"""Of what is rendered: another one makes other zones of the same lists."""


class Served:
    """The zones of one primary while it is open."""

    def __init__(self, saved: Path, clock: Callable[[], float]) -> None:
        """`saved` is where serials are kept over a restart."""
        self.zones: dict[str, Zone] = {}
        """By label; content and journal belong to the primary's loop."""
        self.thread: PrimaryThread | None = None
        self._saved = saved
        self._clock = clock
        self._kept: dict[str, tuple[int, str]] = {}
        self._journals: dict[str, str] = {}
        """Packed and in base 64, by label: as they were when the daemon stopped."""
        self._sealed: set[str] = set()
        """Labels of zones whose names are kept nowhere."""
        self._serials: dict[str, int] = {}
        self._rendered_of: dict[str, str] = {}
        """What each zone of names was rendered of, by label."""
        self._keeping = asyncio.Lock()

    async def open(self, thread: PrimaryThread) -> None:
        """Serve by a primary that runs; no zone is there yet."""
        served = self._serials
        self._kept, self._journals = await asyncio.to_thread(self._read)
        for label, serial in served.items():
            # What was served before, and could not be kept: what it stood for is not told by the file.
            if self._kept.get(label, (None, ""))[0] != serial:
                self._kept[label] = serial, ""
        self._serials = {label: serial for label, (serial, _) in self._kept.items()}
        self.zones, self._rendered_of, self._sealed, self.thread = {}, {}, set(), thread

    async def forget(self) -> None:
        """No zones are published: serials are kept, and no names any longer."""
        kept, journals = await asyncio.to_thread(self._read)
        if journals:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(write_file, self._saved, json.dumps(kept).encode())

    async def close(self) -> None:
        thread, self.thread = self.thread, None
        if thread is not None:
            await asyncio.to_thread(thread.stop)
            await self.keep(whole=True)
        self.zones, self._rendered_of = {}, {}

    # Versions

    async def create(self, label: str, content: Content, settings: PolicyZones, rendered_of: str = "", *, sealed: bool = False) -> None:
        """Serve a new zone. One that was served before with the same content keeps its serial, and what changed before.

        `rendered_of` tells one rendering of names from another; triggers on clients are told by themselves. Names that are `sealed`
        are kept nowhere.
        """
        zone = await asyncio.to_thread(self._zone, label, content, settings, rendered_of, sealed=sealed)
        self._serials[label] = zone.serial
        self.zones[label] = zone
        await self._serve({label: lambda thread: thread.primary.serve(zone)})

    def _zone(self, label: str, content: Content, settings: PolicyZones, rendered_of: str, *, sealed: bool) -> Zone:
        name = f"{label}.{settings.zone}"
        zone = Zone(to_wire(name), name, Timers(ttl=int(settings.ttl)), 0, content, isinstance(content, Few))
        if rendered_of:
            self._rendered_of[label] = rendered_of
        serial, print_ = self._kept.get(label, (None, ""))
        same = print_ and print_ == _print(zone, self._rendered_of.get(label), whole=True)
        zone.serial = serial if same and serial is not None else following(serial, self._clock())
        if sealed:
            self._sealed.add(label)
        elif same and label in self._journals:
            with contextlib.suppress(ValueError):
                zone.journal = Journal.unpack(base64.b64decode(self._journals[label]))
        self._journals.pop(label, None)
        return zone

    async def change(self, changes: Mapping[str, Change]) -> None:
        """Differences of zones that are kept record by record, by label: one version of each."""
        await self._serve({label: partial(_differ, self.zones[label], one, self._next(label)) for label, one in changes.items()})

    async def put(self, label: str, content: Content, change: Change | None, rendered_of: str, *, sealed: bool = False) -> None:
        """Another rendering of names; `change` None: how it differs is not told. `sealed` as of `create`, of any version.

        Nothing where the zone was removed while it was rendered.
        """
        zone = self.zones.get(label)
        if zone is None:
            return
        self._rendered_of[label] = rendered_of
        if sealed:
            self._sealed.add(label)
        if change is not None and not len(change):
            await self.keep()
            return
        await self._serve({label: partial(_put, zone, content, change, self._next(label))})

    def remove(self, label: str) -> None:
        zone = self.zones.pop(label)
        # Should it be published again: no serial of before what was served last, nor that one for another content.
        self._kept[label] = self._serials[label], _print(zone, self._rendered_of.pop(label, None), whole=False)

        def put(thread: PrimaryThread) -> None:
            thread.primary.withdraw(zone)

        self._call(put)

    def _next(self, label: str) -> int:
        self._serials[label] = following(self._serials.get(label), self._clock())
        return self._serials[label]

    async def _serve(self, steps: Mapping[str, Callable[[PrimaryThread], None]]) -> None:
        """Have the primary's loop take a step with each zone once the serials are kept; with none that was removed meanwhile."""
        zones = {label: self.zones[label] for label in steps}
        await self.keep()
        for label, step in steps.items():
            if self.zones.get(label) is zones[label]:
                self._call(step)

    def _call(self, step: Callable[[PrimaryThread], None]) -> None:
        thread = self.thread
        if thread is not None:
            thread.call(lambda: step(thread))

    # Over a restart

    async def keep(self, *, whole: bool = False) -> None:
        """Keep the serials; with `whole` what they stand for too, so that who has it is spared a transfer after a restart."""
        # One after the other: two writers would have one file aside.
        async with self._keeping:
            # The serials as they were given out: the primary's loop may not have come to the newest version yet.
            standing = [(label, zone, self._serials[label], self._rendered_of.get(label)) for label, zone in list(self.zones.items())]
            await asyncio.to_thread(self._save, standing, whole=whole)

    def _save(self, standing: Sequence[tuple[str, Zone, int, str | None]], *, whole: bool) -> None:
        kept: dict[str, list[object]] = {label: list(one) for label, one in self._kept.items()}
        for label, zone, serial, rendered_of in standing:
            came = zone.serial == serial
            kept[label] = [serial, _print(zone, rendered_of, whole=whole and came)]
            if whole and came and rendered_of is not None and label not in self._sealed and len(zone.journal):
                kept[label].append(base64.b64encode(zone.journal.pack()).decode())
        with contextlib.suppress(OSError):
            write_file(self._saved, json.dumps(kept).encode())

    def _read(self) -> tuple[dict[str, tuple[int, str]], dict[str, str]]:
        """Serials and prints, and journals."""
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError, LookupError):
            found = json.loads(self._saved.read_text("utf-8"))
            kept = {str(label): (int(one[0]), str(one[1])) for label, one in found.items()}
            return kept, {str(label): str(one[2]) for label, one in found.items() if len(one) > 2}
        return {}, {}


def _put(zone: Zone, content: Content, change: Change | None, serial: int, thread: PrimaryThread) -> None:
    """In the primary's loop: a new version, and who has the one before is told."""
    zone.put(content, change, serial)
    thread.primary.notifier.changed(zone)


def _differ(zone: Zone, change: Change, serial: int, thread: PrimaryThread) -> None:
    """In the primary's loop: as `_put`, of what is kept record by record."""
    if isinstance(zone.content, Few):
        zone.content.change(change)
    _put(zone, zone.content, change, serial, thread)


def _print(zone: Zone, rendered_of: str | None, *, whole: bool) -> str:
    """What a zone holds, told from all else; of triggers on clients only with `whole`, since all of them are read for it."""
    if rendered_of is not None:
        return hashlib.blake2b(repr((_FORM, rendered_of, zone.origin, zone.timers)).encode(), digest_size=16).hexdigest()
    if not whole:
        return ""
    state = hashlib.blake2b(repr((_FORM, zone.origin, zone.timers)).encode(), digest_size=16)
    content = zone.content
    for record in sorted(content) if isinstance(content, Few) else ():
        state.update(record)
    return state.hexdigest()
