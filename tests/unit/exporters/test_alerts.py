"""The alerting rules, by Prometheus' own `promtool test rules`: each fires when it should and keeps quiet when it should not."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
import yaml

RULES = Path(__file__).resolve().parents[3] / "exporters" / "alerts" / "sekisho.yaml"
MINUTES = 45
LONG = {"SekishoListFailing": 370, "SekishoNoticesStuck": 130}
"""Minutes of each story: longer than its rule waits."""


def steady(name: str, value: float, labels: str = "") -> tuple[str, str]:
    """A series that stays at a value, from the first minute to the last."""
    return f'{name}{{instance="one"{"," if labels else ""}{labels}}}', f"{value}+0x{500}"


def rising(name: str, each_minute: float, labels: str = "") -> tuple[str, str]:
    return steady(name, 0, labels)[0], f"0+{each_minute}x{500}"


Series = list[tuple[str, str]]


def appends(quick: float, slow: float) -> Series:
    """Acts a minute that take at most 10 ms, and those that take up to half a second."""
    name = "sekisho_ledger_append_seconds_bucket"
    return [
        rising(name, quick, 'le="0.01"'),
        rising(name, quick, 'le="0.25"'),
        rising(name, quick + slow, 'le="0.5"'),
        rising(name, quick + slow, 'le="+Inf"'),
    ]


def notices(sent: float, bounced: float, waiting: int = 0) -> Series:
    return [
        rising("sekisho_notices_total", sent, 'channel="email",outcome="sent"'),
        rising("sekisho_notices_total", bounced, 'channel="email",outcome="bounced"'),
        rising("sekisho_notices_total", 0, 'channel="email",outcome="given-up"'),
        steady("sekisho_notices_waiting", waiting),
    ]


def upstream(sent: float, failed: float) -> Series:
    return [rising("sekisho_upstream_sent_total", sent), rising("sekisho_upstream_servfail_total", failed)]


def latency(fast: float, slow: float) -> Series:
    name = "sekisho_upstream_latency_seconds_bucket"
    return [rising(name, fast, 'le="0.1"'), rising(name, fast + slow, 'le="2.0"'), rising(name, fast + slow, 'le="+Inf"')]


def radius(outcome: str, each_minute: float) -> Series:
    """Packets of one outcome, beside a thousand that are taken."""
    name = "sekisho_radius_packets_total"
    return [rising(name, 1000, 'kind="start",outcome="taken"'), rising(name, each_minute, f'kind="start",outcome="{outcome}"')]


def sessions(live: int, unknown: int) -> Series:
    return [steady("sekisho_sessions", live), steady("sekisho_sessions_unknown", unknown)]


def flows(packets: float, bad: float) -> Series:
    return [rising("sekisho_flow_packets_total", packets), rising("sekisho_flow_bad_total", bad, 'reason="short"')]


def frames(counted: float, damaged: float) -> Series:
    name = "sekisho_dnstap_frames_total"
    return [rising(name, counted, 'outcome="counted"'), rising(name, damaged, 'outcome="damaged"')]


LIST = 'list="c2"'
CASES: dict[str, tuple[Series, Series]] = {
    "SekishoDown": ([('up{job="sekisho",instance="one"}', "0+0x500")], [('up{job="sekisho",instance="one"}', "1+0x500")]),
    "SekishoNoWorkers": ([steady("sekisho_workers_alive", 0)], [steady("sekisho_workers_alive", 1)]),
    "SekishoWorkersMissing": (
        [steady("sekisho_workers_alive", 1), steady("sekisho_workers", 2)],
        [steady("sekisho_workers_alive", 2), steady("sekisho_workers", 2)],
    ),
    "SekishoWorkersRestarting": ([rising("sekisho_worker_restarts_total", 1)], [steady("sekisho_worker_restarts_total", 2)]),
    "SekishoSnapshotNotTaken": (
        [steady("sekisho_snapshot_plane_epoch", 3), steady("sekisho_snapshot_epoch", 4)],
        [steady("sekisho_snapshot_plane_epoch", 4), steady("sekisho_snapshot_epoch", 4)],
    ),
    "SekishoQueriesLost": ([rising("sekisho_queries_lost_total", 120)], [steady("sekisho_queries_lost_total", 900)]),
    "SekishoMatchesLost": ([rising("sekisho_hits_lost_total", 1)], [steady("sekisho_hits_lost_total", 7)]),
    "SekishoUpstreamFailing": (upstream(1000, 20), upstream(1000, 5)),
    "SekishoUpstreamSlow": (latency(90, 10), latency(99, 1)),
    "SekishoServingStale": ([rising("sekisho_cache_stale_total", 1)], [steady("sekisho_cache_stale_total", 9)]),
    "SekishoUpstreamLying": ([rising("sekisho_upstream_mismatched_total", 900)], [rising("sekisho_upstream_mismatched_total", 300)]),
    "SekishoListStale": ([steady("sekisho_list_stale", 1, LIST)], [steady("sekisho_list_stale", 0, LIST)]),
    "SekishoListHeld": ([steady("sekisho_list_held", 1, LIST)], [steady("sekisho_list_held", 0, LIST)]),
    "SekishoListFailing": ([steady("sekisho_list_last_error", 1, LIST)], [steady("sekisho_list_last_error", 0, LIST)]),
    "SekishoListEmpty": ([steady("sekisho_list_entries", 0, LIST)], [steady("sekisho_list_entries", 1, LIST)]),
    "SekishoBudgetHolding": (
        [rising("sekisho_verdicts_total", 9000, 'step="budget",verdict="dropped"')],
        [rising("sekisho_verdicts_total", 3000, 'step="budget",verdict="dropped"')],
    ),
    "SekishoEnforcementHeld": ([steady("sekisho_enforcement_held", 1)], [("sekisho_enforcement_held", "0x40 1x500")]),
    "SekishoEmergencyActive": ([steady("sekisho_emergency_active", 1)], [steady("sekisho_emergency_active", 0)]),
    "SekishoTerminationEligible": (
        [steady("sekisho_measures_termination_eligible", 2)],
        [steady("sekisho_measures_termination_eligible", 0)],
    ),
    "SekishoNoticesFailing": (notices(80, 20), notices(95, 5)),
    "SekishoNoticesStuck": (notices(0, 0, waiting=3), notices(1, 0, waiting=3)),
    "SekishoLedgerSlow": (appends(95, 5), appends(1000, 1)),
    "SekishoSinkFailing": ([steady("sekisho_sink_failing", 1, 'sink="desk"')], [("sekisho_sink_failing", "0x40 1x500")]),
    "SekishoSinkBehind": (
        [steady("sekisho_sink_lag_seconds", 900, 'sink="desk"')],
        [steady("sekisho_sink_lag_seconds", 30, 'sink="desk"')],
    ),
    "SekishoRadiusNotWritten": ([steady("sekisho_sessions_failing", 1)], [steady("sekisho_sessions_failing", 0)]),
    "SekishoSessionsBehind": (
        [steady("sekisho_sessions_waiting", 20_000), steady("sekisho_sessions_unfolded", 40_000)],
        [steady("sekisho_sessions_waiting", 5_000), steady("sekisho_sessions_unfolded", 40_000)],
    ),
    "SekishoRadiusBadSecret": (radius("bad-secret", 12), radius("bad-secret", 3)),
    "SekishoRadiusDropped": (radius("dropped", 1), radius("dropped", 0)),
    "SekishoSessionsUnknown": (sessions(100, 6), sessions(100, 5)),
    "SekishoFlowsFailing": ([steady("sekisho_flow_failing", 1)], [steady("sekisho_flow_failing", 0)]),
    "SekishoFlowsSilent": (
        [steady("sekisho_flow_sessions", 2), steady("sekisho_flow_packets_total", 700)],
        [steady("sekisho_flow_sessions", 0), steady("sekisho_flow_packets_total", 700)],
    ),
    "SekishoFlowsLost": (
        [rising("sekisho_flow_gaps_total", 6), steady("sekisho_flow_dropped_total", 0)],
        [rising("sekisho_flow_gaps_total", 1), steady("sekisho_flow_dropped_total", 9)],
    ),
    "SekishoFlowsBad": (flows(1000, 20), flows(1000, 5)),
    "SekishoFlowsWithoutTemplate": ([rising("sekisho_flow_early_total", 1)], [steady("sekisho_flow_early_total", 9)]),
    "SekishoEnforcerUnusable": (
        [steady("sekisho_lines_enforcer_up", 0, 'enforcer="htb"')],
        [steady("sekisho_lines_enforcer_up", 1, 'enforcer="htb"')],
    ),
    "SekishoLinesDrifting": (
        [rising("sekisho_lines_repairs_total", 1, 'kind="missing"')],
        [steady("sekisho_lines_repairs_total", 50, 'kind="missing"')],
    ),
    "SekishoNasNotAnswering": ([steady("sekisho_nas_answering", 0, 'nas="bras-1"')], [steady("sekisho_nas_answering", 1, 'nas="bras-1"')]),
    "SekishoNasRefusing": (
        [rising("sekisho_nas_requests_total", 1, 'kind="coa",outcome="refused"')],
        [rising("sekisho_nas_requests_total", 1, 'kind="coa",outcome="acknowledged"')],
    ),
    "SekishoPolicyZonesFailed": ([steady("sekisho_rpz_failed", 1)], [steady("sekisho_rpz_failed", 0)]),
    "SekishoSecondaryBehind": (
        [steady("sekisho_rpz_behind", 2, 'secondary="192.0.2.53"')],
        [("sekisho_rpz_behind", "0x40 2x500")],
    ),
    "SekishoDnstapDown": ([steady("sekisho_dnstap_up", 0)], [steady("sekisho_dnstap_up", 1)]),
    "SekishoDnstapSilent": (
        [steady("sekisho_dnstap_up", 1), steady("sekisho_dnstap_streams", 0)],
        [steady("sekisho_dnstap_up", 1), steady("sekisho_dnstap_streams", 1)],
    ),
    "SekishoDnstapLost": (frames(1000, 20), frames(1000, 5)),
}
"""For each alert: series it fires for, and series it keeps quiet for although they are near."""


def test_every_alert_has_a_story_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    rules = [rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    assert sorted(rules) == sorted(CASES)


def story(alert: str, series: Series, expected: list[dict[str, object]]) -> dict[str, object]:
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series],
        "promql_expr_test": [
            {
                "expr": f'count by (severity) (ALERTS{{alertname="{alert}",alertstate="firing"}})',
                "eval_time": f"{LONG.get(alert, MINUTES)}m",
                "exp_samples": expected,
            }
        ],
    }


def run_promtool(promtool: str, folder: Path, rules: Path, alerts: Collection[str]) -> subprocess.CompletedProcess[str]:
    """Tell the stories of these alerts, each beside the rule it is about: beside all rules they take half a minute."""
    files = []
    for group in yaml.safe_load(rules.read_text())["groups"]:
        for rule in group["rules"]:
            if (alert := rule["alert"]) in alerts:
                alone, file = folder / f"{alert}-rule.yaml", folder / f"{alert}.yaml"
                alone.write_text(yaml.safe_dump({"groups": [group | {"rules": [rule]}]}))
                tests = stories(alert, rule["labels"]["severity"])
                file.write_text(yaml.safe_dump({"rule_files": [str(alone)], "evaluation_interval": "1m", "tests": tests}))
                files.append(file)
    assert len(files) == len(alerts)
    return subprocess.run([promtool, "test", "rules", *files], check=False, capture_output=True, text=True, timeout=120)


def stories(alert: str, severity: str) -> list[dict[str, object]]:
    firing, quiet = CASES[alert]
    return [story(alert, firing, [{"labels": f'{{severity="{severity}"}}', "value": 1}]), story(alert, quiet, [])]


def test_promtool_accepts_the_alerts(require_binary: Callable[[str], str]) -> None:
    done = subprocess.run([require_binary("promtool"), "check", "rules", RULES], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_fires_when_it_should_and_keeps_quiet_when_it_should_not(require_binary: Callable[[str], str], tmp_path: Path) -> None:
    done = run_promtool(require_binary("promtool"), tmp_path, RULES, CASES)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("alert", "right", "wrong"),
    [
        ("SekishoSinkBehind", "> 600", "> 1200"),
        ("SekishoEnforcementHeld", "sekisho_enforcement_held == 1", "sekisho_enforcement_held == 2"),
        ("SekishoLedgerSlow", "> 0.25", "> 0.0001"),
    ],
)
def test_the_stories_notice_a_rule_that_is_wrong(
    require_binary: Callable[[str], str], tmp_path: Path, alert: str, right: str, wrong: str
) -> None:
    promtool, text = require_binary("promtool"), RULES.read_text()
    assert right in text
    (tmp_path / "broken.yaml").write_text(text.replace(right, wrong))
    assert run_promtool(promtool, tmp_path, RULES, [alert]).returncode == 0
    assert run_promtool(promtool, tmp_path, tmp_path / "broken.yaml", [alert]).returncode != 0
