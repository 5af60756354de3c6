"""What the process of a sealed list may answer: as much as the largest list, and no more."""

from __future__ import annotations

import asyncio
from itertools import islice, product
from pathlib import Path
from string import ascii_lowercase

import pytest

from sekisho.drivers import sealedlists
from sekisho.drivers.feeds import Feeds
from sekisho.drivers.listsources import obtain
from sekisho.drivers.listversions import encode_version
from sekisho.drivers.sealedlists import HEADER, ROOM_OCTETS, largest_answer
from sekisho.model.errors import FeedError
from sekisho.model.lists import ListFormat
from unit.drivers.test_sealedlists import _others, definition, order, programme, told  # noqa: F401 - a fixture

ORIGIN = ".".join(["o" * 60] * 4)


def names():
    """The shortest names that are entries."""
    return (f"{host}.{top}" for host, top in product(ascii_lowercase, repeat=2))


def zone(records):
    return f"$ORIGIN {ORIGIN}.\n$TTL 1\n" + "".join(f"{owner}{more}\n" for (owner, more) in records)


def owners():
    return (f"{first}{second}.{third}" for first, second, third in product(ascii_lowercase, repeat=3))


LONGEST = {
    "names of three letters": (ListFormat.DOMAINS, "".join(f"{name}\n" for name in names())),
    "names of three letters on one line": (ListFormat.HOSTS, "0.0.0.0 " + " ".join(names())),
    "letters that stand for names": (ListFormat.RPZ, zone((one, " MX 0 a") for one in islice(owners(), 2000))),
    "letters that stand for two names": (ListFormat.RPZ, zone((one, " RP a b") for one in islice(owners(), 2000))),
    "records without an owner": (ListFormat.RPZ, zone([("a.b", " A 1.2.3.4"), *(("", f" MX {n} a") for n in range(900))])),
    "addresses": (ListFormat.RPZ, zone((one, " A 1.2.3.4") for one in islice(owners(), 2000))),
    "text": (ListFormat.RPZ, zone((one, f" TXT {one * 60}") for one in islice(owners(), 2000))),
}


@pytest.mark.parametrize("what", LONGEST)
def test_no_list_is_compiled_to_more_than_its_process_may_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr("sekisho.lists.guard._suffix_rules", tuple)
    form, text = LONGEST[what]
    feed = tmp_path / "feed"
    feed.write_text(text)
    one = definition(feed, form, max_bytes=len(text), **({"zone": f"{ORIGIN}."} if form is ListFormat.RPZ else {}))

    async def compiled() -> int:
        async with Feeds() as feeds:
            stored = await obtain(order(one), feeds)
        assert stored is not None
        assert len(stored.compiled)
        return len(encode_version(stored))

    # Of a list so small the report and the heads are hardly any of the room they have.
    assert asyncio.run(compiled()) + HEADER.size < largest_answer(one) - ROOM_OCTETS + 8192


@pytest.mark.parametrize("form", [one for one in ListFormat if one not in (ListFormat.RPZ, ListFormat.AXFR)])
def test_a_list_without_local_data_is_never_more_than_its_entries(form: ListFormat) -> None:
    assert largest_answer(definition("feed", form)) == 26 * (1 << 24) + ROOM_OCTETS


def test_a_process_that_answers_more_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list's `max_bytes` is one octet."""
    monkeypatch.setattr(sealedlists, "ROOM_OCTETS", 1000)
    assert "larger than 1026 octets" in told(tmp_path, programme("out.write(bytes(1027))"))
    assert "no whole answer" in told(tmp_path, programme("out.write(bytes(1026))"))
    with pytest.raises(FeedError, match="set a larger `max_bytes`"):
        raise FeedError(told(tmp_path, programme("out.write(bytes(5000))")))
