"""Compiling the packet path, or loading it compiled, before there is anything to serve.

Owns only that: the compiled functions are entered with empty tables and the order to return, with the
types they will be called with. So the plane gets ready while the control plane still reads its files.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from sekisho.drivers.tcpcontext import TcpContext
from sekisho.drivers.tcpserver import TcpServer
from sekisho.plane.cache import make_cache
from sekisho.plane.loop import serve
from sekisho.plane.worker import SIGNAL_RETURN, make_desk
from sekisho.snapshot.compiling import LOAD_ONLY, NotKeptError
from sekisho.snapshot.digest import key_of
from sekisho.snapshot.layout import Bundle, Counts, Customers, Hits, Snapshot

_ROOM = 64
B = TypeVar("B", bound=Bundle)


def load() -> bool:
    """Load what both transports call, if all of it is kept; False: it has to be compiled first."""
    token = LOAD_ONLY.set(True)
    try:
        warm_up()
    except NotKeptError:
        return False
    finally:
        LOAD_ONLY.reset(token)
    return True


def warm_up() -> None:
    """Compile what both transports call. Takes half a minute the first time, a fraction of a second later."""
    snapshot, customers, counts, hits = empty(Snapshot), empty(Customers), empty(Counts), empty(Hits)
    buckets, key, desk = np.zeros(1, np.uint64), key_of(bytes(16)), make_desk()
    desk.signal[SIGNAL_RETURN] = 1
    serve(snapshot.view, customers.view, buckets, key, 1, make_cache(0, 0).view, counts.view, hits.view, desk)
    TcpServer(TcpContext((snapshot, customers, buckets, key, 1), counts, hits, desk), ()).compile()


def empty(kind: type[B]) -> B:
    """A bundle in which nothing is: addresses of zeros."""
    return kind(*(np.zeros(_ROOM, np.uint64) for _ in kind.names()))
