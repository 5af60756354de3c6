"""What befalls the machine under the daemon, as `status` tells it: a disk that takes nothing, a step that fails, a clock that was set.

Nothing here mends any of it, nor is the daemon stopped for it: the plane answers on by what is in force.
"""

from __future__ import annotations

import time

from sekisho.app.control_core import Core
from sekisho.drivers.room import trouble


def warnings(core: Core) -> list[str]:
    """What `status` says of it."""
    folders = dict.fromkeys((core.site.settings.state, core.site.settings.runtime))
    found = [f"nothing is kept that is new, and the plane answers on: {why}" for folder in folders if (why := trouble(folder))]
    found += [f"{what} fails and is tried again: {error}" for what, error in core.failing.items()]
    return [*found, *core.steps.warnings(time.monotonic())]
