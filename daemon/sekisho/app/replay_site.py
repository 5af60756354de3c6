"""What a replay runs against: a site with its packs or its state exchanged, and what the state folder remembers of people.

Owns the reading of the state folder without a daemon: the ledger's acts, the record of sessions, the lists that are kept. Nothing
is written.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from sekisho.app.control_inputs import exemptions
from sekisho.app.control_people import People
from sekisho.drivers.audit import LedgerSource, ledger_of
from sekisho.drivers.recordedholders import SESSIONS, Holders
from sekisho.drivers.recordednames import NamesJudge, stored_lists
from sekisho.drivers.site import Site
from sekisho.ledger.acts import recorded as recorded_act
from sekisho.ledger.state import State
from sekisho.model.clauses import Pack
from sekisho.model.errors import LedgerError, RefusedError


def with_packs(site: Site, packs: Iterable[Pack]) -> Site:
    """A site with other packs in place of those of the same id. Raises RefusedError for one that it does not have."""
    changed = dict(site.packs)
    for pack in packs:
        if pack.id not in changed:
            known = ", ".join(changed) or "none"
            raise RefusedError(f"no customer can be under pack {pack.id}: the configuration has {known}; give it the id of one of these")
        changed[pack.id] = pack
    return dataclasses.replace(site, packs=changed)


def with_state(site: Site, state: Path) -> Site:
    """A site with what another state folder, or a copy of one, remembers."""
    return dataclasses.replace(site, settings=site.settings.model_copy(update={"state": state.absolute()}))


def state_of(site: Site, notes: list[str]) -> State:
    """What the ledger adds to the files: customers, opt-outs, exemptions, exceptions. Without one, the files alone count."""
    state, path = State(), ledger_of(site.settings.state)
    if not path.is_dir() and not path.exists():
        return state
    try:
        with LedgerSource(path) as source:
            for event in source.events():
                act = recorded_act(event)
                if act is not None:
                    state.apply(act)
    except LedgerError as error:
        notes.append(f"customers, opt-outs, exemptions and exceptions given at run time are left out: {error}")
        return State()
    return state


def holders_of(site: Site, notes: list[str]) -> Holders | None:
    """The record of sessions; without one, fixed addresses alone count."""
    path = site.settings.state / SESSIONS
    try:
        return Holders(path) if path.exists() else None
    except (LedgerError, OSError) as error:
        notes.append(f"addresses given by log-in are nobody's: {error}")
        return None


def judge_of(people: People, state: State, rows: Mapping[str, int], notes: list[str], now: float) -> NamesJudge | None:
    settings = people.site.settings
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    key, lists, missing = stored_lists(settings.state, credentials, people.lists, settings.never_block)
    notes += missing
    if key is None or not any(len(compiled) for _, compiled in lists):
        return None
    standing = {}
    for one in people.each():
        row = people.row(one, now)
        standing[rows[one.id]] = (row.mask, row.profile)
    return NamesJudge(key, lists, people.profiles, exemptions(people.lists, state.exceptions), standing)
