"""What of the state folder a backup holds, and what it does not.

| held | because |
|---|---|
| `ledger.db`, `matches.db` | the record of acts and of matches |
| `sessions.db` | who held which address when, and who is on which line |
| `nas.db` | limits that NASes may hold, so that none is left behind |
| `notices.key`, `posted/` | the names of customers' pages, which mails led to, and what stands on them |
| `sinks/` | how far each sink of events has been told |

| not held | because |
|---|---|
| `list.key` | whoever has it and a sealed list can test names against it: it is kept apart |
| `lists/`, `snapshot` | fetched and compiled anew |
| `tables` | what the next start answers by until it has loaded all: it then waits for that |
| `usage/`, `usual-rates` | counters of traffic and queries, gigabytes of them: begun anew; what led to a measure is in the ledger |
| `flow-templates` | exporters tell them again within minutes |
| `policyzones.json` | an old serial must not come again: zones are published anew under a later one |
| `lines` | what this machine's kernel may have: another machine's has not |
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from sekisho.drivers.audit import LEDGER

MATCHES, SESSIONS, NAS = "matches.db", "sessions.db", "nas.db"
DATABASES = (LEDGER, MATCHES, SESSIONS, NAS)
"""SQLite files, each as of one moment."""
_FILES = ("notices.key",)
_FOLDERS = ("posted", "sinks")
"""Folders of small files, each of which is whole or not there."""
NOT_COPIED = {
    "list.key": "the list key: keep it apart",
    "lists": "list versions: they are fetched anew",
    "usage": "counters of traffic: they begin anew",
    "usual-rates": "what customers usually ask: learnt anew",
    "flow-templates": "exporters tell them again",
    "policyzones.json": "policy zones: published anew under later serials",
}


def files_in(state: Path) -> list[str]:
    """Names, from the state folder on, of the files that are copied as they are."""
    found = [name for name in _FILES if (state / name).is_file()]
    for folder in _FOLDERS:
        found += [f"{folder}/{one.name}" for one in sorted((state / folder).glob("*.json")) if not one.name.startswith(".")]
    return found


def ours(names: Iterable[str]) -> tuple[str, ...]:
    """Those of the names a backup may hold, databases first, in the order they are put back."""
    known = sorted(set(names))
    files = [name for name in known if name in _FILES or _is_in_folder(name)]
    return (*(name for name in DATABASES if name in known), *files)


def _is_in_folder(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return len(parts) == 2 and parts[0] in _FOLDERS and parts[1].endswith(".json") and not parts[1].startswith(".")
