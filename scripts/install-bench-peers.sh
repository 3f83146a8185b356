#!/bin/sh
# Installs what `make bench` measures with and compares with, from the distribution when it is missing: sysbench, and
# HAProxy. No system service is started: the benchmark runs its own HAProxy with its own configuration.
set -eu

say() { echo "install-bench-peers: $*"; }
fail() { echo "install-bench-peers: FAILED: $*" >&2; exit 1; }

# Debian keeps servers in /usr/sbin, which is not on every user's PATH.
PATH=$PATH:/usr/sbin:/sbin
installed() { command -v haproxy && command -v sysbench; }
versions() { echo "$(haproxy -v | head -n 1 | cut -d ' ' -f 1-3), $(sysbench --version)"; }

if installed >/dev/null; then
    say "already installed: $(versions)"
    exit 0
fi

# policy-rc.d is how Debian's packages are told to start nothing. An existing one is the host's own choice, so
# it is put aside and comes back, also when the installation fails.
POLICY=/usr/sbin/policy-rc.d
restore() {
    rm -f "$POLICY"
    if [ -e "$POLICY.before-grove" ]; then mv "$POLICY.before-grove" "$POLICY"; fi
}
if [ "$(id -u)" = 0 ] && [ -d /usr/sbin ]; then
    if [ -e "$POLICY" ]; then mv "$POLICY" "$POLICY.before-grove"; fi
    trap restore EXIT
    trap 'exit 1' INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$POLICY"
    chmod +x "$POLICY"
fi
"$(dirname "$0")/apt-install.sh" haproxy sysbench
installed >/dev/null || fail "the packages are installed but haproxy or sysbench is not on the PATH"
say "installed: $(versions)"
