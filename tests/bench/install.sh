#!/bin/sh
# Install the servers the comparison runs against, from Debian's packages; those that are missing, and only as root.
exec sh "$(dirname "$0")/../peers/install.sh" dnsdist dnsdist unbound unbound knotd knot
