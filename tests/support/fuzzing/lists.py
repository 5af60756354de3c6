"""Targets of feeds, a target a format: hostile text.

The reference is the product's slow path, which reads each line by itself; names are judged by the
text they stand for, their digests by a plain SipHash. Guided by what was said of the lines: reasons,
triggers, actions and how many of each.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from typing import Any
from unittest import mock

from sekisho.lists import adblock, domains, hosts, idn, jsonfeed, tabular, zonefile
from sekisho.lists.compile import FeedResult, compile_feed
from sekisho.lists.guard import Guard, build_guard
from sekisho.lists.rows import Rows, Tally
from sekisho.lists.scan import octets
from sekisho.model.errors import FeedError
from sekisho.model.lists import ListDefinition, ListFormat, Scope
from sekisho.snapshot.digest import digest_name
from support.fuzzing.texts import BOM, COMMON, Text, check_names, said_of
from support.fuzzing.transfers import Transfers, transfer_messages
from support.plane import KEY
from support.slowpath import all_odd, outcome

_FULL_EVERY = 16
_ZONE = "rpz.test"
_KEPT = "kept.example"


class Feed(Text):
    """A feed of one text format. `comments`: what starts a comment line; `alone`: lines are read one by one."""

    def __init__(
        self, kind: ListFormat, module: Any, scanner: str, comments: bytes, lines: Sequence[bytes], tokens: Sequence[bytes], *, alone: bool
    ) -> None:
        super().__init__()
        self.name, self.kind, self.module, self.scanner = str(kind.value), kind, module, scanner
        self.comments, self.lines, self.words, self.alone = comments, lines, tokens, alone

    def seeds(self) -> list[bytes]:
        whole = b"\n".join(self.lines) + b"\n"
        return [*self.lines, whole, BOM + whole.replace(b"\n", b"\r\n"), b""]

    def tokens(self) -> list[bytes]:
        return [*self.words, *COMMON]

    def features(self, data: bytes) -> set[Any]:
        touched: set[Any] = set()
        for scope in Scope:
            rows, tally = self._read(data, scope)
            if self.scanner:
                # What is said in a comment is nobody's matter, be it text or not: the module alone would skip its line.
                clean = b"\n".join(_commented(line, self.comments) for line in data.split(b"\n"))
                result = outcome(rows, tally) if clean == data else outcome(*self._read(clean, scope))
                with mock.patch.object(self.module, self.scanner, all_odd(self.comments)):
                    assert outcome(*self._read(clean, scope)) == result, "scanner and module do not read the feed alike"
            if self.alone and scope is list(Scope)[len(data) % 2]:
                self._check_lines(data, scope, rows, tally)
            check_names(rows)
            touched |= said_of(rows, tally, scope)
        if self.judged % _FULL_EVERY == 0:
            self._compile(data)
        return touched

    def _read(self, data: bytes, scope: Scope) -> tuple[Rows, Tally]:
        rows, tally = Rows(1, 1), Tally("feed", sealed=False)
        array = octets(data)
        match self.kind:
            case ListFormat.CSV:
                with contextlib.suppress(FeedError):
                    tabular.read(array, scope, "name", rows, tally)
            case ListFormat.JSON:
                with contextlib.suppress(FeedError):
                    jsonfeed.read(array, scope, "name", rows, tally)
            case ListFormat.RPZ:
                zonefile.read(array, _ZONE if scope is Scope.EXACT else None, rows, tally)
            case _:
                self.module.read(array, scope, rows, tally)
        return rows, tally

    def _check_lines(self, data: bytes, scope: Scope, rows: Rows, tally: Tally) -> None:
        """Every line comes to what it comes to alone: none costs the feed, and none is lost."""
        found: dict[int, list[tuple[bytes, int, int]]] = {}
        for row in range(rows.count):
            found.setdefault(int(rows.lines[row]), []).append((rows.name(row), int(rows.triggers[row]), int(rows.actions[row])))
        skipped = unkept = 0
        for number, line in enumerate(data.removeprefix(BOM).split(b"\n"), 1):
            own, said = self._read(line, scope) if not line.startswith(BOM) else self._read(BOM + line, scope)
            made = [(own.name(row), int(own.triggers[row]), int(own.actions[row])) for row in range(own.count)]
            assert sorted(made) == sorted(found.get(number, [])), f"line {number} is read otherwise among others"
            skipped, unkept = skipped + said.skipped, unkept + said.unkept.total()
            came = len(made) + said.skipped + said.unkept.total()
            if self._is_silent(line):
                assert came == 0, f"line {number} is blank or a comment and came to something"
            elif self.kind is not ListFormat.HOSTS:
                assert came == 1, f"line {number} came to {came} things, not one"
        assert (skipped, unkept) == (tally.skipped, tally.unkept.total()), "lines skipped are not those skipped alone"

    def _is_silent(self, line: bytes) -> bool:
        words = line.decode("utf-8", "replace").split()
        stripped = line.lstrip(b" \t\r")
        if not stripped or stripped[0] in self.comments:
            return True
        if len(line) > 4096 or not _is_utf8(line):
            return False
        if not words:
            return True
        if self.kind is ListFormat.ADBLOCK:
            text = line.decode().strip()
            return text[0] == "!" or text == "#" or text.startswith("# ") or (text[0] == "[" and text[-1] == "]")
        return words[0][0] in self.comments.decode()

    def _compile(self, data: bytes) -> None:
        """The whole way to a compiled list, open and sealed, with a good line at the end that must be kept."""
        good = {
            ListFormat.HOSTS: f"0.0.0.0 {_KEPT}", ListFormat.ADBLOCK: f"||{_KEPT}^", ListFormat.DOMAINS: _KEPT,
            ListFormat.RPZ: f"{_KEPT}.{_ZONE}. CNAME .", ListFormat.CSV: f"{_KEPT},x", ListFormat.JSON: "",
        }[self.kind]  # fmt: skip
        head = b"name,why\n" if self.kind is ListFormat.CSV else b""
        versions: list[tuple[object, ...]] = []
        for sealed in (False, True):
            zone, column = (_ZONE if self.kind is ListFormat.RPZ else None), ("name" if head or self.kind is ListFormat.JSON else None)
            definition = ListDefinition("fuzz", 0, "c2", "names", self.kind, scope=Scope.EXACT, column=column, zone=zone, sealed=sealed)
            try:
                with self.guarded():
                    made = compile_feed(definition, head + data + b"\n" + good.encode(), KEY, file="feed")
            except FeedError as error:
                # One value that is cut off or broken is no feed.
                if good:
                    raise
                versions.append((str(error),))
                continue
            if good:
                self.check_kept(made, idn.to_wire(_KEPT))
            assert not sealed or _KEPT not in repr(made.report), "a sealed list's line is told"
            versions.append((made.report.entries, made.report.skipped, made.report.refused, made.report.unkept))
        assert versions[0] == versions[1], "a sealed list is read otherwise"

    @staticmethod
    def guarded() -> Any:
        """Have feeds compiled with one guard: that of the public suffixes takes longer to build than a thousand feeds."""
        return mock.patch("sekisho.lists.compile.guard_for", return_value=_guard())

    @staticmethod
    def check_kept(made: FeedResult, name: bytes) -> None:
        assert digest_name(name, KEY)[0] in made.compiled.digests[:, 0], "a good line after the others was lost"


@functools.cache
def _guard() -> Guard:
    return build_guard(KEY)


def _commented(line: bytes, comments: bytes) -> bytes:
    """The line, what stands behind the first mark of a comment in ASCII."""
    if _is_utf8(line):
        return line
    at = min((line.find(mark) for mark in comments if mark in line), default=len(line))
    return line[:at] + bytes(octet if octet < 128 else 63 for octet in line[at:])


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def feeds() -> list[Text]:
    """Every target of this module."""
    rpz = [
        b"$ORIGIN rpz.test.", b"$TTL 300", b"@ SOA a. b. (1 2", b"3 4 5)", b"bad.example CNAME .", b"*.bad.example 60 IN CNAME *.",
        b"worse.example.rpz.test. CNAME rpz-passthru.", b"drop.example CNAME rpz-drop. ; why", b"tcp.example CNAME rpz-tcp-only.",
        b"  A 192.0.2.9", b'local.example TXT "a;(b"', b"8.2.0.192.rpz-ip CNAME .", b"away.example CNAME garden.test.", b"x MX 10 m.test.",
    ]  # fmt: skip
    block = [
        b"||bad.example^",
        b"@@||good.bad.example^",
        b"||*.worse.example^$important",
        b"||a.example^$third-party",
        b"example##.ad",
        b"[Adblock Plus]",
        b"! c",
    ]
    jsons = [
        b'["bad.example", "*.worse.example"]',
        b'[{"name": "bad.example", "why": 1}]',
        b'{"name": ["a.example"], "v": 2}',
        b'"bad.example"\n{"name": "b.example"}\n',
    ]
    host = [
        b"0.0.0.0 bad.example worse.example # c",
        b"127.0.0.1 localhost",
        b"::1 ip6-localhost bad.example",
        b"fe80::1%lo0 a.example",
        b"# c",
        b"1..2.3 a.example",
        b"1.2.3.4.5 a.example",
        b"0.0.0.0\t" + b"a" * 64 + b".example",
    ]
    plain = [
        b"bad.example",
        b"*.worse.example # c",
        b"bad.example.",
        b"# c",
        "bücher.example".encode(),
        b"192.0.2.1",
        b"a" * 63 + b".example",
        b"a" * 64 + b".example",
    ]
    table = [b"name,why", b"bad.example,c2", b'"*.worse.example","a ""b"" c"', b"# c", b"name;why", b"name\twhy"]
    return [
        Feed(ListFormat.DOMAINS, domains, "scan_domains", b"#;!", plain, [], alone=True),
        Feed(ListFormat.HOSTS, hosts, "scan_hosts", b"#", host, [b"0.0.0.0 ", b"::1 ", b"localhost", b"999.0.0.1 "], alone=True),
        Feed(ListFormat.ADBLOCK, adblock, "scan_adblock", b"!", block, [b"||", b"^", b"@@||", b"$important", b"##", b"["], alone=True),
        Feed(ListFormat.CSV, tabular, "", b"#", table, [b",", b'"', b'""', b"name,why\n"], alone=False),
        Feed(ListFormat.JSON, jsonfeed, "", b"", jsons, [b"[", b"]", b"{", b"}", b'"name": ', b'"', b"\\u00e9", b"\\ud800", b"[" * 60, b"1e999", b"NaN"], alone=False),
        Feed(ListFormat.RPZ, zonefile, "scan_zone_text", b";", rpz, [b"$ORIGIN ", b"$TTL ", b"(", b")", b'"', b"\\", b" CNAME ", b" A ", b"@", b" IN ", b"rpz-ip", b"rpz.test."], alone=False),
        Transfers(transfer_messages()),
    ]  # fmt: skip
