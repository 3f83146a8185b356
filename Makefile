# What README and .ci/run call. Every target installs what it needs.
.PHONY: demo demo-failover test check bench bench-recovery simulate fuzz hunt compiler servers drivers

# Three private MariaDB servers with Grove in front of them on 127.0.0.1:3307, until Ctrl-C.
demo: compiler
	@scripts/install-mariadb.sh
	cargo build --release --locked --bin proxyd
	@exec cargo run --quiet --release --locked --bin proxyd -- playground

# Kills the lead of three servers under load, starts it again, and checks that nothing is lost. `make demo-failover SERVER=mysql` does it on the other
# kind; BEFORE, AWAY and AFTER are the seconds of load before, while, and after it is away.
demo-failover: compiler
	@scripts/install-$(or $(SERVER),mariadb).sh
	cargo build --release --locked -p proxyd -p grove-testkit --bin proxyd --bin demo_failover
	@exec $${CARGO_TARGET_DIR:-target}/release/demo_failover --server $(or $(SERVER),mariadb) \
		--before $(or $(BEFORE),5) --away $(or $(AWAY),10) --after $(or $(AFTER),5)

# All tests, with real servers of both kinds and drivers of many languages. Property tests begin at one seed here, so that the result depends on
# the commit alone; another one explores: `make test PROPTEST_RNG_SEED=1`, and `make fuzz`.
test: compiler servers drivers
	PROPTEST_RNG_SEED=$${PROPTEST_RNG_SEED:-20261125} cargo test --workspace --locked

# Format, lints, dependencies.
check: compiler
	@cargo fmt --version >/dev/null && cargo clippy --version >/dev/null || rustup component add rustfmt clippy
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	@scripts/install-cargo-deny.sh
	scripts/check-dependencies.sh

# Micro-benchmarks of the hot paths, then one server directly, through HAProxy and through Grove: about 12 minutes. Shorter:
# `make bench BENCH_SECONDS=1 BENCH_ROUNDS=1 BENCH_CLIENTS=8 BENCH_IDLE=0`.
bench: compiler
	@scripts/install-mariadb.sh
	@scripts/install-bench-peers.sh
	cargo bench --workspace --locked
	cargo build --release --locked -p proxyd -p grove-testkit --bin proxyd --bin bench
	@$${CARGO_TARGET_DIR:-target}/release/bench

# What the recovery log costs, and how fast a server is lost and got back: about 8 minutes. Shorter: `make bench-recovery ROUNDS=1 AWAY=10`.
bench-recovery: compiler servers
	cargo bench --locked -p grove-recovery-log --bench append
	cargo build --release --locked -p proxyd -p grove-testkit --bin proxyd --bin bench_recovery
	@$${CARGO_TARGET_DIR:-target}/release/bench_recovery --server $(or $(SERVER),mariadb) --rounds $(or $(ROUNDS),3) --away $(or $(AWAY),60)

# The engine's simulation over many more seeds than `make test` has: `make simulate SEEDS=1000000 FIRST=1`. A seed that fails is printed, and fails again.
simulate: compiler
	GROVE_SIM_SEEDS=$(or $(SEEDS),100000) GROVE_SIM_FIRST=$(or $(FIRST),1) cargo test --release --locked -p grove-engine --test simulation -- --nocapture

# Every fuzz target for a minute; `make fuzz SECONDS=3600` goes on for longer.
fuzz: compiler
	scripts/fuzz.sh $(or $(SECONDS),60)

# The divergence hunt against real servers; `make hunt SECONDS=30 SERVER=mysql` is shorter, on the other kind.
hunt: compiler servers
	cargo build --release --locked -p proxyd -p grove-testkit --bins
	cargo run --quiet --release --locked -p grove-testkit --bin hunt -- --seconds $(or $(SECONDS),300) --server $(or $(SERVER),mariadb)

compiler:
	@scripts/install-compiler.sh

servers:
	@scripts/install-mariadb.sh
	@scripts/install-mysql.sh

drivers:
	@scripts/install-drivers.sh
