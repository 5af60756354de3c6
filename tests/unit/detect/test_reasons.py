"""What led to a finding, in words."""

from __future__ import annotations

import pytest

from sekisho.detect.reasons import reasons, span, volume
from sekisho.model.measures import Detector

BANDWIDTH = {
    "direction": "up", "window_seconds": 1800, "threshold": 0.5, "of": "line", "share_down": 0.1, "share_up": 0.92, "rate_down_mbps": 10.0,
    "capacity_down_mbps": 100.0, "rate_up_mbps": 46.0, "capacity_up_mbps": 50.0, "volume_up_bytes": 16_200_000_000, "volume_up_limit_bytes": 15_000_000_000,
    "volume_up_window_seconds": 86400, "segment": "pon-1", "utilisation": 0.93, "congested_at": 0.8, "congestion_window_seconds": 300,
    "median_mbps": 4.0, "factor": 3.0, "utilisation_without_limits": 0.97,
}  # fmt: skip


@pytest.mark.parametrize(
    ("detector", "evidence", "said"),
    [
        (Detector.BANDWIDTH, BANDWIDTH, [
            "Over 30 minutes it used 92% of 50 Mbit/s of the line from the customer on average; the criterion is 50%.",
            "Within 24 hours it was 16.2 GB from the customer; the criterion is 15 GB.",
            "Segment pon-1, which the line shares with others, was at 93% of its capacity over 5 minutes; it counts as congested from 80% on.",
            "The median line that used the segment took 4 Mbit/s; who takes less than 3 times that is not limited.",
            "Without the limits in force the segment would be at 97%.",
        ]),
        (Detector.MAIL_VOLUME, {"connections": 2000, "threshold": 300, "window_seconds": 600},
         ["Within 10 minutes the line began 2,000 connections to ports of mail; the criterion is 300."]),
        (Detector.CONNECTION_STORM, {"connections": 50000, "threshold": 30000, "window_seconds": 300, "few_targets_share": 0.98, "few_targets_threshold": 0.9},
         ["Within 5 minutes the line began 50,000 connections; the criterion is 30,000.",
          "98% of them went to few targets; the criterion is 90%. Which ones is not recorded."]),
        (Detector.DUPLICATE_LOGIN, {"sessions": 2, "allowed": 1, "side_by_side_seconds": 1800}, ["The ID was in 2 sessions side by side for 30 minutes; 1 may be."]),
        (Detector.DNS_OVERLOAD, {"window_seconds": 10, "rate": 900.4, "limit": 200, "load": "utilisation"},
         ["Over 10 seconds it asked 900 DNS queries a second; the limit was 200, and the name servers were under load (utilisation)."]),
        (Detector.OPERATOR, {"anything": 1}, []),
        (Detector.BANDWIDTH, {}, []),
        (Detector.MAIL_VOLUME, {}, []),
        (Detector.DUPLICATE_LOGIN, {}, []),
        (Detector.DNS_OVERLOAD, {}, []),
    ],
)  # fmt: skip
def test_the_figures_are_said_and_nothing_else(detector, evidence, said):
    assert reasons(detector, evidence) == said


def test_lengths_and_volumes_are_a_persons():
    assert [span(one) for one in (1, 60, 90, 3600, 86400, 30 * 86400)] == [
        "1 second",
        "1 minute",
        "90 seconds",
        "1 hour",
        "24 hours",
        "30 days",
    ]
    assert [volume(one) for one in (999, 1500, 2_000_000, 1.5e10, 2e12)] == ["999 B", "1.5 kB", "2 MB", "15 GB", "2 TB"]
