"""Prometheus: an observation as metric families, in a registry of its own.

Owns the names, types, help texts and labels of every metric, in one table, whose second half (measures,
notices, ledger, sinks) is in `prometheus_record` and `prometheus_sessions`; `exporters/README.md` lists them.
Does not own how the observation is made, nor the socket it is served on.

Labels are closed sets: steps and verdicts of the model, list ids and clause ids of the operator's
files. None ever carries a customer, an address or a queried name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from sekisho.model.counters import LATENCY_BOUNDS_US, Counter
from sekisho.model.observation import Observation
from sekisho.model.verdicts import STEPS
from sekisho_exporters.families import Family, by, gauge, level, per_list, total
from sekisho_exporters.prometheus_flows import FLOW_FAMILIES
from sekisho_exporters.prometheus_nas import NAS_FAMILIES
from sekisho_exporters.prometheus_record import RECORD_FAMILIES
from sekisho_exporters.prometheus_sessions import SESSION_FAMILIES
from sekisho_exporters.prometheus_zones import ZONE_FAMILIES

_TRANSPORTS = {
    ("udp", "ipv4"): Counter.QUERIES_UDP4,
    ("udp", "ipv6"): Counter.QUERIES_UDP6,
    ("tcp", "ipv4"): Counter.QUERIES_TCP4,
    ("tcp", "ipv6"): Counter.QUERIES_TCP6,
}

_MALFORMED = {
    "dropped": Counter.MALFORMED_DROPPED,
    "formerr": Counter.MALFORMED_FORMERR,
    "notimp": Counter.MALFORMED_NOTIMP,
    "badvers": Counter.MALFORMED_BADVERS,
    "refused": Counter.MALFORMED_REFUSED,
}

FAMILIES: tuple[Family, ...] = (
    Family(
        "sekisho_build_info", "gauge", "The version that runs, as a label; always 1.", lambda seen: [((seen.version,), 1)], ("version",)
    ),
    # Queries and verdicts
    Family(
        "sekisho_queries_total",
        "counter",
        "Queries received, by transport and address family.",
        lambda seen: [(labels, seen.total(counter)) for labels, counter in _TRANSPORTS.items()],
        ("transport", "family"),
    ),
    Family(
        "sekisho_verdicts_total",
        "counter",
        "Verdicts, by the step that decided; every query is in exactly one.",
        lambda seen: [((one.label, one.verdict.value), seen.total(Counter[f"STEP_{one.step.name}"])) for one in STEPS],
        ("step", "verdict"),
    ),
    by("sekisho_malformed_total", "counter", "Packets that are no well-formed query, by what was answered.", "answer", _MALFORMED),
    Family(
        "sekisho_clause_matches_total",
        "counter",
        "Queries a measure was applied to, by the clause of the terms that authorises it.",
        lambda seen: [((clause,), count) for clause, count in seen.clauses.items()],
        ("clause",),
    ),
    total("sekisho_answers_blocked_total", "Answers kept back since a list holds an address or alias in them.", Counter.ANSWERS_BLOCKED),
    total(
        "sekisho_answers_judged_total",
        "Answers looked through for addresses and aliases that lists hold; from a cache they are not looked through again.",
        Counter.ANSWERS_JUDGED,
    ),
    total("sekisho_passthru_total", "Queries a PASSTHRU entry let through.", Counter.PASSTHRU),
    total("sekisho_truncated_total", "Answers sent with TC=1.", Counter.TRUNCATED),
    total("sekisho_send_failed_total", "Answers the kernel did not take.", Counter.SEND_FAILED),
    total("sekisho_tcp_connections_total", "TCP connections accepted.", Counter.TCP_CONNECTIONS),
    total("sekisho_tcp_rejected_total", "TCP connections closed because a limit was reached.", Counter.TCP_REJECTED),
    Family(
        "sekisho_worker_busy_seconds_total",
        "counter",
        "Time workers had packets to deal with, added up over them.",
        lambda seen: [((), seen.total(Counter.BUSY_NS) / 1e9)],
    ),
    # Cache
    total("sekisho_cache_hits_total", "Queries answered from the packet cache.", Counter.STEP_CACHE),
    total("sekisho_cache_misses_total", "Queries the packet cache had no answer for.", Counter.CACHE_MISSES),
    total("sekisho_cache_stale_total", "Answers served stale while no upstream answered (RFC 8767).", Counter.CACHE_STALE),
    total("sekisho_cache_stored_total", "Answers stored in the packet cache.", Counter.CACHE_STORED),
    total("sekisho_cache_evicted_total", "Answers evicted from the packet cache for want of room.", Counter.CACHE_EVICTED),
    level("sekisho_cache_entries", "Answers in the packet cache.", Counter.CACHE_ENTRIES),
    level("sekisho_cache_bytes", "Bytes of the packet cache in use.", Counter.CACHE_BYTES),
    # Upstream
    total("sekisho_upstream_sent_total", "Queries sent to the upstream resolvers.", Counter.UPSTREAM_SENT),
    total("sekisho_upstream_answered_total", "Answers of the upstream resolvers.", Counter.UPSTREAM_ANSWERED),
    total("sekisho_upstream_timeouts_total", "Queries an upstream resolver did not answer in time.", Counter.UPSTREAM_TIMEOUTS),
    total("sekisho_upstream_mismatched_total", "Upstream answers dropped: wrong id, question or form.", Counter.UPSTREAM_MISMATCHED),
    total("sekisho_upstream_failovers_total", "Queries sent again to another upstream resolver.", Counter.UPSTREAM_FAILOVERS),
    total("sekisho_upstream_servfail_total", "SERVFAIL given because no upstream resolver answered.", Counter.UPSTREAM_SERVFAIL),
    total("sekisho_pending_full_total", "Queries dropped because too many were outstanding.", Counter.PENDING_FULL),
    Family(
        "sekisho_upstream_latency_seconds",
        "histogram",
        "Time the upstream resolvers took to answer.",
        lambda seen: [((), count) for count in seen.latency],
        bounds=tuple(bound / 1e6 for bound in LATENCY_BOUNDS_US),
        total=lambda seen: seen.total(Counter.LATENCY_SUM_US) / 1e6,
    ),
    # Customers
    gauge("sekisho_customers", "Customers known.", lambda seen: seen.customers),
    gauge("sekisho_customers_opted_out", "Customers with at least one opt-out in force.", lambda seen: seen.opted_out),
    gauge(
        "sekisho_customers_unconsented",
        "Customers without the consent at least one of their clauses needs; that clause does not reach them.",
        lambda seen: seen.unconsented,
    ),
    # Lists
    per_list("sekisho_list_matches_total", "Queries the list decided.", lambda one, _: one.matches, "counter"),
    per_list("sekisho_list_entries", "Entries in force.", lambda one, _: one.entries),
    per_list("sekisho_list_skipped", "Lines of the last version that could not be read.", lambda one, _: one.skipped),
    per_list("sekisho_list_refused", "Entries a guard refused (public suffix, never-block).", lambda one, _: one.refused),
    per_list("sekisho_list_unkept", "Entries whose meaning cannot be kept.", lambda one, _: one.unkept),
    per_list("sekisho_list_excepted", "Exceptions of the operator in force.", lambda one, _: one.excepted),
    per_list(
        "sekisho_list_age_seconds",
        "Time since the last good fetch; missing before the first.",
        lambda one, at: None if one.good_at is None else max(0.0, at - one.good_at),
    ),
    per_list("sekisho_list_last_error", "1 while the last fetch failed and the last good version stands in.", lambda one, _: one.failed),
    per_list("sekisho_list_stale", "1 while the last good fetch is older than the list may be.", lambda one, _: one.stale),
    per_list("sekisho_list_held", "1 while a version that shrank too much waits for the operator.", lambda one, _: one.held),
    per_list("sekisho_list_opted_out", "Customers who opted out of the list.", lambda one, _: one.opted_out),
    per_list(
        "sekisho_list_unconsented",
        "Customers the list does not reach because no consent that covers it is recorded.",
        lambda one, _: one.unconsented,
    ),
    # Snapshot, plane, record
    gauge("sekisho_snapshot_epoch", "Epoch of the snapshot published last.", lambda seen: seen.epoch),
    gauge("sekisho_snapshot_plane_epoch", "Epoch of the snapshot the plane answers by.", lambda seen: seen.plane_epoch),
    gauge(
        "sekisho_snapshot_refused",
        "1 while the plane refuses the newest tables as damaged and answers by the last good ones.",
        lambda seen: seen.plane_refuses,
    ),
    gauge("sekisho_snapshot_build_seconds", "Time the last snapshot took to build.", lambda seen: seen.build_seconds),
    gauge("sekisho_snapshot_built_timestamp_seconds", "When the last snapshot was built.", lambda seen: seen.built_at),
    gauge("sekisho_workers", "Workers the configuration asks for.", lambda seen: seen.workers),
    gauge("sekisho_workers_alive", "Workers that answer.", lambda seen: seen.workers_alive),
    Family(
        "sekisho_worker_restarts_total",
        "counter",
        "Workers that died and were started again.",
        lambda seen: [((), seen.worker_restarts)],
    ),
    total("sekisho_hits_total", "Matches written to the ring to the control plane.", Counter.HITS),
    Family(
        "sekisho_queries_lost_total",
        "counter",
        "Queries over UDP that the kernel had no room for: the workers did not get to them.",
        lambda seen: [((), seen.queries_lost)],
    ),
    Family("sekisho_hits_lost_total", "counter", "Matches lost because that ring was full.", lambda seen: [((), seen.hits_lost)]),
    *RECORD_FAMILIES,
    *SESSION_FAMILIES,
    *FLOW_FAMILIES,
    *ZONE_FAMILIES,
    *NAS_FAMILIES,
)
"""Every metric, in the order they are shown."""


class ObservationCollector(Collector):
    """Reads the observation anew at each scrape; `observe` must be cheap and safe to call from any thread."""

    def __init__(self, observe: Callable[[], Observation]) -> None:
        self._observe = observe

    def collect(self) -> Iterator[Metric]:
        seen = self._observe()
        for family in FAMILIES:
            yield _metric(family, seen)

    def describe(self) -> Iterator[Metric]:
        """The families without samples, so that registering reads nothing."""
        nothing = Observation(at=0.0, version="")
        for family in FAMILIES:
            yield _metric(family, nothing)


def registry_of(observe: Callable[[], Observation]) -> CollectorRegistry:
    """A registry of the daemon's metrics and of the process's own (`process_*`)."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ObservationCollector(observe))
    ProcessCollector(registry=registry)
    return registry


def render(registry: CollectorRegistry, accept: str = "") -> tuple[bytes, str]:
    """The exposition and its content type: OpenMetrics where `accept` asks for it, else Prometheus text."""
    encoder, content_type = choose_encoder(accept)
    return encoder(registry), content_type


def _metric(family: Family, seen: Observation) -> Metric:
    if family.kind == "histogram":
        return _histogram(family, seen)
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric: CounterMetricFamily | GaugeMetricFamily = kind(family.name, family.help, labels=family.labels)
    for labels, value in family.samples(seen):
        metric.add_metric(labels, float(value))
    return metric


def _histogram(family: Family, seen: Observation) -> Metric:
    """Counts a bucket become cumulative, the last bound +Inf."""
    metric = HistogramMetricFamily(family.name, family.help)
    bounds = [str(bound) for bound in family.bounds] + ["+Inf"]
    reached = 0.0
    buckets: list[tuple[str, float]] = []
    for bound, (_, count) in zip(bounds, family.samples(seen), strict=True):
        reached += count
        buckets.append((bound, reached))
    metric.add_metric([], buckets, sum_value=family.total(seen))
    return metric
