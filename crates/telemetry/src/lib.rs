//! Every metric name in one place. Counters are atomics in a struct that is passed in; there are no globals.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// A count that only grows, or goes up and down when used as a gauge.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `amount`.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// Subtracts `amount`; for gauges.
    pub fn subtract(&self, amount: u64) {
        self.0.fetch_sub(amount, Ordering::Relaxed);
    }

    /// The value now.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! metrics {
    ($($field:ident $kind:literal $name:literal $help:literal;)*) => {
        /// What Grove counts.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $(#[doc = $help] pub $field: Counter,)*
        }

        impl Metrics {
            /// The Prometheus text exposition format, version 0.0.4.
            pub fn render(&self) -> String {
                let mut text = String::new();
                $(
                    let _ = writeln!(text, "# HELP {} {}\n# TYPE {} {}\n{} {}", $name, $help, $name, $kind, $name, self.$field.value());
                )*
                text
            }
        }
    };
}

metrics! {
    sessions "gauge" "grove_sessions" "Client sessions that are open.";
    connections "counter" "grove_connections_total" "Client connections that were accepted.";
    refused_logins "counter" "grove_refused_logins_total" "Logins that were refused.";
    delayed_logins "counter" "grove_delayed_logins_total" "Logins that had to wait because others from their address were refused.";
    statements "counter" "grove_statements_total" "Statements from clients.";
    rewritten_statements "counter" "grove_rewritten_statements_total" "Writes that got values in place of calls that each server would answer for itself.";
    unsafe_statements "counter" "grove_unsafe_statements_total" "Writes that may leave other rows on each server, and that no comment permitted.";
    commits "counter" "grove_commits_total" "Write units that were committed on every online server.";
    evictions "counter" "grove_evictions_total" "Servers that were taken out of the group.";
    retries "counter" "grove_retries_total" "Statements that were run again after a connection to a server failed.";
    follower_restarts "counter" "grove_follower_restarts_total" "Times that a follower's part of a transaction was rolled back and executed again.";
    protocol_errors "counter" "grove_protocol_errors_total" "Client connections that were ended for breaking the protocol.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_rendered_with_its_type_and_value() {
        let metrics = Metrics::default();
        metrics.commits.add(3);
        let text = metrics.render();
        assert!(
            text.contains("# TYPE grove_commits_total counter\ngrove_commits_total 3\n"),
            "{text}"
        );
        assert_eq!(text.lines().count() % 3, 0);
    }
}
