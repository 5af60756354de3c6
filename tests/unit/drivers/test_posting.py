"""Web pages of notices: announcements for everybody, and a page a customer alone can find."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree as ET

import pytest

from sekisho.drivers.noticefiles import load_templates
from sekisho.drivers.posting import Posting
from sekisho.measures.texts import SAMPLE
from sekisho.measures.words import Language
from sekisho.model.errors import UnavailableError
from sekisho.model.measures import Occasion

T0 = 1_775_003_400.0
URL = "https://notices.example.net/"
ATOM = "{http://www.w3.org/2005/Atom}"


@pytest.fixture(scope="module")
def templates():
    return load_templates()


@pytest.fixture
def posting(tmp_path):
    return Posting(tmp_path / "web", URL, tmp_path / "state", 86400.0, Language.JA, "Example ISP")


def text(templates, occasion=Occasion.ANNOUNCEMENT, language=Language.JA):
    return templates.render(occasion, language, SAMPLE)


def test_announcements_are_a_page_and_two_feeds(posting, templates, tmp_path):
    posting.post("", "n-1", text(templates), templates, T0)
    posting.post("", "n-2", text(templates, Occasion.EMERGENCY), templates, T0 + 60)
    page = (tmp_path / "web/index.html").read_text(encoding="utf-8")
    assert page.index('id="n-2"') < page.index('id="n-1"'), "the newest first"
    feed = ET.fromstring((tmp_path / "web/feed.atom").read_bytes())  # noqa: S314 - our own
    assert [entry.findtext(f"{ATOM}id") for entry in feed.iter(f"{ATOM}entry")] == [f"{URL}#n-2", f"{URL}#n-1"]
    assert feed.findtext(f"{ATOM}updated") == "2026-04-01T00:31:00Z"
    items = json.loads((tmp_path / "web/feed.json").read_text(encoding="utf-8"))["items"]
    assert [item["id"] for item in items] == [f"{URL}#n-2", f"{URL}#n-1"]
    assert items[1]["title"] == text(templates).subject
    assert (tmp_path / "web/index.html").stat().st_mode & 0o777 == 0o644


def test_a_customers_notices_are_on_a_page_nobody_can_guess_and_nothing_leads_to(posting, templates, tmp_path):
    posting.post("", "n-1", text(templates), templates, T0)
    posting.post("c-1001", "n-2", text(templates, Occasion.BEFORE), templates, T0)
    [page] = (tmp_path / "web/c").iterdir()
    assert re.fullmatch(r"[a-z2-7]{32}\.html", page.name)
    assert posting.page_of("c-1001") == f"{URL}c/{page.name}"
    assert posting.page_of("c-1002") != posting.page_of("c-1001")
    assert posting.page_of("") == URL
    for public in ("index.html", "feed.atom", "feed.json"):
        shown = (tmp_path / "web" / public).read_text(encoding="utf-8")
        assert page.stem not in shown
        assert "n-2" not in shown
    assert "noindex" in page.read_text(encoding="utf-8")
    assert (tmp_path / "web/c").stat().st_mode & 0o777 == 0o711, "no listing"
    other = Posting(tmp_path / "web2", URL, tmp_path / "other", 86400.0, Language.JA)
    assert other.page_of("c-1001") != posting.page_of("c-1001"), "the name is keyed"
    again = Posting(tmp_path / "web", URL, tmp_path / "state", 86400.0, Language.JA)
    assert again.page_of("c-1001") == posting.page_of("c-1001"), "and stays over restarts"


def test_posting_again_changes_nothing_and_old_notices_go(posting, templates, tmp_path):
    for _ in range(2):
        posting.post("c-1", "n-1", text(templates, Occasion.BEFORE), templates, T0)
    [page] = (tmp_path / "web/c").iterdir()
    assert page.read_text(encoding="utf-8").count('id="n-1"') == 1
    posting.post("c-1", "n-2", text(templates, Occasion.LIFTED), templates, T0 + 86401)
    shown = page.read_text(encoding="utf-8")
    assert 'id="n-2"' in shown
    assert 'id="n-1"' not in shown
    assert posting.purge(T0 + 86402) == 0
    assert posting.purge(T0 + 3 * 86400) == 1
    assert list((tmp_path / "web/c").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path, templates):
    (tmp_path / "web").write_text("in the way")
    posting = Posting(tmp_path / "web", URL, tmp_path / "state", 86400.0, Language.JA)
    with pytest.raises(UnavailableError, match="see `notices: web: folder`"):
        posting.post("", "n-1", text(templates), templates, T0)
