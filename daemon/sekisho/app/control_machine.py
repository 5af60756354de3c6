"""What befalls the machine under the daemon, as `status` tells it: a disk that takes nothing, a step that fails, a clock that was set,
tables that were damaged.

Nothing here mends any of it, nor is the daemon stopped for it: the plane answers on by what is in force.
"""

from __future__ import annotations

import time

from sekisho.app.clocksteps import TOLD_FOR
from sekisho.app.control_core import Core
from sekisho.drivers.room import trouble


def warnings(core: Core) -> list[str]:
    """What `status` says of it."""
    folders = dict.fromkeys((core.site.settings.state, core.site.settings.runtime))
    found = [f"nothing is kept that is new, and the plane answers on: {why}" for folder in folders if (why := trouble(folder))]
    found += [f"{what} fails and is tried again: {error}" for what, error in core.failing.items()]
    now = time.monotonic()
    return [*found, *core.steps.warnings(now), *_repaired(core, now)]


def _repaired(core: Core, now: float) -> list[str]:
    """For an hour, as of a clock that was set: once they are written anew nothing else shows it but the log."""
    if core.tables.repaired is None:
        return []
    epoch, at = core.tables.repaired
    if now - at > TOLD_FOR:
        return []
    why = f"they were damaged in {core.site.settings.runtime}, or its list key is another; its log says which"
    return [f"a plane could not start by the tables of epoch {epoch}, and they were written anew: {why}"]
