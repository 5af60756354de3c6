"""A version of a list: of which definition it is, what is known of it, and whether it may be in force.

Owns these decisions and the octets a version is kept and handed on as. What has been fetched is in
here compiled; fetching is `listsources`', files are `listfiles`'.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from sekisho.drivers.feeds import Validators
from sekisho.lists import idn
from sekisho.lists.compile import FeedReport
from sekisho.lists.guard import select, shrink, suffixes_version
from sekisho.model.errors import Fault, TableError
from sekisho.model.lists import ListDefinition, Scope, Trigger
from sekisho.snapshot.digest import Key, digest_name, entry_id
from sekisho.snapshot.entries import CompiledList, decode, encode

_CHECK = idn.to_wire("list-key.check.invalid")

NOTHING = CompiledList(
    np.empty((0, 2), np.uint64), np.empty(0, np.uint8), np.empty(0, np.uint32), np.empty(0, np.uint32), np.empty(0, np.uint8)
)
"""A compiled list in which nothing is."""


@dataclass(frozen=True, slots=True)
class Base:
    """What is in force of a list: where an incremental transfer starts."""

    compiled: CompiledList
    report: FeedReport
    serial: int


@dataclass(frozen=True, slots=True)
class Identity:
    """Of which definition a stored list is. A change of `source` or `scope` makes it another list."""

    source: str
    """Digest of where it comes from and how it is read: the address itself may carry a password."""
    scope: str
    sealed: bool
    guard: str
    """Digest of what it was guarded by, never-block names and public suffixes: with others the source is read anew."""
    key: str
    """Digest of a fixed name by the list key: the digests of another key find nothing."""

    @classmethod
    def of(cls, definition: ListDefinition, key: Key, never_block: Collection[bytes] = ()) -> Identity:
        guarded = json.dumps([sorted(name.hex() for name in never_block), sorted(definition.never_block), suffixes_version(), "prefixes"])
        guard = hashlib.blake2b(guarded.encode(), digest_size=16).hexdigest()
        origin = json.dumps([definition.source, definition.format, definition.column, definition.zone])
        source = hashlib.blake2b(origin.encode(), digest_size=16).hexdigest()
        return cls(source, str(definition.scope or ""), definition.sealed, guard, entry_id(*digest_name(_CHECK, key)))


@dataclass(frozen=True, slots=True)
class Stored:
    """A version of a list, with what is known of it."""

    compiled: CompiledList
    report: FeedReport
    identity: Identity
    fetched_at: float
    """UNIX seconds: when the source was last known to say this."""
    validators: Validators = field(default_factory=Validators)
    serial: int | None = None
    """Of a transferred zone."""
    shrink: float = 0.0
    """Of a held version: the share of entries it loses."""


def fitting(stored: Stored, identity: Identity) -> Stored | None:
    """What of a stored list may be in force under a changed definition, until its source is fetched.

    None for a list that was not sealed and is now, since its names must not stay, and for the
    digests of another key. Of another scope, only what both scopes hold. Another source of the
    same list does not empty it: nothing would be enforced until the new one answers.
    """
    if stored.identity.key != identity.key or (identity.sealed and not stored.identity.sealed):
        return None
    if identity.scope == Scope.EXACT and stored.identity.scope == Scope.SUBTREE:
        triggers = (stored.compiled.triggers & ~Trigger.BELOW).astype(np.uint8)
        narrowed = replace(stored.compiled, triggers=triggers)
        return replace(stored, compiled=select(narrowed, triggers != 0))
    return stored


def lost(stored: Stored | None, fresh: Stored, max_shrink: float) -> float | None:
    """The share of entries a version loses if that is too much for it to be put in force, else None.

    Another source is the operator's own decision. So are other never-block names: what they took out
    of the list is not the feed's loss, so what the guards refused counts as if it were there.
    """
    if stored is None or stored.identity.source != fresh.identity.source:
        return None
    share = shrink(stored.compiled, fresh.compiled, max_shrink)
    if share is None or stored.identity.guard == fresh.identity.guard:
        return share
    before, after = (version.report.entries + version.report.refused for version in (stored, fresh))
    share = (before - after) / before if before else 0.0
    return share if share > max_shrink else None


def encode_version(stored: Stored) -> bytearray:
    """A version as octets; when it was fetched is not among them."""
    report = stored.report
    about: dict[str, object] = {
        "identity": asdict(stored.identity),
        "validators": asdict(stored.validators),
        "serial": stored.serial,
        "shrink": stored.shrink,
        "version": report.version,
        "counts": [report.skipped, report.refused, report.unkept],
        "kinds": [list(kind) for kind in report.kinds],
        "faults": [[fault.file, fault.line, fault.message] for fault in report.faults],
    }
    return encode(stored.compiled, about)


def decode_version(data: bytes | bytearray, fetched_at: float) -> Stored:
    """Read back what `encode_version` wrote. Raises TableError if it is damaged or of another version."""
    try:
        compiled, about = decode(data)
        return _stored(compiled, about, fetched_at)
    except (KeyError, TypeError, ValueError):
        raise TableError("it has no description this program understands") from None


def _stored(compiled: CompiledList, about: dict[str, Any], fetched_at: float) -> Stored:
    skipped, refused, unkept = about["counts"]
    report = FeedReport(
        entries=len(compiled),
        skipped=skipped,
        refused=refused,
        unkept=unkept,
        faults=tuple(Fault(str(file), int(line), str(message)) for file, line, message in about["faults"]),
        version=str(about["version"]),
        kinds=tuple((str(kind), int(count)) for kind, count in about["kinds"]),
    )
    return Stored(
        compiled,
        report,
        Identity(**about["identity"]),
        fetched_at,
        Validators(**about["validators"]),
        about["serial"],
        float(about["shrink"]),
    )
