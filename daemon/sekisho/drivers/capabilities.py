"""What this thread may do (capabilities(7)), as /proc says."""

from __future__ import annotations

from pathlib import Path

_NET_ADMIN = 12


def has_net_admin() -> bool:
    """Whether CAP_NET_ADMIN is in the effective set of this thread."""
    try:
        lines = Path("/proc/thread-self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    effective = next((int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")), 0)
    return bool(effective >> _NET_ADMIN & 1)
