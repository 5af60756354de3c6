"""Metrics of NASes that are asked to slow lines and end sessions.

Labels are closed sets: kinds, outcomes and causes of the model, NAS ids of the main file.
"""

from __future__ import annotations

from sekisho.model.nas import ErrorCause, RequestKind, RequestOutcome
from sekisho.model.observation import NAS_DROPS, NAS_STATES
from sekisho_exporters.families import Family

NAS_FAMILIES: tuple[Family, ...] = (
    Family(
        "sekisho_nas_requests_total",
        "counter",
        "Requests to NASes, by kind and outcome; retransmissions are not counted.",
        lambda seen: [
            ((kind.value, outcome.value), seen.nas_requests.get((kind.value, outcome.value), 0))
            for kind in RequestKind
            for outcome in RequestOutcome
        ],
        ("kind", "outcome"),
    ),
    Family(
        "sekisho_nas_refusals_total",
        "counter",
        "Requests that NASes refused, by Error-Cause.",
        lambda seen: [((cause.word,), seen.nas_causes.get(cause.word, 0)) for cause in ErrorCause],
        ("cause",),
    ),
    Family(
        "sekisho_nas_dropped_total",
        "counter",
        "Datagrams that were no answer: nothing was asked, no packet, or a wrong authenticator.",
        lambda seen: [((reason,), seen.nas_dropped.get(reason, 0)) for reason in NAS_DROPS],
        ("reason",),
    ),
    Family(
        "sekisho_nas_answering",
        "gauge",
        "0 since a request to the NAS that it did not answer.",
        lambda seen: [((one.id,), one.answers) for one in seen.nases],
        ("nas",),
    ),
    Family(
        "sekisho_nas_lines",
        "gauge",
        "Lines at the NAS that are limited, to be, or may be, by how that stands.",
        lambda seen: [((one.id, state), one.limits.get(state, 0)) for one in seen.nases for state in NAS_STATES],
        ("nas", "state"),
    ),
)
"""In the order they are shown."""
