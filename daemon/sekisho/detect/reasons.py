"""What led to a finding, in words: evidence to sentences a support desk can read out.

Owns the words. They say the figures of the evidence and nothing else: no name, no address, no target.
"""

from __future__ import annotations

from collections.abc import Iterator

from sekisho.model.measures import Detector, Evidence

_SPANS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def reasons(detector: Detector, evidence: Evidence) -> list[str]:
    """The figures that led to a finding, a sentence each; none for a detector or evidence without figures of its own."""
    match detector:
        case Detector.BANDWIDTH:
            return [*_bandwidth(evidence)]
        case Detector.MAIL_VOLUME | Detector.CONNECTION_STORM:
            return [*_connections(detector, evidence)]
        case Detector.DUPLICATE_LOGIN:
            return [*_duplicate(evidence)]
        case Detector.DNS_OVERLOAD:
            return [*_overload(evidence)]
        case _:
            return []


def span(seconds: float) -> str:
    """A length of time: `30 minutes`, `24 hours`, `7 days`."""
    if seconds == 86400:
        return "24 hours"
    size, unit = next(((size, unit) for size, unit in _SPANS if seconds >= size and seconds % size == 0), (1, "second"))
    return f"{seconds / size:g} {unit}{'' if seconds == size else 's'}"


def volume(octets: float) -> str:
    """Octets, in the unit a person would take."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if octets >= size:
            return f"{octets / size:.3g} {unit}"
    return f"{octets:.0f} B"


def _bandwidth(evidence: Evidence) -> Iterator[str]:
    whose = "the line" if evidence.get("of", "line") == "line" else "the shared segment"
    if "threshold" in evidence:
        window = span(float(evidence["window_seconds"]))
        for way, words in (("down", "towards the customer"), ("up", "from the customer")):
            share, capacity = float(evidence[f"share_{way}"]), float(evidence[f"capacity_{way}_mbps"])
            if share >= float(evidence["threshold"]) or evidence.get("direction") == way:
                yield (
                    f"Over {window} it used {share:.0%} of {capacity:g} Mbit/s of {whose} {words} on average; "
                    f"the criterion is {float(evidence['threshold']):.0%}."
                )
    for way, words in (("up", "from the customer"), ("down", "towards the customer")):
        if f"volume_{way}_bytes" in evidence:
            used, limit = float(evidence[f"volume_{way}_bytes"]), float(evidence[f"volume_{way}_limit_bytes"])
            within = span(float(evidence[f"volume_{way}_window_seconds"]))
            yield f"Within {within} it was {volume(used)} {words}; the criterion is {volume(limit)}."
    if "segment" in evidence:
        window, at = span(float(evidence["congestion_window_seconds"])), float(evidence["congested_at"])
        full = float(evidence["utilisation"])
        yield (
            f"Segment {evidence['segment']}, which the line shares with others, was at {full:.0%} of its capacity over {window}; "
            f"it counts as congested from {at:.0%} on."
        )
        if float(evidence.get("median_mbps", 0)) > 0:
            median, factor = float(evidence["median_mbps"]), float(evidence["factor"])
            yield f"The median line that used the segment took {median:g} Mbit/s; who takes less than {factor:g} times that is not limited."
    if "utilisation_without_limits" in evidence:
        yield f"Without the limits in force the segment would be at {float(evidence['utilisation_without_limits']):.0%}."


def _connections(detector: Detector, evidence: Evidence) -> Iterator[str]:
    if "connections" not in evidence:
        return
    what = "connections to ports of mail" if detector is Detector.MAIL_VOLUME else "connections"
    window = span(float(evidence["window_seconds"]))
    yield f"Within {window} the line began {int(evidence['connections']):,} {what}; the criterion is {int(evidence['threshold']):,}."
    if "few_targets_share" in evidence:
        share, least = float(evidence["few_targets_share"]), float(evidence["few_targets_threshold"])
        yield f"{share:.0%} of them went to few targets; the criterion is {least:.0%}. Which ones is not recorded."


def _duplicate(evidence: Evidence) -> Iterator[str]:
    if "sessions" in evidence:
        lasted = span(float(evidence["side_by_side_seconds"]))
        yield f"The ID was in {evidence['sessions']} sessions side by side for {lasted}; {evidence['allowed']} may be."


def _overload(evidence: Evidence) -> Iterator[str]:
    if "rate" in evidence:
        yield (
            f"Over {span(round(float(evidence['window_seconds'])))} it asked {float(evidence['rate']):,.0f} DNS queries a second; "
            f"the limit was {float(evidence['limit']):,.0f}, and the name servers were under load ({evidence.get('load', 'none')})."
        )
