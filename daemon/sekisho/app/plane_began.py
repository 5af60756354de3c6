"""What the plane that runs was started with, by which a reload tells what takes effect at its next start.

The plane reads its keys once. It may have been started before the control plane, by an earlier configuration, or after it, by a
later one: what either last loaded says nothing of the other.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from sekisho.config.packets import PacketSettings
from sekisho.drivers.durable import write_file
from sekisho.drivers.sharedfiles import SETTINGS, read_left

FOLDERS = ("state", "runtime")
"""Keys that both planes read once; what a plane of other folders leaves is not found."""
KEYS = tuple(key for key in PacketSettings.model_fields if key not in {"version", *FOLDERS})
"""Keys that the plane alone reads at its start."""


def tell(folder: Path, settings: PacketSettings) -> None:
    """Leave them in the plane's folder. One that takes nothing keeps no plane from its work."""
    with contextlib.suppress(OSError):
        write_file(folder / SETTINGS, json.dumps(_words(settings)).encode())


def changed(folder: Path, settings: PacketSettings) -> list[str] | None:
    """The keys whose values the newest plane was not started with; None if it left no word of them."""
    try:
        told = json.loads(read_left(folder / SETTINGS))
    except (ValueError, RecursionError):
        return None
    return [key for key, word in _words(settings).items() if told.get(key) != word] if isinstance(told, dict) else None


def _words(settings: PacketSettings) -> dict[str, str]:
    return {key: repr(getattr(settings, key)) for key in KEYS}
