"""The runner: corpus in, bursts of mutants for the time given, what was interesting into the corpus.

A watch in a thread of its own sees that a target goes on (compiled code holds no GIL): an input that
takes longer than `_STUCK` seconds is a finding too, and the only one that ends the process.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import re
import shutil
import threading
import time
from pathlib import Path

import numpy as np

from sekisho.drivers.compilecache import CODE_VARIABLE, VARIABLE
from sekisho.snapshot.compiling import COMPILED
from support.fuzzing import corpus
from support.fuzzing.addresses import AddressFeed
from support.fuzzing.lists import feeds
from support.fuzzing.streams import streams
from support.fuzzing.targets import ClientPath, Finding, LyingUpstream, Queries, Target

_STUCK = 60.0
_BURST = 0.5
"""Seconds a burst is meant to take."""
_SHARE = {"queries": 4, "path": 4, "answers": 4}
"""Parts of the time; 1 for the rest."""
_CHOOSING = 5.0
"""Seconds given to choosing and shrinking them, a target."""
_KEEP = 25
"""Inputs one run adds to the corpus of a target at most."""


COMPILED_TARGETS = {"queries": Queries, "path": ClientPath, "answers": LyingUpstream}
FEEDS = ("domains", "hosts", "adblock", "csv", "json", "rpz", "addresses")
"""Targets that are the parser of the format of that name."""
NAMES = (*COMPILED_TARGETS, *FEEDS, "transfers", *streams())


def make_targets(names: list[str] | None = None) -> list[Target]:
    """The targets by name; all of them when none is named. Raises SystemExit for a name that is none."""
    unknown = set(names or ()) - set(NAMES)
    if unknown:
        raise SystemExit(f"no target {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    texts = {target.name: target for target in (*feeds(), AddressFeed())}
    made: list[Target] = [maker() for name, maker in (COMPILED_TARGETS | streams()).items() if not names or name in names]
    return made + [target for name, target in texts.items() if not names or name in names]


def forget_stale_code() -> None:
    """What is kept of the engine's code is dropped when any compiled file of it changed: it is found again by the plane's sources alone."""
    here = Path(__file__).parent
    engine = [text for path in sorted(here.glob("*.py")) if b"\n@compiled\n" in (text := path.read_bytes())]
    digest = hashlib.blake2b(b"".join(engine), digest_size=8).hexdigest()
    kept = Path(os.environ[CODE_VARIABLE])
    stamp = kept / "engine"
    if stamp.exists() and stamp.read_text() == digest:
        return
    for folder in Path(os.environ[VARIABLE]).glob(f"{here.name}_*"):
        shutil.rmtree(folder)
    for name in re.findall(rb"^@compiled\ndef (\w+)", b"".join(engine), re.MULTILINE):
        for code in kept.glob(f"{name.decode()}-*.code"):
            code.unlink()
    kept.mkdir(parents=True, exist_ok=True)
    stamp.write_text(digest)


class Watch:
    """Ends the process, the input written down, when a target has stopped going on."""

    def __init__(self) -> None:
        self.target: Target | None = None
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        last, since = (-1, -1), time.monotonic()
        while True:
            time.sleep(1)
            target = self.target
            now = (id(target), target.progress() if target else 0)
            if target is None or now != last:
                last, since = now, time.monotonic()
            elif time.monotonic() - since > _STUCK:
                report(Finding(target.name, f"one input takes longer than {_STUCK:.0f} s", target.current()))
                os._exit(1)


def report(finding: Finding) -> None:
    """Keep the input and say how to repeat it."""
    path = corpus.save(corpus.CRASHES / finding.target, finding.data)
    print(f"FOUND {finding.target}: {finding.what}\n  input: {path}\n  repeat: make fuzz-replay TARGET={finding.target} "
          f"CHOICE={finding.choice} HEX={finding.data.hex()}", flush=True)  # fmt: skip


def fuzz(target: Target, seconds: float, packets: int, seed: int, watch: Watch) -> int:
    """Fuzz one target until the time is over and the packets are sent; returns how many inputs were judged. Raises Finding."""
    kept = corpus.load(target.name)
    inputs = [*target.seeds(), *kept.values()]
    for data in inputs:
        target.judge(data)
    target.fill(inputs, seed)
    # The first burst may compile what it calls, and is not timed.
    target.burst(1)
    watch.target = target
    done, rounds, start = 0, 16, time.monotonic()
    while time.monotonic() - start < seconds or done < packets:
        count = min(rounds, packets - done) if done < packets and time.monotonic() - start >= seconds else rounds
        before = time.monotonic()
        done += target.burst(count)
        took = time.monotonic() - before
        rounds = int(min(rounds * min(4.0, max(0.25, _BURST / max(took, 1e-3))), 2_000_000)) + 1
    watch.target = None
    elapsed = time.monotonic() - start
    found = target.found()
    print(
        f"{target.name}: {done} inputs in {elapsed:.0f} s ({done / max(elapsed, 1e-9):.0f}/s), {len(found)} of them interesting", flush=True
    )
    keep(target, kept, found)
    return done


def keep(target: Target, kept: dict[str, bytes], found: list[bytes]) -> None:
    """Put into the corpus what has features that nothing in it has, as long as there is room."""
    room = min(_KEEP, corpus.LIMIT - sum(corpus.is_found(name) for name in kept))
    if not found or room <= 0:
        return
    have: set[int] = set()
    for data in (*target.seeds(), *kept.values()):
        have |= target.judge(data)
    chosen = corpus.choose(found[-200:], have, target.judge, room, _CHOOSING)
    for data in chosen:
        corpus.save(corpus.path_of(target.name), data)
    print(f"{target.name}: {len(chosen)} added to the corpus", flush=True)


def main(words: list[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="support.fuzzing")
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("fuzz")
    one.add_argument("--seconds", type=float, default=120.0)
    one.add_argument("--packets", type=int, default=0)
    one.add_argument("--seed", type=int, default=None)
    two = verbs.add_parser("replay")
    two.add_argument("replayed")
    two.add_argument("hex")
    two.add_argument("--choice", type=int, default=None)
    three = verbs.add_parser("minimise")
    for verb in (one, three):
        verb.add_argument("--target", action="append")
    given = parser.parse_args(words)
    forget_stale_code()
    if not COMPILED:
        np.seterr(over="ignore")
    try:
        match given.verb:
            case "replay":
                (target,) = make_targets([given.replayed])
                features = target.judge(bytes.fromhex(given.hex), given.choice)
                print(f"{target.name}: nothing wrong, {len(features)} features")
            case "minimise":
                for target in make_targets(given.target):
                    judge = target.judge if COMPILED else corpus.traced(target.judge)
                    print("{}: {} found before, {} now".format(target.name, *corpus.minimise(target, judge)), flush=True)
            case _:
                _fuzz_all(given.target, given.seconds, given.packets, given.seed)
    except Finding as finding:
        report(finding)
        return 1
    return 0


def _fuzz_all(names: list[str] | None, seconds: float, packets: int, seed: int | None) -> None:
    targets = make_targets(names)
    seed = random.SystemRandom().getrandbits(32) if seed is None else seed
    print(f"seed {seed}, {'compiled, bounds checked' if COMPILED else 'not compiled'}", flush=True)
    watch = Watch()
    parts = sum(_SHARE.get(target.name, 1) for target in targets)
    for target in targets:
        many = packets if target.name in _SHARE and (names or target.name == "queries") else 0
        fuzz(target, seconds * _SHARE.get(target.name, 1) / parts, many, seed, watch)
