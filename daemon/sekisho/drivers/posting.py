"""Web posting: static pages a web server shows, each file written aside and renamed.

    index.html, feed.atom (RFC 4287), feed.json   announcements, and nothing else
    c/<name>.html                                 the notices to one customer

A customer's page has a name nobody can guess - a keyed digest of the id - and nothing links to it. What is
posted is kept beside the record (`<state>/posted/`), since a page is written whole each time.
Blocks: runs on a thread of the caller's.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import hashlib
import hmac
import json
import os
import secrets
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from sekisho.drivers.durable import write_file
from sekisho.measures.texts import Templates, Text
from sekisho.measures.words import Language
from sekisho.model.errors import ConfigError, UnavailableError

KEY_FILE = "notices.key"
KEY_SIZE = 32
MAX_POSTED = 1000
"""Notices of one page at most; the newest stay."""
_EVERYBODY = "announcements"
_TITLES = {Language.JA: "お知らせ", Language.EN: "Announcements"}


@dataclass(frozen=True, slots=True)
class Posted:
    """One notice as it stands on a page."""

    id: str
    at: float
    language: str
    subject: str
    paragraphs: tuple[tuple[str, ...], ...]

    @property
    def updated(self) -> str:
        return dt.datetime.fromtimestamp(self.at, dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


class Posting:
    """One folder of pages. `keep` in seconds; `language` is that of the page of announcements."""

    def __init__(self, folder: Path, url: str, state: Path, keep: float, language: Language, operator: str = "") -> None:
        self._folder = folder
        self._url = url
        self._state = state / "posted"
        self._key_path = state / KEY_FILE
        self._keep = keep
        self._language = language
        self._operator = operator
        self._lock = threading.Lock()
        self._key = b""

    def page_of(self, customer: str) -> str:
        """Where the customer's page is shown; for the empty id the announcements'. Raises UnavailableError."""
        return f"{self._url}c/{self._name(customer)}.html" if customer else self._url

    def post(self, customer: str, notice: str, text: Text, templates: Templates, now: float) -> None:
        """Put a notice on the customer's page, or for the empty id among the announcements. Posting it again changes nothing.

        Raises UnavailableError if the pages cannot be written.
        """
        with self._lock:
            try:
                name = self._name(customer) if customer else _EVERYBODY
                posted = [one for one in self._read(name) if one.id != notice and one.at > now - self._keep]
                posted.insert(0, Posted(notice, now, str(text.language), text.subject, text.paragraphs))
                posted = sorted(posted, key=lambda one: -one.at)[:MAX_POSTED]
                self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
                kept = json.dumps([asdict(one) for one in posted], ensure_ascii=False)
                write_file(self._state / f"{name}.json", kept.encode(), durable=True, mode=0o600)
                self._write(customer, name, posted, text.language, templates)
            except (OSError, ConfigError) as error:
                raise UnavailableError(f"the page of a notice cannot be written ({error}); see `notices: web: folder`") from error

    def purge(self, now: float) -> int:
        """Take away pages on which everything is older than it is kept; returns how many. Raises UnavailableError."""
        removed = 0
        with self._lock:
            try:
                for kept in sorted(self._state.glob("*.json")):
                    if kept.stem != _EVERYBODY and all(one.at <= now - self._keep for one in self._read(kept.stem)):
                        (self._folder / "c" / f"{kept.stem}.html").unlink(missing_ok=True)
                        kept.unlink(missing_ok=True)
                        removed += 1
            except OSError as error:
                raise UnavailableError(f"old pages cannot be removed ({error}); see `notices: web: folder`") from error
        return removed

    def _write(self, customer: str, name: str, posted: Sequence[Posted], language: Language, templates: Templates) -> None:
        self._make_folder()
        title = _TITLES[self._language]
        if customer:
            subject = posted[0].subject
            page = templates.page(f"customer.{language}.html", title=subject, posted=posted)
            _publish(self._folder / "c" / f"{name}.html", page)
            return
        _publish(self._folder / "index.html", templates.page(f"index.{self._language}.html", title=title, posted=posted))
        _publish(self._folder / "feed.atom", atom(self._url, title, self._operator, posted))
        _publish(self._folder / "feed.json", json_feed(self._url, title, posted))

    def _make_folder(self) -> None:
        if not self._folder.is_dir():
            self._folder.mkdir(parents=True, exist_ok=True)
            self._folder.chmod(0o755)
        inner = self._folder / "c"
        if not inner.is_dir():
            inner.mkdir()
            # A web server that lists folders must not list this one: it may pass through, and not look.
            inner.chmod(0o711)

    def _read(self, name: str) -> list[Posted]:
        try:
            kept = json.loads((self._state / f"{name}.json").read_text(encoding="utf-8"))
            return [Posted(**one | {"paragraphs": tuple(tuple(lines) for lines in one["paragraphs"])}) for one in kept]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError, KeyError):
            return []  # a page that cannot be gone on with starts anew; the record has it all

    def _name(self, customer: str) -> str:
        """160 bits of a keyed digest, in letters and digits."""
        digest = hmac.new(self._secret(), customer.encode(), hashlib.sha256).digest()[:20]
        return base64.b32encode(digest).decode().lower()

    def _secret(self) -> bytes:
        if not self._key:
            try:
                self._key = _key(self._key_path)
            except OSError as error:
                raise UnavailableError(
                    f"the key {self._key_path} cannot be read or made ({error.strerror}); see the state folder"
                ) from None
        return self._key


def _key(path: Path) -> bytes:
    with contextlib.suppress(FileNotFoundError):
        found = path.read_bytes()
        if len(found) == KEY_SIZE:
            return found
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    made = secrets.token_bytes(KEY_SIZE)
    write_file(path, made, durable=True, mode=0o600)
    return made


def _publish(path: Path, text: str) -> None:
    """Readable for the web server, whatever the umask."""
    write_file(path, text.encode(), mode=0o644)
    os.chmod(path, 0o644)  # noqa: PTH101 - beside the call above


def atom(url: str, title: str, operator: str, posted: Sequence[Posted]) -> str:
    """The announcements as an Atom feed (RFC 4287)."""
    updated = posted[0].updated if posted else "1970-01-01T00:00:00Z"
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<feed xmlns="http://www.w3.org/2005/Atom">',
        f"<id>{escape(url)}</id>",
        f"<title>{escape(title)}</title>",
        f"<updated>{updated}</updated>",
        f"<author><name>{escape(operator or url)}</name></author>",
        f'<link rel="self" href={quoteattr(url + "feed.atom")}/>',
        f"<link href={quoteattr(url)}/>",
    ]
    for one in posted:
        lines += [
            "<entry>",
            f"<id>{escape(url)}#{escape(one.id)}</id>",
            f"<title>{escape(one.subject)}</title>",
            f"<updated>{one.updated}</updated>",
            f"<link href={quoteattr(f'{url}#{one.id}')}/>",
            f'<content type="text">{escape(_plain(one))}</content>',
            "</entry>",
        ]
    return "\n".join([*lines, "</feed>", ""])


def json_feed(url: str, title: str, posted: Sequence[Posted]) -> str:
    """The announcements as a JSON Feed, version 1.1 (jsonfeed.org)."""
    items = [
        {
            "id": f"{url}#{one.id}",
            "url": f"{url}#{one.id}",
            "title": one.subject,
            "content_text": _plain(one),
            "date_published": one.updated,
            "language": one.language,
        }
        for one in posted
    ]
    feed = {
        "version": "https://jsonfeed.org/version/1.1",
        "title": title,
        "home_page_url": url,
        "feed_url": f"{url}feed.json",
        "items": items,
    }
    return json.dumps(feed, ensure_ascii=False, indent=1) + "\n"


def _plain(one: Posted) -> str:
    return "\n\n".join("\n".join(lines) for lines in one.paragraphs)
