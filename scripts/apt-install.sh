#!/bin/sh
# Installs Debian packages: scripts/apt-install.sh PACKAGE... Package servers are sometimes slow to answer, so a
# failure is tried again. Only root can do it; another user is told what to run.
set -eu

say() { echo "apt-install: $*"; }
fail() { echo "apt-install: FAILED: $*" >&2; exit 1; }

[ $# -gt 0 ] || fail "name the packages"
command -v apt-get >/dev/null || fail "this is not a Debian system; install by hand: $*"
[ "$(id -u)" = 0 ] || fail "only root can install packages; run as root: apt-get install $*"

export DEBIAN_FRONTEND=noninteractive
attempt=1
until apt-get -qq update && apt-get -qq -y --no-install-recommends install "$@"; do
    [ "$attempt" -lt 4 ] || fail "apt-get could not install $*"
    say "apt-get failed (attempt $attempt of 4), trying again"
    sleep $((attempt * 3))
    attempt=$((attempt + 1))
done
say "installed: $*"
