# What README and .ci/run call. Every target installs what it needs.
.PHONY: test check
test:
	cargo test --workspace --locked

check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
