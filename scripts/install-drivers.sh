#!/bin/sh
# Installs the database drivers that the tests use besides Rust's, into ${GROVE_CACHE:-$HOME/.cache/grove}/drivers:
#   python/               a virtual environment with PyMySQL; its interpreter is python/bin/python
#   node/node_modules/    mysql2; use it with NODE_PATH
# Python and Node themselves come from the distribution when they are missing. Running this again does nothing when
# the drivers of these versions are there.
set -eu

PYMYSQL=1.2.4
CRYPTOGRAPHY=50.0.2
MYSQL2=3.24.6

HERE=$(cd "$(dirname "$0")" && pwd)
CACHE=${GROVE_CACHE:-$HOME/.cache/grove}
DRIVERS=$CACHE/drivers
ATTEMPTS=5

say() { echo "install-drivers: $*"; }
fail() { echo "install-drivers: FAILED: $*" >&2; exit 1; }

# Runs a command that needs the network until it succeeds, a few times.
persist() {
    attempt=1
    until "$@"; do
        [ "$attempt" -lt "$ATTEMPTS" ] || fail "no success after $ATTEMPTS attempts: $*"
        say "failed (attempt $attempt of $ATTEMPTS), trying again: $1"
        sleep $((attempt * 3))
        attempt=$((attempt + 1))
    done
}

has_pymysql() {
    "$DRIVERS/python/bin/python" -c "
import cryptography, importlib.metadata, pymysql
assert importlib.metadata.version('PyMySQL') == '$PYMYSQL'" 2>/dev/null
}
has_mysql2() {
    (cd "$DRIVERS/node" && node -e "require('mysql2'); if (require('mysql2/package.json').version !== '$MYSQL2') process.exit(1)") 2>/dev/null
}

# One installation at a time; a second one waits, then finds the work done.
mkdir -p "$DRIVERS"
exec 9>"$DRIVERS.lock"
flock 9

if has_pymysql; then
    say "already installed: PyMySQL $PYMYSQL"
else
    python3 -c 'import ensurepip, venv' 2>/dev/null || "$HERE/apt-install.sh" python3 python3-venv
    rm -rf "$DRIVERS/python"
    python3 -m venv "$DRIVERS/python" || fail "python3 cannot make a virtual environment in $DRIVERS/python"
    # cryptography is what PyMySQL needs to send a password over plain TCP with caching_sha2_password.
    persist "$DRIVERS/python/bin/python" -m pip --quiet --disable-pip-version-check install \
        "PyMySQL==$PYMYSQL" "cryptography==$CRYPTOGRAPHY"
    has_pymysql || fail "PyMySQL $PYMYSQL does not load"
    say "installed: PyMySQL $PYMYSQL"
fi

if has_mysql2; then
    say "already installed: mysql2 $MYSQL2"
else
    { command -v node && command -v npm; } >/dev/null || "$HERE/apt-install.sh" nodejs npm
    rm -rf "$DRIVERS/node"
    mkdir -p "$DRIVERS/node"
    echo '{ "private": true }' >"$DRIVERS/node/package.json"
    persist npm --prefix "$DRIVERS/node" --no-audit --no-fund --loglevel=error install "mysql2@$MYSQL2"
    has_mysql2 || fail "mysql2 $MYSQL2 does not load"
    say "installed: mysql2 $MYSQL2"
fi
