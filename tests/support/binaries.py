"""Programs of other projects the tests talk to.

A missing one skips the test with a plain reason; with CI=true the skip is a failure, so that no
run of CI passes for want of a peer.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping

import pytest

PACKAGES = {
    "dig": "dnsutils",
    "dnsdist": "dnsdist",
    "dnsperf": "dnsperf",
    "kdig": "knot-dnsutils",
    "exim4": "exim4-daemon-light",
    "faketime": "faketime",
    "freeradius": "freeradius",
    "keymgr": "knot",
    "kresd": "knot-resolver",
    "knotc": "knot",
    "knotd": "knot",
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
    """The program's path. Without it the test is skipped, or with CI=true fails."""
    path = find_binary(name)
    if path is not None:
        return path
    package = PACKAGES.get(name, name)
    reason = f"{name} is not installed; on Debian: apt-get install {package}"
    if environ.get("CI", "").lower() == "true":
        pytest.fail(f"{reason} (CI=true: a missing peer is a failure)", pytrace=False)
    pytest.skip(reason)
