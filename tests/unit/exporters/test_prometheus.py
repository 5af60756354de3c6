"""Metrics: every number the operator steers by, and never a customer or a name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from sekisho.model.counters import LATENCY_BOUNDS_US, Counter
from sekisho.model.measures import Detector
from sekisho.model.observation import (
    APPEND_BOUNDS,
    CHANNELS,
    OUTCOMES,
    LineObservation,
    ListObservation,
    Observation,
    SegmentObservation,
    SinkObservation,
)
from sekisho.model.verdicts import STEPS
from sekisho_exporters.prometheus import FAMILIES, registry_of, render

EXPORTERS = Path(__file__).resolve().parents[3] / "exporters"
COMMAND = re.compile(r": sekisho [a-z ]+$")
"""A description may end with what to type."""
NAMES = {family.name for family in FAMILIES}

SEEN = Observation(
    at=1_000_000.0,
    version="1.2.3",
    lists=(
        ListObservation("c2", entries=7, skipped=1, refused=2, good_at=999_940.0, matches=5, opted_out=3, unconsented=4),
        ListObservation("child-abuse", good_at=None, failed=True, stale=True, held=True),
    ),
    clauses={"gunma/別記-1": 5, "nbnet/21-1": 0},
    totals={counter: 100 + counter for counter in Counter},
    latency=tuple(range(len(LATENCY_BOUNDS_US) + 1)),
    customers=11,
    opted_out=3,
    unconsented=4,
    epoch=9,
    built_at=999_000.0,
    build_seconds=0.25,
    plane_epoch=8,
    workers=2,
    workers_alive=1,
    worker_restarts=6,
    queries_lost=3,
    hits_lost=2,
    measures={("nbnet/22-2-5", "in-force"): 3, ("nbnet/22-2-5", "lifted"): 0},
    measures_observed=1,
    termination_eligible=2,
    findings={"dns-overload": 9},
    notices={("email", "sent"): 8, ("web", "queued"): 1},
    notices_waiting=4,
    attention_open=5,
    outages_open=1,
    enforcement_held=True,
    emergency=True,
    acts=77,
    append_latency=(*range(len(APPEND_BOUNDS)), 1),
    append_seconds=1.5,
    sinks=(
        SinkObservation("desk", "webhook", behind=6, behind_seconds=60.5, taken=70, failures=3, failing=True),
        SinkObservation("a", "file"),
    ),
)


def samples(seen: Observation = SEEN) -> dict[str, float]:
    """Every sample of the text exposition, by `name{label="value"}`."""
    text, _ = render(registry_of(lambda: seen))
    found = {}
    for family in parse_text(text.decode()):
        for one in family.samples:
            labels = ",".join(f'{key}="{value}"' for key, value in sorted(one.labels.items()))
            found[f"{one.name}{{{labels}}}" if labels else one.name] = one.value
    return found


def test_every_step_of_the_verdict_table_has_its_count() -> None:
    found = samples()
    for one in STEPS:
        key = f'sekisho_verdicts_total{{step="{one.label}",verdict="{one.verdict.value}"}}'
        assert found[key] == 100 + Counter[f"STEP_{one.step.name}"]


def test_queries_are_told_by_transport_and_family() -> None:
    found = samples()
    assert found['sekisho_queries_total{family="ipv6",transport="tcp"}'] == 100 + Counter.QUERIES_TCP6


def test_lists_and_clauses_without_a_match_are_shown_at_zero() -> None:
    found = samples()
    assert found['sekisho_list_matches_total{list="c2"}'] == 5
    assert found['sekisho_list_matches_total{list="child-abuse"}'] == 0
    assert found['sekisho_clause_matches_total{clause="gunma/別記-1"}'] == 5
    assert found['sekisho_clause_matches_total{clause="nbnet/21-1"}'] == 0


def test_a_list_tells_its_age_and_how_its_source_does() -> None:
    found = samples()
    assert found['sekisho_list_age_seconds{list="c2"}'] == 60
    assert 'sekisho_list_age_seconds{list="child-abuse"}' not in found
    assert found['sekisho_list_entries{list="c2"}'] == 7
    assert found['sekisho_list_skipped{list="c2"}'] == 1
    assert found['sekisho_list_refused{list="c2"}'] == 2
    for flag in ("last_error", "stale", "held"):
        assert found[f'sekisho_list_{flag}{{list="c2"}}'] == 0
        assert found[f'sekisho_list_{flag}{{list="child-abuse"}}'] == 1


def test_customers_are_counted_with_opt_outs_and_missing_consent() -> None:
    found = samples()
    assert found["sekisho_customers"] == 11
    assert found["sekisho_customers_opted_out"] == 3
    assert found["sekisho_customers_unconsented"] == 4
    assert found['sekisho_list_opted_out{list="c2"}'] == 3
    assert found['sekisho_list_unconsented{list="c2"}'] == 4


def test_the_snapshot_the_workers_and_the_ring_are_told() -> None:
    found = samples()
    assert found["sekisho_snapshot_epoch"] == 9
    assert found["sekisho_snapshot_plane_epoch"] == 8
    assert found["sekisho_snapshot_build_seconds"] == 0.25
    assert found["sekisho_workers_alive"] == 1
    assert found["sekisho_worker_restarts_total"] == 6
    assert found["sekisho_hits_lost_total"] == 2
    assert found["sekisho_queries_lost_total"] == 3
    assert found['sekisho_build_info{version="1.2.3"}'] == 1


def test_upstream_latency_is_a_cumulative_histogram_in_seconds() -> None:
    found = samples()
    assert found['sekisho_upstream_latency_seconds_bucket{le="0.00025"}'] == 0
    assert found['sekisho_upstream_latency_seconds_bucket{le="0.001"}'] == 0 + 1 + 2
    assert found['sekisho_upstream_latency_seconds_bucket{le="+Inf"}'] == sum(SEEN.latency)
    assert found["sekisho_upstream_latency_seconds_count"] == sum(SEEN.latency)
    assert found["sekisho_upstream_latency_seconds_sum"] == pytest.approx((100 + Counter.LATENCY_SUM_US) / 1e6)


def test_measures_are_told_by_clause_and_state_and_findings_by_detector() -> None:
    found = samples()
    assert found['sekisho_measures{clause="nbnet/22-2-5",state="in-force"}'] == 3
    assert found['sekisho_measures{clause="nbnet/22-2-5",state="lifted"}'] == 0
    assert {key for key in found if key.startswith("sekisho_findings_total")} == {
        f'sekisho_findings_total{{detector="{one}"}}' for one in Detector
    }
    assert found['sekisho_findings_total{detector="dns-overload"}'] == 9
    assert found["sekisho_measures_observed"] == 1
    assert found["sekisho_measures_termination_eligible"] == 2
    assert found["sekisho_enforcement_held"] == found["sekisho_emergency_active"] == found["sekisho_outages_open"] == 1


def test_notices_are_told_by_channel_and_outcome_zeros_too() -> None:
    found = samples()
    assert sum(key.startswith("sekisho_notices_total") for key in found) == len(CHANNELS) * len(OUTCOMES)
    assert found['sekisho_notices_total{channel="email",outcome="sent"}'] == 8
    assert found['sekisho_notices_total{channel="web",outcome="queued"}'] == 1
    assert found['sekisho_notices_total{channel="webhook",outcome="bounced"}'] == 0
    assert found["sekisho_notices_waiting"] == 4
    assert found["sekisho_attention_calls_open"] == 5


def test_the_time_an_act_takes_is_a_cumulative_histogram_in_seconds() -> None:
    found = samples()
    assert found["sekisho_ledger_acts"] == 77
    assert found['sekisho_ledger_append_seconds_bucket{le="0.005"}'] == 0 + 1 + 2
    assert (
        found['sekisho_ledger_append_seconds_bucket{le="+Inf"}'] == found["sekisho_ledger_append_seconds_count"] == sum(SEEN.append_latency)
    )
    assert found["sekisho_ledger_append_seconds_sum"] == 1.5


def test_each_sink_tells_how_far_behind_it_is_and_what_failed() -> None:
    found = samples()
    told = {
        name: found[f'sekisho_sink_{name}{{sink="desk"}}']
        for name in ("lag_events", "lag_seconds", "failing", "events_total", "failures_total")
    }
    assert told == {"lag_events": 6, "lag_seconds": 60.5, "failing": 1, "events_total": 70, "failures_total": 3}
    assert found['sekisho_sink_lag_events{sink="a"}'] == 0


def test_lines_are_told_where_they_are_limited_at_all() -> None:
    assert not [key for key in samples() if key.startswith("sekisho_lines_")]
    seen = LineObservation({"nftables": True, "htb": False}, {"silence": 3, "down": 0}, 2, {"tables": 4}, 5)
    found = samples(Observation(at=0.0, version="1.2.3", lines=seen))
    assert found['sekisho_lines_enforcer_up{enforcer="nftables"}'] == 1
    assert found['sekisho_lines_enforcer_up{enforcer="htb"}'] == 0
    assert found['sekisho_lines_entries{role="silence"}'] == 3
    assert found["sekisho_lines_slowed"] == 2
    assert (found['sekisho_lines_repairs_total{kind="tables"}'], found['sekisho_lines_repairs_total{kind="classes"}']) == (4, 0)
    assert found["sekisho_lines_dropped_queries_total"] == 5


def test_usage_and_segments_are_told_by_source_and_direction() -> None:
    segment = SegmentObservation("pon-1", (0.9, 0.1), (True, False))
    found = samples(Observation(at=100.0, version="1", usage_batches={"flows": 7}, usage_last={"flows": 90.0}, segments=(segment,)))
    assert found['sekisho_usage_batches_total{source="flows"}'] == 7
    assert found['sekisho_usage_batches_total{source="radius"}'] == 0
    assert found['sekisho_usage_age_seconds{source="flows"}'] == 10
    assert 'sekisho_usage_age_seconds{source="radius"}' not in found
    assert found['sekisho_segment_utilisation_ratio{direction="down",segment="pon-1"}'] == 0.9
    assert found['sekisho_segment_congested{direction="down",segment="pon-1"}'] == 1
    assert found['sekisho_segment_congested{direction="up",segment="pon-1"}'] == 0


def test_a_daemon_that_has_seen_nothing_yet_shows_every_metric_it_can() -> None:
    found = samples(Observation(at=0.0, version="1.2.3"))
    assert found["sekisho_customers"] == 0
    assert found['sekisho_queries_total{family="ipv4",transport="udp"}'] == 0
    assert "sekisho_snapshot_built_timestamp_seconds" not in found


def test_every_counter_of_the_plane_reaches_a_metric() -> None:
    before = samples(Observation(at=0.0, version="1.2.3"))
    for counter in Counter:
        # The plane's restarts are told through `worker_restarts`, whose maker adds them up.
        if counter is not Counter.WORKER_RESTARTS:
            after = samples(Observation(at=0.0, version="1.2.3", totals={counter: 1_000_000}))
            changed = {key for key in before if key.startswith("sekisho") and before[key] != after[key]}
            assert changed, f"{counter.name} is shown nowhere"


def test_no_label_can_carry_a_customer_an_address_or_a_name() -> None:
    labels = {label for family in FAMILIES for label in family.labels}
    assert labels == {
        "version",
        "enforcer",
        "role",
        "kind",
        "transport",
        "family",
        "step",
        "verdict",
        "answer",
        "clause",
        "list",
        "state",
        "detector",
        "channel",
        "outcome",
        "sink",
        "reason",
        "source",
        "segment",
        "direction",
        "zone",
        "secondary",
        "nas",
        "cause",
    }


def test_openmetrics_is_given_to_who_asks_for_it() -> None:
    text, content_type = render(registry_of(lambda: SEEN), "application/openmetrics-text; version=1.0.0,text/plain;q=0.5")
    assert content_type.startswith("application/openmetrics-text")
    families = {family.name: family for family in parse_openmetrics(text.decode())}
    assert families["sekisho_queries"].type == "counter"
    assert families["sekisho_upstream_latency_seconds"].type == "histogram"
    _, content_type = render(registry_of(lambda: SEEN), "")
    assert content_type.startswith("text/plain")


def test_names_follow_the_conventions() -> None:
    for family in FAMILIES:
        assert re.fullmatch(r"sekisho_[a-z_]+", family.name)
        assert family.name.endswith("_total") == (family.kind == "counter"), family.name
        assert family.help.endswith("."), family.name


def test_registering_reads_nothing() -> None:
    def fail() -> Observation:
        raise AssertionError("read before a scrape")

    registry_of(fail)


def metrics_named_in(text: str) -> set[str]:
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\bsekisho_[a-z_]+\b", text)} - {"sekisho_exporters"}


def test_the_readme_lists_every_metric_as_it_is() -> None:
    text = (EXPORTERS / "README.md").read_text()
    for family in FAMILIES:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        assert f"| `{family.name}` | {family.kind} | {labels} | {family.help} |" in text
    assert metrics_named_in(text) == NAMES


def test_alerts_name_existing_metrics_and_say_what_to_do() -> None:
    rules = [rule for group in yaml.safe_load((EXPORTERS / "alerts" / "sekisho.yaml").read_text())["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert metrics_named_in(rule["expr"]) <= NAMES, rule["alert"]
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"].rstrip().endswith((".", "sekishod", "sekisho-plane", "}}")) or COMMAND.search(
            rule["annotations"]["description"]
        )
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
    steps = {one.label for one in STEPS}
    assert {step for rule in rules for step in re.findall(r'step="([^"]+)"', rule["expr"])} <= steps


def test_the_dashboard_names_existing_metrics_and_shows_nearly_all() -> None:
    document = json.loads((EXPORTERS / "dashboards" / "sekisho.json").read_text())
    expressions = [target["expr"] for panel in document["panels"] for target in panel.get("targets", [])]
    named = {name for expression in expressions for name in metrics_named_in(expression)}
    assert named <= NAMES
    assert {"sekisho_verdicts_total", "sekisho_clause_matches_total", "sekisho_list_age_seconds", "sekisho_hits_lost_total"} <= named
    parts = ("sekisho_flow_", "sekisho_radius_", "sekisho_sessions", "sekisho_lines_", "sekisho_nas_", "sekisho_rpz_", "sekisho_dnstap_")
    assert not {name for name in NAMES if name.startswith(parts)} - named
    assert len({panel["id"] for panel in document["panels"]}) == len(document["panels"])
