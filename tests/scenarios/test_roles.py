"""The operator's socket and other users of the machine: real processes, other user and group ids."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scenarios.harness import Checkpoint, Resolver, folders, running, write_site
from support import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as another user; run as root"),
]

VIEWER, OPERATOR, STRANGER = 47_001, 47_002, 47_003
VIEWERS, OPERATORS, OTHERS = 47_070, 47_080, 47_090

# The interpreter and what the command imports may lie where only root can read: both are loaded before it gives its rights away.
COMMAND = """
import encodings.idna, json, os, stringprep, sys
import yaml
import sekisho.cli.connection
from sekisho.cli.main import main
uid, gid, groups = json.loads(sys.argv.pop(1))
os.setgroups(groups); os.setgid(gid); os.setuid(uid)
main()
"""


class Site:
    """A checkpoint, and users of its machine."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.runtime = checkpoint.site.runtime
        # What a user may read of the configuration is where the socket is.
        self.config = self.runtime / "client.yaml"
        self.config.write_text(json.dumps({"runtime": str(self.runtime)}))
        self.config.chmod(0o644)
        self.runtime.chmod(0o751)

    def run(self, uid: int, *arguments: str, gid: int = OTHERS, groups: tuple[int, ...] = ()) -> subprocess.CompletedProcess[str]:
        who = json.dumps([uid, gid, groups])
        argv = [sys.executable, "-c", COMMAND, who, "--config", str(self.config), *arguments]
        return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)

    def code(self, uid: int, *arguments: str, gid: int = OTHERS, groups: tuple[int, ...] = ()) -> int:
        done = self.run(uid, *arguments, gid=gid, groups=groups)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode

    def give(self, **roles: dict[str, list[int]]) -> None:
        self.checkpoint.site.edit(roles=roles)
        self.checkpoint.sekisho("reload")

    @property
    def mode(self) -> int:
        return (self.runtime / "sekishod.sock").stat().st_mode & 0o777

    def acts(self) -> list[tuple[str, str]]:
        """Kind and actor of every act on record."""
        state = self.checkpoint.site.folder / "state" / "ledger.db"
        with contextlib.closing(sqlite3.connect(f"file:{state}?mode=ro", uri=True)) as database:
            return database.execute("select kind, actor from events order by number").fetchall()


@pytest.fixture(scope="module")
def site(resolver: Resolver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    c2 = {"id": "c2", "category": "c2", "source": "c2.txt", "format": "domains", "scope": "subtree", "answer": "nxdomain"}
    with folders(tmp_path_factory.mktemp("roles")) as (folder, runtime):
        made = write_site(folder, runtime, [resolver.port], lists=[c2], sources={"c2.txt": "c2.example\n"})
        # By name, as operators write them: neither process is kept from starting by names only the control plane looks up.
        made.edit(roles={"viewer": {"users": ["nobody"], "groups": ["nogroup"]}})
        with running(made) as checkpoint:
            yield Site(checkpoint)


@pytest.fixture
def given(site: Site) -> Site:
    """Roles for two users and two groups."""
    site.give(viewer={"users": [VIEWER], "groups": [VIEWERS]}, operator={"users": [OPERATOR], "groups": [OPERATORS]})
    return site


def test_at_first_nobody_but_root_and_the_daemons_own_user_gets_in(site: Site) -> None:
    site.give()
    assert site.mode == 0o600
    done = site.run(STRANGER, "status")
    assert done.returncode == 1
    assert "roles:" in done.stderr
    assert site.code(0, "status") == 0


def test_a_viewer_reads_and_changes_nothing(given: Site) -> None:
    customer = given.checkpoint.customer("gunma")
    before = given.acts()
    explain = ("explain", "--customer", customer.id, "--name", "c2.example")
    reads = (("status",), ("customers", "show", customer.id), ("optout", "show"), ("lists", "show"), ("events",), explain)
    acts = (
        ("optout", "add", customer.id, "c2"),
        ("optout", "remove", customer.id, "c2"),
        ("customers", "remove", customer.id),
        ("lists", "refresh", "c2"),
        ("lists", "accept", "c2"),
        ("lists", "except", "c2", "c2.example"),
        ("reload",),
    )
    assert [given.code(VIEWER, *verb) for verb in reads] == [0] * len(reads)
    told = [given.run(VIEWER, "--json", *verb) for verb in acts]
    assert [done.returncode for done in told] == [1] * len(acts)
    assert {json.loads(done.stdout)["error"] for done in told} == {f"this needs the role operator, and uid:{VIEWER} has the role viewer"}
    assert given.acts() == before


def test_groups_count_whether_primary_or_supplementary(given: Site) -> None:
    assert given.code(STRANGER, "status") == 1
    assert given.code(STRANGER, "status", gid=VIEWERS) == 0
    assert given.code(STRANGER, "status", groups=(OTHERS, VIEWERS)) == 0
    assert given.code(STRANGER, "reload", groups=(VIEWERS,)) == 1
    assert given.code(STRANGER, "reload", groups=(VIEWERS, OPERATORS)) == 0


def test_a_stranger_is_told_what_is_missing_and_gets_nothing_else(given: Site) -> None:
    done = given.run(STRANGER, "events")
    assert (done.returncode, done.stdout) == (1, "")
    assert "this needs the role viewer" in done.stderr
    assert "under roles.viewer in sekisho.yaml" in done.stderr
    assert (given.runtime / "plane").stat().st_mode & 0o007 == 0


def test_every_act_is_on_record_with_who_did_it(given: Site) -> None:
    customer = given.checkpoint.customer("gunma")
    added = given.run(OPERATOR, "--json", "optout", "add", customer.id, "c2", "--by", "phone, ticket 4711")
    assert added.returncode == 0, added.stdout
    assert json.loads(added.stdout)["by"] == "phone, ticket 4711"
    for verb in (
        ("optout", "remove", customer.id, "c2"),
        ("customers", "remove", customer.id),
        ("lists", "except", "c2", "www.c2.example"),
    ):
        assert given.code(OPERATOR, *verb) == 0
    kinds = ["optout-added", "optout-removed", "customer-removed", "exception-added"]
    assert given.acts()[-4:] == [(kind, f"uid:{OPERATOR}") for kind in kinds]
    for verb in (("lists", "refresh", "c2"), ("reload",)):
        assert given.code(OPERATOR, *verb) == 0

    def acted() -> set[str]:
        lines = [json.loads(line) for line in given.checkpoint.log.rpartition("\n")[0].splitlines() if '"act"' in line]
        return {line["route"] for line in lines if line["actor"] == f"uid:{OPERATOR}"}

    routes = {"POST /v1/lists/refresh", "POST /v1/reload", "POST /v1/optouts", "DELETE /v1/customer"}
    wait_until(lambda: routes <= acted(), what="the acts in the log")


def test_reload_gives_and_takes_roles_at_once(given: Site) -> None:
    assert (given.mode, given.code(VIEWER, "status")) == (0o666, 0)
    given.give(operator={"users": [OPERATOR]})
    assert given.code(VIEWER, "status") == 1
    given.give(operator={"users": [VIEWER]})
    assert (given.code(VIEWER, "reload"), given.code(OPERATOR, "status")) == (0, 1)
    given.give()
    assert (given.mode, given.code(VIEWER, "status")) == (0o600, 1)


def test_roles_with_a_user_nobody_knows_are_refused_and_those_in_force_stay(given: Site) -> None:
    kept = Path(given.checkpoint.site.config).read_text()
    given.checkpoint.site.edit(roles={"viewer": {"users": ["no-such-user-here"]}})
    try:
        body = given.checkpoint.sekisho("reload", code=1)
        assert "there is no user 'no-such-user-here'" in body["faults"][0]["message"]
        assert "no-such-user-here" in given.checkpoint.say("check", code=1)
        assert given.code(VIEWER, "status") == 0
    finally:
        Path(given.checkpoint.site.config).write_text(kept)
