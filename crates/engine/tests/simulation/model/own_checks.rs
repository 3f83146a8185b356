//! What a server must do with Grove's own tables: the fence, marks that exclude each other, several statements in one command, crashes and cuts.

use super::own_run::Standing;
use super::{Policy, Power, Server};
use crate::leg::SimulatedLeg;
use crate::random::Random;
use crate::trace::{Detail, Trace};
use crate::world::{SimulatedWorld, Weather};
use bytes::Bytes;
use grove_engine::io::{BackendId, Discard, Leg, LegError, Servers, World};
use grove_wire::command::{COM_QUERY, COM_SET_OPTION};
use grove_wire::{Reply, ReplyShape, ResultEnd};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

const LOG: &str = "00112233445566778899aabbccddeeff";

/// A server with Grove's tables and token 7, and the way to it.
struct Bench {
    server: Arc<Server>,
    world: SimulatedWorld,
}

impl Bench {
    async fn new() -> Self {
        let policy = Policy {
            is_mariadb: true,
            autoinc_lock_mode: 1,
            lock_wait_timeout: Duration::from_secs(5),
            locks_entry_after_range: false,
            lost_keys_stay_lost: false,
            kill_waits_for_statement: true,
            gap_before_entry: true,
            shuffles: 0,
            slowness: 0,
            reply_delay: 0,
            notices_close_within: 0,
        };
        let trace = Arc::new(Trace::new(Detail::DigestOnly));
        let server = Server::new(0, policy, Random::new(1), Arc::clone(&trace));
        let calm = Weather {
            delay: 0,
            spikes: 0,
            breaks: 0,
            refuses: 0,
            loses_replies: 0,
        };
        let world = SimulatedWorld::new(vec![Arc::clone(&server)], calm, 0, trace, Random::new(2));
        let bench = Self { server, world };
        let mut talk = bench.talk().await;
        assert_eq!(
            talk.code("SELECT `log`,`prefix` FROM `_grove`.`standing`").await,
            Some(1146)
        );
        assert_eq!(
            talk.code("CREATE TABLE IF NOT EXISTS `_grove`.`fence` (`only` INT)")
                .await,
            Some(1049)
        );
        for sql in [
            "CREATE DATABASE IF NOT EXISTS `_grove`",
            "CREATE TABLE IF NOT EXISTS `_grove`.`standing` (`only` TINYINT PRIMARY KEY, `log` CHAR(32), `prefix` BIGINT)",
            "CREATE TABLE IF NOT EXISTS `_grove`.`fence` (`only` TINYINT PRIMARY KEY, `token` BIGINT NOT NULL)",
            "CREATE TABLE IF NOT EXISTS `_grove`.`applied` (`position` BIGINT PRIMARY KEY, `fence` BIGINT NOT NULL)",
            &fence(7),
        ] {
            assert_eq!(talk.code(sql).await, None, "{sql}");
        }
        bench
    }

    async fn talk(&self) -> Talk {
        Talk(self.world.servers().connect_own(BackendId(0)).await.unwrap())
    }

    fn standing(&self) -> Standing {
        self.server.standing()
    }
}

/// One connection.
struct Talk(SimulatedLeg);

impl Talk {
    async fn ask(&mut self, sql: &str) -> Result<Reply, LegError> {
        self.0.send(&[query(sql)]).await?;
        let reply = self.0.receive(ReplyShape::Query, &mut Discard).await?;
        Ok(reply.reply)
    }

    /// The error that ended the reply.
    async fn code(&mut self, sql: &str) -> Option<u16> {
        self.ask(sql).await.unwrap().err().map(|err| err.code)
    }

    /// Asks aside, so that it can wait.
    fn asks(mut self, sql: String) -> JoinHandle<(Self, Option<u16>)> {
        tokio::spawn(async move {
            let code = self.code(&sql).await;
            (self, code)
        })
    }

    /// Sends a mark with its COMMIT as the engine does, in one flight.
    async fn send_commit(&mut self, position: u64, token: u64) {
        let together = query(&format!("{};COMMIT", mark(position, token)));
        let option = |off| Bytes::from(vec![COM_SET_OPTION, off, 0]);
        self.0.send(&[option(0), together, option(1)]).await.unwrap();
    }

    async fn commit(&mut self, position: u64, token: u64) -> Reply {
        self.send_commit(position, token).await;
        let mut replies = Vec::new();
        for shape in [ReplyShape::SingleOk, ReplyShape::Query, ReplyShape::SingleOk] {
            replies.push(self.0.receive(shape, &mut Discard).await.unwrap().reply);
        }
        assert!(replies[0].ok().is_some() && replies[2].ok().is_some(), "{replies:?}");
        replies.swap_remove(1)
    }
}

fn query(sql: &str) -> Bytes {
    Bytes::from([&[COM_QUERY], sql.as_bytes()].concat())
}

fn mark(position: u64, token: u64) -> String {
    format!(
        "INSERT INTO `_grove`.`applied` VALUES ({position},(SELECT `token` FROM `_grove`.`fence` WHERE `token`={token} LOCK IN SHARE MODE))"
    )
}

fn fence(token: u64) -> String {
    format!("INSERT INTO `_grove`.`fence` VALUES (1,{token}) ON DUPLICATE KEY UPDATE `token`={token}")
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(test);
}

async fn a_while() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

#[test]
fn a_new_fence_waits_for_units_and_holds_later_ones_up() {
    run(async {
        let bench = Bench::new().await;
        let (mut old, mut new, late) = (bench.talk().await, bench.talk().await, bench.talk().await);
        assert_eq!(old.code("BEGIN").await, None);
        assert_eq!(old.code(&mark(1, 7)).await, None);
        assert_eq!(new.code("BEGIN").await, None);
        let new = new.asks(fence(8));
        a_while().await;
        let late = late.asks(mark(2, 7));
        a_while().await;
        assert!(!new.is_finished() && !late.is_finished());
        assert_eq!(old.code("COMMIT").await, None);
        let (mut new, code) = new.await.unwrap();
        assert_eq!(code, None);
        a_while().await;
        assert!(!late.is_finished());
        assert_eq!(new.code("COMMIT").await, None);
        assert_eq!(late.await.unwrap().1, Some(1048));
        let standing = bench.standing();
        assert_eq!(
            (standing.token, standing.applied.into_iter().collect()),
            (Some(8), vec![1])
        );
    });
}

#[test]
fn a_wrong_token_fails_the_statement_and_leaves_the_transaction_open() {
    run(async {
        let bench = Bench::new().await;
        let mut talk = bench.talk().await;
        assert_eq!(talk.code("BEGIN").await, None);
        assert_eq!(talk.code(&mark(1, 6)).await, Some(1048));
        assert_eq!(talk.code(&mark(2, 7)).await, None);
        assert_eq!(talk.code("COMMIT").await, None);
        assert!(!bench.standing().holds(1) && bench.standing().holds(2));
    });
}

#[test]
fn a_duplicate_waits_for_the_open_transaction() {
    for (end, wanted) in [("COMMIT", Some(1062)), ("ROLLBACK", None)] {
        run(async {
            let bench = Bench::new().await;
            let (mut first, second) = (bench.talk().await, bench.talk().await);
            assert_eq!(first.code("BEGIN").await, None);
            assert_eq!(first.code(&mark(5, 7)).await, None);
            let second = second.asks("INSERT INTO `_grove`.`applied` VALUES (5,7)".into());
            a_while().await;
            assert!(!second.is_finished() && !bench.standing().holds(5));
            assert_eq!(first.code(end).await, None);
            assert_eq!(second.await.unwrap().1, wanted);
            assert!(bench.standing().holds(5));
        });
    }
}

#[test]
fn several_statements_end_at_the_first_that_fails() {
    run(async {
        let bench = Bench::new().await;
        let mut talk = bench.talk().await;
        assert_eq!(talk.code(&format!("{};COMMIT", mark(1, 7))).await, Some(1064));
        assert_eq!(talk.code("BEGIN").await, None);
        let reply = talk.commit(1, 7).await;
        assert!(
            matches!(reply.results[..], [ResultEnd::Ok(_), ResultEnd::Ok(_)]),
            "{reply:?}"
        );
        assert!(bench.standing().holds(1));
        assert_eq!(talk.code("BEGIN").await, None);
        let reply = talk.commit(2, 6).await;
        assert!(matches!(reply.results[..], [ResultEnd::Err(_)]), "{reply:?}");
        let again = talk.commit(1, 7).await;
        assert_eq!(again.err().map(|err| err.code), Some(1062));
        assert_eq!(talk.code("ROLLBACK").await, None);
        assert_eq!(talk.code("COMMIT;COMMIT").await, Some(1064));
        assert_eq!(bench.standing().applied.len(), 1);
    });
}

#[test]
fn what_is_folded_is_the_prefix_from_then_on() {
    run(async {
        let bench = Bench::new().await;
        let mut talk = bench.talk().await;
        for position in [1, 2, 4] {
            assert_eq!(
                talk.code(&format!("INSERT INTO `_grove`.`applied` VALUES ({position},7)"))
                    .await,
                None
            );
        }
        assert_eq!(talk.code("BEGIN").await, None);
        let standing = format!(
            "INSERT INTO `_grove`.`standing` VALUES (1,'{LOG}',2) ON DUPLICATE KEY UPDATE `log`='{LOG}',`prefix`=2"
        );
        assert_eq!(talk.code(&standing).await, None);
        assert_eq!(
            talk.code("DELETE FROM `_grove`.`applied` WHERE `position`<=2").await,
            None
        );
        assert_eq!(talk.code("COMMIT").await, None);
        let told = bench.standing();
        assert_eq!((told.log.as_deref(), told.prefix), (Some(LOG), Some(2)));
        assert!(told.holds(1) && !told.holds(3) && told.holds(4));
        let rows = talk
            .ask("SELECT `position` FROM `_grove`.`applied` WHERE `position`>0 ORDER BY `position` LIMIT 10000")
            .await;
        assert_eq!(rows.unwrap().rows, 1);
        assert_eq!(
            talk.ask("SELECT `log`,`prefix` FROM `_grove`.`standing`")
                .await
                .unwrap()
                .rows,
            1
        );
    });
}

#[test]
fn a_crash_keeps_only_what_was_committed() {
    run(async {
        let bench = Bench::new().await;
        let (mut done, mut open) = (bench.talk().await, bench.talk().await);
        assert_eq!(done.code("BEGIN").await, None);
        done.commit(1, 7).await;
        assert_eq!(open.code("BEGIN").await, None);
        assert_eq!(open.code(&mark(2, 7)).await, None);
        bench.server.switch(Power::Off);
        assert!(matches!(open.ask("COMMIT").await, Err(LegError::Lost(_))));
        assert!(matches!(
            bench.world.servers().connect_own(BackendId(0)).await,
            Err(LegError::Lost(_))
        ));
        bench.server.start_again();
        assert!(matches!(done.ask("COMMIT").await, Err(LegError::Lost(_))));
        let mut talk = bench.talk().await;
        assert_eq!(talk.code(&fence(8)).await, None);
        assert!(bench.standing().holds(1) && !bench.standing().holds(2));
    });
}

#[test]
fn a_commit_that_was_sent_into_a_cut_may_arrive_when_its_sender_is_gone() {
    run(async {
        let bench = Bench::new().await;
        let (mut arrived, mut lost) = (0, 0);
        for position in 1..=100 {
            let mut zombie = bench.talk().await;
            assert_eq!(zombie.code("BEGIN").await, None);
            bench.server.cut();
            zombie.send_commit(position, 7).await;
            a_while().await;
            drop(zombie);
            let connected = bench.world.servers().connect_own(BackendId(0)).await;
            assert!(matches!(connected, Err(LegError::Timeout(_))) && !bench.standing().holds(position));
            bench.server.heal();
            tokio::time::sleep(Duration::from_secs(30)).await;
            match bench.standing().holds(position) {
                true => arrived += 1,
                false => lost += 1,
            }
            assert!(bench.server.is_idle());
        }
        assert!(arrived > 20 && lost > 20, "{arrived} arrived, {lost} were lost");
    });
}
