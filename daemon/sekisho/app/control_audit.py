"""The ledger asked and kept: events for an audit, content whose time is over, backups."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import structlog

import sekisho
from sekisho.app.control_core import Core
from sekisho.config.settings import Settings
from sekisho.drivers.audit import LedgerSource
from sekisho.drivers.backup import make_backup
from sekisho.drivers.erasure import find_due
from sekisho.ledger.audit import told

Json = dict[str, Any]

log = structlog.get_logger("sekisho.control")

ACTOR = "sekishod"
"""Who erases what the settings say."""


async def events(core: Core, after: int, limit: int, customer: str | None) -> Json:
    """A page of the ledger as it stands on disk, with what is needed to verify it."""
    return {**await asyncio.to_thread(_page, core.ledger.path, after, limit, customer), "known": core.people.is_known(customer)}


def _page(path: Path, after: int, limit: int, customer: str | None) -> Json:
    with LedgerSource(path) as source:
        found = list(itertools.islice(source.events(after, customer), limit + 1))
        head = source.head
    return {
        "events": [told(event) for event in found[:limit]],
        "more": len(found) > limit,
        "head": None if head is None else {"number": head.number, "chain": head.chain.hex()},
    }


def kept(settings: Settings) -> dict[str, float]:
    """Seconds each kind of act is kept after it is over; a kind that is not named is kept for good."""
    return {kind: seconds for kind, seconds in settings.ledger_retention.items() if seconds is not None}


async def erase(core: Core) -> None:
    """Erase the content of acts whose time is over."""
    now = core.clock()
    due = await asyncio.to_thread(find_due, core.ledger.path, kept(core.site.settings), now)
    erased = await core.ledger.erase(due, ACTOR, now)
    if erased:
        log.info("payloads-erased", count=erased)


async def backup(core: Core, folder: str, actor: str) -> Json:
    """Copy ledger and matches as they are now. Raises RefusedError, LedgerError."""
    made = await asyncio.to_thread(make_backup, core.site.settings.state, Path(folder), core.clock(), sekisho.__version__)
    log.info("backup-made", folder=str(made.folder), last=made.head.number, actor=actor)
    return {
        "folder": str(made.folder),
        "at": made.at,
        "bytes": made.bytes,
        "files": list(made.files),
        "head": {"number": made.head.number, "chain": made.head.chain.hex()},
    }
