//! A statement that commits by itself, on its way: the lead, then every other server, then the log.
//!
//! Once it has been sent to the lead nobody may stop in the middle, because the servers would differ: a task of its own carries it out, whatever
//! becomes of the session. Invariant: when the task ends, every server that is online has executed the statement, or none has.

use super::LegOf;
use super::insert_id::{forces_insert_id, reports_no_insert_id};
use crate::barrier::Pass;
use crate::follower::agree;
use crate::gate::Hold;
use crate::group::{Fault, Group};
use crate::health::Verdict;
use crate::interrupt::Running;
use crate::io::{BackendId, Discard, LegError, LegReply, ReplySink, World};
use crate::local_file::{LocalFile, send_whole};
use crate::order::{CommitUnderWay, Share};
use crate::statement::{Statement, asks_for_file, insert_id, outcome_of, query_payload, set_last_insert_id, words_of};
use bytes::{Bytes, BytesMut};
use grove_recovery_log::{
    Entry, Intent, LoggedStatement, Origin, Outcome, Position, ResultOutcome, Standalone, Temporary,
};
use grove_sql::{Class, TouchedTables};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Everything that the task needs.
pub(super) struct Broadcast<W: World> {
    pub group: Arc<Group<W>>,
    pub statement: Statement,
    /// The whole session state, for the log; every leg has been told.
    pub state: Vec<Bytes>,
    /// The statement that sets clock and chance.
    pub clock: Vec<Bytes>,
    /// The session, for the log.
    pub origin: Origin,
    /// The session's temporary tables, for the log.
    pub temporary: Temporary,
    /// Position of its intent in the log.
    pub intent: Position,
    pub running: Arc<Running>,
    pub lead: Box<LegOf<W>>,
    pub followers: Vec<Box<LegOf<W>>>,
    pub under_way: CommitUnderWay,
    /// The epoch's share, the gates, and the barrier: released when every server has it.
    pub _guards: (Arc<Share>, Arc<Hold>, Pass),
}

/// A statement that was carried out.
pub(super) struct Done<W: World> {
    /// The lead's answer.
    pub reply: LegReply,
    /// Legs that go back to the session.
    pub legs: Vec<Box<LegOf<W>>>,
    /// What it generated for an AUTO_INCREMENT column, as far as that is known; 0 if nothing.
    pub insert_id: u64,
    /// Whether the log has it.
    pub logged: Result<(), String>,
}

/// The lead's connection was lost on the way.
pub(super) struct LostLead<W: World> {
    pub error: LegError,
    /// The other legs: nothing was sent to them.
    pub legs: Vec<Box<LegOf<W>>>,
}

/// What the task tells the session.
pub(super) enum Message {
    /// Bytes of the lead's answer.
    Answer(Bytes),
    /// The lead asks for a file, with this frame; the whole file goes back.
    FileWanted(BytesMut, oneshot::Sender<Arc<dyn LocalFile>>),
}

/// The way to the session. Without a session the rest of an answer is thrown away.
pub(super) struct Pipe(pub mpsc::Sender<Message>);

impl Pipe {
    /// The file that the lead has asked for; `None` without a client that sends it to its end.
    async fn fetch_file(&self, request: &LegReply) -> Option<Arc<dyn LocalFile>> {
        let (answer, file) = oneshot::channel();
        let message = Message::FileWanted(request.last_frame.clone(), answer);
        self.0.send(message).await.ok()?;
        file.await.ok()
    }
}

impl ReplySink for Pipe {
    async fn forward(&mut self, bytes: &[u8]) -> Result<(), String> {
        let _ = self.0.send(Message::Answer(Bytes::copy_from_slice(bytes))).await;
        Ok(())
    }
}

impl<W: World> Broadcast<W> {
    /// What the log gets before the lead is asked.
    pub fn intent(&self) -> Intent {
        Intent {
            origin: self.origin.clone(),
            body: self.statement.body.logged(),
            context: self.state.iter().chain(&self.clock).cloned().collect(),
        }
    }

    /// After a loss the lead has left the group, unless it is the last server.
    pub async fn carry_out(mut self, mut pipe: Pipe) -> Result<Done<W>, LostLead<W>> {
        let mut own = self.clock.clone();
        if reports_no_insert_id(&self.statement) {
            // So that it tells afterwards what was generated.
            own.push(set_last_insert_id(0));
        }
        let run = self
            .lead
            .run_for_client(&own, &self.statement.body, &mut pipe, &self.running);
        let mut result = run.await;
        if let Ok(request) = &result
            && asks_for_file(request)
        {
            let gone = self.lead.gone().clone();
            let fetched = tokio::select! {
                biased;
                file = pipe.fetch_file(request) => file.ok_or_else(|| LegError::ClientGone("in the middle of a file".into())),
                // The gates must not stay shut as long as a client pleases; the session keeps the file for the next lead.
                () = gone.cancelled() => Err(LegError::Lost("the server has left the group".into())),
            };
            let file = match fetched {
                Ok(file) => file,
                Err(error) => {
                    // The lead has been sent nothing of it, and forgets the statement when the leg is closed.
                    self.running.end().await;
                    let legs = self.followers;
                    return Err(LostLead { error, legs });
                }
            };
            self.statement = self.statement.with_file(Arc::clone(&file));
            result = match send_whole(&mut self.lead, file.as_ref()).await {
                Ok(()) => self.lead.after_file(&mut pipe, &self.running).await,
                Err(error) => {
                    self.running.end().await;
                    Err(error)
                }
            };
        }
        let reply = match result {
            Ok(reply) => reply,
            Err(error) => {
                let lead = self.lead.backend;
                if !matches!(self.group.verify(lead, &error).await, Ok(Verdict::Evicted)) {
                    let reason = "lost its connection in the middle of a statement that commits by itself";
                    if !self.group.evict(lead, reason) {
                        self.group.owes(lead, reason);
                    }
                }
                let legs = self.followers;
                return Err(LostLead { error, legs });
            }
        };
        drop(pipe);
        let outcome = outcome_of(&reply.reply);
        if stopped_in_the_middle(&self.statement, &outcome, self.lead.was_killed) {
            let reason = "a statement that may have done part of its work was interrupted on it";
            self.group.take_out(self.lead.backend, Fault::Diverged, reason);
        } else if worth_repeating(&outcome) {
            let generated_id = match reports_no_insert_id(&self.statement) {
                true => self.lead.last_insert_id().await.ok().filter(|&id| id > 0),
                false => None,
            };
            return Ok(self.repeat(reply, outcome, generated_id).await);
        }
        // Nothing was done; whoever comes back and has noted the intent must know.
        let nothing = Standalone {
            origin: self.origin.clone(),
            intent: self.intent,
            temporary: Temporary::default(),
            statement: LoggedStatement {
                body: self.statement.body.logged(),
                context: Vec::new(),
                generated_id: 0,
                undone: false,
                outcome: outcome.clone(),
            },
        };
        let appended = self.group.log.append(Entry::Standalone(nothing)).await;
        let Self {
            lead, mut followers, ..
        } = self;
        followers.push(lead);
        Ok(Done {
            insert_id: insert_id(&outcome),
            reply,
            legs: followers,
            logged: appended.map(|_| ()).map_err(|error| error.to_string()),
        })
    }

    /// Everybody else executes what the lead has executed, and the log gets it.
    async fn repeat(self, reply: LegReply, outcome: Outcome, generated_id: Option<u64>) -> Done<W> {
        let Self {
            group,
            statement,
            state,
            clock,
            origin,
            temporary,
            intent,
            lead,
            mut followers,
            under_way: _under_way,
            _guards,
            ..
        } = self;
        for &backend in &group.view().online {
            if backend != lead.backend && !followers.iter().any(|leg| leg.backend == backend) {
                group.evict(backend, "could not be given a statement that the lead has executed");
            }
        }
        let mut prelude = clock.clone();
        let id = generated_id.unwrap_or_else(|| insert_id(&outcome));
        if forces_insert_id(&statement) && id > 0 {
            prelude.push(query_payload(format!("SET INSERT_ID={id}").as_bytes()));
        }
        let runs = followers.iter_mut().map(|leg| repeat(leg, &prelude, &statement));
        let replies: Vec<(BackendId, Result<LegReply, LegError>)> = futures_util::future::join_all(runs).await;
        let mut legs = vec![lead];
        for (leg, (backend, result)) in followers.into_iter().zip(replies) {
            let (fault, reason) = match result {
                Ok(reply) if agree(&outcome, &outcome_of(&reply.reply)) => {
                    let mut leg = leg;
                    if generated_id.is_none() || leg.last_insert_id().await.ok() == generated_id {
                        legs.push(leg);
                        continue;
                    }
                    (Fault::Diverged, "generated other keys than the lead".to_owned())
                }
                Ok(reply) => {
                    let reason = format!(
                        "answered differently from the lead: {} instead of {}",
                        words_of(&outcome_of(&reply.reply).results),
                        words_of(&outcome.results)
                    );
                    (Fault::Diverged, reason)
                }
                Err(error) => {
                    let reason = format!("lost in the middle of a statement that commits by itself: {error}");
                    (Fault::Failed, reason)
                }
            };
            group.take_out(backend, fault, &reason);
        }
        let logged = LoggedStatement {
            body: statement.body.logged_with_file().await,
            context: state.into_iter().chain(clock).collect(),
            generated_id: id,
            undone: false,
            outcome,
        };
        let executed = Standalone {
            origin,
            intent,
            temporary,
            statement: logged,
        };
        let holders: Vec<BackendId> = legs.iter().map(|leg| leg.backend).collect();
        let logged = match group.log.append(Entry::Standalone(executed)).await {
            Ok(position) => {
                group.commits.sent(position);
                group.mark(&holders, position).await;
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        };
        Done {
            insert_id: id,
            reply,
            legs,
            logged,
        }
    }
}

async fn repeat<L: crate::io::Leg>(
    leg: &mut crate::leg::OpenLeg<L>,
    prelude: &[Bytes],
    statement: &Statement,
) -> (BackendId, Result<LegReply, LegError>) {
    let backend = leg.backend;
    for _ in 0..10 {
        match leg.run(prelude, &statement.body, &mut Discard).await {
            Ok(reply) if is_lock_wait(&outcome_of(&reply.reply)) => {}
            other => return (backend, other),
        }
    }
    (backend, leg.run(prelude, &statement.body, &mut Discard).await)
}

fn is_lock_wait(outcome: &Outcome) -> bool {
    matches!(outcome.results.last(), Some(ResultOutcome::Err { code: 1205 | 1213 }))
}

/// Whether a statement ended in the middle for a reason that another server need not have. A routine, or a statement that was not understood,
/// may have committed part of its work by then.
/// One that was killed may even answer with OK, see [`crate::leg::OpenLeg`].
fn stopped_in_the_middle(statement: &Statement, outcome: &Outcome, was_killed: bool) -> bool {
    let first_word = statement.body.text().trim_ascii_start();
    let is_query = [
        b"select".as_slice(),
        b"with",
        b"(",
        b"insert",
        b"update",
        b"delete",
        b"replace",
    ]
    .iter()
    .any(|word| {
        first_word
            .get(..word.len())
            .is_some_and(|w| w.eq_ignore_ascii_case(word))
    });
    let may_be_partial = match statement.analysis.class {
        Class::Call => true,
        // It is done table by table.
        Class::Ddl => drops_several(statement),
        // A single query is atomic whatever it calls.
        Class::Unknown => !is_query,
        _ => statement.may_fail_half_way(),
    };
    let was_killed = was_killed && statement.analysis.class != Class::Ddl;
    // Lock wait, deadlock, interrupted, and the two servers' statement time limits (ER_QUERY_TIMEOUT, ER_STATEMENT_TIMEOUT).
    may_be_partial
        && (was_killed
            || matches!(
                outcome.results.last(),
                Some(ResultOutcome::Err {
                    code: 1205 | 1213 | 1317 | 3024 | 1969
                })
            ))
}

/// DROP of a schema, or of several tables: what it has dropped before it is interrupted stays dropped.
fn drops_several(statement: &Statement) -> bool {
    let mut words = statement
        .body
        .text()
        .split(|byte| byte.is_ascii_whitespace())
        .filter(|word| !word.is_empty());
    let is = |word: Option<&[u8]>, name: &[u8]| word.is_some_and(|word| word.eq_ignore_ascii_case(name));
    let (first, second) = (words.next(), words.next());
    let tables = match &statement.analysis.tables {
        TouchedTables::Known(tables) => tables.len(),
        TouchedTables::Unknown => usize::MAX,
    };
    is(first, b"drop") && (tables > 1 || is(second, b"database") || is(second, b"schema"))
}

/// A statement that the parser refused (1064), or that only waited for a lock or was interrupted, has done nothing.
fn worth_repeating(outcome: &Outcome) -> bool {
    !matches!(
        outcome.results.as_slice(),
        [ResultOutcome::Err {
            code: 1064 | 1205 | 1213 | 1317 | 1969 | 3024
        }]
    )
}
