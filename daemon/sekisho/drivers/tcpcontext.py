"""What the TCP side is given: the tables it asks, where it counts, and how long and how much it waits.

Owns no socket and no task. The tables are replaced while it serves, by one store of one attribute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sekisho.snapshot.digest import Key
from sekisho.snapshot.layout import Counts, Customers, Hits, Snapshot

Tables = tuple[Snapshot, Customers, NDArray[np.uint64], Key, int]
"""Snapshot, customers, token buckets (one uint64 a customer), list key, epoch of the snapshot."""


@dataclass(slots=True)
class TcpContext:
    """The tables in force and the TCP side's own counts, hits and desk (`plane.worker.make_desk`).

    The owner may put other `tables`, `counts` or `hits` in place at any time: each query reads
    them once.
    """

    tables: Tables
    counts: Counts
    hits: Hits
    desk: Any


@dataclass(frozen=True, slots=True)
class TcpSettings:
    """Times in seconds. The defaults suit an access network."""

    timeout: float = 2.0
    """Time a resolver has to answer one try, connecting included."""
    tries: int = 3
    proxy_protocol: bool = False
    """Start each connection to a resolver with a PROXY v2 header naming the client."""
    idle: float = 10.0
    """Time a client may keep a connection on which nothing is asked or outstanding (RFC 7766 section 6.2.3)."""
    message: float = 5.0
    """Time a client has to send one whole query, from its first byte."""
    write: float = 5.0
    """Time a client has to take what waits for it."""
    connections: int = 4096
    """Connections of all clients. A quarter of them is the most that strangers, who are only refused, can hold."""
    per_customer: int = 32
    """Connections of one customer, or of one address (IPv6: one /64) that is no customer's."""
    outstanding: int = 64
    """Queries of one connection that wait for their answers; past that the connection is not read."""
    pending: int = 8192
    """Queries of all connections that wait for a resolver."""
    upstream_connections: int = 4
    """Connections to each resolver, shared by all clients unless `proxy_protocol` is on."""
    upstream_idle: float = 10.0
    """Time a connection to a resolver is kept while nothing is asked on it."""
    quiet: float = 0.5
    """Time without a query after which a connection is closed while the server leaves its place to another."""
    grace: float = 1.0
    """Time outstanding answers have when the server stops."""
    publish: float = 1.0
    """How often the counts are published."""
