"""What the listener for RADIUS does with a packet that comes again."""

from __future__ import annotations

import contextlib
import socket

from sekisho.drivers.radiuschild import Listener
from sekisho.drivers.radiusdecode import Decoder
from sekisho.drivers.radiusframes import Peer
from sekisho.model.customers import Prefix
from support.radius import INTERIM, SECRET, Nas, is_answer, octets, packet, told


def test_what_waited_in_the_kernel_while_it_was_told_again_is_carried_out_once():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        one.settimeout(10)
        listener = Listener([one])
        listener.decoder = Decoder([Peer("bras", (Prefix.parse("127.0.0.1"),), None, False, SECRET, True, False)])
        with contextlib.closing(Nas(one.getsockname()[1])) as nas:
            nas.socket.settimeout(10)
            request = packet(told(INTERIM, "s-1", "c-1", octets(1, 2)), 7, signed=True)

            def taken(times=1, now=100.0):
                for _ in range(times):
                    nas.socket.send(request)
                rows = []
                one.setblocking(True)
                for _ in range(times):
                    row = listener.take(one, *one.recvfrom(4096), now)
                    rows += [row] if row is not None else []
                return [row[0] for row in rows]

            assert taken(3) == [1], "while it is in work the others are passed over"
            listener.done([1], now=100.0)
            assert is_answer(nas.socket.recv(4096), request)
            assert taken(2, now=129.0) == []
            assert is_answer(nas.socket.recv(4096), request)
            assert is_answer(nas.socket.recv(4096), request)
            assert taken(now=131.0) == [2]
