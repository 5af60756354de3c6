"""Sekisho: the daemon that carries out at the resolver what an ISP's terms of service say.

One direction: lists, terms and people are compiled into a snapshot; the plane answers by it;
its counts and matches go back to the control plane, which keeps the record. `app`, `cli` and
`api` sit above `drivers`, which alone touch sockets, files, clocks and other servers; what
decides is a pure function below them.
"""

__version__ = "0.1.0"
