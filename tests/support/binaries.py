"""Programs of other projects the tests talk to.

A missing one skips the test with a plain reason; in CI the skip is a failure, so that no run of CI passes for want of a peer.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping

from support.missing import skip_or_fail

PACKAGES = {
    "dig": "dnsutils",
    "dnsdist": "dnsdist",
    "dnsperf": "dnsperf",
    "kdig": "knot-dnsutils",
    "e2fsck": "e2fsprogs",
    "exim4": "exim4-daemon-light",
    "faketime": "faketime",
    "freeradius": "freeradius",
    "keymgr": "knot",
    "kresd": "knot-resolver",
    "knotc": "knot",
    "knotd": "knot",
    "mkfs.ext4": "e2fsprogs",
    "named": "bind9",
    "named-checkzone": "bind9-utils",
    "nsupdate": "dnsutils",
    "pdns_recursor": "pdns-recursor",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "openssl": "openssl",
    "radclient": "freeradius-utils",
    "rndc": "bind9-utils",
    "rsyslogd": "rsyslog",
    "strace": "strace",
    "tsig-keygen": "bind9-utils",
    "unbound": "unbound",
    "unbound-checkconf": "unbound",
    "unbound-control": "unbound",
}
"""The Debian package of each program: `tests/peers/install.sh` and `tests/bench/install.sh` install them."""

_FOLDERS = ("/usr/sbin", "/sbin", "/usr/local/sbin")


def find_binary(name: str) -> str | None:
    """Where the program is; daemons live in folders that are not on everybody's PATH."""
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(_FOLDERS))


def require_binary(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """The program's path. Without it the test is skipped, or fails in CI."""
    path = find_binary(name)
    if path is None:
        package = PACKAGES.get(name, name)
        skip_or_fail(f"{name} is not installed; on Debian: apt-get install {package}", environ)
    return path
