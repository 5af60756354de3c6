"""The corpus of the fuzzers replayed, compiled and not: what was interesting once stays judged, and quickly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from sekisho.snapshot.compiling import COMPILED
from support.fuzzing import corpus
from support.fuzzing.run import NAMES, forget_stale_code, make_targets
from support.fuzzing.targets import Finding, Target

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


def test_the_corpus_is_small() -> None:
    sizes = [path.stat().st_size for path in corpus.CORPUS.rglob("*") if path.is_file()]
    assert len(sizes) <= _MOST_FILES
    assert sum(sizes) <= _MOST_BYTES


def test_a_parser_that_errs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference and the product are not one: let the product's slow path of feeds take a name it must not."""
    (target,) = make_targets(["domains"])
    monkeypatch.setattr("sekisho.lists.idn.MAX_LABEL", 64)
    with pytest.raises(Finding, match=r"longer than 63|read the feed alike|came to"):
        target.judge(b"a" * 64 + b".example\n")
