#!/bin/sh
# Installs MySQL's server and client from Debian's `sid` suite into a private folder:
# ${GROVE_CACHE:-$HOME/.cache/grove}/mysql. The host's own packages and services stay untouched: apt works
# on an empty state of its own, the packages are only unpacked, and the programs run under the C library
# that came with them. Running this again does nothing when the folder is complete.
#
# Afterwards: $CACHE/mysql/bin/mysqld and $CACHE/mysql/bin/mysql are wrappers, $CACHE/mysql/root/usr is the
# basedir, $CACHE/mysql/version is the text of `mysqld --version`.
set -eu

CACHE=${GROVE_CACHE:-$HOME/.cache/grove}
HOME_DIR=$CACHE/mysql
ATTEMPTS=5

say() { echo "install-mysql: $*"; }
fail() { echo "install-mysql: FAILED: $*" >&2; exit 1; }

# One installation at a time; a second one waits, then finds the work done.
mkdir -p "$CACHE"
exec 9>"$CACHE/mysql.lock"
flock 9

if [ -s "$HOME_DIR/version" ] && "$HOME_DIR/bin/mysqld" --version >/dev/null 2>&1; then
    say "already installed: $(cat "$HOME_DIR/version")"
    exit 0
fi

for tool in apt-get dpkg-deb tar; do
    command -v "$tool" >/dev/null || fail "$tool is not installed; this script needs Debian or a derivative"
done
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$KEYRING" ] || fail "$KEYRING is missing; install the package debian-archive-keyring"
[ "$(uname -m)" = x86_64 ] || fail "only x86_64 is supported, this is $(uname -m)"

APT=$HOME_DIR/apt
ROOT=$HOME_DIR/root
rm -rf "$HOME_DIR/version" "$HOME_DIR/bin" "$ROOT"
mkdir -p "$APT/lists/partial" "$APT/cache/archives/partial" "$ROOT/usr/bin" "$ROOT/usr/sbin" "$ROOT/usr/lib" \
    "$ROOT/usr/lib64" "$HOME_DIR/bin"

# The host's own mirror also serves sid; the public one is the fallback.
MIRROR=$(apt-get indextargets --format '$(REPO_URI)' 'Component: main' 2>/dev/null | grep -v security | head -n 1)
MIRROR=${MIRROR:-http://deb.debian.org/debian/}
echo "deb [signed-by=$KEYRING] $MIRROR sid main" >"$APT/sources.list"
: >"$APT/status"
cat >"$APT/apt.conf" <<CONF
Dir::State::lists "$APT/lists";
Dir::State::status "$APT/status";
Dir::Etc::sourcelist "$APT/sources.list";
Dir::Etc::sourceparts "$APT/none";
Dir::Cache "$APT/cache";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
Debug::NoLocking "true";
CONF
export APT_CONFIG="$APT/apt.conf"

# Debian's sid moves: a package can vanish between the update and the download, so both are tried again together.
attempt=1
until apt-get -qq update && apt-get -qq -y --download-only install mysql-server-core mysql-client-core >"$APT/log" 2>&1; do
    [ "$attempt" -lt "$ATTEMPTS" ] || { tail -n 20 "$APT/log" >&2 || true; fail "no download from $MIRROR (sid) after $ATTEMPTS attempts"; }
    say "download failed (attempt $attempt of $ATTEMPTS), trying again"
    sleep $((attempt * 3))
    attempt=$((attempt + 1))
done
unset APT_CONFIG

# Debian's merged /usr: old paths inside packages land in usr/.
for link in bin sbin lib lib64; do ln -sfn "usr/$link" "$ROOT/$link"; done
for package in "$APT"/cache/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar x --keep-directory-symlink -C "$ROOT" || fail "cannot unpack $package"
done

for program in sbin/mysqld bin/mysql bin/mysqladmin bin/mysqldump; do
    wrapper=$HOME_DIR/bin/${program#*/}
    cat >"$wrapper" <<WRAPPER
#!/bin/sh
exec $ROOT/lib64/ld-linux-x86-64.so.2 --library-path $ROOT/usr/lib/x86_64-linux-gnu $ROOT/usr/$program "\$@"
WRAPPER
    chmod +x "$wrapper"
done
VERSION=$("$HOME_DIR/bin/mysqld" --no-defaults --version) || fail "the unpacked mysqld does not run"
rm -rf "$APT/cache/archives" "$APT/lists"
echo "$VERSION" >"$HOME_DIR/version"
say "installed: $VERSION"
