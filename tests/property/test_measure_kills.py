"""A process that is killed at random moments of a month, and what the next one finds: nothing lost, stuck, or told twice.

`tests/support/month.py` is what is killed. `make test` has a few months, `make soak` 200 (KILLED_MONTHS).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from sekisho.drivers import ledgerfile
from sekisho.ledger.acts import recorded
from sekisho.model.noticeacts import NoticeFailed, NoticeQueued, NoticeTried
from sekisho.model.notices import Ending

MONTHS = int(os.environ.get("KILLED_MONTHS", "6"))
DEATHS = 3
"""Of one month."""
PATIENCE = 60.0
"""Seconds a month may take on a busy machine."""


class Nursery:
    """Processes that live the month, one at a time."""

    def __init__(self, root):
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root / "tests"), str(root / "daemon")])}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.month"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        )
        os.set_blocking(self._process.stderr.fileno(), False)

    def _answer(self, word):
        found, number = self._process.stdout.readline().split()
        assert found.decode() == word
        return int(number)

    def live(self, folder, patience):
        """Live on in `folder`; killed when `patience` (seconds) is over. Returns whether the month came to its end, and the seconds."""
        began = time.monotonic()
        self._process.stdin.write(f"{folder}\n".encode())
        self._process.stdin.flush()
        pid = self._answer("pid")
        is_over = select.select([self._process.stdout], [], [], patience)[0]
        if not is_over:
            os.kill(pid, signal.SIGKILL)
        status = self._answer("end")
        said = (self._process.stderr.read() or b"").decode()
        assert status in {0, -signal.SIGKILL}, said[-4000:]
        return status == 0, time.monotonic() - began

    def close(self):
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._process.stdout.close()
        self._process.stderr.close()


@pytest.fixture(scope="module")
def nursery(root):
    one = Nursery(root)
    yield one
    one.close()


@pytest.fixture(scope="module")
def whole(nursery, tmp_path_factory):
    """The month as it goes where nobody dies, and the seconds it takes."""
    for _ in range(2):
        # The second time is that of one whose imports and caches are warm.
        folder = tmp_path_factory.mktemp("whole")
        is_over, took = nursery.live(folder, PATIENCE)
        assert is_over
        assert told_twice(folder) == {}
    return story(folder), took


def story(folder):
    return json.loads((folder / "story").read_text())


def acts(folder):
    with contextlib.closing(ledgerfile.connect_reading(folder / "ledger.db")) as connection:
        return [recorded(event).act for event in ledgerfile.events(connection)]


def told_twice(folder):
    """Notices that were handed over more often than the record says they may have been, with how often."""
    record = acts(folder)
    often = Counter(number for line in (folder / "post").read_text().splitlines() for number in line.split())
    members = {act.notice: act.digest_of for act in record if isinstance(act, NoticeQueued)}
    marked = Counter()
    for act in record:
        if isinstance(act, NoticeTried) and act.unconfirmed:
            marked.update([act.notice, *members[act.notice]])
    assert max(marked.values(), default=0) <= 1
    return {number: count for number, count in often.items() if count > 1 + marked[number]}


def lost(folder):
    """Notices that were never handed over."""
    record = acts(folder)
    handed = {number for line in (folder / "post").read_text().splitlines() for number in line.split()}
    unsure = {act.notice for act in record if isinstance(act, NoticeFailed) and act.outcome == Ending.GIVEN_UP}
    return {act.notice for act in record if isinstance(act, NoticeQueued)} - handed - unsure


def ordered_twice(folder):
    keys = Counter((act.order, act.channel) for act in acts(folder) if isinstance(act, NoticeQueued) and act.order)
    return {key for key, count in keys.items() if count > 1}


def test_the_month_has_in_it_what_can_go_wrong(whole):
    measures, opt_out, exempt, limited = whole[0]
    steps = {(step[0], step[1], step[2]) for one in measures for step in one[2]}
    assert {
        ("measure-moved", "lifted", "release-delay-over"),
        ("measure-extended", "in-force", ""),
        ("measure-moved", "dismissed", "operator"),
    } <= steps
    assert any(one[3] for one in measures)
    assert (opt_out, exempt, limited) == (True, ["c-3"], 0)
    assert len(measures) >= 8
    assert {state for one in measures for state in (told.split()[1] for told in one[4])} == {"sent"}


@pytest.mark.slow
def test_a_month_with_sudden_deaths_in_it_goes_as_the_month_without(nursery, whole, tmp_path):
    reference, took = whole
    chance, killed = random.Random(MONTHS), 0
    for number in range(MONTHS):
        folder = tmp_path / str(number)
        folder.mkdir()
        is_over = False
        for _ in range(DEATHS):
            if not is_over:
                is_over, _ = nursery.live(folder, chance.uniform(0, took * 0.6))
                killed += not is_over
        while not is_over:
            is_over, _ = nursery.live(folder, PATIENCE)
            assert is_over, "the month does not come to its end any more"
        assert told_twice(folder) == {}
        assert ordered_twice(folder) == set()
        assert lost(folder) == set()
        assert story(folder) == reference
    assert killed >= MONTHS
    print(f"\n{MONTHS} months, killed {killed} times, {took:.2f} s a month")
