#!/bin/sh
# Runs every fuzz target for so many seconds: scripts/fuzz.sh [SECONDS]. A finding stops it and stays in the target's
# `artifacts` folder. cargo-fuzz comes from crates.io when it is missing; it wants a nightly compiler, or a stable one
# that is told to behave like one.
set -eu
cd "$(dirname "$0")/.."

SECONDS_EACH=${1:-60}

command -v c++ >/dev/null || scripts/apt-install.sh g++
cargo fuzz --version >/dev/null 2>&1 || cargo install --quiet --locked cargo-fuzz
if rustup run nightly rustc --version >/dev/null 2>&1; then
    export RUSTUP_TOOLCHAIN=nightly
else
    export RUSTC_BOOTSTRAP=1
fi
FOUND=0
for manifest in fuzz/Cargo.toml crates/*/fuzz/Cargo.toml; do
    [ -e "$manifest" ] || continue
    directory=${manifest%/Cargo.toml}
    for target in $(cargo fuzz list --fuzz-dir "$directory"); do
        FOUND=1
        echo "fuzz: $target for $SECONDS_EACH s"
        cargo fuzz run --fuzz-dir "$directory" "$target" -- -max_total_time="$SECONDS_EACH" -timeout=10
    done
done
[ "$FOUND" = 1 ] || { echo "fuzz: FAILED: there is no fuzz target" >&2; exit 1; }
