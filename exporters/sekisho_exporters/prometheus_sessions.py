"""Metrics of sessions and of the RADIUS that tells them. Labels are closed sets: kinds and outcomes of the model."""

from __future__ import annotations

from sekisho.model.observation import RADIUS_KINDS
from sekisho.model.sessions import AccountingOutcome
from sekisho_exporters.families import Family, gauge

SESSION_FAMILIES: tuple[Family, ...] = (
    Family(
        "sekisho_radius_packets_total",
        "counter",
        "RADIUS packets received, by kind and by what became of them.",
        lambda seen: [
            ((kind, str(outcome)), seen.radius_packets.get((kind, str(outcome)), 0))
            for kind in RADIUS_KINDS
            for outcome in AccountingOutcome
        ],
        ("kind", "outcome"),
    ),
    gauge("sekisho_sessions", "Live sessions.", lambda seen: seen.sessions),
    gauge("sekisho_sessions_unknown", "Live sessions of users who are no customers.", lambda seen: seen.sessions_unknown),
    Family(
        "sekisho_sessions_replaced_total",
        "counter",
        "Sessions that lost their address to another without a Stop.",
        lambda seen: [((), seen.sessions_replaced)],
    ),
    Family(
        "sekisho_sessions_doubted_total",
        "counter",
        "Reports of a session's octets that were not counted: overtaken by a later one, or more than a line carries.",
        lambda seen: [((), seen.sessions_doubted)],
    ),
    gauge(
        "sekisho_sessions_waiting",
        "Facts about sessions that are not on disk yet; the RADIUS that tells them is not answered before.",
        lambda seen: seen.sessions_waiting,
    ),
    gauge(
        "sekisho_sessions_unfolded",
        "Lines of the record that say a session goes on, and wait to be put in the session's own.",
        lambda seen: seen.sessions_unfolded,
    ),
    gauge(
        "sekisho_sessions_failing",
        "1 while sessions cannot be written to disk and RADIUS is not answered.",
        lambda seen: seen.sessions_failing,
    ),
)
"""In the order they are shown."""
