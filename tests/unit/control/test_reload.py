"""What a reload says of keys that are read once: by the daemon, or by the plane."""

from __future__ import annotations

import pytest

from sekisho.app import plane_began
from sekisho.drivers.site import load_site
from unit.control.sites import ACTOR, run

CHANGES = {
    "listen": ["127.0.0.1:5354"],
    "busy_poll": "50us",
    "workers": 3,
    "cache": {"mib": 1},
    "metrics": "127.0.0.1:9153",
    "state": "elsewhere",
}


async def told_of_changes(control, folder):
    """What is said of a reload after each of CHANGES, and after one that changes nothing."""
    said = []
    for key, value in (CHANGES | {"allow": ["::1"]}).items():
        folder.set(**{key: value})
        said.append(set((await control.reload(actor=ACTOR))["restart"]))
    return said


def test_what_takes_effect_at_a_restart_is_named_until_then(folder):
    """Not only by the reload that read it first."""

    async def scenario(control):
        said = await told_of_changes(control, folder)
        folder.set(listen=["127.0.0.1:5353"])
        return [*said, set((await control.reload(actor=ACTOR))["restart"])]

    *said, back = run(folder, scenario)
    assert said == [{*list(CHANGES)[:many]} for many in (1, 2, 3, 4, 5, 6, 6)]
    assert back == CHANGES.keys() - {"listen"}
    assert run(folder, lambda control: control.reload(actor=ACTOR))["restart"] == []


def test_what_the_plane_was_started_with_is_the_planes_own_word(folder):
    """It may have been started before the daemon, or after it."""

    async def scenario(control):
        plane = folder.path / "run/plane"
        plane_began.tell(plane, load_site(folder.config).settings)
        said = await told_of_changes(control, folder)
        plane_began.tell(plane, load_site(folder.config).settings)
        return [*said, set((await control.reload(actor=ACTOR))["restart"])]

    *_, before, after = run(folder, scenario)
    assert (before, after) == (CHANGES.keys(), {"metrics", "state"})
    said = run(folder, lambda control: control.reload(actor=ACTOR))["restart"]
    assert said == []
    folder.set(cache={"mib": 2})
    assert run(folder, lambda control: control.reload(actor=ACTOR))["restart"] == ["cache"], "the plane went on meanwhile"


@pytest.mark.parametrize("left", [b"", b"[1]", b"{", b"[" * 9000])
def test_a_word_of_the_plane_that_cannot_be_read_is_none(folder, left):
    async def scenario(control):
        folder.set(workers=3)
        (folder.path / "run/plane/settings").write_bytes(left)
        return (await control.reload(actor=ACTOR))["restart"]

    assert run(folder, scenario) == ["workers"]
