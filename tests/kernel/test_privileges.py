"""Without a privilege the lines say which, and go on."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from kernel.gateway import gateway
from sekisho.drivers import nftables
from sekisho.model.measures import Enforcement

pytestmark = pytest.mark.kernel

SCRIPT = """
import asyncio
from kernel.gateway import gateway
from sekisho.model.measures import Enforcement
from support.netns import Field

async def story():
    async with gateway(Field("", "", ""), namespace=None) as one:
        await one.enforce(c_1=Enforcement(silenced=True, rate=(1, 1)))
        for name, reason in one.lines.kernel.reasons.items():
            print(name, reason)
        print("goes on")

asyncio.run(story())
"""


def test_a_daemon_without_the_capability_says_so_for_each_enforcer_and_goes_on(field, root: Path):
    done = subprocess.run(
        ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", sys.executable, "-c", SCRIPT],
        env={"PYTHONPATH": f"{root / 'daemon'}:{root / 'tests'}:{root / 'exporters'}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "goes on" in done.stdout, done.stderr
    assert "nftables nftables: " in done.stdout
    assert "CAP_NET_ADMIN" in done.stdout
    assert "htb HTB: " in done.stdout


def test_without_the_library_the_sentence_names_its_package(field, monkeypatch):
    monkeypatch.setattr(nftables, "_LIBRARY", "libnothing-of-this-name.so.1")

    async def story():
        async with gateway(field) as one:
            await one.enforce(c_1=Enforcement(silenced=True))
            assert "libnftables1" in one.lines.problems[0]

    asyncio.run(story())


def test_a_namespace_that_is_not_there_is_told_and_tried_again(field):
    async def story():
        async with gateway(field, namespace="sk-no-such") as one:
            assert "sk-no-such is not there" in one.lines.problems[0]
            site = one.sites[-1]
            one.sites.append(site.model_copy(update={"lines": site.lines.model_copy(update={"namespace": field.gateway})}))
            one.lines.look_again()
            await one.lines.step()
            assert not one.lines.problems

    asyncio.run(story())
