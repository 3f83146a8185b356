//! Several statements in one command.

use crate::raw::{EVERYDAY, Raw};
use crate::stage::Stage;
use grove_wire::{CapabilityFlags, StatusFlags};

const MORE: StatusFlags = StatusFlags::MORE_RESULTS;

// The client itself checks that the frames of all results are numbered without a gap.
#[tokio::test]
async fn every_result_but_the_last_says_that_more_follow() {
    let stage = Stage::open().await;
    let mut client = Raw::login(stage.address, "app", "app secret").await;
    client.command(b"\x03rows 3 5; anything ;rows 300 1000; done; ").await;
    let results = [
        client.result().await,
        client.result().await,
        client.result().await,
        client.result().await,
    ];
    assert_eq!(results.each_ref().map(Vec::len), [6, 1, 303, 1]);
    let more = results.each_ref().map(|result| client.status(result).contains(MORE));
    assert_eq!(more, [true, true, true, false]);
    let queries = stage.seen.queries();
    for text in ["rows 3 5", " anything ", "rows 300 1000", " done"] {
        assert!(queries.iter().any(|query| query == text), "{text:?} in {queries:?}");
    }
    client.query("the next command begins anew").await.unwrap();
}

#[tokio::test]
async fn the_old_end_of_a_result_says_it_too() {
    let stage = Stage::open().await;
    let capabilities = CapabilityFlags(EVERYDAY.0 & !CapabilityFlags::DEPRECATE_EOF.0);
    let mut client = Raw::login_with(stage.address, "app", "app secret", capabilities).await;
    client.command(b"\x03rows 1 5; done").await;
    let mut packets = Vec::new();
    for _ in 0..6 {
        packets.push(client.packet().await);
    }
    assert_eq!(packets[4][..], [0xFE, 0, 0, 10, 0], "rows end with EOF and the flag");
    assert_eq!(packets[5][0], 0);
}

#[tokio::test]
async fn the_first_error_ends_it() {
    let stage = Stage::open().await;
    let mut client = Raw::login(stage.address, "app", "app secret").await;
    client.command(b"\x03anything; fail; never").await;
    let first = client.result().await;
    assert!(client.status(&first).contains(MORE));
    let second = client.result().await;
    assert_eq!(client.ok_or_err(&second[0]).unwrap_err().code, 1146);
    client.query("after").await.unwrap();
    assert!(!stage.seen.queries().iter().any(|query| query.contains("never")));
}

#[tokio::test]
async fn without_the_capability_the_text_goes_to_the_server_as_it_is() {
    let stage = Stage::open().await;
    let capabilities = CapabilityFlags(EVERYDAY.0 & !CapabilityFlags::MULTI_STATEMENTS.0);
    let mut client = Raw::login_with(stage.address, "app", "app secret", capabilities).await;
    client.query("one; two").await.unwrap();
    assert!(stage.seen.queries().contains(&"one; two".to_owned()));
}

#[tokio::test]
async fn semicolons_in_strings_and_at_the_end_do_not_cut() {
    let stage = Stage::open().await;
    let mut client = Raw::login(stage.address, "app", "app secret").await;
    for text in ["x 'a;b'", "x;", "x ; -- y"] {
        client.query(text).await.unwrap();
        assert!(stage.seen.queries().contains(&text.to_owned()), "{text}");
    }
}

#[tokio::test]
async fn an_empty_statement_in_the_middle_is_the_servers_to_refuse() {
    let stage = Stage::open().await;
    let mut client = Raw::login(stage.address, "app", "app secret").await;
    client.command(b"\x03one; ;two").await;
    client.result().await;
    client.result().await;
    assert!(stage.seen.queries().contains(&" ;two".to_owned()));
    client.query("the next command").await.unwrap();
}
