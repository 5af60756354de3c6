"""The metrics of published policy zones: part of the table of `prometheus`.

Without published zones they have no sample. Zones, secondaries and lists are those of the operator's files.
"""

from __future__ import annotations

from collections.abc import Callable

from sekisho.model.observation import ZONE_NOTIFIES, ZONE_REFUSALS, Observation, PrimaryObservation
from sekisho_exporters.families import Family, Samples


def _family(name: str, kind: str, text: str, samples: Callable[[PrimaryObservation], Samples], *labels: str) -> Family:
    def read(seen: Observation) -> Samples:
        return [] if seen.policy_zones is None else samples(seen.policy_zones)

    return Family(name, kind, text, read, labels)


ZONE_FAMILIES: tuple[Family, ...] = (
    _family("sekisho_rpz_failed", "gauge", "1 while the primary of policy zones cannot be opened.", lambda one: [((), one.failed)]),
    _family(
        "sekisho_rpz_records",
        "gauge",
        "Records of a policy zone.",
        lambda one: [((zone.name,), zone.records) for zone in one.zones],
        "zone",
    ),
    _family(
        "sekisho_rpz_serial", "gauge", "Serial of a policy zone.", lambda one: [((zone.name,), zone.serial) for zone in one.zones], "zone"
    ),
    _family(
        "sekisho_rpz_transfers_total",
        "counter",
        "Transfers of policy zones: whole (axfr), of what changed (ixfr), or nothing had changed (current).",
        lambda one: [((zone.name, kind), count) for zone in one.zones for kind, count in zone.transfers.items()],
        "zone",
        "kind",
    ),
    _family("sekisho_rpz_octets_total", "counter", "Octets of policy zones sent over TCP.", lambda one: [((), one.octets)]),
    _family(
        "sekisho_rpz_behind",
        "gauge",
        "Policy zones whose newest version a secondary has not transferred.",
        lambda one: [((name,), count) for name, count in one.behind.items()],
        "secondary",
    ),
    _family(
        "sekisho_rpz_notifies_total",
        "counter",
        "NOTIFY messages sent, and what became of them.",
        lambda one: [((outcome,), one.notifies.get(outcome, 0)) for outcome in ZONE_NOTIFIES],
        "outcome",
    ),
    _family(
        "sekisho_rpz_refused_total",
        "counter",
        "Questions of policy zones that were refused, by what was wrong.",
        lambda one: [((why,), one.refused.get(why, 0)) for why in ZONE_REFUSALS],
        "reason",
    ),
    _family(
        "sekisho_rpz_not_reached",
        "gauge",
        "Customers whom a list reaches by their terms and not by the order of policy zones.",
        lambda one: [((name,), count) for name, count in one.missed.items()],
        "list",
    ),
)
"""In the order they are shown."""
