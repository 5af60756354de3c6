"""Whole checkpoints for tests: a site's files, both processes, real sockets, and a resolver that behaves as it is told."""

from scenarios.harness.asking import addresses, ask, ede_code, silence, soa_name
from scenarios.harness.checkpoint import Checkpoint, Customer, running
from scenarios.harness.memory import memory, shapes
from scenarios.harness.resolver import Resolver
from scenarios.harness.site import Site, folders, write_site

__all__ = [
    "Checkpoint",
    "Customer",
    "Resolver",
    "Site",
    "addresses",
    "ask",
    "ede_code",
    "folders",
    "memory",
    "running",
    "shapes",
    "silence",
    "soa_name",
    "write_site",
]
