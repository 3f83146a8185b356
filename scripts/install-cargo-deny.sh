#!/bin/sh
# Installs cargo-deny, which looks at the licences and origins of dependencies, from crates.io when it is missing.
set -eu

VERSION=0.20.2
ATTEMPTS=3

say() { echo "install-cargo-deny: $*"; }

if cargo deny --version >/dev/null 2>&1; then
    say "already installed: $(cargo deny --version)"
    exit 0
fi
attempt=1
until cargo install --quiet --locked "cargo-deny@$VERSION"; do
    if [ "$attempt" -ge "$ATTEMPTS" ]; then
        echo "install-cargo-deny: FAILED after $ATTEMPTS attempts" >&2
        exit 1
    fi
    say "failed (attempt $attempt of $ATTEMPTS), trying again"
    sleep $((attempt * 3))
    attempt=$((attempt + 1))
done
say "installed: $(cargo deny --version)"
