"""What detection takes of the control plane: one window of a million customers, from the shared counts to the findings.

Two workers and the TCP server have counted. The files lie in shared memory, as at work; ten floods and two
thousand busy lines among the customers are looked at closely.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from bench.settings import CUSTOMERS
from sekisho.config.detection import Detection, Statistic
from sekisho.detect.overload import Overload, Window
from sekisho.detect.population import measure
from sekisho.drivers.customercounts import CustomerCounts
from sekisho.drivers.tablerows import CustomerRow
from sekisho.drivers.tables import TableWriter
from sekisho.drivers.workerfiles import WorkerFiles
from sekisho.model.counters import Counter
from sekisho.model.customers import V4_MAPPED, Prefix
from sekisho.snapshot import layout

FIRST = 0x0A000000
WORKERS = 3
TURNS = 9
FLOODS = 10


def least_and_middle(times: list[float]) -> str:
    return f"{min(times) * 1e3:6.1f} ms least, {sorted(times)[len(times) // 2] * 1e3:6.1f} ms median"


def test_one_window_of_a_million_customers() -> None:
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        writer = TableWriter(Path(folder))
        rows = [CustomerRow(f"c-{number}", (Prefix(V4_MAPPED | FIRST + number, 128),), 1, 0) for number in range(CUSTOMERS)]
        writer.replace_customers(rows, [], CUSTOMERS)
        files = WorkerFiles(Path(folder))
        workers = [files.counts(number, CUSTOMERS + 1) for number in range(WORKERS)]
        rates = rng.lognormal(np.log(0.3), 1.0, CUSTOMERS + 1) * (rng.random(CUSTOMERS + 1) > 1 / 3)
        rates[1:2001] = 120.0
        rates[1 : 1 + FLOODS] = 5000.0
        reader, memory, settings = CustomerCounts(Path(folder)), Overload(), Detection()
        reader.window(0.0, 0.0)
        spent: dict[str, list[float]] = {
            name: [] for name in ("read the counts", "population and load", "look closely and conclude", "all of it")
        }
        found = 0
        for turn in range(1, TURNS + 1):
            for worker in workers:
                worker.customers[: CUSTOMERS + 1, layout.COUNT_QUERIES] += rng.poisson(rates * (10 / WORKERS)).astype(np.uint32)
                worker.totals[Counter.BUSY_NS] += np.uint64(9_500_000_000)
                worker.worker[layout.WORKER_HEARTBEAT] = time.time_ns()
            marks = [time.perf_counter()]
            window = reader.window(10.0 * turn, 10.0 * turn)
            assert isinstance(window, Window)
            marks.append(time.perf_counter())
            survey = memory.survey(window, settings)
            marks.append(time.perf_counter())
            found = len(memory.conclude(survey, reader.lines(survey.rows), settings).found)
            marks.append(time.perf_counter())
            for name, began, ended in zip(spent, marks, [*marks[1:], marks[-1]], strict=False):
                spent[name].append(ended - began)
            spent["all of it"][-1:] = [marks[-1] - marks[0]]
        assert found == FLOODS
        print(f"\n{CUSTOMERS:,} customers, {WORKERS} counts files, {len(survey.rows):,} looked at closely; {TURNS} windows")
        for name, times in spent.items():
            print(f"{name:30} {least_and_middle(times)}")
        for statistic in Statistic:
            times = []
            for _ in range(TURNS):
                began = time.perf_counter()
                measure(window.counts, 10.0, Detection(statistic=statistic))
                times.append(time.perf_counter() - began)
            print(f"{'the pass: ' + statistic.value:30} {least_and_middle(times)}")
        assert min(times) < 0.5
