//! Bytes that no client sends: nothing panics, and others are served on.

use crate::raw::Raw;
use crate::stage::Stage;
use bytes::BytesMut;
use grove_wire::packet::encode_frames;
use std::sync::atomic::{AtomicUsize, Ordering};

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Counts panics outside of tests; a client's task that panics would otherwise only end its connection.
fn count_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.location().is_some_and(|at| !at.file().contains("tests/")) {
            PANICS.fetch_add(1, Ordering::Relaxed);
        }
        before(info);
    }));
}

/// A small generator of its own (xorshift), so that a seed means the same everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    fn bytes(&mut self, at_most: u64) -> Vec<u8> {
        let length = self.next(at_most);
        (0..length).map(|_| self.next(256) as u8).collect()
    }
}

#[tokio::test]
async fn rubbish_in_any_phase_harms_nobody_else() {
    count_panics();
    let stage = Stage::open().await;
    for seed in 1..=150 {
        let mut chance = Chance(seed);
        let mut client = Raw::connect(stage.address).await;
        if seed % 3 == 0 {
            // Not even a frame.
            client.send_bytes(&chance.bytes(100)).await;
            continue;
        }
        if seed % 3 == 1 {
            let response = client.response("app", "app secret", "caching_sha2_password").encode();
            let mut broken = response.clone();
            broken.truncate(chance.next(response.len() as u64) as usize);
            broken.extend(chance.bytes(40));
            client.send_packet(&broken).await;
            continue;
        }
        let mut client = Raw::login(stage.address, "app", "app secret").await;
        let mut ahead = BytesMut::new();
        for _ in 0..20 {
            // COM_QUERY and COM_QUIT are no rubbish.
            let command = 4 + chance.next(0x1F) as u8;
            encode_frames(&[&[command][..], &chance.bytes(30)].concat(), &mut 0, &mut ahead);
        }
        client.send_bytes(&ahead).await;
    }
    let mut client = Raw::login(stage.address, "app", "app secret").await;
    client.query("anything").await.unwrap();
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
}
