"""Metrics of what is on the record: measures, findings, notices, the ledger itself, and the sinks of events.

Labels are closed sets: states, detectors, channels and outcomes of the model, clause ids of the packs, sink ids of the
main file.
"""

from __future__ import annotations

from sekisho.model.dnstap import Ended, Tally
from sekisho.model.measures import Detector
from sekisho.model.observation import APPEND_BOUNDS, CHANNELS, OUTCOMES, DnstapObservation, LineObservation, Observation
from sekisho.model.usage import Source
from sekisho_exporters.families import Family, gauge, per_sink

WAYS = ("down", "up")
"""Towards the customers, and from them."""


def _dnstap(seen: Observation) -> DnstapObservation:
    return seen.dnstap or DnstapObservation()


def _lines(seen: Observation) -> LineObservation:
    return seen.lines or LineObservation()


RECORD_FAMILIES: tuple[Family, ...] = (
    # Measures
    Family(
        "sekisho_measures",
        "gauge",
        "Measures on the record, by clause and state.",
        lambda seen: [(labels, count) for labels, count in seen.measures.items()],
        ("clause", "state"),
    ),
    gauge("sekisho_measures_observed", "Measures in force that only observe.", lambda seen: seen.measures_observed),
    gauge(
        "sekisho_measures_termination_eligible",
        "Open measures whose contract may be terminated; somebody has to decide.",
        lambda seen: seen.termination_eligible,
    ),
    Family(
        "sekisho_findings_total",
        "counter",
        "Findings, by detector.",
        lambda seen: [((detector.value,), seen.findings.get(detector.value, 0)) for detector in Detector],
        ("detector",),
    ),
    gauge("sekisho_enforcement_held", "1 while an operator holds all enforcement.", lambda seen: seen.enforcement_held),
    gauge("sekisho_emergency_active", "1 while the emergency mode is on.", lambda seen: seen.emergency),
    gauge("sekisho_outages_open", "Outages that are open.", lambda seen: seen.outages_open),
    # Notices
    Family(
        "sekisho_notices_total",
        "counter",
        "Notices, by channel and outcome.",
        lambda seen: [((channel, outcome), seen.notices.get((channel, outcome), 0)) for channel in CHANNELS for outcome in OUTCOMES],
        ("channel", "outcome"),
    ),
    gauge("sekisho_notices_waiting", "Notices neither sent nor given up yet.", lambda seen: seen.notices_waiting),
    gauge("sekisho_attention_calls_open", "Attention calls that are not closed.", lambda seen: seen.attention_open),
    # Lines
    Family(
        "sekisho_lines_enforcer_up",
        "gauge",
        "1 while what limits lines in the kernel can be used; missing where it is not wanted.",
        lambda seen: [((name,), up) for name, up in _lines(seen).enforcers.items()],
        ("enforcer",),
    ),
    Family(
        "sekisho_lines_entries",
        "gauge",
        "Addresses in the kernel's tables, by what being there means.",
        lambda seen: [((role,), many) for role, many in _lines(seen).entries.items()],
        ("role",),
    ),
    gauge("sekisho_lines_slowed", "Lines that have a class of their own.", lambda seen: seen.lines.slowed if seen.lines else None),
    Family(
        "sekisho_lines_repairs_total",
        "counter",
        "Entries and classes found other than they were left, and repaired.",
        lambda seen: [((kind,), _lines(seen).repairs.get(kind, 0)) for kind in ("tables", "classes")] if seen.lines else [],
        ("kind",),
    ),
    Family(
        "sekisho_lines_dropped_queries_total",
        "counter",
        "Queries of silenced customers that the kernel dropped.",
        lambda seen: [((), seen.lines.dropped)] if seen.lines else [],
    ),
    # Ledger
    gauge("sekisho_ledger_acts", "Acts on the record.", lambda seen: seen.acts),
    Family(
        "sekisho_ledger_append_seconds",
        "histogram",
        "Time until an act was on disk and acknowledged.",
        lambda seen: [((), count) for count in seen.append_latency],
        bounds=APPEND_BOUNDS,
        total=lambda seen: seen.append_seconds,
    ),
    # Sinks
    per_sink("sekisho_sink_lag_events", "Acts between the end of the record and the place of the sink.", lambda one: one.behind),
    per_sink("sekisho_sink_lag_seconds", "Age of the oldest act the sink has still to come to.", lambda one: one.behind_seconds),
    per_sink("sekisho_sink_failing", "1 while events cannot be handed to the sink.", lambda one: one.failing),
    per_sink("sekisho_sink_events_total", "Events the sink has taken.", lambda one: one.taken, "counter"),
    per_sink("sekisho_sink_failures_total", "Hand-overs of events that failed.", lambda one: one.failures, "counter"),
    # Usage of lines
    Family(
        "sekisho_usage_batches_total",
        "counter",
        "Batches of usage handed in, by who counts.",
        lambda seen: [((source.value,), seen.usage_batches.get(source.value, 0)) for source in Source],
        ("source",),
    ),
    Family(
        "sekisho_usage_age_seconds",
        "gauge",
        "Age of the last batch of usage; missing for a source that never handed in.",
        lambda seen: [((source,), max(0.0, seen.at - at)) for source, at in seen.usage_last.items()],
        ("source",),
    ),
    Family(
        "sekisho_segment_utilisation_ratio",
        "gauge",
        "Share of a shared segment's capacity its lines used, by direction.",
        lambda seen: [((one.id, way), one.utilisation[place]) for one in seen.segments for place, way in enumerate(WAYS)],
        ("segment", "direction"),
    ),
    Family(
        "sekisho_segment_congested",
        "gauge",
        "1 while a shared segment is congested, by direction.",
        lambda seen: [((one.id, way), one.congested[place]) for one in seen.segments for place, way in enumerate(WAYS)],
        ("segment", "direction"),
    ),
    # Resolvers that tell of queries
    gauge(
        "sekisho_dnstap_up",
        "1 while resolvers can tell of queries; missing where none is to.",
        lambda seen: seen.dnstap.listening if seen.dnstap else None,
    ),
    gauge(
        "sekisho_dnstap_streams",
        "Connections over which resolvers tell of queries.",
        lambda seen: seen.dnstap.streams if seen.dnstap else None,
    ),
    Family(
        "sekisho_dnstap_frames_total",
        "counter",
        "Frames of resolvers, by what became of them; `damaged` and `addressless` ones are lost.",
        lambda seen: [((tally.name.lower(),), _dnstap(seen).frames.get(tally.name.lower(), 0)) for tally in Tally] if seen.dnstap else [],
        ("outcome",),
    ),
    Family(
        "sekisho_dnstap_streams_ended_total",
        "counter",
        "Connections of resolvers that ended, by why.",
        lambda seen: [((why.value,), _dnstap(seen).ended.get(why.value, 0)) for why in Ended] if seen.dnstap else [],
        ("reason",),
    ),
)
"""In the order they are shown."""
