//! The process's limit of open files.
//!
//! Every client takes one descriptor and every leg one more, so a session that writes to three servers takes four. The
//! soft limit is 1,024 on most systems for the sake of programs that use `select(2)`, which nothing here does.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the soft limit to the hard one. A refusal is logged: the proxy serves fewer clients then.
pub fn raise_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    limit.current = limit.maximum;
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => tracing::debug!(limit = ?getrlimit(Resource::Nofile).current, "open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files stays low"),
    }
}
