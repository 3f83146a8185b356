#!/bin/sh
# Holds the dependencies to docs/dependencies.md, which has a reason for each one, and to deny.toml: no banned or
# doubled crates, known licences, crates.io only, no known vulnerability. The list of vulnerabilities is on the
# internet; without a way there, this says so and goes on. When it can be reached, a finding is an error like any other.
set -eu
cd "$(dirname "$0")/.."

# Each dependency that the workspace names has its line in the documentation.
MISSING=0
for crate in $(sed -n '/^\[workspace.dependencies\]/,/^\[workspace.lints/ s/^\([a-z0-9_-]*\) = .*/\1/p' Cargo.toml | grep -v '^grove-'); do
    grep -q "^| \`$crate\` |" docs/dependencies.md || {
        echo "check-dependencies: $crate has no line in docs/dependencies.md" >&2
        MISSING=1
    }
done
[ "$MISSING" = 0 ] || exit 1

cargo deny --locked check bans licenses sources

REASON=$(mktemp)
trap 'rm -f "$REASON"' EXIT
if timeout 120 cargo deny --locked fetch db >"$REASON" 2>&1; then
    cargo deny --locked check --disable-fetch advisories
else
    tail -n 2 "$REASON"
    echo "check-dependencies: NOTE: the advisory database cannot be reached, so advisories were NOT checked"
fi
