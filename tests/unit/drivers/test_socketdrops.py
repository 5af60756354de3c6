"""What the kernel had no room for, by the address of the socket, whoever has it."""

from __future__ import annotations

import socket

import pytest

from sekisho.config.values import Endpoint
from sekisho.drivers.socketdrops import SocketDrops


def flooded(one: socket.socket, host: str, packets: int) -> Endpoint:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    one.bind((host, 0))
    with socket.socket(one.family, socket.SOCK_DGRAM) as other:
        for _ in range(packets):
            other.sendto(bytes(1000), one.getsockname()[:2])
    return Endpoint(host, one.getsockname()[1])


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"), (socket.AF_INET, "0.0.0.0")])
def test_every_packet_that_did_not_fit_is_counted_and_no_other_sockets(family: socket.AddressFamily, host: str) -> None:
    drops = SocketDrops()
    with socket.socket(family, socket.SOCK_DGRAM) as one, socket.socket(family, socket.SOCK_DGRAM) as other:
        place = flooded(one, host, 200)
        flooded(other, host, 300)
        one.setblocking(False)
        taken = 0
        while True:
            try:
                one.recv(2000)
            except BlockingIOError:
                break
            taken += 1
        assert 0 < taken < 200
        assert drops.look([place]) == 200 - taken
        assert drops.look([place]) == 200 - taken
    assert drops.look([place]) == 200 - taken, "the sum stays when the socket is gone"


def test_a_socket_that_takes_the_place_of_another_counts_besides(tmp_path) -> None:
    table = tmp_path / "udp"
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n"
    line = "    1: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 {} 2 0 {}\n"
    drops, place = SocketDrops([table, tmp_path / "none"]), [Endpoint("127.0.0.1", 53)]
    for rows, total in (([(7, 5)], 5), ([(7, 9), (8, 1)], 10), ([(8, 1)], 10), ([(9, 2)], 12), ([], 12)):
        table.write_text(head + "".join(line.format(*row) for row in rows))
        assert drops.look(place) == total
