"""Who is at the other end of a Unix socket: user, groups and process, as the kernel says.

`SO_PEERCRED` gives the primary group only; the supplementary ones come by `SO_PEERGROUPS` (socket(7),
unix(7); Linux 4.13). Both are what the caller was when it connected.
"""

from __future__ import annotations

import array
import ctypes
import errno
import os
import pwd
import socket
import struct

from sekisho.model.roles import Caller

SO_PEERGROUPS = 59
"""Of `asm-generic/socket.h`; Python's `socket` has no name for it."""
_CREDENTIALS = struct.Struct("3i")
_TRIES = 3

_libc = ctypes.CDLL(None, use_errno=True)


def caller_of(connection: socket.socket) -> Caller:
    """The caller of a connected Unix socket. Raises OSError if the kernel does not tell."""
    pid, uid, gid = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return Caller(pid, uid, frozenset({gid, *supplementary(connection.fileno())}), _user(uid))


def supplementary(descriptor: int) -> list[int]:
    """Ids of the caller's supplementary groups. Raises OSError.

    Not by `socket.getsockopt`, which takes 1,024 bytes at most: users of a directory are in more groups than that holds.
    """
    length = ctypes.c_uint32(0)
    buffer = array.array("I")
    for _ in range(_TRIES):
        address, _count = buffer.buffer_info()
        if _libc.getsockopt(descriptor, socket.SOL_SOCKET, SO_PEERGROUPS, ctypes.c_void_p(address), ctypes.byref(length)) == 0:
            return buffer[: length.value // buffer.itemsize].tolist()
        number = ctypes.get_errno()
        if number != errno.ERANGE:
            raise OSError(number, os.strerror(number))
        # The kernel has said how many bytes there are.
        buffer = array.array("I", bytes(length.value))
    raise OSError(errno.ERANGE, os.strerror(errno.ERANGE))


def _user(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None
