"""What a good site lacks on this machine or at this time: secrets that are not there, consents that are yet to be given,
resolvers that learn late, or that do not tell enough.

Owns what `sekisho check` looks at besides the files of the site. All of it is a warning: the daemon starts, tells the
same when it comes to it, and takes what is there by then. It may read as another user than who asks, so what cannot be
looked at is said to be unknown.
"""

from __future__ import annotations

import datetime as dt
import os
import pwd
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from sekisho.config.dnstap import Counted
from sekisho.config.document import Document, scan_document
from sekisho.config.faultlist import Faults
from sekisho.config.lines import LineMode
from sekisho.config.policyzones import PolicyZones, ResolverKind
from sekisho.drivers.secrets import read_credential
from sekisho.drivers.site import Site
from sekisho.drivers.sitefiles import SiteFiles, shown
from sekisho.model.clauses import MeasureRule
from sekisho.model.customers import Consent
from sekisho.model.errors import Fault, SekishoError
from sekisho.model.lists import TsigKey
from sekisho.model.measures import Detector, Effect
from sekisho.rpz.zone import Timers

_TWICE = (
    "resolvers tell of queries by `dnstap:` too: of one that does and that is among `resolvers` each query is counted twice; let one of the"
    " two tell of it"
)


def look_round(site: Site, path: Path, now: float) -> list[Fault]:
    """Warnings of a site that was read from `path`. Raises ConfigError if its files changed and cannot be read now."""
    main = _scan(path, str(path))
    settings = site.settings
    found: list[Fault] = []
    look = _Looking(settings.state)
    heard = [("radius", index, one.id, one.secret_file) for index, one in enumerate(settings.radius.nas if settings.radius else ())]
    asked = [("coa", index, one.id, one.secret_file) for index, one in enumerate(settings.coa.nases if settings.coa else ())]
    for section, index, name, file in (*heard, *asked):
        found += [main.fault((section, "nas", index, "secret_file"), text) for text in look.at_nas(section, name, file)]
    for index, key in enumerate(settings.policy_zones.keys if settings.policy_zones else ()):
        place = ("policy_zones", "keys", index, "secret_file")
        found += [main.fault(place, text) for text in look.at_key(TsigKey(key.name, key.algorithm, str(key.secret_file)))]
    late = dict(unnotified(settings.policy_zones)) if settings.policy_zones else {}
    for index, one in enumerate(settings.policy_zones.secondaries if settings.policy_zones else ()):
        if one.id in late:
            found.append(main.fault(("policy_zones", "secondaries", index), late[one.id]))
    if settings.dnstap is not None and settings.dnstap.count is Counted.RESPONSES:
        found += [main.fault(("dnstap", "count"), text) for text in _unheard(site)]
    if settings.dnstap is not None and settings.lines is not None and settings.lines.queries:
        found.append(main.fault(("lines", "queries"), _TWICE))
    signed = [(one.order, one.tsig) for one in site.lists if one.tsig is not None]
    if signed and settings.lists is not None:
        document = _scan(settings.lists, shown(settings.lists))
        for order, tsig in signed:
            found += [document.fault(("lists", order, "tsig"), text) for text in look.at_key(tsig)]
    return [*found, *_early(site, main, now)]


def unnotified(settings: PolicyZones) -> list[tuple[str, str]]:
    """Secondaries that learn of a change at their next refresh, and why that matters: what is said to be in force is not yet there.

    PowerDNS Recursor takes no NOTIFY for policy zones; its generated configuration asks every second.
    """
    why = (
        f"has no `notify`: what changes, as by an opt-out, is in force there at its next refresh, up to {Timers().refresh} seconds later;"
        " name the address:port where it takes NOTIFY, or say `resolver: recursor` of a PowerDNS Recursor"
    )
    late = [one for one in settings.secondaries if one.notify is None and one.resolver is not ResolverKind.RECURSOR]
    return [(one.id, f"{one.id} {why}") for one in late]


def _unheard(site: Site) -> Iterator[str]:
    """Measures that leave a customer unanswered, whose end nobody could tell where answers alone are told of."""
    settings, lines = site.settings, site.settings.lines
    if lines is not None and lines.silence and lines.mode is LineMode.ENFORCE:
        return  # the kernel counts what it drops
    rules = [rule for pack in site.packs.values() for rule in pack.rules if isinstance(rule, MeasureRule)]
    silencing = [rule.clause for rule in rules if rule.detector is Detector.DNS_OVERLOAD and rule.effect is Effect.SILENCE]
    for clause in dict.fromkeys(one for one in silencing if not settings.measures.observes(one)):
        yield (
            f"of who is silenced under {clause} no answer is told, so it is not known whether the flood goes on: the measure stays until a"
            " person lifts it; have the resolver tell of queries, with `count: queries`"
        )


def _scan(path: Path, file: str) -> Document:
    return scan_document(SiteFiles().text(path, file), file)


class _Looking:
    """Looks at files as this user, and if that is root for the user whose the state folder is: the daemon's."""

    def __init__(self, state: Path) -> None:
        self._daemon = _owner(state) if os.geteuid() == 0 else None

    def at_nas(self, section: str, name: str, file: Path | None) -> Iterator[str]:
        """What is wrong with the secret of an access server; its systemd credential comes first, and only its unit has that."""
        credential = f"{section}-{name}"
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if folder and (Path(folder) / credential).exists():
            return
        if file is None:
            yield (
                f"NAS {name} names no `secret_file`, so its secret is the systemd credential {credential}, which the daemon's unit alone"
                " has: it could not be looked at; see that the unit loads it"
            )
            return
        wrong = self._wrong(file, lambda: read_credential(credential, file, "", section))
        if wrong:
            yield f"NAS {name} cannot be dealt with unless the daemon's unit loads the systemd credential {credential}: {wrong}"

    def at_key(self, key: TsigKey) -> Iterator[str]:
        """What is wrong with the secret of a TSIG key."""
        from sekisho.drivers.transfer import load_tsig  # noqa: PLC0415 - brings dnspython's transfers, which most sites have none of

        wrong = self._wrong(Path(key.secret_file) if key.secret is None else None, lambda: load_tsig(key))
        if wrong:
            yield f"nothing is transferred with the key {key.name}: {wrong}"

    def _wrong(self, file: Path | None, read: Callable[[], object]) -> str:
        """What is wrong with a file of a secret, and what to do; empty if nothing is."""
        try:
            if file is not None:
                with file.open("rb") as opened:
                    mode = os.fstat(opened.fileno())
                if self._daemon is not None and not _may_read(mode, *self._daemon):
                    return f"the daemon may not read {file}; make it readable for the user whose the state folder is, and nobody else"
            read()
        except FileNotFoundError:
            return f"there is no file {file}; write the secret alone into it, or mend the path"
        except PermissionError:
            return f"could not look: {file} is not for this user; run `sekisho check` as the daemon's user, for whom it has to be readable"
        except OSError as error:
            return f"{file} cannot be read ({error.strerror}); look at what is there"
        except SekishoError as error:
            return str(error)
        return ""


def _owner(state: Path) -> tuple[int, set[int]] | None:
    """User and groups of the daemon, by its state folder; None if it has not been started yet, or is root."""
    try:
        held = state.stat()
        account = pwd.getpwuid(held.st_uid)
    except (OSError, KeyError):
        return None
    return (held.st_uid, set(os.getgrouplist(account.pw_name, account.pw_gid))) if held.st_uid else None


def _may_read(held: os.stat_result, user: int, groups: set[int]) -> bool:
    if held.st_uid == user:
        return bool(held.st_mode & stat.S_IRUSR)
    return bool(held.st_mode & (stat.S_IRGRP if held.st_gid in groups else stat.S_IROTH))


def _early(site: Site, main: Document, now: float) -> Iterator[Fault]:
    """Consents of a time to come: a typing error, or one that was not given yet."""
    message = "consent was given on {}, which is yet to come; write the day it was given, or leave it out until it is"
    groups = site.settings.groups
    for name, group in groups.items():
        if group.consented is not None and _is_to_come(group.consented, now):
            yield main.fault(("groups", name, "consent", "at"), message.format(group.consented.at))
    faults = Faults(site.customers.file)
    for line, customer in site.customers.agreed(lambda one: _is_to_come(one, now)):
        theirs = groups[customer.group].consented if customer.group in groups else None
        if customer.consent is not None and customer.consent != theirs:
            faults.add(line, message.format(customer.consent.at), "consent")
    yield from faults.all()


def _is_to_come(consent: Consent, now: float) -> bool:
    """A day has come where it has come anywhere; a time without a zone is of this machine's."""
    at = dt.datetime.fromisoformat(consent.at)
    if len(consent.at) <= len("2026-04-01"):
        return at.date() > dt.datetime.fromtimestamp(now, dt.timezone(dt.timedelta(hours=14))).date()
    try:
        return at.timestamp() > now
    except (OverflowError, ValueError, OSError):  # a year no clock has
        return at.year > dt.datetime.fromtimestamp(now, dt.UTC).year
