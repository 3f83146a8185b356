//! The numbers of one cell on one target in one round, and how several are taken together.

/// One measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sample {
    pub(super) queries_per_second: f64,
    /// Latencies as the client sees them, in microseconds.
    pub(super) average_us: f64,
    pub(super) p95_us: f64,
    pub(super) p99_us: f64,
    /// The proxy's CPU time for each query, in microseconds; 0 without a proxy.
    pub(super) cpu_us: f64,
    /// The proxy's largest resident memory, in bytes; 0 without a proxy.
    pub(super) peak_bytes: f64,
}

/// The middle of the values, which one disturbed round does not move; 0 of none.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        length if length % 2 == 1 => values[length / 2],
        length => (values[length / 2 - 1] + values[length / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middles() {
        assert_eq!(median([3.0, 1.0, 100.0]), 3.0);
        assert_eq!(median([4.0, 1.0, 2.0, 100.0]), 3.0);
        assert_eq!(median([]), 0.0);
    }
}
