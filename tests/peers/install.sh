#!/bin/sh
# Install the real servers and clients the peer tests talk to, from Debian's packages: install.sh [PROGRAM PACKAGE]...
# A PROGRAM that starts with a slash is a file (a library, a module): the pattern of its name.
# Only as root, only where one is missing, and never a reason to fail: without them those tests skip.
set -u

missing=""
need() { # need PROGRAM PACKAGE
    case $1 in
    /*) ls $1 >/dev/null 2>&1 || missing="$missing $2" ;;
    *) PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1 || missing="$missing $2" ;;
    esac
}
[ $# -gt 0 ] || set -- dig dnsutils kdig knot-dnsutils knotd knot unbound unbound named bind9 dnsperf dnsperf \
    promtool prometheus rsyslogd rsyslog \
    exim4 exim4-daemon-light mkfs.ext4 e2fsprogs openssl openssl nft nftables radclient freeradius-utils freeradius freeradius \
    softflowd softflowd pmacctd pmacct nfcapd nfdump dnsdist dnsdist pdns_recursor pdns-recursor kresd knot-resolver faketime faketime \
    /usr/lib/python3/dist-packages/unboundmodule.py python3-unbound '/usr/lib/*/knot/modules-*/dnstap.so' knot-module-dnstap
while [ $# -gt 1 ]; do
    need "$1" "$2"
    shift 2
done

[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
    echo "peers: not root, so not installing:$missing (their tests are skipped)"
    exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "peers: no apt-get here, so not installing:$missing (their tests are skipped)"
    exit 0
fi

# The packages of servers start them. A policy that says no is put in place for the time of the installation.
policy=/usr/sbin/policy-rc.d
placed=""
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && placed=yes
fi
trap '[ -z "$placed" ] || rm -f "$policy"' EXIT INT TERM

echo "peers: installing$missing"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if apt-get update -q >"$log" 2>&1 && apt-get install -q -y --no-install-recommends $missing >>"$log" 2>&1; then
    echo "peers: installed"
else
    echo "peers: not installed (their tests are skipped); apt-get said:"
    tail -n 5 "$log"
fi
rm -f "$log"
exit 0
