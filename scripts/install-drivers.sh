#!/bin/sh
# Installs the database drivers that the tests use besides Rust's. From the distribution: Go's, Java's, Perl's, PHP's and Ruby's, with their
# languages, and Python and Node where they are missing. Into ${GROVE_CACHE:-$HOME/.cache/grove}/drivers, in fixed versions:
#   python/               a virtual environment with the drivers of PyPI; its interpreter is python/bin/python
#   node/node_modules/    the drivers of npm; use it with NODE_PATH
# Running this again does nothing when the drivers of these versions are there.
set -eu

# Later ones of mysql-connector-python come with a C library that needs a newer OpenSSL than Debian 12 has.
# cryptography is what PyMySQL needs to send a password over plain TCP with caching_sha2_password.
PYTHON_DRIVERS='PyMySQL==1.2.4 cryptography==50.0.2 mysqlclient==2.3.2 asyncmy==0.2.18 mysql-connector-python==9.5.0'
NODE_DRIVERS='mysql2@3.24.6 mariadb@3.4.5'

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

has_headers() { command -v mariadb_config && command -v pkg-config && python3 -c '
import os, sysconfig
assert os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h"))'; }

# The packages of the distribution that are missing: all in one installation.
missing_packages() {
    command -v python3 && python3 -c 'import ensurepip, venv' || echo + python3 python3-venv
    has_headers || echo + python3-dev libmariadb-dev pkg-config
    command -v node && command -v npm || echo + nodejs npm
    command -v go && [ -d /usr/share/gocode/src/github.com/go-sql-driver/mysql ] || echo + golang-go golang-github-go-sql-driver-mysql-dev
    command -v javac || echo + default-jdk-headless
    [ -e /usr/share/java/mariadb-java-client.jar ] || echo + libmariadb-java
    perl -MDBD::mysql -e 1 || echo + libdbd-mysql-perl
    php -r 'exit(extension_loaded("mysqli") && extension_loaded("pdo_mysql") ? 0 : 1);' || echo + php-cli php-mysql
    ruby -rmysql2 -e 1 || echo + ruby-mysql2
}

has_python_drivers() {
    "$DRIVERS/python/bin/python" -c '
import importlib.metadata, sys
import asyncmy, cryptography, mysql.connector.connection_cext, pymysql, MySQLdb
for driver in sys.argv[1:]:
    name, version = driver.split("==")
    assert importlib.metadata.version(name) == version' $PYTHON_DRIVERS 2>/dev/null
}

has_node_drivers() {
    (cd "$DRIVERS/node" && node -e '
for (const driver of process.argv.slice(1)) {
  const [name, version] = driver.split("@");
  require(name);
  if (JSON.parse(require("fs").readFileSync(`node_modules/${name}/package.json`)).version !== version) process.exit(1);
}' $NODE_DRIVERS) 2>/dev/null
}

# One installation at a time; a second one waits, then finds the work done.
mkdir -p "$DRIVERS"
exec 9>"$DRIVERS.lock"
flock 9

packages=$(missing_packages 2>/dev/null | sed -n 's/^+ //p')
if [ -n "$packages" ]; then
    # shellcheck disable=SC2086 # a list of words
    "$HERE/apt-install.sh" $packages
else
    say "already installed: drivers of the distribution"
fi

if has_python_drivers; then
    say "already installed: $PYTHON_DRIVERS"
else
    "$HERE/install-compiler.sh" # for mysqlclient, which is C
    rm -rf "$DRIVERS/python"
    python3 -m venv "$DRIVERS/python" || fail "python3 cannot make a virtual environment in $DRIVERS/python"
    # shellcheck disable=SC2086 # a list of words
    persist "$DRIVERS/python/bin/python" -m pip --quiet --disable-pip-version-check install $PYTHON_DRIVERS
    has_python_drivers || fail "the drivers of PyPI do not load"
    say "installed: $PYTHON_DRIVERS"
fi

if has_node_drivers; then
    say "already installed: $NODE_DRIVERS"
else
    rm -rf "$DRIVERS/node"
    mkdir -p "$DRIVERS/node"
    echo '{ "private": true }' >"$DRIVERS/node/package.json"
    # shellcheck disable=SC2086 # a list of words
    persist npm --prefix "$DRIVERS/node" --no-audit --no-fund --loglevel=error install $NODE_DRIVERS
    has_node_drivers || fail "the drivers of npm do not load"
    say "installed: $NODE_DRIVERS"
fi
