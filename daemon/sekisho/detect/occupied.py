"""One line under one rule in one look: whether it is over, whether what came is still there, and the figures that show it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sekisho.config.bandwidth import Bandwidth
from sekisho.detect.lines import Lines
from sekisho.detect.sustained import Watched
from sekisho.model.clauses import MeasureRule
from sekisho.model.measures import Evidence

WAYS = ("down", "up")
"""Directions by their index: towards the customer, and from them."""


@dataclass(frozen=True, slots=True)
class SegmentState:
    """A segment in a look. Arrays float64 (2): towards the customers and from them."""

    utilisation: NDArray[np.float64]
    without: NDArray[np.float64]
    """What it would be without the limits in force."""
    congested: NDArray[np.bool_]
    would_be: NDArray[np.bool_]
    """Whether it would be congested without them."""


@dataclass(slots=True)
class Under:
    """One rule in one look, on some rows. Arrays by way and place among `rows`."""

    rule: MeasureRule
    rows: NDArray[np.int64]
    rates: NDArray[np.float32]
    capacity: NDArray[np.float32]
    volumes: list[NDArray[np.float32]]
    medians: dict[tuple[int, int], float]
    """bit/s of the median line that used anything, by segment and way,"""
    middles: dict[tuple[int, int], float]
    """and its octets, by segment and volume."""


def judged(
    under: Under,
    index: int,
    on: list[int],
    settings: Bandwidth,
    segments: list[SegmentState],
    lines: Lines,
    short: NDArray[np.float32],
    left: float | None,
) -> tuple[bool, bool]:
    """Whether a line is over, and whether what came would still be there. `left`: the share of the line a limit leaves."""
    rule, row, over, still = under.rule, int(under.rows[index]), False, False
    for way in (0, 1):
        rate, capacity = float(under.rates[way, index]), float(under.capacity[way, index])
        is_loud = all(rate >= settings.factor * under.medians.get((one, way), 0.0) for one in on)
        congested = not rule.congested or any(segments[one].congested[way] for one in on)
        much = is_much = False
        for number, one in enumerate(rule.volumes):
            octets = float(under.volumes[number][index])
            if one.up == bool(way) and octets >= one.octets:
                much = True
                is_much |= all(octets >= settings.factor * under.middles.get((segment, number), 0.0) for segment in on)
        high = rule.share is not None and capacity > 0 and rate >= rule.share * capacity
        over |= congested and ((high and is_loud) or is_much)
        if left is None:
            high = rule.share is not None and capacity > 0 and rate >= rule.share * settings.release * capacity
            still |= congested and (high or much)
        else:
            presses = float(short[way, row]) >= settings.pressing * left * float(lines.capacity[way, row])
            would_be = not rule.congested or any(segments[one].would_be[way] for one in on)
            still |= would_be and ((rule.share is not None and presses) or much)
    return over, still


def evidence_of(
    under: Under,
    index: int,
    on: list[int],
    settings: Bandwidth,
    segments: list[SegmentState],
    lines: Lines,
    is_limited: bool,
    watched: Watched,
) -> Evidence:
    """The figures of a line for the record: its shares and volumes, the most used segment it is on, the windows so far."""
    rule = under.rule
    evidence: dict[str, float | int | str] = {}
    shares = [
        float(rate / capacity) if capacity else 0.0 for rate, capacity in zip(under.rates[:, index], under.capacity[:, index], strict=True)
    ]
    way = int(shares[1] > shares[0]) if any(shares) else int(any(one.up for one in rule.volumes))
    evidence["direction"] = WAYS[way]
    if rule.share is not None and rule.window is not None:
        evidence |= {"window_seconds": round(rule.window), "threshold": rule.share, "of": rule.of.value}
        evidence |= {f"share_{name}": round(share, 4) for name, share in zip(WAYS, shares, strict=True)}
    for name, rate, capacity in zip(WAYS, under.rates[:, index], under.capacity[:, index], strict=True):
        evidence[f"rate_{name}_mbps"] = round(float(rate) / 1e6, 3)
        evidence[f"capacity_{name}_mbps"] = round(float(capacity) / 1e6, 3)
    for one, octets in zip(rule.volumes, under.volumes, strict=True):
        name = WAYS[int(one.up)]
        evidence[f"volume_{name}_bytes"] = int(octets[index])
        evidence[f"volume_{name}_limit_bytes"] = one.octets
        evidence[f"volume_{name}_window_seconds"] = round(one.window)
    if on:
        worst = max(on, key=lambda one: float(segments[one].utilisation[way]))
        state, segment = segments[worst], lines.segments[worst]
        evidence |= {
            "segment": segment.id,
            "utilisation": round(float(state.utilisation[way]), 4),
            "congested_at": settings.congested if segment.congested is None else segment.congested,
            "congestion_window_seconds": round(settings.congestion_window),
            "median_mbps": round(under.medians.get((worst, way), 0.0) / 1e6, 3),
            "factor": settings.factor,
        }
        if is_limited:
            evidence["utilisation_without_limits"] = round(float(state.without[way]), 4)
    return evidence | {
        "windows_over": int(watched.history[index]).bit_count(),
        "windows_needed": settings.sustained,
        "windows": settings.windows,
        "limited": int(is_limited),
    }
