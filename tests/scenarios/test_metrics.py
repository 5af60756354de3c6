"""`/metrics` of a running checkpoint: everything is there, zeros too, it adds up, and it names nobody."""

from __future__ import annotations

import contextlib
import re

import pytest

from scenarios.conftest import C2, LISTS, SEALED
from scenarios.harness import Checkpoint
from scenarios.harness.checkpoint import samples
from sekisho.model.verdicts import STEPS
from support import wait_until

pytestmark = pytest.mark.slow

FAMILIES = (
    "sekisho_queries_total",
    "sekisho_verdicts_total",
    "sekisho_list_matches_total",
    "sekisho_clause_matches_total",
    "sekisho_cache_hits_total",
    "sekisho_cache_misses_total",
    "sekisho_cache_entries",
    "sekisho_upstream_latency_seconds_bucket",
    "sekisho_upstream_latency_seconds_count",
    "sekisho_upstream_latency_seconds_sum",
    "sekisho_customers",
    "sekisho_customers_opted_out",
    "sekisho_list_age_seconds",
    "sekisho_list_entries",
    "sekisho_list_skipped",
    "sekisho_list_last_error",
    "sekisho_snapshot_epoch",
    "sekisho_snapshot_build_seconds",
    "sekisho_hits_lost_total",
    "sekisho_queries_lost_total",
    "sekisho_findings_total",
    "sekisho_notices_total",
    "sekisho_ledger_acts",
    "sekisho_ledger_append_seconds_count",
    "sekisho_workers_alive",
    "sekisho_build_info",
)
CLOSED = {
    "transport",
    "family",
    "step",
    "verdict",
    "list",
    "clause",
    "answer",
    "version",
    "le",
    "state",
    "kind",
    "reason",
    "outcome",
    "cause",
    "detector",
    "channel",
    "sink",
    "source",
    "segment",
    "direction",
}


def test_everything_is_there_and_zeros_are_shown(field: Checkpoint) -> None:
    found = samples(field.metrics_text())
    names = {name for (name, _), _ in found}
    assert [name for name in FAMILIES if name not in names] == []
    values = {(name, dict(labels).get("list")): value for (name, labels), value in found}
    for one in LISTS:
        assert ("sekisho_list_matches_total", one["id"]) in values
    assert values["sekisho_list_matches_total", "opinions"] == 0, "a list no clause names is shown with its zero"
    steps = {dict(labels)["step"] for (name, labels), _ in found if name == "sekisho_verdicts_total"}
    assert steps == {one.label for one in STEPS}
    clauses = {dict(labels)["clause"] for (name, labels), _ in found if name == "sekisho_clause_matches_total"}
    assert clauses == {"gunma/別記-1", "gunma/19-2", "nbnet/21-1", "nbnet/22-2-5"}
    assert field.metric("sekisho_workers") == 2
    wait_until(lambda: field.metric("sekisho_workers_alive") == 2, what="a sign of life of both workers")


def test_no_label_carries_a_customer_an_address_or_a_name(field: Checkpoint) -> None:
    customer = field.customer("gunma", "nbnet")
    for name in (C2[20], SEALED[20], "www.example.com"):
        field.ask(customer, name)
        field.ask(customer, name, tcp=True)
    text = field.metrics_text()
    found = samples(text)
    labels = {label for (name, pairs), _ in found for label, _ in pairs if name.startswith("sekisho_")}
    assert labels <= CLOSED, labels - CLOSED
    values = {value for (name, pairs), _ in found for label, value in pairs if label != "version"}
    assert not [value for value in values if re.search(r"\d+\.\d+\.\d+\.\d+|\.(example|com|test)", value)]
    assert customer.id not in text
    assert customer.address not in text


def test_every_query_is_in_exactly_one_verdict(field: Checkpoint) -> None:
    customer = field.customer("gunma", "nbnet")
    for name in (C2[21], SEALED[21], field.harmless(), "www.example.com"):
        for tcp in (False, True):
            field.ask(customer, name, tcp=tcp)
    field.ask("127.8.8.8", "www.example.com")

    def adds_up() -> tuple[float, float] | None:
        text = field.metrics_text()
        queries = sum(value for (name, _), value in samples(text) if name == "sekisho_queries_total")
        verdicts = sum(value for (name, _), value in samples(text) if name == "sekisho_verdicts_total")
        return (queries, verdicts) if queries == verdicts else None

    # Equal once nothing is under way any more.
    assert wait_until(adds_up, what="queries equal to verdicts")


@pytest.mark.parametrize(("transport", "tcp"), [("udp", False), ("tcp", True)])
def test_a_query_counts_once_where_it_belongs(field: Checkpoint, transport: str, tcp: bool) -> None:
    customer = field.customer("gunma", "nbnet")
    watched = {
        "queries": lambda: field.metric("sekisho_queries_total", transport=transport, family="ipv4"),
        "entitled": lambda: field.metric("sekisho_verdicts_total", step="entitled", verdict="blocked"),
        "mandatory": lambda: field.metric("sekisho_verdicts_total", step="mandatory", verdict="blocked"),
        "c2": lambda: field.metric("sekisho_list_matches_total", list="c2"),
        "abuse": lambda: field.metric("sekisho_list_matches_total", list="abuse"),
        "gunma": lambda: field.metric("sekisho_clause_matches_total", clause="gunma/別記-1"),
        "nbnet": lambda: field.metric("sekisho_clause_matches_total", clause="nbnet/21-1"),
    }
    before = {name: read() for name, read in watched.items()}
    for name in (C2[22], C2[23], SEALED[22]):
        assert field.is_blocked(customer, name, tcp=tcp)
    expected = {"queries": 3, "entitled": 2, "mandatory": 1, "c2": 2, "abuse": 1, "gunma": 2, "nbnet": 1}

    def moved() -> dict[str, float]:
        return {name: read() - before[name] for name, read in watched.items()}

    # Workers tell their counts a moment after the fact.
    with contextlib.suppress(AssertionError):
        wait_until(lambda: moved() == expected, what="the counts")
    assert moved() == expected


def test_the_cache_and_the_resolver_are_counted(field: Checkpoint) -> None:
    customer = field.customer("gunma")
    names = (
        "sekisho_cache_misses_total",
        "sekisho_upstream_sent_total",
        "sekisho_upstream_answered_total",
        "sekisho_upstream_latency_seconds_count",
    )
    name = field.harmless()
    before = {one: field.metric(one) for one in names}
    hits = field.metric("sekisho_cache_hits_total")
    assert field.is_answered(customer, name)
    wait_until(lambda: all(field.metric(one) == before[one] + 1 for one in names), what="each counted once")
    for _ in range(20):
        assert field.is_answered(customer, name)
    # Of two workers each has a cache of its own, and neither asks the resolver twenty times.
    wait_until(lambda: field.metric("sekisho_cache_hits_total") >= hits + 18, what="answers from the cache")


def test_people_are_counted_and_not_named(field: Checkpoint) -> None:
    known, opted = field.metric("sekisho_customers"), field.metric("sekisho_customers_opted_out")
    customer = field.customer("gunma")
    assert field.metric("sekisho_customers") == known + 1
    field.api.post("/v1/optouts", customer=customer.id, list="c2")
    field.api.post("/v1/optouts", customer=customer.id, list="c2-exact")
    assert field.metric("sekisho_customers_opted_out") == opted + 1
    field.api.delete("/v1/optouts", customer=customer.id, list="c2")
    field.api.delete("/v1/optouts", customer=customer.id, list="c2-exact")
    assert field.metric("sekisho_customers_opted_out") == opted
    field.api.delete("/v1/customer", customer=customer.id)
    assert field.metric("sekisho_customers") == known


def test_an_exception_makes_a_new_epoch_that_the_plane_answers_by(field: Checkpoint) -> None:
    before = field.metric("sekisho_snapshot_epoch")
    field.sekisho("lists", "except", "c2", "excepted.example")
    assert field.metric("sekisho_snapshot_epoch") == before + 1
    wait_until(
        lambda: field.metric("sekisho_snapshot_plane_epoch") == field.metric("sekisho_snapshot_epoch"), what="the plane on the same epoch"
    )
    assert field.metric("sekisho_list_excepted", list="c2") >= 1
    field.sekisho("lists", "except", "c2", "excepted.example", "--remove")


def test_what_could_not_be_read_of_a_list_is_counted(field: Checkpoint) -> None:
    assert field.metric("sekisho_list_skipped", list="abuse") == 3
    assert field.metric("sekisho_list_skipped", list="c2") == 1
    assert field.metric("sekisho_list_refused", list="abuse-trees") == 1, "a public suffix"
    assert field.metric("sekisho_list_unkept", list="policy") == 1
