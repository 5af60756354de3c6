"""Verbs that keep the record safe: backup, restore."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

import click

import sekisho
from sekisho.cli.base import Verb, answer, chosen_config, client
from sekisho.cli.client import Json, state_path
from sekisho.cli.text import moment, plain
from sekisho.model.errors import LedgerError, UnavailableError
from sekisho.model.words import number


@click.command(cls=Verb)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def backup(folder: Path) -> None:
    """Copy what is on record into DIR, a new folder, while the daemon runs.

    In it are the ledger, the record of matches, the history of sessions, what NASes hold of limits, posted notices with the key of
    their pages' names, and how far sinks of events were told. Each is of one moment and nobody waits for it. The daemon writes it,
    so DIR must be where the daemon may write: under systemd, below /var/lib/sekisho. Not in it: the list key, which belongs
    elsewhere than what it protects, the configuration, list versions, which are fetched anew, and counters of traffic and queries,
    which begin anew.

    \b
      sekisho backup /var/lib/sekisho/backup-$(date +%F)
      sekisho audit verify /var/lib/sekisho/backup-2026-04-01

    Needs the role operator. Without a running daemon, whoever may read the state folder copies it themselves.
    """
    target = folder.absolute()
    try:
        body = client().post("/v1/backup", folder=str(target))
    except UnavailableError as error:
        body = _without_daemon(target, error)
    answer(body, _backed_up)


def _without_daemon(folder: Path, error: UnavailableError) -> Json:
    """Take the daemon's place. Raises `error` if there is one that does not answer."""
    from sekisho.drivers.audit import LEDGER  # noqa: PLC0415 - client verbs start fast
    from sekisho.drivers.backup import make_backup  # noqa: PLC0415
    from sekisho.drivers.ledgerstart import take_lock  # noqa: PLC0415

    state = state_path(chosen_config())
    if not os.access(state / LEDGER, os.R_OK | os.W_OK):
        raise error
    try:
        lock = take_lock(state / LEDGER)
    except LedgerError:
        raise error from None
    try:
        made = make_backup(state, folder, time.time(), sekisho.__version__)
    finally:
        os.close(lock)
    head = {"number": made.head.number, "chain": made.head.chain.hex()}
    return {"folder": str(made.folder), "at": made.at, "bytes": made.bytes, "files": list(made.files), "head": head}


def _backed_up(body: Json) -> Iterable[str]:
    yield f"{plain(body['folder'])}: {', '.join(plain(one) for one in body['files'])}, {number(body['bytes'])} bytes, {moment(body['at'])}"
    yield f"last event {body['head']['number']}:{plain(body['head']['chain'])}"
    yield "not in it: the list key (list.key or the credential list-key); keep a copy of it elsewhere"


@click.command(cls=Verb)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace what is there; it is moved aside into the state folder, not deleted.")
def restore(folder: Path, force: bool) -> None:
    """Put a backup in the place of what is on record. The daemon must be stopped.

    The backup is verified first, from its first event to its last. The plane may go on: it answers by the
    tables it has until the daemon is back.

    \b
      systemctl stop sekishod
      sekisho restore /var/lib/sekisho/backup-2026-04-01 --force
      systemctl start sekishod
    """
    from sekisho.drivers.backup import restore_backup  # noqa: PLC0415 - client verbs start fast

    state = state_path(chosen_config())
    done = restore_backup(state, folder.absolute(), time.time(), force=force, credentials=os.environ.get("CREDENTIALS_DIRECTORY"))
    body = {
        "state": str(state),
        "files": list(done.backup.files),
        "at": done.backup.at,
        "head": {"number": done.backup.head.number, "chain": done.backup.head.chain.hex()},
        "aside": None if done.aside is None else str(done.aside),
        "key": None if done.key is None else str(done.key),
    }
    answer(body, _restored)


def _restored(body: Json) -> Iterable[str]:
    yield (
        f"{plain(body['state'])}: {', '.join(plain(one) for one in body['files'])} as of {moment(body['at'])}, "
        f"{number(body['head']['number'])} events, verified"
    )
    if body["aside"]:
        yield f"what was there is in {plain(body['aside'])}; what was recorded after the backup is in there alone"
    if body["key"] is None:
        yield (
            f"no list key is in {plain(body['state'])}: put back list.key, or have the credential list-key, before the daemon starts; "
            "with another key no exception of a list counts any more"
        )
    yield "start the daemon now: `systemctl start sekishod`, or `sekisho run`"
