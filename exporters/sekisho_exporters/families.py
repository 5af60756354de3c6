"""What a metric is: its name, type, help and labels, and how its samples are read from an observation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sekisho.model.counters import Counter
from sekisho.model.observation import ListObservation, Observation, SinkObservation

Samples = Iterable[tuple[tuple[str, ...], float]]
"""Label values, in the order of the family's labels, and the value."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name as it is queried (`_total` included), and how its samples are read."""

    name: str
    kind: str
    """`counter`, `gauge` or `histogram`."""
    help: str
    samples: Callable[[Observation], Samples]
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    """Of a histogram: upper bounds in seconds; its samples are a count for each and one above them all, not cumulative."""
    total: Callable[[Observation], float] = lambda _: 0.0
    """Of a histogram: the sum in seconds."""


def total(name: str, text: str, counter: Counter) -> Family:
    return Family(name, "counter", text, lambda seen: [((), seen.total(counter))])


def level(name: str, text: str, counter: Counter) -> Family:
    return Family(name, "gauge", text, lambda seen: [((), seen.total(counter))])


def gauge(name: str, text: str, value: Callable[[Observation], float | None]) -> Family:
    """A gauge without labels; it has no sample while its value is None."""

    def samples(seen: Observation) -> Samples:
        found = value(seen)
        return [] if found is None else [((), found)]

    return Family(name, "gauge", text, samples)


def by(name: str, kind: str, text: str, label: str, counters: dict[str, Counter]) -> Family:
    return Family(name, kind, text, lambda seen: [((word,), seen.total(counter)) for word, counter in counters.items()], (label,))


def per_list(name: str, text: str, value: Callable[[ListObservation, float], float | None], kind: str = "gauge") -> Family:
    """One sample a list; `value` is handed the list and the time, and gives None where there is nothing to tell."""

    def samples(seen: Observation) -> Samples:
        found = [((one.id,), value(one, seen.at)) for one in seen.lists]
        return [(labels, number) for labels, number in found if number is not None]

    return Family(name, kind, text, samples, ("list",))


def per_sink(name: str, text: str, value: Callable[[SinkObservation], float], kind: str = "gauge") -> Family:
    """One sample a sink of events."""
    return Family(name, kind, text, lambda seen: [((one.id,), value(one)) for one in seen.sinks], ("sink",))
