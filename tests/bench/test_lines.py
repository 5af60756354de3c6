"""What detection on lines takes of the control plane: a million customers on twenty segments, counted, and looked at under the shipped rules."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from bench.settings import CUSTOMERS
from sekisho.config.bandwidth import Bandwidth
from sekisho.detect.lines import Lines
from sekisho.detect.occupancy import Occupancy
from sekisho.detect.tally import Tally
from sekisho.detect.usage import Usage
from sekisho.drivers.usagestore import UsageStore
from sekisho.model.clauses import MeasureRule
from sekisho.model.measures import Detector
from sekisho.model.usage import Source
from sekisho.terms.pack import parse_pack

SEGMENTS, TURNS = 20, 9
T = 1_775_000_000.0


def told(name: str, times: list[float]) -> str:
    return f"{name:<44} {min(times) * 1e3:6.1f} ms least, {sorted(times)[len(times) // 2] * 1e3:6.1f} ms median"


def spent(times: list[float], began: float) -> None:
    times.append(time.perf_counter() - began)


def test_windows_and_looks_of_a_million_customers(root: Path) -> None:
    rng = np.random.default_rng(1)
    pack = parse_pack((root / "policies/nbnet.yaml").read_text(encoding="utf-8"), "nbnet.yaml")
    rules = tuple(rule for rule in pack.rules if isinstance(rule, MeasureRule) and rule.detector is Detector.BANDWIDTH)
    carried = f"{CUSTOMERS // SEGMENTS * 2}Mbit/s"
    each = [{"id": f"pon-{number}", "down": carried, "up": carried, "everybody": True} for number in range(SEGMENTS)]
    settings = Bandwidth.model_validate({"segments": each})
    rows = np.arange(CUSTOMERS, dtype=np.int64)
    members = np.vstack((rows, rows % SEGMENTS))
    lines = Lines(np.full((2, CUSTOMERS), 1e8, np.float32), np.ones(CUSTOMERS, np.uint16), ((), rules), members, settings.segments)
    rates = rng.lognormal(np.log(2e6 / 8), 1.0, CUSTOMERS)
    rates[:1000] = 9e7 / 8
    usage, memory, tally, now = Usage(T, CUSTOMERS), Occupancy(), Tally(), T
    names = [f"c-{row}" for row in range(CUSTOMERS)]
    times: dict[str, list[float]] = {}
    for turn in range(60 + TURNS):
        now += 60
        down, up = (rates * 60).astype(np.uint64), (rates * 6).astype(np.uint64)
        began = time.perf_counter()
        usage.add(Source.COUNTERS, now, rows, down, up)
        if turn < 60:
            continue
        spent(times.setdefault("a batch of everybody", []), began)
        for window in (300.0, 1800.0, 86400.0, 30 * 86400.0):
            began = time.perf_counter()
            usage.window(window, now)
            spent(times.setdefault(f"a window of {window / 60:g} minutes", []), began)
        began = time.perf_counter()
        look = memory.look(usage, lines, settings, lambda some: [names[row] for row in some.tolist()], lambda *_: False, now)
        spent(times.setdefault("a look: segments, share and volume", []), began)
        tally.add(Source.FLOWS, now, rows[::10], np.full(len(rows[::10]), 3, np.uint32))
        began = time.perf_counter()
        tally.window(600.0, now)
        spent(times.setdefault("mail of a tenth of them in 10 minutes", []), began)
    assert len(look.found) >= 1000
    print("\n" + "\n".join(told(name, one) for name, one in times.items()))
    kept = sum(one.octets.nbytes + one.seconds.nbytes for ring in usage.rings for one in ring.kept.values())
    most = sum((ring.most + 1) * 10 * CUSTOMERS for ring in usage.rings)
    print(f"kept {kept / 1e6:.0f} MB now; {most / 1e6:.0f} MB at most, {11 * 10 * CUSTOMERS / 1e6:.0f} MB of it in memory")
    with tempfile.TemporaryDirectory() as folder:
        store = UsageStore(Path(folder))
        began = time.perf_counter()
        store.save(usage.totals(), {name: row for row, name in enumerate(names)})
        print(f"saved in {time.perf_counter() - began:.1f} s")
        began = time.perf_counter()
        UsageStore(Path(folder)).load({name: row for row, name in enumerate(names)}, now)
        print(f"loaded in {time.perf_counter() - began:.1f} s")
