"""Verbs of an auditor: verify, export, show.

They read the ledger's file themselves where the caller may; otherwise they ask the daemon for its
events and verify those, so that neither the daemon's word nor its help is needed for more than the
reading.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sekisho.cli.base import Verbs, chosen_config, client, print_json, wants_json
from sekisho.cli.client import Client, state_path
from sekisho.cli.text import moment, nobody, plain
from sekisho.model.errors import SekishoError
from sekisho.model.words import number

if TYPE_CHECKING:
    from sekisho.drivers.audit import Source
    from sekisho.ledger.chain import Event, Head

PAGE = 1000
_TIMES = frozenset({"at", "since", "until", "deemed_at"})


class DaemonSource:
    """The ledger of a running daemon, a page at a time."""

    def __init__(self, asked: Client) -> None:
        self._client = asked
        self.head: Head | None = self._page(0, None, 1)[1]

    def noted(self) -> list[Head]:
        return []

    def events(self, after: int = 0, customer: str | None = None) -> Iterator[Event]:
        """As far as the ledger goes; `head` is moved on to what the daemon said last."""
        more = True
        while more:
            found, self.head, more = self._page(after, customer, PAGE)
            yield from found
            after = found[-1].number if found else after

    def _page(self, after: int, customer: str | None, limit: int) -> tuple[list[Event], Head | None, bool]:
        from sekisho.ledger.audit import imported  # noqa: PLC0415 - client verbs start fast
        from sekisho.ledger.chain import Head  # noqa: PLC0415

        body = self._client.get("/v1/audit/events", after=after, customer=customer, limit=limit)
        head = body["head"]
        return (
            [imported(line) for line in body["events"]],
            None if head is None else Head(head["number"], bytes.fromhex(head["chain"])),
            body["more"],
        )


@click.group(cls=Verbs)
def audit() -> None:
    """Prove the record: verify it, export it, show what it says of a customer.

    Without PATH it is the ledger of the configuration, read from its file or, by who may not read
    that, through the daemon (role viewer). PATH is another ledger's file, or a backup's folder.
    """


@audit.command()
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option("--head", "noted", metavar="NUMBER:DIGEST", help="An event noted at an earlier audit, which must be there still.")
def verify(path: Path | None, noted: str | None) -> None:
    """Find any event that was changed, removed, put in or moved.

    Every event is read and its digests are computed anew; each bad one is named, and the exit code is 1. The last line
    tells the last event: noted down elsewhere and given at the next audit with --head, it proves that what was
    there then has not been written anew.

    \b
      sekisho audit verify
      sekisho audit verify /mnt/backup/2026-04-01
      sekisho audit verify --head 1234:5f2c…
    """
    from sekisho.drivers.audit import verify as verified  # noqa: PLC0415 - client verbs start fast

    with _source(path) as (source, name):
        heads = [*([] if noted is None else [_head_of(noted)]), *source.noted()]
        found = verified(source, heads)
    body = {
        "ok": not found.breaks,
        "ledger": name,
        "events": found.events,
        "erased": found.erased,
        "head": {"number": found.head.number, "chain": found.head.chain.hex()},
        "breaks": [{"number": one.number, "reason": one.reason} for one in found.breaks],
    }
    if wants_json():
        print_json(body)
    elif found.breaks:
        for one in found.breaks:
            print(plain(str(one)))
        print(f"{plain(name)}: DOES NOT VERIFY; nothing from event {found.breaks[0].number} on can be relied on", file=sys.stderr)
    else:
        erased = f", the content of {number(found.erased)} erased on record" if found.erased else ""
        print(f"{plain(name)}: {number(found.events)} events verify{erased}")
        print(f"last event {found.head}")
    if found.breaks:
        sys.exit(1)


@audit.command()
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option("--after", default=0, type=click.IntRange(0), help="Only events behind this number.")
def export(path: Path | None, after: int) -> None:
    """Write every event as a line of JSON: number, time, actor, kind, version, payload, digests.

    `payload` is null where the content was erased. `payload_digest` is BLAKE2b-256 of the payload as
    UTF-8 JSON with sorted keys and no white space, so that an export can be verified without Sekisho.

    \b
      sekisho audit export > ledger.jsonl
      sekisho audit export --after 100000 | jq -r '[.number, .at, .kind] | @tsv'
    """
    from sekisho.ledger.audit import exported  # noqa: PLC0415 - client verbs start fast

    with _source(path) as (source, _):
        for event in source.events(after):
            # Characters outside ASCII are escaped: what is printed is data, and a terminal may be behind it.
            sys.stdout.write(json.dumps(exported(event)) + "\n")


@audit.command()
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option("--customer", required=True, metavar="ID", help="Whose history.")
def show(path: Path | None, customer: str) -> None:
    """What the record says of a customer, oldest first. Erased content is not shown: nobody knows whose it was.

    \b
      sekisho audit show --customer c-1001
      sekisho audit show --customer c-1001 --json | jq '.events[].kind'
    """
    from sekisho.ledger.audit import exported  # noqa: PLC0415 - client verbs start fast

    with _source(path) as (source, _):
        known = _is_known(customer, source) if path is None else None
        events = (exported(event) for event in source.events(0, customer))
        if wants_json():
            print_json({"customer": customer, "known": known, "events": list(events)})
            return
        if known is False:
            print(nobody(customer))
        found = False
        for event in events:
            found = True
            print(_line(event, customer))
        if not found:
            print(f"nothing is on record of {plain(customer)}")


def _is_known(customer: str, source: Source) -> bool | None:
    """Whether there is such a customer now; None: there is no daemon to be asked. The record itself is read without one."""
    after = source.head.number if source.head is not None else 0
    try:
        known: bool | None = client().get("/v1/audit/events", after=after, customer=customer, limit=1).get("known")
    except SekishoError:
        return None
    return known


def _line(event: dict[str, Any], customer: str) -> str:
    payload = event["payload"]
    fields = payload.items() if isinstance(payload, dict) else [("content", payload)]
    said = "  ".join(f"{name}: {_value(name, value)}" for name, value in fields if not _goes_without_saying(value, customer))
    return f"{number(event['number']):>9}  {moment(event['at_us'] / 1e6)}  {plain(event['kind']):<20}  {said}  ({plain(event['actor'])})"


def _goes_without_saying(value: object, customer: str) -> bool:
    return value is None or value in ("", customer) or value in ([], {})


def _value(name: str, value: object) -> str:
    if name in _TIMES and isinstance(value, int | float) and not isinstance(value, bool):
        return moment(value)
    if isinstance(value, str):
        return plain(value)
    return plain(json.dumps(value, ensure_ascii=False))


@contextlib.contextmanager
def _source(path: Path | None) -> Iterator[tuple[Source, str]]:
    """The ledger that is meant, and its name."""
    from sekisho.drivers.audit import LEDGER, LedgerSource  # noqa: PLC0415 - client verbs start fast

    file = path
    if file is None:
        file = state_path(chosen_config()) / LEDGER
        if not _may_read(file):
            yield DaemonSource(client()), f"the ledger of the daemon of {chosen_config()}"
            return
    with LedgerSource(file) as source:
        yield source, str(source.path)


def _may_read(file: Path) -> bool:
    """Whether the caller may open the file, or may see that there is none."""
    try:
        with file.open("rb"):
            return True
    except PermissionError:
        return False
    except OSError:
        return True


def _head_of(text: str) -> Head:
    from sekisho.ledger.chain import Head  # noqa: PLC0415 - client verbs start fast

    try:
        return Head.parse(text)
    except ValueError:
        wrong = f"{text!r} is no event; write NUMBER:DIGEST as the last line of `sekisho audit verify` has it"
        raise click.BadParameter(wrong, param_hint="--head") from None
