"""What tests share: programs of other projects, free ports, waiting for a condition. No product code."""

from support.binaries import require_binary
from support.net import free_port, has_ipv6
from support.primary import Primary
from support.waiting import wait_until

__all__ = ["Primary", "free_port", "has_ipv6", "require_binary", "wait_until"]
