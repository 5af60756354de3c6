"""The figures of a comparison: medians of the rounds, ratios within a round, as a table and as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

TITLES = {"allowed": "all allowed, from the cache", "tenth": "10 % blocked, 90 % from the cache", "blocked": "all blocked"}
OURS = "sekisho"


@dataclass(frozen=True)
class Figure:
    """One server, one mix, one round. CPU in microseconds for each answered query, all its processes; times in microseconds."""

    server: str
    mix: str
    round: int
    cpu: float
    path: float
    """The part of it in the process that answers: what it takes besides is what it records, watches and publishes."""
    user: float
    system: float
    rate: float
    """Answers a second at full load."""
    paced_cpu: float
    p50: float
    p99: float
    sent: int
    lost: int


@dataclass(frozen=True)
class Spread:
    """A median and the lowest and highest round."""

    median: float
    low: float
    high: float

    def __format__(self, form: str) -> str:
        return f"{self.median:{form}} ({self.low:{form}}-{self.high:{form}})"


def spread(values: Iterable[float]) -> Spread:
    found = list(values)
    return Spread(statistics.median(found), min(found), max(found))


def ratio(figures: list[Figure], mix: str, other: str, what: str) -> Spread:
    """Ours over another's, round by round."""
    theirs = {figure.round: getattr(figure, what) for figure in figures if (figure.server, figure.mix) == (other, mix)}
    return spread(getattr(figure, what) / theirs[figure.round] for figure in figures if (figure.server, figure.mix) == (OURS, mix))


def table(figures: list[Figure], rate: int) -> Iterator[str]:
    """Markdown, so that what is printed can stand in a README."""
    servers = list(dict.fromkeys(figure.server for figure in figures))
    for mix, title in TITLES.items():
        yield f"\n**{title}**\n"
        yield f"| server | CPU a query, µs | of it user / system | queries/s | CPU at {rate:,} q/s, µs | p50 / p99 there, µs | lost |"
        yield "|---|---|---|---|---|---|---|"
        for server in servers:
            own = [figure for figure in figures if (figure.server, figure.mix) == (server, mix)]
            cpu, full, paced = (spread(getattr(figure, what) for figure in own) for what in ("cpu", "rate", "paced_cpu"))
            user, system, p50, p99 = (
                statistics.median(getattr(figure, what) for figure in own) for what in ("user", "system", "p50", "p99")
            )
            lost, sent = sum(figure.lost for figure in own), sum(figure.sent for figure in own)
            yield (
                f"| {server} | {cpu:.2f} | {user:.2f} / {system:.2f} | {full:,.0f} | {paced:.1f} | {p50:,.0f} / {p99:,.0f} | {lost:,} of {sent:,} |"
            )
        words = [f"{ratio(figures, mix, other, 'cpu'):.2f} of {other}" for other in servers if other != OURS]
        path = statistics.median(figure.path for figure in figures if (figure.server, figure.mix) == (OURS, mix))
        alone = [f"{ratio(figures, mix, other, 'path'):.2f} of {other}" for other in servers if other != OURS]
        yield f"\nCPU a query of sekisho, both processes: {', '.join(words)}."
        yield f"Its plane, which answers, took {path:.2f} µs: {', '.join(alone)}."


def write_json(path: Path, figures: list[Figure], about: dict[str, object]) -> None:
    path.write_text(json.dumps({"about": about, "figures": [asdict(figure) for figure in figures]}, indent=1) + "\n", encoding="utf-8")
