"""Prometheus: an observation as metric families, in a registry of its own.

Owns the names, types, help texts and labels of every metric, in one table; `exporters/README.md`
lists them. Does not own how the observation is made, nor the socket it is served on.

Labels are closed sets: steps and verdicts of the model, list ids and clause ids of the operator's
files. None ever carries a customer, an address or a queried name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from sekisho.model.counters import LATENCY_BOUNDS_US, Counter
from sekisho.model.observation import ListObservation, Observation
from sekisho.model.verdicts import STEPS

Samples = Iterable[tuple[tuple[str, ...], float]]
"""Label values, in the order of the family's labels, and the value."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name as it is queried (`_total` included), and how its samples are read."""

    name: str
    kind: str
    """`counter`, `gauge` or `histogram`."""
    help: str
    samples: Callable[[Observation], Samples]
    labels: tuple[str, ...] = ()


def _total(name: str, text: str, counter: Counter) -> Family:
    return Family(name, "counter", text, lambda seen: [((), seen.total(counter))])


def _level(name: str, text: str, counter: Counter) -> Family:
    return Family(name, "gauge", text, lambda seen: [((), seen.total(counter))])


def _gauge(name: str, text: str, value: Callable[[Observation], float | None]) -> Family:
    """A gauge without labels; it has no sample while its value is None."""

    def samples(seen: Observation) -> Samples:
        found = value(seen)
        return [] if found is None else [((), found)]

    return Family(name, "gauge", text, samples)


def _by(name: str, kind: str, text: str, label: str, counters: dict[str, Counter]) -> Family:
    return Family(name, kind, text, lambda seen: [((word,), seen.total(counter)) for word, counter in counters.items()], (label,))


def _per_list(name: str, text: str, value: Callable[[ListObservation, float], float | None], kind: str = "gauge") -> Family:
    """One sample a list; `value` is handed the list and the time, and gives None where there is nothing to tell."""

    def samples(seen: Observation) -> Samples:
        found = [((one.id,), value(one, seen.at)) for one in seen.lists]
        return [(labels, number) for labels, number in found if number is not None]

    return Family(name, kind, text, samples, ("list",))


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
    _by("sekisho_malformed_total", "counter", "Packets that are no well-formed query, by what was answered.", "answer", _MALFORMED),
    Family(
        "sekisho_clause_matches_total",
        "counter",
        "Queries a measure was applied to, by the clause of the terms that authorises it.",
        lambda seen: [((clause,), count) for clause, count in seen.clauses.items()],
        ("clause",),
    ),
    _total("sekisho_passthru_total", "Queries a PASSTHRU entry let through.", Counter.PASSTHRU),
    _total("sekisho_truncated_total", "Answers sent with TC=1.", Counter.TRUNCATED),
    _total("sekisho_send_failed_total", "Answers the kernel did not take.", Counter.SEND_FAILED),
    _total("sekisho_tcp_connections_total", "TCP connections accepted.", Counter.TCP_CONNECTIONS),
    _total("sekisho_tcp_rejected_total", "TCP connections closed because a limit was reached.", Counter.TCP_REJECTED),
    Family(
        "sekisho_worker_busy_seconds_total",
        "counter",
        "Time workers had packets to deal with, added up over them.",
        lambda seen: [((), seen.total(Counter.BUSY_NS) / 1e9)],
    ),
    # Cache
    _total("sekisho_cache_hits_total", "Queries answered from the packet cache.", Counter.STEP_CACHE),
    _total("sekisho_cache_misses_total", "Queries the packet cache had no answer for.", Counter.CACHE_MISSES),
    _total("sekisho_cache_stale_total", "Answers served stale while no upstream answered (RFC 8767).", Counter.CACHE_STALE),
    _total("sekisho_cache_stored_total", "Answers stored in the packet cache.", Counter.CACHE_STORED),
    _total("sekisho_cache_evicted_total", "Answers evicted from the packet cache for want of room.", Counter.CACHE_EVICTED),
    _level("sekisho_cache_entries", "Answers in the packet cache.", Counter.CACHE_ENTRIES),
    _level("sekisho_cache_bytes", "Bytes of the packet cache in use.", Counter.CACHE_BYTES),
    # Upstream
    _total("sekisho_upstream_sent_total", "Queries sent to the upstream resolvers.", Counter.UPSTREAM_SENT),
    _total("sekisho_upstream_answered_total", "Answers of the upstream resolvers.", Counter.UPSTREAM_ANSWERED),
    _total("sekisho_upstream_timeouts_total", "Queries an upstream resolver did not answer in time.", Counter.UPSTREAM_TIMEOUTS),
    _total("sekisho_upstream_mismatched_total", "Upstream answers dropped: wrong id, question or form.", Counter.UPSTREAM_MISMATCHED),
    _total("sekisho_upstream_failovers_total", "Queries sent again to another upstream resolver.", Counter.UPSTREAM_FAILOVERS),
    _total("sekisho_upstream_servfail_total", "SERVFAIL given because no upstream resolver answered.", Counter.UPSTREAM_SERVFAIL),
    _total("sekisho_pending_full_total", "Queries dropped because too many were outstanding.", Counter.PENDING_FULL),
    Family(
        "sekisho_upstream_latency_seconds",
        "histogram",
        "Time the upstream resolvers took to answer.",
        lambda seen: [((), count) for count in seen.latency],
    ),
    # Customers
    _gauge("sekisho_customers", "Customers known.", lambda seen: seen.customers),
    _gauge("sekisho_customers_opted_out", "Customers with at least one opt-out in force.", lambda seen: seen.opted_out),
    _gauge(
        "sekisho_customers_unconsented",
        "Customers without the consent at least one of their clauses needs; that clause does not reach them.",
        lambda seen: seen.unconsented,
    ),
    # Lists
    _per_list("sekisho_list_matches_total", "Queries the list decided.", lambda one, _: one.matches, "counter"),
    _per_list("sekisho_list_entries", "Entries in force.", lambda one, _: one.entries),
    _per_list("sekisho_list_skipped", "Lines of the last version that could not be read.", lambda one, _: one.skipped),
    _per_list("sekisho_list_refused", "Entries a guard refused (public suffix, never-block).", lambda one, _: one.refused),
    _per_list("sekisho_list_unkept", "Entries whose meaning cannot be kept.", lambda one, _: one.unkept),
    _per_list("sekisho_list_excepted", "Exceptions of the operator in force.", lambda one, _: one.excepted),
    _per_list(
        "sekisho_list_age_seconds",
        "Time since the last good fetch; missing before the first.",
        lambda one, at: None if one.good_at is None else max(0.0, at - one.good_at),
    ),
    _per_list("sekisho_list_last_error", "1 while the last fetch failed and the last good version stands in.", lambda one, _: one.failed),
    _per_list("sekisho_list_stale", "1 while the last good fetch is older than the list may be.", lambda one, _: one.stale),
    _per_list("sekisho_list_held", "1 while a version that shrank too much waits for the operator.", lambda one, _: one.held),
    _per_list("sekisho_list_opted_out", "Customers who opted out of the list.", lambda one, _: one.opted_out),
    _per_list(
        "sekisho_list_unconsented",
        "Customers the list does not reach because no consent that covers it is recorded.",
        lambda one, _: one.unconsented,
    ),
    # Snapshot, plane, record
    _gauge("sekisho_snapshot_epoch", "Epoch of the snapshot published last.", lambda seen: seen.epoch),
    _gauge("sekisho_snapshot_plane_epoch", "Epoch of the snapshot the plane answers by.", lambda seen: seen.plane_epoch),
    _gauge(
        "sekisho_snapshot_refused",
        "1 while the plane refuses the newest tables as damaged and answers by the last good ones.",
        lambda seen: seen.plane_refuses,
    ),
    _gauge("sekisho_snapshot_build_seconds", "Time the last snapshot took to build.", lambda seen: seen.build_seconds),
    _gauge("sekisho_snapshot_built_timestamp_seconds", "When the last snapshot was built.", lambda seen: seen.built_at),
    _gauge("sekisho_workers", "Workers the configuration asks for.", lambda seen: seen.workers),
    _gauge("sekisho_workers_alive", "Workers that answer.", lambda seen: seen.workers_alive),
    Family(
        "sekisho_worker_restarts_total",
        "counter",
        "Workers that died and were started again.",
        lambda seen: [((), seen.worker_restarts)],
    ),
    _total("sekisho_hits_total", "Matches written to the ring to the control plane.", Counter.HITS),
    Family("sekisho_hits_lost_total", "counter", "Matches lost because that ring was full.", lambda seen: [((), seen.hits_lost)]),
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
    """Counts a bucket become cumulative; bounds become seconds, the last one +Inf."""
    metric = HistogramMetricFamily(family.name, family.help)
    bounds = [str(bound / 1e6) for bound in LATENCY_BOUNDS_US] + ["+Inf"]
    reached = 0.0
    buckets: list[tuple[str, float]] = []
    for bound, (_, count) in zip(bounds, family.samples(seen), strict=True):
        reached += count
        buckets.append((bound, reached))
    metric.add_metric([], buckets, sum_value=seen.total(Counter.LATENCY_SUM_US) / 1e6)
    return metric
