//! Challenges: random bytes that a client mixes into its answer, 20 of them for most plugins.
//!
//! The servers send 7-bit bytes without NUL and `$`, because old clients treat the challenge as text; Grove does the same.

/// A new challenge; `None` if the system gives no random bytes.
pub(crate) fn fresh_challenge<const LEN: usize>() -> Option<[u8; LEN]> {
    let mut challenge = [0; LEN];
    aws_lc_rs::rand::fill(&mut challenge).ok()?;
    for byte in &mut challenge {
        *byte &= 0x7F;
        // The two forbidden values become their neighbours, which costs a fraction of a bit.
        if matches!(*byte, 0 | b'$') {
            *byte += 1;
        }
    }
    Some(challenge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_differ_and_are_text() {
        let challenges = [(); 200].map(|()| fresh_challenge::<20>().unwrap());
        assert!(
            challenges
                .iter()
                .flatten()
                .all(|byte| (1..0x80).contains(byte) && *byte != b'$')
        );
        assert_ne!(challenges[0], challenges[1]);
    }
}
