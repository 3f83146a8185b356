//! A scripted server in memory behind the engine's traits.
//!
//! What a statement does is in its text: `rows N WIDTH` gives rows, `fail` an error, `sleep` runs until it is killed, BEGIN, COMMIT and
//! ROLLBACK do what they say, and everything else is OK. Placeholders are counted. Every command is remembered.

use bytes::{Bytes, BytesMut};
use grove_engine::io::{
    BackendId, Clock, Compared, Comparer, ComparisonProgress, Copier, CopyError, CopyProgress, Entropy, Examination,
    Identity, KillKind, Leg, LegError, LegReply, Phase, ReplySink, ServerFacts, Servers, World,
};
use grove_wire::command::*;
use grove_wire::packet::encode_frames;
use grove_wire::{CapabilityFlags, ErrPacket, OkPacket, ReplyShape, ReplyWalker, StatusFlags};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// What the server has seen, for assertions.
#[derive(Default)]
pub struct Seen {
    pub identities: Mutex<Vec<Identity>>,
    pub commands: Mutex<Vec<Bytes>>,
    pub open_legs: AtomicU32,
}

impl Seen {
    /// Texts of the queries so far.
    pub fn queries(&self) -> Vec<String> {
        let commands = self.commands.lock().unwrap();
        let queries = commands.iter().filter(|command| command[0] == COM_QUERY);
        queries
            .map(|command| String::from_utf8_lossy(&command[1..]).into_owned())
            .collect()
    }

    /// Payloads of commands that begin with that byte.
    pub fn payloads(&self, command: u8) -> Vec<Bytes> {
        let commands = self.commands.lock().unwrap();
        commands
            .iter()
            .filter(|payload| payload[0] == command)
            .cloned()
            .collect()
    }
}

/// The world with scripted servers.
pub struct ScriptedWorld {
    servers: ScriptedServers,
    clock: TokioClock,
    entropy: Counting,
}

impl ScriptedWorld {
    pub fn new(facts: Vec<ServerFacts>, seen: Arc<Seen>) -> Self {
        Self {
            servers: ScriptedServers {
                facts,
                seen,
                next_thread: AtomicU32::new(1000),
                kills: Arc::default(),
            },
            clock: TokioClock(tokio::time::Instant::now()),
            entropy: Counting(AtomicU32::new(0)),
        }
    }
}

impl World for ScriptedWorld {
    type Servers = ScriptedServers;
    type Clock = TokioClock;
    type Entropy = Counting;
    fn servers(&self) -> &ScriptedServers {
        &self.servers
    }
    fn clock(&self) -> &TokioClock {
        &self.clock
    }
    fn entropy(&self) -> &Counting {
        &self.entropy
    }
}

pub struct TokioClock(tokio::time::Instant);

impl Clock for TokioClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
    fn unix_micros(&self) -> u64 {
        1_700_000_000_000_000 + self.now().as_micros() as u64
    }
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

pub struct Counting(AtomicU32);

impl Entropy for Counting {
    fn next_u64(&self) -> u64 {
        u64::from(self.0.fetch_add(1, Ordering::Relaxed))
    }

    fn fill_secret(&self, bytes: &mut [u8]) {
        bytes.fill(self.next_u64() as u8);
    }
}

type Kills = Arc<Mutex<HashMap<u32, watch::Sender<bool>>>>;

pub struct ScriptedServers {
    /// One of each server.
    facts: Vec<ServerFacts>,
    seen: Arc<Seen>,
    next_thread: AtomicU32,
    kills: Kills,
}

pub enum NoCopier {}

impl Copier for NoCopier {
    async fn freeze(&mut self) -> Result<(), CopyError> {
        match *self {}
    }

    async fn survey(&mut self) -> Result<(), CopyError> {
        match *self {}
    }

    async fn fill(&mut self, _: &CopyProgress) -> Result<(), CopyError> {
        match *self {}
    }

    async fn complete(self) -> Result<(), CopyError> {
        match self {}
    }
}

impl Comparer for NoCopier {
    async fn freeze(&mut self) -> Result<(), CopyError> {
        match *self {}
    }

    async fn definitions(&mut self) -> Result<(), CopyError> {
        match *self {}
    }

    async fn rows(self, _: &ComparisonProgress) -> Result<Compared, CopyError> {
        match self {}
    }
}

impl Servers for ScriptedServers {
    type Leg = ScriptedLeg;
    type Copier = NoCopier;
    type Comparer = NoCopier;

    async fn prepare_copy(&self, _: BackendId, _: BackendId) -> Result<NoCopier, CopyError> {
        Err(CopyError::Unsuitable("these servers hold nothing".into()))
    }

    async fn prepare_comparison(&self, _: BackendId, _: &[BackendId]) -> Result<NoCopier, CopyError> {
        Err(CopyError::Unsuitable("these servers hold nothing".into()))
    }

    async fn differences(&self, _: BackendId, _: BackendId) -> Result<Vec<String>, CopyError> {
        Ok(Vec::new())
    }

    async fn connect(&self, _: BackendId, identity: &Arc<Identity>) -> Result<ScriptedLeg, LegError> {
        self.seen.identities.lock().unwrap().push(Identity::clone(identity));
        if identity.database == b"nowhere" {
            return Err(LegError::Refused(ErrPacket::new(
                1049,
                "42000",
                "Unknown database 'nowhere'",
            )));
        }
        let thread_id = self.next_thread.fetch_add(1, Ordering::Relaxed);
        let (sender, killed) = watch::channel(false);
        self.kills.lock().unwrap().insert(thread_id, sender);
        self.seen.open_legs.fetch_add(1, Ordering::Relaxed);
        Ok(ScriptedLeg {
            thread_id,
            capabilities: identity.capabilities,
            seen: Arc::clone(&self.seen),
            kills: Arc::clone(&self.kills),
            killed,
            waiting: VecDeque::new(),
            in_transaction: false,
            next_statement: 7000,
        })
    }

    async fn connect_own(&self, _: BackendId) -> Result<ScriptedLeg, LegError> {
        Err(LegError::Lost("scripted servers keep no position rows".into()))
    }

    async fn expel(&self, _: BackendId, _: &[String]) -> Result<(), LegError> {
        Ok(())
    }

    async fn may_permit_marks(&self, _: BackendId) -> Result<(), LegError> {
        Ok(())
    }

    async fn permit_marks(&self, _: BackendId, _: &[u8]) -> Result<(), LegError> {
        Ok(())
    }

    async fn examine(&self, _: BackendId) -> Result<Examination, LegError> {
        Ok(Examination::default())
    }

    async fn warnings(&self, _: BackendId) -> Result<Vec<String>, LegError> {
        Ok(Vec::new())
    }

    async fn adjust(&self, _: BackendId, _: &str, _: &str) -> Result<(), LegError> {
        Ok(())
    }

    async fn probe(&self, backend: BackendId) -> Result<ServerFacts, LegError> {
        Ok(self.facts[usize::from(backend.0)].clone())
    }

    async fn blockers(&self, _: BackendId, _: u32) -> Result<Vec<u32>, LegError> {
        Ok(Vec::new())
    }

    async fn phase(&self, _: BackendId, _: u32) -> Result<Phase, LegError> {
        Ok(Phase::Working)
    }

    async fn kill(&self, _: BackendId, thread_id: u32, kind: KillKind) -> Result<(), LegError> {
        assert_eq!(kind, KillKind::Query);
        if let Some(sender) = self.kills.lock().unwrap().get(&thread_id) {
            sender.send_replace(true);
        }
        Ok(())
    }
}

pub struct ScriptedLeg {
    thread_id: u32,
    capabilities: CapabilityFlags,
    seen: Arc<Seen>,
    kills: Kills,
    killed: watch::Receiver<bool>,
    waiting: VecDeque<Bytes>,
    in_transaction: bool,
    next_statement: u32,
}

impl Drop for ScriptedLeg {
    fn drop(&mut self) {
        self.kills.lock().unwrap().remove(&self.thread_id);
        self.seen.open_legs.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Leg for ScriptedLeg {
    fn thread_id(&self) -> u32 {
        self.thread_id
    }

    fn capabilities(&self) -> CapabilityFlags {
        self.capabilities
    }

    async fn send(&mut self, commands: &[Bytes]) -> Result<(), LegError> {
        for command in commands {
            self.seen.commands.lock().unwrap().push(command.clone());
            if !matches!(command[0], COM_STMT_CLOSE | COM_STMT_SEND_LONG_DATA | COM_QUIT) {
                self.waiting.push_back(command.clone());
            }
        }
        Ok(())
    }

    async fn receive<S: ReplySink>(&mut self, shape: ReplyShape, sink: &mut S) -> Result<LegReply, LegError> {
        let command = self
            .waiting
            .pop_front()
            .expect("a reply is asked for that will never come");
        if command[0] == COM_QUERY && command.ends_with(b"sleep") {
            let interrupted = self.killed.wait_for(|&killed| killed).await;
            drop(interrupted);
            if let Some(sender) = self.kills.lock().unwrap().get(&self.thread_id) {
                sender.send_replace(false);
            }
        }
        let bytes = self.reply(&command);
        let mut walker = ReplyWalker::new(shape, self.capabilities);
        let mut at = 0;
        loop {
            // As from a socket: some thousand bytes at a time.
            let end = bytes.len().min(at + 40_000);
            let walk = walker.walk(&bytes[at..end]).expect("the script speaks the protocol");
            if walk.forward > 0 {
                let piece = &bytes[at..at + walk.forward];
                sink.forward(piece).await.map_err(LegError::ClientGone)?;
                at += walk.forward;
            }
            if walk.done {
                return Ok(LegReply {
                    reply: walker.finish(),
                    last_frame: BytesMut::from(&bytes[at..at + walk.last_len]),
                });
            }
        }
    }

    async fn send_file(&mut self, _part: &[u8], _sequence: &mut u8) -> Result<(), LegError> {
        Err(LegError::Protocol("this server asks for no file".into()))
    }

    fn is_stale(&mut self) -> bool {
        false
    }
}

impl ScriptedLeg {
    fn reply(&mut self, command: &[u8]) -> BytesMut {
        let mut frames = Frames::new(self.capabilities);
        let text = String::from_utf8_lossy(&command[1..]).into_owned();
        match command[0] {
            COM_QUERY => self.run(&text, &mut frames),
            COM_STMT_EXECUTE => self.run("rows 1 3", &mut frames),
            COM_STMT_PREPARE if text.contains("fail") => frames.err(1146, "42S02", "Table 'app.fail' doesn't exist"),
            COM_STMT_PREPARE => {
                self.next_statement += 1;
                let params = text.matches('?').count() as u16;
                frames.prepared(self.next_statement, params, self.status());
            }
            COM_INIT_DB if text == "nowhere" => frames.err(1049, "42000", "Unknown database 'nowhere'"),
            COM_FIELD_LIST => frames.eof(self.status()),
            _ => frames.ok(self.status()),
        }
        frames.out
    }

    fn run(&mut self, text: &str, frames: &mut Frames) {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        match *words.as_slice() {
            ["rows", count, width] => {
                frames.rows(count.parse().unwrap(), width.parse().unwrap(), self.status());
            }
            [] => frames.err(1065, "42000", "Query was empty"),
            [.., "sleep"] => frames.err(1317, "70100", "Query execution was interrupted"),
            [first, ..] => {
                match first.to_ascii_uppercase().as_str() {
                    "BEGIN" => self.in_transaction = true,
                    "COMMIT" | "ROLLBACK" => self.in_transaction = false,
                    "FAIL" => return frames.err(1146, "42S02", "Table 'app.fail' doesn't exist"),
                    _ => {}
                }
                frames.ok(self.status());
            }
        }
    }

    fn status(&self) -> StatusFlags {
        if self.in_transaction {
            StatusFlags::AUTOCOMMIT | StatusFlags::IN_TRANS
        } else {
            StatusFlags::AUTOCOMMIT
        }
    }
}

struct Frames {
    capabilities: CapabilityFlags,
    sequence: u8,
    out: BytesMut,
}

impl Frames {
    fn new(capabilities: CapabilityFlags) -> Self {
        Self {
            capabilities,
            sequence: 1,
            out: BytesMut::new(),
        }
    }

    fn put(&mut self, payload: &[u8]) {
        encode_frames(payload, &mut self.sequence, &mut self.out);
    }

    fn ok(&mut self, status: StatusFlags) {
        let ok = OkPacket {
            status,
            ..OkPacket::default()
        };
        self.put(&ok.encode(self.capabilities));
    }

    fn err(&mut self, code: u16, state: &str, message: &str) {
        self.put(&ErrPacket::new(code, state, message).encode(self.capabilities));
    }

    fn eof(&mut self, status: StatusFlags) {
        self.put(&[&[0xFE, 0, 0][..], &status.0.to_le_bytes()].concat());
    }

    fn definition(&mut self) {
        self.put(b"\x03def\x00\x00\x00\x01c\x00\x0c\x3f\x00\x10\x00\x00\x00\xfd\x00\x00\x00\x00\x00");
    }

    fn has_old_eof(&self) -> bool {
        !self.capabilities.contains(CapabilityFlags::DEPRECATE_EOF)
    }

    fn rows(&mut self, count: usize, width: usize, status: StatusFlags) {
        self.put(&[1]);
        self.definition();
        if self.has_old_eof() {
            self.eof(status);
        }
        let mut row = vec![0xFD];
        row.extend_from_slice(&(width as u32).to_le_bytes()[..3]);
        row.resize(4 + width, b'x');
        for _ in 0..count {
            self.put(&row);
        }
        if self.has_old_eof() {
            self.eof(status);
        } else {
            self.put(&[&[0xFE, 0, 0][..], &status.0.to_le_bytes(), &[0, 0]].concat());
        }
    }

    fn prepared(&mut self, id: u32, params: u16, status: StatusFlags) {
        let head = [&[0][..], &id.to_le_bytes(), &[0, 0], &params.to_le_bytes(), &[0, 0, 0]].concat();
        self.put(&head);
        for _ in 0..params {
            self.definition();
        }
        if params > 0 && self.has_old_eof() {
            self.eof(status);
        }
    }
}
