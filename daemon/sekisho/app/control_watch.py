"""What watches customers' use and limits their lines, opened together and joined: detectors, usage, sessions, the kernel.

Owns who tells whom. Each part is its own module's; the daemon's life (`control_daemon`) runs them.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path

from sekisho.app.control_bandwidth import BandwidthDetection
from sekisho.app.control_detection import Detection
from sekisho.app.control_dnstap import Taps
from sekisho.app.control_findings import Findings
from sekisho.app.control_flows import Flows
from sekisho.app.control_flowshares import FlowShares
from sekisho.app.control_linecounts import LineCounts
from sekisho.app.control_lines import Lines
from sekisho.app.control_measures import Measures
from sekisho.app.control_nas import NasLimits, open_nas
from sekisho.app.control_sessions import Sessions
from sekisho.app.control_tables import Tables
from sekisho.app.control_traffic import Traffic, open_traffic
from sekisho.drivers.customercounts import CustomerCounts
from sekisho.drivers.dnstapseen import Seen
from sekisho.drivers.usagestore import UsageStore


@dataclass(frozen=True, slots=True)
class Watch:
    detection: Detection
    traffic: Traffic
    bandwidth: BandwidthDetection
    lines: Lines
    flows: Flows
    nas: NasLimits
    taps: Taps


async def open_watch(
    stack: contextlib.AsyncExitStack, folder: Path, state: Path, tables: Tables, sessions: Sessions, measures: Measures, now: float
) -> Watch:
    """`folder` is the plane's, `state` where usage and usual rates survive. Closed by `stack`."""
    findings = Findings(measures)
    seen = Seen()
    counts, taps = CustomerCounts(folder, seen), Taps(folder, seen)
    stack.push_async_callback(taps.close)
    detection = Detection(counts, tables.row_of, findings)
    await detection.recall(state / "usual-rates", now)
    traffic = await asyncio.to_thread(open_traffic, UsageStore(state / "usage"), lambda: tables.rows, now)
    stack.push_async_callback(traffic.close)
    bandwidth = BandwidthDetection(traffic, lambda: tables.rows, findings)
    bandwidth.sessions, bandwidth.word, bandwidth.prefixes_of = sessions.several, sessions.word, sessions.prefixes_of
    sessions.followers.append(bandwidth.customers_moved)
    sessions.usage = traffic
    line_counts = LineCounts(tables.row_of, counts.kernel, traffic)
    # The first window may end before the kernel is looked at.
    settings = tables.people.site.settings.lines
    line_counts.want(queries=settings is not None and settings.queries)
    lines = Lines(
        lambda: tables.people.site.settings,
        lambda: tables.people,
        tables.enforced,
        line_counts,
        addresses=sessions,
        left=state / "lines",
    )
    tables.followers.append(lines.follow)
    tables.before_loads.append(lines.written)
    sessions.followers.append(lines.follow)
    stack.push_async_callback(lines.close)
    shares = FlowShares(sessions.table, tables.row_of)
    sessions.parted = shares.follow
    flows = Flows(folder, state, traffic, shares, sessions.blocks)
    stack.push_async_callback(flows.close)
    nas = await open_nas(state / "nas.db", tables, sessions)
    sessions.watchers.append(nas)
    sessions.followers.append(nas.sessions_changed)
    stack.push_async_callback(nas.close)
    return Watch(detection, traffic, bandwidth, lines, flows, nas, taps)
