"""What tests share: programs of other projects, free ports, waiting for a condition. No product code."""

from support.binaries import require_binary
from support.net import free_port
from support.waiting import wait_until

__all__ = ["free_port", "require_binary", "wait_until"]
