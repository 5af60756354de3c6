"""A small site for the tests of the control plane, and the daemon's core running on it. No plane answers here."""

from __future__ import annotations

import asyncio
import contextlib
import json

from sekisho.app.control_daemon import running
from sekisho.app.control_operations import Control
from sekisho.drivers.site import load_site

ACTOR = "uid:1000(operator)"
CONSENT = {"version": "2021-02-01", "at": "2026-04-01"}
CUSTOMERS = [
    {"id": "c-1", "terms": "gunma", "consent": CONSENT, "prefixes": ["192.0.2.1"]},
    {"id": "c-2", "terms": ["gunma", "nbnet"], "consent": CONSENT, "prefixes": ["192.0.2.2", "2001:db8:2::/48"]},
    {"id": "c-3", "terms": "nbnet", "prefixes": ["192.0.2.3"]},
    {"id": "c-4", "terms": "gunma", "prefixes": ["192.0.2.4"]},
    {"id": "c-5", "terms": "gunma", "consent": CONSENT, "prefixes": ["192.0.2.5"], "exempt": ["c2"]},
]
LISTS = [
    {"id": "c2", "category": "c2", "source": "c2.txt", "format": "domains", "scope": "subtree", "answer": "nxdomain"},
    {
        "id": "csam",
        "category": "child-abuse",
        "source": "csam.txt",
        "format": "domains",
        "scope": "exact",
        "answer": "refused",
        "sealed": True,
    },
]
SEALED = "sealed-mark.example"


class Folder:
    """The files of a site, and ways to change them."""

    def __init__(self, path):
        self.path = path
        self.config = path / "sekisho.yaml"
        self.settings = {
            "version": 1,
            "listen": ["127.0.0.1:5353"],
            "upstream": {"address": "127.0.0.1:5300"},
            "state": "state",
            "runtime": "run",
            "terms": ["gunma", "nbnet"],
            "lists": "lists.yaml",
            "customers": "customers.yaml",
            "metrics": "off",
        }
        self.write("c2.txt", "c2.example\nbot.example.com\n")
        self.write("csam.txt", f"{SEALED}\n")
        self.lists(LISTS)
        self.customers(CUSTOMERS)
        self.set()

    def write(self, name, text):
        (self.path / name).write_text(text, encoding="utf-8")

    def set(self, **settings):
        self.settings |= settings
        self.write("sekisho.yaml", json.dumps(self.settings))

    def lists(self, lists):
        self.write("lists.yaml", json.dumps({"version": 1, "lists": lists}))

    def customers(self, customers):
        self.write("customers.yaml", json.dumps({"version": 1, "customers": customers}))


class Clock:
    def __init__(self, now=1_700_000_000.0):
        self.now = now

    def __call__(self):
        return self.now


@contextlib.asynccontextmanager
async def daemon(folder, clock=None):
    """The operations of a daemon on the site, and its core."""
    async with running(folder.config, load_site(folder.config)) as core:
        if clock is not None:
            core.clock = clock
        core.lists.keep_fresh(core.list_changed)
        control = Control(core)
        control.core = core
        yield control


def run(folder, scenario, clock=None):
    """Run `await scenario(operations)` on a daemon that is stopped afterwards."""

    async def main():
        async with daemon(folder, clock) as control:
            return await scenario(control)

    return asyncio.run(main())


async def verdict(control, customer, name):
    body = await control.explain(customer=customer, address=None, port=0, name=name, qtype="A", tcp=False)
    return body["verdict"], body["list"], body["clause"]
