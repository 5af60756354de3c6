#!/bin/sh
# Install what the measurements run against, from Debian's packages; what is missing, and only as root: install.sh [all]
# Without `all`: the servers of the comparison, which are what `make bench` needs.
more=""
[ "${1:-}" != all ] || more="dnsperf dnsperf strace strace pdns_recursor pdns-recursor kresd knot-resolver named bind9
    nft nftables ip iproute2 /usr/lib/python3/dist-packages/unboundmodule.py python3-unbound"
# shellcheck disable=SC2086 # words, not one
exec sh "$(dirname "$0")/../peers/install.sh" dnsdist dnsdist unbound unbound knotd knot $more
