"""A site of equal lines and the daemon's core on it, in the process of the test and in virtual time. No plane answers here."""

from __future__ import annotations

import contextlib
import json

from sekisho.app.control_daemon import running
from sekisho.drivers.site import load_site
from sekisho.model.clauses import MeasureRule

DAY = 86400.0


class Site:
    """The files of it."""

    def __init__(self, folder, pack, names, bandwidth, more=None, plans=None):
        """`more`: sections of the main file; `plans`: (down, up) in Mbit/s of lines that are not of 100/100."""
        self.config = folder / "sekisho.yaml"
        customers = [
            {"id": name, "terms": pack, "prefixes": [f"192.0.2.{number}"], "plan": plan_of((plans or {}).get(name, "100/100"))}
            for number, name in enumerate(names, start=1)
        ]
        (folder / "customers.yaml").write_text(json.dumps({"version": 1, "customers": customers}), encoding="utf-8")
        settings = {
            "version": 1,
            "listen": ["127.0.0.1:5353"],
            "upstream": {"address": "127.0.0.1:5300"},
            "state": "state",
            "runtime": "run",
            "terms": [pack],
            "customers": "customers.yaml",
            "metrics": "off",
            "measures": {"mode": "enforce"},
            "bandwidth": bandwidth,
            # Whoever slows lines: nothing is sent, a story has it acknowledge what it is asked.
            "coa": {"nas": [{"id": "bng-1", "address": "127.0.0.1:9", "vendor": "mikrotik", "networks": ["192.0.2.0/24"]}]},
        } | (more or {})
        self.config.write_text(json.dumps(settings), encoding="utf-8")

    @contextlib.asynccontextmanager
    async def running(self, clock):
        async with running(self.config, load_site(self.config)) as core:
            core.clock = clock
            yield core

    def rule(self, core, clause, detector):
        rules = [rule for pack in core.site.packs.values() for rule in pack.rules]
        return next(rule for rule in rules if isinstance(rule, MeasureRule) and rule.clause == clause and rule.detector is detector)


def plan_of(text):
    down, _, up = text.partition("/")
    return {"down_mbps": float(down), "up_mbps": float(up)}
