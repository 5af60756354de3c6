"""A whole site: every fault of every file, and what is wrong between files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from sekisho.drivers.site import load_site, shipped_packs, shipped_packs_folder
from sekisho.model.errors import ConfigError

MAIN = """\
version: 1
listen: "127.0.0.1:5353"
upstream: {address: "127.0.0.1:5300"}
state: state
runtime: run
terms: [gunma, nbnet]
lists: lists.yaml
customers: customers.csv
"""
LISTS = """\
version: 1
lists:
  - {id: c2, category: c2, source: c2.txt, format: domains, scope: subtree}
  - {id: cam, category: child-abuse, source: cam.txt, format: domains, scope: exact, sealed: true}
"""
CUSTOMERS = "id,terms,prefixes,exempt\na,gunma,192.0.2.1,c2\nb,gunma nbnet,192.0.2.2,nbnet/21-1\n"


@pytest.fixture
def site(tmp_path):
    (tmp_path / "sekisho.yaml").write_text(MAIN)
    (tmp_path / "lists.yaml").write_text(LISTS)
    (tmp_path / "customers.csv").write_text(CUSTOMERS)
    for name in ("c2.txt", "cam.txt"):
        (tmp_path / name).write_text("")
    return tmp_path


def _faults(site):
    with pytest.raises(ConfigError) as caught:
        load_site(site / "sekisho.yaml")
    return [(fault.file.rpartition("/")[2], fault.line, fault.path, fault.message) for fault in caught.value.faults]


def _change(site, name, old, new):
    text = (site / name).read_text()
    assert old in text
    (site / name).write_text(text.replace(old, new))


def test_a_site_is_read_from_its_main_file(site):
    found = load_site(site / "sekisho.yaml")
    assert sorted(found.packs) == ["gunma", "nbnet"]
    assert [one.id for one in found.lists] == ["c2", "cam"]
    assert found.lists[0].source == str(site / "c2.txt")
    assert [customer.id for customer in found.customers] == ["a", "b"]
    assert found.settings.state == site / "state"
    assert found.warnings == ()


def test_a_relative_main_file_means_the_same(site, monkeypatch):
    monkeypatch.chdir(site)
    found = load_site(type(site)("sekisho.yaml"))
    assert found.lists[0].source == str(site / "c2.txt")


def test_faults_of_all_files_are_told_at_once(site):
    _change(site, "sekisho.yaml", "upstream:", "upstrem:")
    _change(site, "sekisho.yaml", "gunma, nbnet", "gunma, nbnet, ./mine.yaml, ./theirs.yaml")
    (site / "mine.yaml").write_text("version: 1\npack: mine\n")
    _change(site, "lists.yaml", "scope: subtree", "scope: all")
    _change(site, "customers.csv", "192.0.2.2", "192.0.2.1")
    told = {(file, line) for file, line, _, _ in _faults(site)}
    assert told == {
        ("sekisho.yaml", 1),
        ("sekisho.yaml", 3),
        ("sekisho.yaml", 6),
        ("mine.yaml", 1),
        ("lists.yaml", 3),
        ("customers.csv", 3),
    }


def test_a_customer_of_an_unknown_pack_is_told_with_its_line(site):
    _change(site, "customers.csv", "b,gunma nbnet", "b,gunma nbmet")
    ((file, line, path, message),) = _faults(site)
    assert (file, line, path) == ("customers.csv", 3, "terms")
    assert "did you mean `nbnet`?" in message


def test_every_customer_of_an_unknown_pack_is_told(site):
    _change(site, "sekisho.yaml", "[gunma, nbnet]", "[nbnet]")
    told = {(file, line) for file, line, _, _ in _faults(site)}
    assert told == {("customers.csv", 2), ("customers.csv", 3)}


@pytest.mark.parametrize(("wrong", "words"), [("c3", "no list or clause c3"), ("gunma/別記-9", "no clause gunma/別記-9")])
def test_an_exemption_from_what_is_not_there_is_told_with_its_line(site, wrong, words):
    _change(site, "customers.csv", "192.0.2.1,c2", f"192.0.2.1,{wrong}")
    ((file, line, path, message),) = _faults(site)
    assert (file, line, path) == ("customers.csv", 2, "exempt")
    assert words in message


def test_customers_in_yaml_are_checked_alike(site):
    (site / "customers.yaml").write_text(
        "version: 1\ncustomers:\n  - id: a\n    terms: gumna\n  - {id: b, terms: nbnet, exempt: [nothing]}\n"
    )
    _change(site, "sekisho.yaml", "customers.csv", "customers.yaml")
    assert [(file, line, path) for file, line, path, _ in _faults(site)] == [
        ("customers.yaml", 3, "terms"),
        ("customers.yaml", 5, "exempt"),
    ]


def test_nobody_is_blamed_for_naming_what_an_unreadable_file_should_have_said(site):
    _change(site, "lists.yaml", "id: c2,", "id: c2, scop: x,")
    _change(site, "sekisho.yaml", "[gunma, nbnet]", "[gunma, ./nbnet.yaml]")
    (site / "nbnet.yaml").write_text("version: 1\npack: nbnet\nclauses: []\n")
    assert {file for file, _, _, _ in _faults(site)} == {"lists.yaml", "nbnet.yaml"}
    (site / "nbnet.yaml").write_text("version: [\n")
    (site / "lists.yaml").write_text("version: [\n")
    assert {file for file, _, _, _ in _faults(site)} == {"lists.yaml", "nbnet.yaml"}


@pytest.mark.parametrize("name", ["lists.yaml", "customers.csv"])
def test_a_file_that_is_not_there_is_told_where_it_is_named(site, name):
    (site / name).unlink()
    assert ("sekisho.yaml", MAIN.splitlines().index(f"{name.partition('.')[0]}: {name}") + 1) in {
        (file, line) for file, line, _, _ in _faults(site)
    }


def test_a_main_file_that_is_not_there_is_told_how_to_name_one(tmp_path):
    ((file, _, _, message),) = _faults(tmp_path)
    assert file == "sekisho.yaml"
    assert "--config" in message


def test_a_file_that_is_not_utf8_is_told_by_line(site):
    (site / "lists.yaml").write_bytes(LISTS.encode() + b"# \xff\n")
    assert [(file, line) for file, line, _, _ in _faults(site)] == [("lists.yaml", 5)]
    (site / "lists.yaml").write_text(LISTS)
    (site / "customers.csv").write_bytes(b"\xef\xbb\xbf" + CUSTOMERS.encode() + b"\xff,nbnet,,\n")
    assert [(file, line, path) for file, line, path, _ in _faults(site)] == [("customers.csv", 4, "id")]


def test_a_customer_file_of_another_kind_is_refused(site):
    _change(site, "sekisho.yaml", "customers.csv", "customers.txt")
    (site / "customers.txt").write_text(CUSTOMERS)
    assert ".csv" in _faults(site)[0][3]


def test_a_name_let_out_of_the_walled_garden_must_be_one(site):
    with (site / "sekisho.yaml").open("a") as file:
        file.write(f"walled_garden:\n  a: 192.0.2.80\n  allow: [notice.example.com, {'x' * 64}.example]\n")
    lines = (site / "sekisho.yaml").read_text().count("\n")
    ((_, line, path, message),) = _faults(site)
    assert (line, path) == (lines, "walled_garden.allow[1]")
    assert "longer than 63" in message


def test_a_list_whose_category_no_pack_names_is_a_warning(site):
    _change(site, "lists.yaml", "category: c2", "category: gambling")
    (warning,) = load_site(site / "sekisho.yaml").warnings
    assert (warning.line, warning.path) == (3, "lists[0].category")
    assert "reaches nobody" in warning.message


def test_a_list_whose_file_is_not_there_is_a_warning_and_not_a_fault(site):
    (site / "cam.txt").unlink()
    (warning,) = load_site(site / "sekisho.yaml").warnings
    assert (warning.line, warning.path) == (4, "lists[1].source")
    assert "there is no file" in warning.message
    assert "what it held last" in warning.message, "where a version was read before, it stays in force"


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ("retention: 180", "retention"),
        ("ledger_retention: {optout-added: 1826}", "ledger_retention"),
        ("radius: {nas: [{id: bras-1, address: 192.0.2.1}], retention: 180}", "radius.retention"),
    ],
)
def test_what_would_erase_after_seconds_what_was_meant_to_be_kept_for_days_is_a_fault(site, more, path):
    main = site / "sekisho.yaml"
    main.write_text(f"{main.read_text()}{more}\n")
    ((_, _, found, message),) = _faults(site)
    assert found == path
    assert "has no unit; write 18" in message


@pytest.mark.parametrize(("key", "name"), [("lists", "lists.yaml"), ("customers", "customers.yaml"), ("terms", "./pack.yaml")])
def test_a_file_that_cannot_be_looked_at_is_a_fault_with_the_reason(site, key, name, monkeypatch):
    # As of Python 3.14, whatever runs the tests.
    monkeypatch.setattr(Path, "is_file", os.path.isfile)
    # As of a folder that is closed to the daemon, which is open to root: no error of it says that there is no such file.
    long = name.replace(".yaml", f"{'x' * 300}.yaml")
    main = site / "sekisho.yaml"
    main.write_text("".join(line for line in main.read_text().splitlines(keepends=True) if not line.startswith(key)) + f"{key}: {long}\n")
    assert any("File name too long; check its owner and mode" in message for _, _, _, message in _faults(site))


def test_a_list_that_cannot_be_looked_at_keeps_no_site_from_being_read(site):
    _change(site, "lists.yaml", "cam.txt", f"{'x' * 300}.txt")
    assert load_site(site / "sekisho.yaml").warnings == ()


def test_priority_of_somebody_there_is_not_is_told_before_an_emergency(site):
    main = site / "sekisho.yaml"
    main.write_text(f"{main.read_text()}measures: {{priority: [a, hospitals, nobody]}}\n")
    text = CUSTOMERS.replace("exempt", "exempt,group").replace(",c2\n", ",c2,hospitals\n").replace("nbnet/21-1\n", "nbnet/21-1,\n")
    (site / "customers.csv").write_text(text)
    (warning,) = load_site(main).warnings
    assert warning.path == "measures.priority"
    assert warning.message.startswith("nobody is neither a customer nor a group")


def test_a_site_that_enforces_nothing_says_so(site):
    (site / "sekisho.yaml").write_text('version: 1\nupstream: {address: 192.0.2.53}\nallow: ["0.0.0.0/0"]\n')
    found = load_site(site / "sekisho.yaml")
    assert {warning.path for warning in found.warnings} == {"terms", "lists", "allow"}
    assert len(found.customers) == 0


def test_a_pack_of_ones_own_is_named_by_its_path(site):
    shutil.copy(shipped_packs_folder() / "gunma.yaml", site / "gunma-copy.yaml")
    _change(site, "sekisho.yaml", "[gunma, nbnet]", "[./gunma-copy.yaml, nbnet]")
    assert sorted(load_site(site / "sekisho.yaml").packs) == ["gunma", "nbnet"]
    _change(site, "sekisho.yaml", "[./gunma-copy.yaml, nbnet]", "[./gunma-copy.yaml, nbnet, gunma]")
    assert "an id of its own" in _faults(site)[0][3]


def test_an_unknown_shipped_pack_is_told_the_nearest_and_how_to_name_ones_own(site):
    _change(site, "sekisho.yaml", "[gunma, nbnet]", "[gunma, nbnet, nbnett]")
    ((_, line, _, message),) = _faults(site)
    assert line == 6
    assert "./nbnett.yaml" in message
    assert "did you mean `nbnet`?" in message


def test_the_shipped_packs_are_found():
    assert {"gunma", "nbnet"} <= set(shipped_packs())


def test_a_clause_with_a_mode_of_its_own_has_to_be_there(site):
    _change(site, "sekisho.yaml", "customers: customers.csv", "customers: customers.csv\nmeasures: {clauses: {nbnet/22-2-55: enforce}}")
    ((file, line, _, message),) = _faults(site)
    assert (file, line) == ("sekisho.yaml", 9)
    assert "did you mean `nbnet/22-2-5`?" in message
    _change(site, "sekisho.yaml", "nbnet/22-2-55", "nbnet/22-2-5")
    settings = load_site(site / "sekisho.yaml").settings.measures
    assert [settings.observes(clause) for clause in ("nbnet/22-2-5", "nbnet/22-1")] == [False, True]


def test_a_pack_of_an_entitlement_class_has_to_be_there(site):
    zones = """policy_zones:
  zone: rpz.test
  listen: "127.0.0.1:5354"
  classes:
    - {id: one, terms: [gunma, nbnet]}
    - {id: other, terms: nbmet}
"""
    _change(site, "sekisho.yaml", "customers: customers.csv\n", "customers: customers.csv\n" + zones)
    ((file, line, path, message),) = _faults(site)
    assert (file, line, path) == ("sekisho.yaml", 14, "policy_zones.classes[1].terms")
    assert message.startswith("class other: there is no terms pack nbmet")
    assert "did you mean `nbnet`?" in message
    _change(site, "sekisho.yaml", "nbmet", "nbnet")
    assert len(load_site(site / "sekisho.yaml").settings.policy_zones.classes) == 2


def test_what_is_published_of_sealed_lists_is_a_list_and_sealed(site):
    _change(site, "sekisho.yaml", "lists: lists.yaml\n", "lists: lists.yaml\npolicy_zones:\n  zone: rpz.test\n  sealed: [c2, can]\n")
    _change(site, "sekisho.yaml", "127.0.0.1:5353", "127.0.0.1:5454")
    ((file, line, path, message),) = _faults(site)
    assert (file, line, path) == ("sekisho.yaml", 10, "policy_zones.sealed[1]")
    assert "there is no list can; did you mean `cam`?" in message
    _change(site, "sekisho.yaml", "can]", "cam]")
    (warning,) = [one for one in load_site(site / "sekisho.yaml").warnings if one.path.startswith("policy_zones")]
    assert (warning.line, warning.path) == (10, "policy_zones.sealed[0]")
    assert "list c2 is not sealed: it is published in any case" in warning.message
    (site / "lists.yaml").write_text("version: 1\nlists: 7\n")
    assert [path for _, _, path, _ in _faults(site)] == ["lists"], "what could not be read is not held against who names it"


def test_a_webhook_that_anybody_could_read_or_imitate_is_warned_of(site):
    sinks = (
        "\nevents:\n  sinks:\n"
        "    - {id: a, kind: webhook, url: 'http://desk.example/'}\n"
        "    - {id: b, kind: webhook, url: 'https://desk.example/', secret: s}\n"
        "    - {id: c, kind: webhook, url: 'http://127.0.0.1:8080/', secret: s}\n"
    )
    (site / "sekisho.yaml").write_text(MAIN + sinks)
    found = load_site(site / "sekisho.yaml").warnings
    assert sorted(warning.path for warning in found) == ["events.sinks[0].secret", "events.sinks[0].url"]


@pytest.mark.parametrize(
    ("queries", "zones", "taken"),
    [
        ("127.0.0.1:5353", "127.0.0.1:5353", True),
        ("0.0.0.0:5353", "127.0.0.1:5353", True),
        ("127.0.0.1:5353", "0.0.0.0:5353", True),
        ("127.0.0.1:5353", "127.0.0.2:5353", False),
        ("127.0.0.1:5353", "127.0.0.1:5354", False),
        ("127.0.0.1:0", "127.0.0.1:0", False),
        ("127.0.0.1:5353", "[::]:5353", False),
    ],
)
def test_policy_zones_are_not_served_where_queries_come_in(site, queries, zones, taken):
    _change(site, "sekisho.yaml", 'listen: "127.0.0.1:5353"', f'listen: "{queries}"')
    with (site / "sekisho.yaml").open("a") as file:
        file.write(f'policy_zones:\n  zone: rpz.example\n  listen: ["127.0.0.1:9", "{zones}"]\n')
    if not taken:
        load_site(site / "sekisho.yaml")
        return
    ((name, line, path, message),) = _faults(site)
    assert (name, line, path) == ("sekisho.yaml", MAIN.count("\n") + 3, "policy_zones.listen")
    assert f"{zones} is taken" in message
    assert queries in message
