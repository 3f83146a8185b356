#!/bin/sh
# Installs MariaDB's server and command-line client from the distribution when they are missing. No system
# service is started: only the programs are wanted, the playground and the tests run private servers.
set -eu

say() { echo "install-mariadb: $*"; }
fail() { echo "install-mariadb: FAILED: $*" >&2; exit 1; }

# Debian keeps servers in /usr/sbin, which is not on every user's PATH.
PATH=$PATH:/usr/sbin:/sbin
installed() { command -v mariadbd && command -v mariadb-install-db && command -v mariadb; }

if installed >/dev/null; then
    say "already installed: $(mariadbd --no-defaults --version)"
    exit 0
fi
command -v apt-get >/dev/null || fail "mariadbd is missing and this is not a Debian system; install MariaDB's server and client by hand"
[ "$(id -u)" = 0 ] || fail "mariadbd is missing; run as root: apt-get install mariadb-server mariadb-client"

# policy-rc.d is how Debian's packages are told to start nothing. An existing one is the host's own choice, so
# it is put aside and comes back, also when the installation fails.
POLICY=/usr/sbin/policy-rc.d
restore() {
    rm -f "$POLICY"
    if [ -e "$POLICY.before-grove" ]; then mv "$POLICY.before-grove" "$POLICY"; fi
}
if [ -e "$POLICY" ]; then mv "$POLICY" "$POLICY.before-grove"; fi
trap restore EXIT
trap 'exit 1' INT TERM
printf '#!/bin/sh\nexit 101\n' >"$POLICY"
chmod +x "$POLICY"

export DEBIAN_FRONTEND=noninteractive
attempt=1
until apt-get -qq update && apt-get -qq -y --no-install-recommends install mariadb-server mariadb-client; do
    [ "$attempt" -lt 4 ] || fail "apt-get could not install mariadb-server and mariadb-client"
    say "apt-get failed (attempt $attempt of 4), trying again"
    sleep $((attempt * 3))
    attempt=$((attempt + 1))
done
installed >/dev/null || fail "the packages are installed but mariadbd, mariadb-install-db or mariadb is not on the PATH"
say "installed: $(mariadbd --no-defaults --version)"
