//! Every key that the file may hold, and the nearest known key to one that it may not hold.
//!
//! Invariant: the loader reads a key only if it is listed here (debug builds assert it), and the template file
//! documents every one, so code, schema and documentation cannot drift apart. `[]` stands for each item of a list.

use std::collections::BTreeSet;

/// Every key of the configuration, by full path.
pub const KEYS: &[&str] = &[
    "listen.address",
    "listen.socket",
    "listen.proxy_protocol_from",
    "listen.tls.mode",
    "listen.tls.certificate",
    "listen.tls.key",
    "listen.tls.client_ca",
    "listen.compression",
    "listen.max_connections",
    "listen.connect_timeout_ms",
    "listen.refused_login_delay_ms",
    "listen.idle_timeout_s",
    "admin.address",
    "backends[].name",
    "backends[].address",
    "backends[].user",
    "backends[].password",
    "backends[].password_env",
    "backends[].password_file",
    "backends[].weight",
    "backends[].tls.mode",
    "backends[].tls.ca",
    "backends[].compression",
    "users[].name",
    "users[].password",
    "users[].password_env",
    "users[].password_file",
    "users[].password_hash",
    "users[].default_schema",
    "users[].allow_from",
    "users[].max_connections",
    "users[].require_tls",
    "users[].require_certificate",
    "reads.policy",
    "writes.acknowledge",
    "writes.read_committed",
    "writes.unequal_settings",
    "writes.unsafe_statements",
    "timeouts.connect_ms",
    "timeouts.probe_interval_ms",
    "timeouts.probe_ms",
    "timeouts.probe_failures",
    "timeouts.follower_lock_wait_ms",
    "timeouts.no_backend_wait_ms",
    "timeouts.drain_ms",
    "limits.max_packet_bytes",
    "limits.transaction_statements",
    "limits.transaction_bytes",
    "limits.verified_reads",
    "limits.statement_shapes",
    "recovery_log.directory",
    "recovery_log.segment_bytes",
    "recovery_log.retention_bytes",
    "recovery_log.retention_age_s",
    "recovery_log.most_bytes",
    "recovery_log.when_full",
    "recovery_log.first_start",
    "log.filter",
    "log.format",
];

/// What the schema says about a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Section,
    List,
    Value,
    Unknown,
}

/// What the schema says about `path`, which may hold item numbers; the empty path is the whole file.
pub(crate) fn kind(path: &str) -> Kind {
    let path = generic(path);
    if path.is_empty() {
        return Kind::Section;
    }
    for key in KEYS {
        if let Some(rest) = key.strip_prefix(path.as_str()) {
            match rest.as_bytes().first() {
                None => return Kind::Value,
                Some(b'.') => return Kind::Section,
                Some(b'[') => return Kind::List,
                Some(_) => {}
            }
        }
    }
    Kind::Unknown
}

/// The keys that may stand directly in the section `path`.
pub(crate) fn children(path: &str) -> BTreeSet<&'static str> {
    let path = generic(path);
    let below = |key: &'static str| {
        if path.is_empty() {
            Some(key)
        } else {
            key.strip_prefix(path.as_str())?.strip_prefix('.')
        }
    };
    KEYS.iter()
        .filter_map(|key| below(key))
        .filter_map(|rest| rest.split(['.', '[']).next())
        .collect()
}

/// What to write instead of the unknown `key` in the section `path`: a near name there, the same or a near name
/// elsewhere, or the section's keys.
pub(crate) fn suggestion(path: &str, key: &str) -> String {
    let siblings = children(path);
    if let Some(near) = nearest(key, siblings.iter().copied()) {
        return format!("did you mean `{near}`?");
    }
    let leaf = |path: &'static str| path.rsplit('.').next().unwrap_or(path);
    if let Some(near) = nearest(key, KEYS.iter().map(|path| leaf(path)))
        && let Some(full) = KEYS.iter().find(|path| leaf(path) == near)
    {
        return format!("did you mean `{full}`?");
    }
    let known: Vec<_> = siblings.into_iter().collect();
    format!("known keys here: {}", known.join(", "))
}

/// The candidate that is few edits away from `word`, if any: one edit for each three letters, at least one.
pub(crate) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    candidates
        .map(|candidate| (edits(&word, candidate), candidate))
        .min_by_key(|(edits, _)| *edits)
        .filter(|(edits, candidate)| *edits <= (candidate.len() / 3).max(1))
        .map(|(_, candidate)| candidate)
}

/// `backends[3].tls` as the schema spells it: `backends[].tls`.
fn generic(path: &str) -> String {
    let mut inside = false;
    path.chars()
        .filter(|&c| {
            inside = match c {
                '[' => true,
                ']' => false,
                _ => inside,
            };
            !inside || c == '['
        })
        .collect()
}

/// Levenshtein distance; the words are key names, so the quadratic table is small.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_path_is_known() {
        assert_eq!(kind(""), Kind::Section);
        assert_eq!(kind("listen"), Kind::Section);
        assert_eq!(kind("backends"), Kind::List);
        assert_eq!(kind("backends[12]"), Kind::Section);
        assert_eq!(kind("backends[0].tls.mode"), Kind::Value);
        assert_eq!(kind("listen.addres"), Kind::Unknown);
    }

    #[test]
    fn suggestions_look_near_then_far_then_list() {
        assert_eq!(suggestion("listen", "adress"), "did you mean `address`?");
        assert_eq!(
            suggestion("listen", "probe_failure"),
            "did you mean `timeouts.probe_failures`?"
        );
        assert_eq!(suggestion("reads", "zzz"), "known keys here: policy");
    }

    #[test]
    fn distance_counts_single_edits() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "ab"), 2);
    }
}
