"""A real Prometheus scrapes a real checkpoint: every query of the dashboard is answered, every alerting rule is loaded."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from peers.conftest import LISTED, LISTS, SOURCES
from scenarios.harness import Checkpoint, Resolver, folders, running, write_site
from support import free_port, require_binary, wait_until

pytestmark = [pytest.mark.peers, pytest.mark.slow]

EXPORTERS = Path(__file__).resolve().parents[2] / "exporters"
DASHBOARD = json.loads((EXPORTERS / "dashboards" / "sekisho.json").read_text())
QUERIES = sorted({target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])})


@dataclass
class Prometheus:
    port: int
    checkpoint: Checkpoint

    def get(self, path: str, **parameters: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}?{urllib.parse.urlencode(parameters)}", timeout=30) as response:
            body = json.load(response)
        assert body["status"] == "success", body
        return body["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("/api/v1/query", query=expression)["result"]
        return found


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    program = require_binary("prometheus")
    base = tmp_path_factory.mktemp("prometheus")
    with Resolver().running() as resolver, folders(base) as (folder, runtime):
        settings = {
            **everything(folder, runtime),
            "events": {"sinks": [{"id": "archive", "kind": "file", "path": str(base / "events.jsonl")}]},
        }
        site = write_site(folder, runtime, [resolver.port], lists=LISTS, sources=SOURCES, **settings)
        with running(site) as checkpoint, running_prometheus(program, base, f"{site.host}:{site.metrics_port}") as port:
            yield Prometheus(port, checkpoint)


def everything(folder: Path, runtime: Path) -> dict[str, Any]:
    """Settings of a site that listens to all there is, and carries out measures in every way."""
    local = "127.0.0.1"
    (folder / "secret").write_text("c2VjcmV0IG9mIHRoZSB0ZXN0IG9mIHBhbmVscw==\n")
    return {
        "radius": {"listen": [f"{local}:{free_port()}"], "nas": [{"id": "bras-1", "address": local, "secret_file": "secret"}]},
        "flows": {"listen": [f"{local}:{free_port()}"], "exporters": [local]},
        "dnstap": {"socket": str(runtime / "dnstap.sock")},
        "lines": {"mode": "observe", "customers": ["ppp0"]},
        "coa": {"nas": [{"id": "bras-1", "address": f"{local}:{free_port()}", "secret_file": "secret", "vendor": "filter-id"}]},
        "bandwidth": {"segments": [{"id": "uplink", "down": "10Gbit/s", "up": "10Gbit/s", "everybody": True}]},
        "policy_zones": {
            "zone": "rpz.example",
            "listen": f"{local}:{free_port()}",
            "keys": [{"name": "panels.example", "secret_file": "secret"}],
            "secondaries": [{"id": "resolver-1", "address": local, "key": "panels.example", "notify": f"{local}:{free_port()}"}],
        },
    }


@contextlib.contextmanager
def running_prometheus(program: str, folder: Path, target: str) -> Iterator[int]:
    port = free_port("127.0.0.1")
    config = folder / "prometheus.yml"
    document = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [{"job_name": "sekisho", "static_configs": [{"targets": [target]}]}],
        "rule_files": [str(EXPORTERS / "alerts" / "sekisho.yaml")],
    }
    config.write_text(yaml.safe_dump(document))
    argv = [program, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "prometheus.log").open("ab") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

    def ready() -> bool:
        assert process.poll() is None, (folder / "prometheus.log").read_text(errors="replace")
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=5) as response,
        ):
            return bool(response.status == 200)
        return False

    try:
        wait_until(ready, deadline=60, what="Prometheus to be ready")
        yield port
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def scraped(prometheus: Prometheus) -> Prometheus:
    """After queries, an act and several scrapes, so that rates have something to be rates of."""
    checkpoint = prometheus.checkpoint
    customer = checkpoint.customer("gunma", "nbnet")
    assert checkpoint.is_blocked(customer, LISTED)
    assert checkpoint.is_answered(customer, checkpoint.harmless())
    checkpoint.api.post("/v1/optouts", customer=customer.id, list="c2")
    wait_until(lambda: prometheus.query('min(count_over_time(up{job="sekisho"}[1m])) >= 4'), deadline=60, what="four scrapes")
    wait_until(lambda: prometheus.query("rate(sekisho_ledger_append_seconds_count[15s]) >= 0"), deadline=60, what="rates")
    return prometheus


def ready_for(expression: str) -> str:
    """A query as Grafana sends it."""
    return expression.replace("$__rate_interval", "15s").replace("$instance", ".*")


def test_the_checkpoint_is_scraped_and_up(scraped: Prometheus) -> None:
    (target,) = wait_until(
        # A scrape may take a second, which it does now and then on a busy machine.
        lambda: [one for one in scraped.get("/api/v1/targets")["activeTargets"] if one["health"] == "up"],
        what="a target that is up",
    )
    assert target["labels"]["job"] == "sekisho"
    wait_until(lambda: [one["value"][1] for one in scraped.query('up{job="sekisho"}')] == ["1"], what="a scrape")


@pytest.mark.parametrize("expression", QUERIES)
def test_every_query_of_the_dashboard_is_answered_with_something_to_show(scraped: Prometheus, expression: str) -> None:
    wait_until(lambda: scraped.query(ready_for(expression)), what="something to show; the dashboard would have an empty panel")


def test_the_variable_of_the_dashboard_finds_the_checkpoint(scraped: Prometheus) -> None:
    (definition,) = [one["definition"] for one in DASHBOARD["templating"]["list"] if one["name"] == "instance"]
    metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", definition).groups()  # type: ignore[union-attr]
    assert wait_until(lambda: scraped.query(f"count by ({label}) ({metric})"), what="the checkpoint by its label")


def test_every_alerting_rule_is_evaluated_without_an_error_and_a_healthy_checkpoint_raises_none(scraped: Prometheus) -> None:
    groups = scraped.get("/api/v1/rules")["groups"]
    written = yaml.safe_load((EXPORTERS / "alerts" / "sekisho.yaml").read_text())["groups"]
    assert sorted(rule["name"] for group in groups for rule in group["rules"]) == sorted(
        rule["alert"] for group in written for rule in group["rules"]
    )

    def all_well() -> bool:
        rules = [rule for group in scraped.get("/api/v1/rules")["groups"] for rule in group["rules"]]
        return all(rule["health"] == "ok" for rule in rules)

    wait_until(all_well, deadline=60, what="every rule evaluated")
    firing = [alert for alert in scraped.get("/api/v1/alerts")["alerts"] if alert["state"] == "firing"]
    assert not firing


def test_what_is_scraped_agrees_with_what_the_daemon_says(scraped: Prometheus) -> None:
    acts = scraped.checkpoint.sekisho("status")["ledger"]["acts"]
    wait_until(lambda: [one["value"][1] for one in scraped.query("sekisho_ledger_acts")] == [str(acts)], what="the count of acts")
    wait_until(lambda: scraped.query('sekisho_sink_lag_events{sink="archive"} == 0'), what="the sink to have told all")
