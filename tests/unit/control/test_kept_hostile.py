"""Tables that are kept for a start, where somebody else may write into the folder they are in force in."""

from __future__ import annotations

import os
import time

import pytest

from sekisho.drivers.kepttables import Ground, KeptTables
from support.waiting import end_of_waiting
from unit.control.sites import run


def lay_link(path):
    """To the same content: what it leads to may be another file by the time it is read."""
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def lay_pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.fixture
def ended(folder):
    """A site whose daemon ended; its tables are in force still."""
    run(folder, lambda control: control.status())
    return folder.path


@pytest.mark.parametrize("lay", [lay_link, lay_pipe])
@pytest.mark.parametrize("name", ["customers-1", "snapshot-1"])
def test_a_link_or_a_pipe_in_the_place_of_a_table_is_not_kept(ended, name, lay):
    (ended / "state/tables").unlink()
    lay(ended / "run/plane" / name)
    with end_of_waiting(), pytest.raises(OSError, match=r"symbolic links|plain file"):
        KeptTables(ended / "state", ended / "run/plane").keep(Ground({}, (), (), time.time(), None))
    assert not (ended / "state/tables").exists()
