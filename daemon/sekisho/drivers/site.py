"""A site: every file of one checkpoint, read together.

Owns finding and reading the files - main file, terms packs, list definitions, customers - and
what is wrong between them. Faults of all files come in one ConfigError, so that one `check` shows
everything there is to mend.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from sekisho.config.customers import read_customers
from sekisho.config.document import Document, scan_document
from sekisho.config.events import WebhookSinkSettings
from sekisho.config.faultlist import Faults
from sekisho.config.groups import settle
from sekisho.config.lists import read_lists
from sekisho.config.register import Customers
from sekisho.config.settings import PACK_ID, References, Settings, read_settings, references
from sekisho.config.validation import did_you_mean
from sekisho.drivers.accounts import SystemAccounts
from sekisho.drivers.sitefiles import SiteFiles, is_missing, shown
from sekisho.drivers.sitezones import zone_faults, zone_warnings
from sekisho.lists.idn import to_wire
from sekisho.model.clauses import Pack
from sekisho.model.customers import Prefix
from sekisho.model.errors import ConfigError, Fault, RefusedError
from sekisho.model.lists import ListDefinition, ListFormat
from sekisho.terms.crosscheck import unknown_exemptions, unknown_terms, unused_categories
from sekisho.terms.pack import read_pack

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Site:
    """What the files say. `warnings` are no faults: the site works, and something in it does nothing."""

    settings: Settings
    packs: dict[str, Pack]
    lists: tuple[ListDefinition, ...]
    customers: Customers
    warnings: tuple[Fault, ...]
    digests: Mapping[str, str] = field(default_factory=dict)
    """What stood in each file that was read (`drivers.filedigest`), by its absolute path."""


def load_site(path: Path) -> Site:
    """Read the main file and all it names. Raises ConfigError with every fault of every file."""
    reader = _SiteReader(path)
    site = reader.read()
    if reader.faults or site is None:
        raise ConfigError(reader.faults)
    return site


def load_packs(path: Path) -> dict[str, Pack]:
    """The terms packs alone that a main file names, by id. Raises ConfigError with every fault of theirs."""
    reader = _SiteReader(path)
    packs = reader.read_packs()
    if reader.faults:
        raise ConfigError(reader.faults)
    return packs


def load_settings(path: Path) -> Settings:
    """The main file alone. Raises ConfigError with every fault of it."""
    return read_settings(scan_document(SiteFiles().text(path, shown(path)), shown(path)), path.parent, SystemAccounts())


def load_pack(name: str) -> Pack:
    """One pack: a bare id is one shipped with Sekisho, all else a path.

    Raises ConfigError with its faults, RefusedError if it is not there.
    """
    path = _pack_file(name)
    if is_missing(path):
        raise RefusedError(f"there is no file {shown(path)}; write the path of a terms pack, or the id of a shipped one")
    return read_pack(scan_document(SiteFiles().text(path, shown(path)), shown(path)))


def _pack_file(name: str) -> Path:
    return shipped_packs_folder() / f"{name}.yaml" if PACK_ID.fullmatch(name) else Path(name)


def shipped_packs_folder() -> Path:
    """Where the packs shipped with Sekisho lie: in the installed package, or in a checkout's `policies/`."""
    package = Path(str(importlib.resources.files("sekisho")))
    installed = package / "_policies"
    return installed if installed.is_dir() else package.parent.parent / "policies"


def shipped_packs() -> list[str]:
    """Ids of the packs shipped with Sekisho."""
    return sorted(path.stem for path in shipped_packs_folder().glob("*.yaml") if PACK_ID.fullmatch(path.stem))


@dataclass(slots=True)
class _Unread:
    """What a site names and could not be read: nobody is blamed for naming what is in it."""

    packs: set[str] = field(default_factory=set)
    lists: bool = False


class _SiteReader:
    """Reads the files of a site, collecting faults."""

    def __init__(self, path: Path) -> None:
        self.faults: list[Fault] = []
        self.warnings: list[Fault] = []
        self._files = SiteFiles()
        self._path = path
        self._file = str(path)
        self._folder = path.absolute().parent
        self._unread = _Unread()
        self._known_lists: set[str] = set()
        self._lists_document: Document | None = None

    def read(self) -> Site | None:
        document = self._scan(self._path, self._file)
        if document is None:
            return None
        settings = self._try(lambda: read_settings(document, self._folder, SystemAccounts()))
        named = references(document, self._folder)
        self._check_garden(document, settings)
        packs = self._packs(named)
        lists = self._lists(named)
        customers = self._customers(named)
        if customers is not None:
            self._exchange(customers, packs)
        if settings is not None:
            self._measures(settings, packs, document)
            self.faults += zone_faults(settings, document, packs, self._unread.packs, None if self._unread.lists else self._known_lists)
            self.warnings += zone_warnings(settings, document, lists or ())
        if settings is not None and settings.notices is not None and settings.notices.templates is not None:
            self._templates(settings.notices.templates)
        if settings is None or lists is None or customers is None or self.faults:
            return None
        self._warn_of(settings, packs, lists)
        self._groups(settings, customers, document)
        self._priority(settings, customers)
        return Site(settings, packs, lists, customers, tuple(sorted(self.warnings)), self._files.digests)

    def _check_garden(self, document: Document, settings: Settings | None) -> None:
        """Names let out of the walled garden that no query can have."""
        garden = settings.walled_garden if settings is not None else None
        for index, name in enumerate(garden.allow if garden is not None else ()):
            try:
                to_wire(name)
            except ValueError as error:
                self.faults.append(document.fault(("walled_garden", "allow", index), f"{name} is no domain name: {error}; mend it"))

    def read_packs(self) -> dict[str, Pack]:
        document = self._scan(self._path, self._file)
        return self._packs(references(document, self._folder)) if document else {}

    def _templates(self, folder: Path) -> None:
        from sekisho.drivers.noticefiles import load_templates  # noqa: PLC0415 - brings the templates' language with it

        self._try(lambda: load_templates(folder))

    def _try(self, step: Callable[[], T]) -> T | None:
        try:
            return step()
        except ConfigError as error:
            self.faults.extend(error.faults)
            return None

    def _scan(self, path: Path, file: str) -> Document | None:
        return self._try(lambda: scan_document(self._files.text(path, file), file))

    def _missing(self, line: int, key: str, path: Path) -> None:
        message = f"{shown(path)} is not there; write the file, or mend the path (it starts at the folder of this file)"
        self.faults.append(Fault(self._file, line, message, key))

    def _packs(self, named: References) -> dict[str, Pack]:
        """The packs by id: those that can be read."""
        packs: dict[str, Pack] = {}
        for name, line in named.terms:
            bare = PACK_ID.fullmatch(name) is not None
            path = _pack_file(name)
            if is_missing(path):
                self._unread.packs.add(path.stem)
                if bare:
                    known = shipped_packs()
                    message = f"no pack {name} is shipped with Sekisho; for one of your own write its path, ./{name}.yaml"
                    self.faults.append(Fault(self._file, line, message + did_you_mean(name, known), "terms"))
                else:
                    self._missing(line, "terms", path)
                continue
            document = self._scan(path, shown(path))
            pack = self._try(lambda document=document: read_pack(document)) if document else None  # type: ignore[misc]
            if pack is None:
                values = document.value if document and isinstance(document.value, dict) else {}
                self._unread.packs.add(str(values.get("pack", path.stem)))
            elif pack.id in packs:
                message = f"{name} is the pack {pack.id}, which is loaded already; a copy of your own needs an id of its own under `pack:`"
                self.faults.append(Fault(self._file, line, message, "terms"))
            else:
                packs[pack.id] = pack
        return packs

    def _lists(self, named: References) -> tuple[ListDefinition, ...] | None:
        path = named.lists
        if path is None:
            return ()
        if is_missing(path):
            self._missing(named.lists_line, "lists", path)
            self._unread.lists = True
            return None
        document = self._lists_document = self._scan(path, shown(path))
        lists = self._try(lambda: read_lists(document, path.parent)) if document else None
        if lists is not None:
            self._known_lists = {one.id for one in lists}
            return lists
        raw = document.value.get("lists") if document and isinstance(document.value, dict) else None
        self._unread.lists = not isinstance(raw, list)
        self._known_lists = {str(item.get("id")) for item in raw if isinstance(item, dict)} if isinstance(raw, list) else set()
        return None

    def _customers(self, named: References) -> Customers | None:
        """The customers, whatever was wrong with some of them; None if there is nothing to go on with."""
        path = named.customers
        if path is None:
            return Customers()
        if is_missing(path):
            self._missing(named.customers_line, "customers", path)
            return None
        file, suffix = shown(path), path.suffix.lower()
        if suffix == ".csv":
            found = self._try(lambda: self._files.customers(path))
        elif suffix in {".yaml", ".yml"}:
            found = self._try(lambda: read_customers(scan_document(self._files.text(path, file), file)))
        else:
            message = f"{path.name} is neither .yaml nor .csv; name the customer file by what it holds"
            self.faults.append(Fault(self._file, named.customers_line, message, "customers"))
            return None
        if found is None:
            return None
        self.faults.extend(found[1])
        return found[0]

    def _exchange(self, customers: Customers, packs: dict[str, Pack]) -> None:
        """Packs, lists and clauses that customers name and that are not there.

        A file that could not be read is not held against those who name what it should have said.
        """
        clauses = {clause.id for pack in packs.values() for clause in pack.clauses}
        wrong: dict[int, list[tuple[str, str]]] = {}
        for number, contract in enumerate(customers.contracts):
            named = [name for name in contract.exempt if name.partition("/")[0] not in self._unread.packs or "/" not in name]
            judged = [name for name in named if "/" in name or not self._unread.lists]
            told = [("terms", message) for message in unknown_terms(contract.terms, packs, self._unread.packs)]
            told += [("exempt", message) for message in unknown_exemptions(judged, clauses | self._known_lists)]
            if told:
                wrong[number] = told
        faults = Faults(customers.file)
        for line, number in customers.lines_under(wrong) if wrong else ():
            for key, message in wrong[number]:
                faults.add(line, message, key)
        self.faults.extend(faults.all())

    def _measures(self, settings: Settings, packs: dict[str, Pack], document: Document) -> None:
        """Clauses with a mode of their own that no pack has: a misspelt one must not be enforced, or not, unnoticed."""
        clauses = {clause.id for pack in packs.values() for clause in pack.clauses}
        for clause in settings.measures.clauses:
            if clause not in clauses and clause.partition("/")[0] not in self._unread.packs:
                message = f"{clause} is no clause of a pack that `terms:` loads{did_you_mean(clause, clauses)}"
                self.faults.append(document.fault(("measures", "clauses", clause), message))

    def _warn_of(self, settings: Settings, packs: dict[str, Pack], lists: tuple[ListDefinition, ...]) -> None:
        if not settings.terms:
            self._warn("terms", "no terms pack is named: no clause, no measure - nothing is enforced")
        if settings.lists is None:
            self._warn("lists", "no list definitions are named: nothing is blocked")
        if self._lists_document is not None:
            for definition, message in unused_categories(packs, lists):
                self.warnings.append(self._lists_document.fault(("lists", definition.order, "category"), message))
            for definition in lists:
                if definition.format is not ListFormat.AXFR and "://" not in definition.source and is_missing(Path(definition.source)):
                    message = f"there is no file {shown(Path(definition.source))}; the list holds what it held last, or nothing"
                    self.warnings.append(self._lists_document.fault(("lists", definition.order, "source"), message))
        for number, sink in enumerate(settings.events.sinks):
            if isinstance(sink, WebhookSinkSettings):
                if sink.secret is None:
                    self._warn(f"events.sinks[{number}].secret", "deliveries are not signed: the receiver cannot tell them from anybody's")
                if sink.url.startswith("http://") and urlsplit(sink.url).hostname not in {"127.0.0.1", "::1", "localhost"}:
                    self._warn(f"events.sinks[{number}].url", "customers' ids go over the network unencrypted; use https://")
        for prefix in settings.allow:
            if prefix in {Prefix.parse("0.0.0.0/0"), Prefix.parse("::/0")}:
                self._warn("allow", f"{prefix} lets the whole Internet ask: an open resolver (RFC 5358)")

    def _groups(self, settings: Settings, customers: Customers, document: Document) -> None:
        """What is set for VPN groups; a representative who is no member is told, or no customer. One added at run time may be."""
        for name, group in settings.groups.items():
            found = customers.get(group.representative)
            if found is None:
                message = f"{group.representative} is to represent group {name} and is not in the customer file: unless added, nobody does"
                self.warnings.append(document.fault(("groups", name), message))
            elif found.group != name:
                message = f"{group.representative} is to represent group {name} and is not in it: it can set nothing"
                self.warnings.append(document.fault(("groups", name), message))
        settle(customers, settings.groups)

    def _priority(self, settings: Settings, customers: Customers) -> None:
        """Who is to go on unlimited in an emergency and is nobody: told now, and not when one is declared."""
        known = {contract.group for contract in customers.contracts}
        for name in settings.measures.priority:
            if name not in known and customers.get(name) is None:
                message = (
                    f"{name} is neither a customer nor a group of the customer file: unless one is added, no emergency can be declared"
                )
                self._warn("measures.priority", message)

    def _warn(self, key: str, message: str) -> None:
        self.warnings.append(Fault(self._file, 0, message, key))
