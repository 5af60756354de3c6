"""Where a customer stands with the detector: the answer to `explain --measure`.

Owns the making of the answer. The figures are the detector's last (`control_detection`); whether a
measure is open is the record's to say.
"""

from __future__ import annotations

from typing import Any

from sekisho.app.control_core import Core
from sekisho.app.control_detection import clauses_for
from sekisho.app.control_explain import clause_words
from sekisho.config.detection import LoadConditions
from sekisho.detect.load import Load
from sekisho.detect.overload import Standing

Json = dict[str, Any]


def standing_body(core: Core, identity: str) -> Json:
    """Thresholds, rates, load and how long. Raises RefusedError if there is no such customer."""
    customer = core.people.get(identity)
    settings = core.site.settings.detection
    conclusion = core.detection.conclusion
    standing = core.detection.standing(identity)
    clauses = clauses_for(core.people, identity)
    return {
        "customer": identity,
        "detector": "dns-overload",
        "at": conclusion.survey.window.at if conclusion is not None else None,
        "clauses": [words for clause in clauses if (words := clause_words(core.site.packs, clause)) is not None],
        "found": standing is not None and standing.found,
        "over": standing is not None and standing.over,
        "since": standing.since if standing is not None else None,
        "calm_windows": standing.calm if standing is not None else 0,
        "evidence": dict(standing.evidence) if standing is not None else {},
        "load": load_body(core.detection.load, settings.load),
        "settings": {
            "window": settings.window,
            "windows": settings.windows,
            "sustained": settings.sustained,
            "statistic": settings.statistic.value,
            "factor": settings.factor,
            "floor": settings.floor,
            "usual": settings.usual,
            "by_address": settings.by_address,
            "release": settings.release,
            "clear": settings.clear,
        },
        "summary": summary(standing, clauses, core.detection.load, ", ".join(customer.terms), settings.window),
    }


def load_body(load: Load, conditions: LoadConditions) -> Json:
    """Each figure with the value it is compared with; a condition left out has none."""
    figures = {"utilisation": load.utilisation, "timeouts": load.timeouts, "latency": load.latency, "queries": load.queries}
    return {name: {"figure": figure, "value": getattr(conditions, name), "holds": name in load.holding} for name, figure in figures.items()}


def summary(standing: Standing | None, clauses: list[str], load: Load, terms: str, window: float) -> str:
    """Where the customer stands, in one sentence."""
    if standing is None:
        return f"No window has been counted to its end yet; ask again in {window:g} s."
    rate, limit = standing.evidence["rate"], standing.evidence["limit"]
    against = f"{rate:,g} queries/s, the limit is {limit:,g}"
    if not clauses:
        return f"No clause of {terms} that reaches the customer knows DNS overload: nothing is found ({against})."
    if standing.found and standing.calm:
        return f"The condition of {', '.join(clauses)} is there, and calm for {standing.calm} windows: {against}."
    if standing.found:
        return f"The condition of {', '.join(clauses)} is there: {against}."
    if standing.over:
        over, needed = standing.evidence["windows_over"], standing.evidence["windows_needed"]
        return f"Over the limit under load in {over} windows, {needed} are needed: {against}."
    if float(rate) > float(limit):
        return f"Over the limit, and the name servers do well: {against}."
    under = " while the name servers are loaded" if load.held else ""
    return f"Below the limit{under}: {against}."
