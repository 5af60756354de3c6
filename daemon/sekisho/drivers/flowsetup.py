"""What a collector of flow records starts with: the configuration as the desk has it, and sockets with room."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sekisho.config.flows import FlowDirection, FlowExporter
from sekisho.flows import layout

_SO_RCVBUFFORCE = 33
_RECEIVE_BUFFER = 16 << 20
_LOW = (1 << 64) - 1


def exporter_rows(exporters: Sequence[FlowExporter]) -> tuple[NDArray[np.uint64], NDArray[np.float64], NDArray[np.uint64]]:
    """The configuration as the desk has it, the longest prefixes first: entries, default rates, interfaces."""
    rows = np.zeros((layout.EXPORTERS, layout.E_WORDS), np.uint64)
    rates, interfaces = np.ones(layout.EXPORTERS), np.zeros((layout.EXPORTERS, layout.INTERFACES), np.uint64)
    directions = {None: 0, FlowDirection.INGRESS: 1, FlowDirection.EGRESS: 2}
    for row, one in enumerate(sorted(exporters, key=lambda one: -one.address.length)):
        inside = one.customer_interfaces
        value, length = one.address
        rows[row, :6] = (value >> 64, value & _LOW, length, directions[one.direction], len(inside), one.port_blocks)
        rates[row], interfaces[row, : len(inside)] = one.sampling, inside
    return rows, rates, interfaces


def prepare_socket(one: socket.socket) -> None:
    """Non-blocking, with room for what comes while the loop is left."""
    one.setblocking(False)
    try:
        one.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
    except OSError:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
