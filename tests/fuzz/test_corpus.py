"""The corpus of the fuzzers replayed, compiled and not: what was interesting once stays judged, and quickly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from sekisho.drivers.tcpverdict import Reply
from sekisho.model.lists import ListFormat
from sekisho.snapshot.compiling import COMPILED
from support.fuzzing import corpus
from support.fuzzing.lists import Feed
from support.fuzzing.run import FEEDS, NAMES, forget_stale_code, make_targets
from support.fuzzing.streams import framed
from support.fuzzing.targets import Finding, Target
from support.plane import query

pytestmark = [pytest.mark.fuzz, pytest.mark.uncompiled]

_MOST_FILES, _MOST_BYTES = 500, 300_000


@pytest.fixture(scope="module", params=NAMES)
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    forget_stale_code()
    (made,) = make_targets([request.param])
    with np.errstate(over="ignore"):
        yield made
    made.close()


def test_whatever_was_interesting_is_judged_and_nothing_is_wrong(target: Target) -> None:
    kept = corpus.load(target.name)
    assert kept, f"the corpus has no {target.name}"
    features = set()
    # Every fourth of the seeds, where each takes as long as a thousand compiled.
    for data in (*target.seeds()[:: 1 if COMPILED else 4], *kept.values()):
        features |= target.judge(data)
    assert len(features) > 20


def test_mutants_are_judged_in_bursts_and_what_is_new_joins_the_pool(target: Target) -> None:
    target.fill(target.seeds(), 7)
    rounds = 200 if COMPILED else 20
    assert target.burst(rounds) == rounds
    assert target.found()


def test_every_format_of_a_list_has_a_target_of_its_own() -> None:
    """A zone that is transferred has messages, which are the target `transfers`."""
    targets = make_targets([*FEEDS, "transfers"])
    assert {target.kind for target in targets if isinstance(target, Feed)} == set(ListFormat) - {ListFormat.AXFR}
    assert {target.name for target in targets} == {"transfers", *(str(form) for form in ListFormat if form is not ListFormat.AXFR)}


def test_the_corpus_is_small() -> None:
    sizes = [path.stat().st_size for path in corpus.CORPUS.rglob("*") if path.is_file()]
    assert len(sizes) <= _MOST_FILES
    assert sum(sizes) <= _MOST_BYTES


@pytest.mark.parametrize(
    ("target", "product", "wrong", "data", "what"),
    [
        ("addresses", "sekisho.lists.addresslist.MAX_LINE", 9, b"192.0.2.77\n", "a prefix is not the one of its line"),
        ("tcp", "sekisho.drivers.tcpclient.CHUNK", 0, framed([query("bad.example")]), "the stream is cut otherwise"),
        ("tcp", "sekisho.drivers.tcpverdict.Judge.dress", lambda *_: b"\0" * 12, framed([query("www.example")]), "has another id"),
        (
            "tcpanswers",
            "sekisho.drivers.tcpverdict.Judge.check",
            lambda _judge, _head, message, _elapsed: Reply(message, b""),
            framed([b"\x12\x34\x81\x80" + bytes(20)]),
            "without the right id and question",
        ),
    ],
    ids=["address", "framing", "client's answer", "resolver's answer"],
)
def test_a_product_that_errs_is_found(
    monkeypatch: pytest.MonkeyPatch, target: str, product: str, wrong: object, data: bytes, what: str
) -> None:
    (made,) = make_targets([target])
    try:
        made.judge(data)
        monkeypatch.setattr(product, wrong)
        with pytest.raises(Finding, match=what):
            made.judge(data)
    finally:
        made.close()


def test_a_parser_that_errs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference and the product are not one: let the product's slow path of feeds take a name it must not."""
    (target,) = make_targets(["domains"])
    monkeypatch.setattr("sekisho.lists.idn.MAX_LABEL", 64)
    with pytest.raises(Finding, match=r"longer than 63|read the feed alike|came to"):
        target.judge(b"a" * 64 + b".example\n")
