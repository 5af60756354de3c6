"""`sekisho terms`: what a pack says, in words and as JSON, and packs side by side."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from sekisho.cli.main import cli

OWN = """\
version: 1
pack: mine
document: {title: Mine, operator: Me, version: 1}
clauses:
  - id: mine/1
    article: Article 1
    ja: 一
    en: one
    rules:
      - {kind: announcement, what: maintenance, lead: 3 business days, urgent: false}
  - {id: mine/2, article: Article 2, ja: 二, en: two, informative: nothing to enforce}
"""


@pytest.fixture
def sekisho(tmp_path, monkeypatch):
    """Runs a command in an empty folder without a configuration; gives the exit code and what was printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEKISHO_CONFIG", "")
    monkeypatch.setattr("sekisho.cli.client.DEFAULT_FILES", ("sekisho.yaml",))

    def run(*words):
        result = CliRunner().invoke(cli, words, prog_name="sekisho")
        return result.exit_code, result.output

    return run


def test_a_shipped_clause_is_shown_in_both_languages_with_what_its_rules_do(sekisho):
    code, text = sekisho("terms", "show", "nbnet/22-2-5")
    assert code == 0
    assert "nbnet/22-2-5  第22条 2(5)" in text
    assert "単位時間あたり" in text
    assert "no query of that customer may be answered" in text
    for words in (
        "silence, partial: no query is answered",
        "told before; where it is urgent, enforced at once and told after",
        "as long as the condition holds",
        "possible after 10 days in force (nbnet/26-1); raised, never carried out",
        "200 queries a second, 400 at once",
    ):
        assert words in text


def test_a_whole_pack_shows_every_clause_and_why_one_is_informative(sekisho):
    code, text = sekisho("terms", "show", "vectant")
    assert code == 0
    assert "vectant/18-2-17" in text
    assert "1 month, extended while the condition holds" in text
    assert "10 business days before; later where it is urgent" in text
    assert "informative: Kept by `fees: continue`" in text


@pytest.mark.parametrize("pack", ["gunma", "nbnet", "vectant", "network-service", "smartconnect-panel"])
def test_every_shipped_pack_is_shown_and_is_json(sekisho, pack):
    code, text = sekisho("terms", "show", pack)
    assert code == 0
    assert all(hint not in text for hint in ("Span(", "<", "None"))
    code, text = sekisho("terms", "show", pack, "--json")
    body = json.loads(text)
    assert body["pack"] == pack
    assert all(one["rules"] or one["informative"] for one in body["clauses"])


def test_json_has_lengths_in_the_packs_own_words(sekisho):
    body = json.loads(sekisho("terms", "show", "nbnet/22-1-1", "--json")[1])
    (rule,) = body["rules"]
    assert (body["pack"], body["id"]) == ("nbnet", "nbnet/22-1-1")
    assert (rule["kind"], rule["ground"], rule["effect"]) == ("measure", "unpaid", "walled-garden")
    assert (rule["release_delay"], rule["termination_after"], rule["period"]) == ("3 days", "10 days", None)
    (block,) = json.loads(sekisho("terms", "show", "gunma/別記-1", "--json")[1])["rules"]
    assert (block["answer"]["kind"], block["ede"], block["opt_out"]) == ("nxdomain", "blocked", "customer")


def test_a_file_of_ones_own_is_shown_by_its_path(sekisho, tmp_path):
    (tmp_path / "mine.yaml").write_text(OWN, encoding="utf-8")
    code, text = sekisho("terms", "show", "./mine.yaml/1")
    assert code == 0
    assert "3 business days before" in text
    assert "mine/2" not in text
    code, text = sekisho("terms", "matrix", "mine.yaml", "gunma", "--json")
    rows = {row["capability"]: row["packs"] for row in json.loads(text)["capabilities"]}
    assert rows["before maintenance"] == {"mine": "3 business days", "gunma": "beforehand"}
    assert rows["outage credit"]["mine"] is None


def test_a_configured_pack_is_shown_by_its_id_and_marked_in_the_matrix(sekisho, tmp_path):
    (tmp_path / "mine.yaml").write_text(OWN, encoding="utf-8")
    (tmp_path / "sekisho.yaml").write_text("version: 1\nterms: [./mine.yaml, nbnet]\n", encoding="utf-8")
    assert "nothing to enforce" in sekisho("terms", "show", "mine/2")[1]
    body = json.loads(sekisho("terms", "matrix", "--json")[1])
    assert body["configured"] == ["mine", "nbnet"]
    assert body["packs"] == ["mine", "nbnet", "gunma", "network-service", "smartconnect-panel", "vectant"]
    assert body["capabilities"][0]["packs"]["gunma"] == "no"


def test_the_matrix_sets_the_five_documents_side_by_side(sekisho):
    rows = {row["capability"]: row["packs"] for row in json.loads(sekisho("terms", "matrix", "--json")[1])["capabilities"]}
    assert rows["on dns-overload"] == {
        "gunma": "limit-dns 20/s",
        "nbnet": "silence",
        "network-service": None,
        "smartconnect-panel": None,
        "vectant": None,
    }
    assert rows["outage credit"]["gunma"] == "1/60 a 12h, from 12h"
    assert rows["before maintenance"]["vectant"] == "10 business days"
    assert rows["before discontinuation"]["network-service"] == "6 months"
    assert rows["termination"] == {
        "gunma": "end of period", "nbnet": "10 days", "network-service": None, "smartconnect-panel": "end of period", "vectant": None,
    }  # fmt: skip
    assert rows["delivered, email"]["smartconnect-panel"] == "sent"
    assert rows["extension"]["vectant"] == "18 of 29"
    code, text = sekisho("terms", "matrix")
    assert code == 0
    assert max(len(line) for line in text.splitlines()) < 160


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("show", "gumna"), "did you mean `gunma`?"),
        (("show", "nbnet/22-2-55"), "did you mean `nbnet/22-2-5`?"),
        (("show", "./none.yaml"), "there is no file none.yaml"),
        (("matrix", "gunma", "nowhere"), "there is no terms pack nowhere"),
    ],
)
def test_what_is_not_there_is_told_with_what_there_is(sekisho, words, told):
    code, text = sekisho("terms", *words)
    assert code == 1
    assert told in text


def test_faults_of_a_pack_are_told_as_check_tells_them(sekisho, tmp_path):
    (tmp_path / "mine.yaml").write_text(OWN.replace("3 business days", "3 fortnights"), encoding="utf-8")
    code, text = sekisho("terms", "show", "mine.yaml")
    assert code == 1
    assert "mine.yaml:10: clauses[0].rules[0].lead: expected a length of time" in text


def test_the_criteria_to_publish_are_printed_in_both_languages_without_a_configuration(sekisho):
    code, text = sekisho("terms", "criteria", "nbnet")
    assert code == 0
    assert "直近30分の平均通信速度" in text.replace("\n    ", "")
    assert "[nbnet/22-2-4]" in text
    code, text = sekisho("terms", "criteria", "nbnet", "--lang", "en", "--json")
    body = json.loads(text)
    assert body["language"] == "en"
    assert {"nbnet/22-2-3", "nbnet/22-2-4", "nbnet/22-2-5", "nbnet/19-22"} == {one["clause"] for one in body["criteria"]}


def test_the_criteria_are_those_of_the_configuration(sekisho, tmp_path):
    segments = "[{id: pon-7, down: 1Gbit/s, up: 1Gbit/s, everybody: true}]"
    (tmp_path / "sekisho.yaml").write_text(
        f'version: 1\nupstream: {{address: "127.0.0.1:5300"}}\nterms: [vectant]\nbandwidth: {{factor: 7, segments: {segments}}}\n'
    )
    code, text = sekisho("--config", "sekisho.yaml", "terms", "criteria", "--lang", "en")
    assert code == 0
    assert "Segment pon-7" in text
    assert "7 times" in text
    assert "nbnet" not in text


def test_without_terms_there_are_no_criteria(sekisho):
    code, text = sekisho("terms", "criteria")
    assert code == 1
    assert "names no terms pack" in text
