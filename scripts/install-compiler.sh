#!/bin/sh
# Installs the C compiler that Rust links with and that one dependency, aws-lc, is built with. Cargo itself is the one
# thing that must be there before.
set -eu

command -v cargo >/dev/null || {
    echo "install-compiler: FAILED: cargo is missing; install a Rust toolchain (https://rustup.rs)" >&2
    exit 1
}
if command -v cc >/dev/null && [ -e /usr/include/stdlib.h ]; then exit 0; fi
exec "$(dirname "$0")/apt-install.sh" gcc libc6-dev
