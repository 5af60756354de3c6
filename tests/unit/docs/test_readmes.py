"""What the READMEs say is there: links, commands, make targets, changelog."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from sekisho.cli.main import cli

ROOT = Path(__file__).resolve().parents[3]
README_FILES = [*sorted(path for path in ROOT.glob("*/README.md") if not path.parent.name.startswith(".")), ROOT / "README.md"]
BLOCK = re.compile(r"^```(?:sh|console)?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(path: Path) -> list[list[str]]:
    """The lines of shell blocks, and `code` that starts with sekisho, without comments."""
    text = path.read_text()
    lines = [line for block in BLOCK.findall(text) for line in block.splitlines()]
    lines += re.findall(r"`(sekisho [^`]+)`", text)
    return [line.split("#")[0].split() for line in lines]


@pytest.mark.parametrize("path", README_FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{target} is not there"


@pytest.mark.parametrize("path", README_FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_exist(path: Path) -> None:
    for words in commands(path):
        if words[:1] == ["sekisho"]:
            rest = [word for word in words[1:] if not word.startswith("-") and "/" not in word and not word.endswith(".yaml")]
            command: click.Command = cli
            while rest and isinstance(command, click.Group):
                found = command.commands.get(rest[0])
                assert found is not None, f"sekisho has no verb {' '.join(rest)}"
                command, rest = found, rest[1:]


@pytest.mark.parametrize("path", README_FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_make_targets_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for words in commands(path):
        if words[:1] == ["make"]:
            assert words[1] in targets


def test_every_top_folder_has_a_readme() -> None:
    folders = [path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".") and any(path.glob("**/*.[pyms]*"))]
    skipped = {"build", "dist"}
    assert [path.name for path in folders if path.name not in skipped and not (path / "README.md").exists()] == []


def test_the_daemons_readme_has_each_module_once() -> None:
    table = (ROOT / "daemon" / "README.md").read_text().partition("\n\n## ")[0]
    told = [word for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE) for word in re.findall(r"`(\w+)`", row)]
    there = [path.parent.name for path in (ROOT / "daemon" / "sekisho").glob("*/__init__.py")]
    assert sorted(told) == sorted(there)


def test_the_sample_configuration_names_each_pack_that_is_shipped() -> None:
    sample = (ROOT / "daemon" / "sekisho.example.yaml").read_text()
    named = re.search(r"shipped with Sekisho \(([^)]+)\)", sample)
    assert named is not None
    assert named[1].split(", ") == sorted(path.stem for path in (ROOT / "policies").glob("*.yaml"))


def test_the_changelog_starts_with_what_is_not_released_yet() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"


def test_every_verb_of_the_command_line_is_in_the_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert [name for name in cli.commands if f"`{name}`" not in text] == []
