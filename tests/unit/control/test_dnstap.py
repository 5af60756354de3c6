"""The listener for dnstap in the control plane: opened, changed and closed as the configuration says, and told where it cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from sekisho.app.control_dnstap import RETRY, Taps
from sekisho.config.dnstap import Counted, DnstapSettings
from sekisho.drivers.dnstapseen import Seen
from support import wait_until
from support.dnstap import Sender, message
from support.plane import CUSTOMER
from support.published import Site, published


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with published(tmp_path / "tables") as one:
        yield one


def test_a_listener_follows_the_configuration_and_counts_go_on(site: Site, tmp_path: Path) -> None:
    asyncio.run(_following(site, tmp_path))


async def _following(site: Site, tmp_path: Path) -> None:
    seen = Seen()
    taps = Taps(site.folder, seen)
    assert (taps.observation(), taps.body(), taps.warnings()) == (None, None, [])
    for number, name in enumerate(("one", "two"), 1):
        settings = DnstapSettings.model_construct(socket=tmp_path / name)
        await taps.follow(settings, 1.0)
        await taps.follow(settings, 1.0)
        assert "no resolver tells" in taps.warnings()[0]
        sender = Sender(tmp_path / name).start()
        sender.send(message(CUSTOMER))
        wait_until(lambda number=number: seen.queries[1:2].sum() == number, deadline=120, what="the query")
        body = taps.body()
        assert body is not None
        assert (body["listening"], body["resolvers"], body["frames"]["counted"], taps.warnings()) == (True, 1, number, [])
        await taps.follow(None, 2.0)
        assert not (tmp_path / name).exists()
        sender.close()
    assert (taps.observation(), seen.wanted, seen.streams) == (None, False, 0)


def test_that_answers_alone_are_told_of_is_known_to_who_reads_the_counts(site: Site, tmp_path: Path) -> None:
    async def following() -> None:
        seen = Seen()
        taps = Taps(site.folder, seen)
        for count, only in ((Counted.RESPONSES, True), (Counted.QUERIES, False)):
            await taps.follow(DnstapSettings.model_construct(socket=tmp_path / "s", count=count), 1.0)
            assert seen.answers_only == only
        seen.answers_only = True
        await taps.follow(None, 1.0)
        assert not seen.answers_only

    asyncio.run(following())


def test_what_cannot_be_opened_is_told_and_tried_again(site: Site, tmp_path: Path) -> None:
    asyncio.run(_trying(site, tmp_path))


async def _trying(site: Site, tmp_path: Path) -> None:
    taps, settings = Taps(site.folder, Seen()), DnstapSettings.model_construct(socket=tmp_path / "later" / "s")
    await taps.follow(settings, 10.0)
    assert "cannot be made" in taps.warnings()[0]
    (tmp_path / "later").mkdir()
    await taps.follow(settings, 10.0 + RETRY / 2)
    assert not (tmp_path / "later" / "s").exists(), "not at once"
    await taps.follow(settings, 10.0 + RETRY)
    assert (tmp_path / "later" / "s").is_socket()
    observed = taps.observation()
    assert observed is not None
    assert observed.listening
    await taps.close()
