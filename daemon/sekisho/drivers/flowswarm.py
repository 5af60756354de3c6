"""Compiling the collector of flows, or loading it compiled, before its first packet: entered with nothing to do."""

from __future__ import annotations

import os
import select
import sys

import numpy as np

from sekisho.drivers import flowskept
from sekisho.drivers.flowsloop import I_EPOLL, TOP, add_up, collect, count_used, harvest, make_inbox, make_sums
from sekisho.drivers.processes import spawn
from sekisho.flows import layout
from sekisho.flows.decode import decode
from sekisho.flows.natevents import wipe_blocks
from sekisho.flows.sessions import forget_connection
from sekisho.flows.shares import find_part, make_shares, no_shares
from sekisho.plane.memory import blank
from sekisho.snapshot.compiling import LOAD_ONLY, NotKeptError
from sekisho.snapshot.layout import Customers

_ROOM = 64


def load() -> bool:
    """Load what the collector calls, if all of it is kept; False: it has to be compiled first."""
    token = LOAD_ONLY.set(True)
    try:
        warm_up()
    except NotKeptError:
        return False
    finally:
        LOAD_ONLY.reset(token)
    return True


def start_compiling() -> int:
    """Have a process of its own compile it: what a compiler needs of memory is not to stay here. From the main thread; its id."""
    return spawn((sys.executable, "-P", "-m", "sekisho.app.control", "--compile"), os.environ)


def warm_up() -> None:
    """Compile what the collector calls. Takes half a minute the first time, a fraction of a second later."""
    desk, inbox, zero = layout.make_desk(blank(1, layout.DESK)), make_inbox(), np.uint64(0)
    customers = Customers(*(np.zeros(_ROOM, np.uint64) for _ in Customers.names())).view
    down, up, mail, opened, targets = sums = make_sums(1)
    flowskept.clear(desk)
    flowskept.restore(desk, flowskept.NOTHING, counts=False)
    decode(desk, inbox.packets, 0, 0, zero, zero, 0, 1, 0)
    add_up(desk, customers, *sums, no_shares(), zero)
    with select.epoll() as epoll:
        inbox.settings[I_EPOLL] = epoll.fileno()
        collect(desk, inbox, customers, *sums, no_shares(), zero, 0)
    wipe_blocks(desk, 0)
    forget_connection(desk, zero, zero, 0)
    find_part(make_shares(()), 0, 0, 0, 0, 1)
    count_used(down, up, opened)
    batch = (np.zeros(1, kind) for kind in (np.int64, np.uint64, np.uint64, np.uint32, np.uint32, np.uint32))
    harvest(down, up, mail, opened, targets, *batch, np.zeros(TOP, np.int64))
