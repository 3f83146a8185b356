//! A client that shows every packet: for tests about bytes, capabilities and things that no driver does.
//!
//! It walks results by its own reading of the protocol pages rather than with the walker that Grove uses, so that one mistake cannot
//! hide in both. Every wait is bounded.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::{Bytes, BytesMut};
use grove_compression::{Algorithm, Compressed, DEFAULT_ZSTD_LEVEL, Side};
use grove_wire::command::{COM_QUERY, COM_STMT_PREPARE};
use grove_wire::handshake::{AuthSwitchRequest, Greeting, HandshakeResponse};
use grove_wire::packet::{PayloadReader, encode_frames};
use grove_wire::{CapabilityFlags, ErrPacket, OkPacket, StatusFlags, auth};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest wait for a packet.
const LIMIT: Duration = Duration::from_secs(60);
/// The longest packet that is accepted.
const LONGEST: usize = 256 << 20;

/// What the client asks for where zstd is agreed on.
const ZSTD_LEVEL: u8 = DEFAULT_ZSTD_LEVEL;

/// What an everyday client asks for.
pub const EVERYDAY: CapabilityFlags = CapabilityFlags(
    CapabilityFlags::LONG_PASSWORD.0
        | CapabilityFlags::LONG_FLAG.0
        | CapabilityFlags::CONNECT_WITH_DB.0
        | CapabilityFlags::PROTOCOL_41.0
        | CapabilityFlags::TRANSACTIONS.0
        | CapabilityFlags::SECURE_CONNECTION.0
        | CapabilityFlags::MULTI_STATEMENTS.0
        | CapabilityFlags::MULTI_RESULTS.0
        | CapabilityFlags::PS_MULTI_RESULTS.0
        | CapabilityFlags::PLUGIN_AUTH.0,
);

/// Who logs in, and how.
#[derive(Clone, Debug)]
pub struct Login {
    /// Account name.
    pub user: String,
    /// Its password.
    pub password: String,
    /// Default schema; empty for none.
    pub database: String,
    /// Capabilities asked for; those that the server does not offer are left out.
    pub capabilities: CapabilityFlags,
    /// Collation id.
    pub collation: u8,
}

impl Login {
    /// The application's account with everyday capabilities.
    pub fn app() -> Self {
        Self {
            user: grove_sandbox::accounts::APP_USER.to_owned(),
            password: grove_sandbox::accounts::APP_PASSWORD.to_owned(),
            database: grove_sandbox::accounts::APP_DATABASE.to_owned(),
            capabilities: EVERYDAY,
            collation: 45,
        }
    }

    /// The same with other capabilities.
    pub fn with(mut self, capabilities: CapabilityFlags) -> Self {
        self.capabilities = capabilities;
        self
    }
}

/// A connection.
#[derive(Debug)]
pub struct RawClient {
    stream: Stream,
    buffer: BytesMut,
    payloads: PayloadReader,
    /// What the server said first.
    pub greeting: Greeting,
    /// The capabilities in force.
    pub capabilities: CapabilityFlags,
    /// What is sent, packet by packet, when the server asks for a local file.
    pub file: Vec<Vec<u8>>,
}

impl RawClient {
    /// Connects and reads the greeting.
    pub async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        let mut client = Self {
            stream: Stream::Plain(stream),
            buffer: BytesMut::new(),
            payloads: PayloadReader::new(LONGEST),
            greeting: Greeting {
                version: Vec::new(),
                connection_id: 0,
                challenge: [0; 20],
                capabilities: CapabilityFlags(0),
                collation: 0,
                status: StatusFlags(0),
                auth_plugin: Vec::new(),
            },
            capabilities: CapabilityFlags::PROTOCOL_41,
            file: Vec::new(),
        };
        let greeting = client.read().await?;
        if greeting.first() == Some(&0xFF) {
            bail!("{}", describe(&ErrPacket::parse(&greeting, client.capabilities)?));
        }
        client.greeting = Greeting::parse(&greeting).context("the greeting")?;
        Ok(client)
    }

    /// Connects and logs in; the error of a refusal carries the server's code and message.
    pub async fn login(address: SocketAddr, login: &Login) -> anyhow::Result<Self> {
        let mut client = Self::connect(address).await?;
        client.authenticate(login).await?;
        Ok(client)
    }

    /// Answers the greeting and goes through authentication.
    pub async fn authenticate(&mut self, login: &Login) -> anyhow::Result<OkPacket> {
        let (plugin, challenge) = (self.greeting.auth_plugin.clone(), self.greeting.challenge);
        // LONG_PASSWORD distinguishes MySQL from MariaDB clients; a MariaDB server does not announce it, and takes it all the same.
        let capabilities = login.capabilities.0 & (self.greeting.capabilities.0 | CapabilityFlags::LONG_PASSWORD.0);
        self.capabilities = CapabilityFlags(capabilities);
        let response = HandshakeResponse {
            capabilities: self.capabilities,
            max_packet_len: 1 << 30,
            collation: login.collation,
            user: login.user.clone().into_bytes(),
            auth_response: auth::answer(&plugin, login.password.as_bytes(), &challenge).unwrap_or_default(),
            database: login.database.clone().into_bytes(),
            auth_plugin: plugin,
            connect_attributes: Vec::new(),
            zstd_level: ZSTD_LEVEL,
        };
        self.payloads.expect_sequence(1);
        self.write_payload(&response.encode(), 1).await?;
        self.payloads.expect_sequence(2);
        let ok = self.finish_authentication(&login.password).await?;
        if let Some(algorithm) = Algorithm::agreed(self.capabilities, ZSTD_LEVEL) {
            self.payloads = PayloadReader::new(LONGEST).ignoring_sequence();
            self.stream.compress(algorithm);
        }
        Ok(ok)
    }

    /// Answers auth switches until OK or ERR, after a handshake response or COM_CHANGE_USER.
    pub async fn finish_authentication(&mut self, password: &str) -> anyhow::Result<OkPacket> {
        loop {
            let (payload, sequence) = self.read_numbered().await?;
            match payload.first() {
                Some(0x00) => return Ok(OkPacket::parse(&payload, self.capabilities)?),
                Some(0xFF) => bail!("{}", describe(&ErrPacket::parse(&payload, self.capabilities)?)),
                Some(0xFE) => {
                    let switch = AuthSwitchRequest::parse(&payload)?;
                    let answer = auth::answer(&switch.plugin, password.as_bytes(), &switch.challenge);
                    self.write_payload(&answer.context("an unknown plugin")?, sequence)
                        .await?;
                    self.payloads.expect_sequence(sequence.wrapping_add(1));
                }
                Some(&auth::AUTH_MORE_DATA) if payload.get(1) == Some(&auth::FAST_AUTH_OK) => {}
                // The full path needs RSA: log in once with a driver, and the server remembers the account.
                other => bail!("authentication: an unexpected packet that begins with {other:?}"),
            }
        }
    }

    /// Sends a command: sequence numbers begin at 0.
    pub async fn send(&mut self, payload: &[u8]) -> anyhow::Result<()> {
        self.stream.begin_command();
        self.payloads.expect_sequence(1);
        self.write_payload(payload, 0).await?;
        // The number of frames decides where the answer begins; a long command has several.
        let frames = payload.len() / grove_wire::packet::MAX_PAYLOAD_LEN + 1;
        self.payloads.expect_sequence(frames as u8);
        Ok(())
    }

    /// Sends the file that the server has asked for, and its end.
    pub async fn send_file(&mut self) -> anyhow::Result<()> {
        for packet in std::mem::take(&mut self.file).into_iter().chain([Vec::new()]) {
            let sequence = self.payloads.expected_sequence();
            self.write_payload(&packet, sequence).await?;
            self.payloads.expect_sequence(sequence.wrapping_add(1));
        }
        Ok(())
    }

    /// The number of the peer's next packet, after [`Self::send_bytes`].
    pub fn expect_number(&mut self, number: u8) {
        self.payloads.expect_sequence(number);
    }

    /// Sends bytes as they are.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.write(bytes).await
    }

    async fn write_payload(&mut self, payload: &[u8], sequence: u8) -> anyhow::Result<()> {
        let (mut framed, mut next) = (BytesMut::with_capacity(payload.len() + 64), sequence);
        encode_frames(payload, &mut next, &mut framed);
        tokio::time::timeout(LIMIT, self.stream.write(&framed))
            .await
            .context("the peer does not read")?
    }

    /// The next packet, joined from its frames.
    pub async fn read(&mut self) -> anyhow::Result<Bytes> {
        Ok(self.read_numbered().await?.0)
    }

    async fn read_numbered(&mut self) -> anyhow::Result<(Bytes, u8)> {
        loop {
            if let Some(payload) = self.payloads.feed(&mut self.buffer)? {
                return Ok((payload.bytes, payload.next_sequence));
            }
            let read = tokio::time::timeout(LIMIT, self.stream.read(&mut self.buffer))
                .await
                .with_context(|| format!("no packet after {LIMIT:?}"))??;
            if read == 0 {
                bail!("the peer closed the connection");
            }
        }
    }

    /// Whether the peer closes the connection within the time given, without sending anything more.
    pub async fn is_closed_within(&mut self, limit: Duration) -> bool {
        matches!(
            tokio::time::timeout(limit, self.stream.read(&mut self.buffer)).await,
            Ok(Ok(0) | Err(_))
        )
    }

    /// COM_QUERY and all packets of its answer.
    pub async fn query(&mut self, sql: impl AsRef<[u8]>) -> anyhow::Result<Vec<Bytes>> {
        self.send(&[&[COM_QUERY], sql.as_ref()].concat()).await?;
        self.read_results().await
    }

    /// A command whose answer has the form of a query's: OK, ERR, or results.
    pub async fn command(&mut self, payload: &[u8]) -> anyhow::Result<Vec<Bytes>> {
        self.send(payload).await?;
        self.read_results().await
    }

    /// COM_STMT_PREPARE: the statement's id and all packets of the answer.
    pub async fn prepare(&mut self, sql: impl AsRef<[u8]>) -> anyhow::Result<(u32, Vec<Bytes>)> {
        self.send(&[&[COM_STMT_PREPARE], sql.as_ref()].concat()).await?;
        let first = self.read().await?;
        let mut packets = vec![first.clone()];
        let [0x00, a, b, c, d, columns_low, columns_high, params_low, params_high, ..] = *first else {
            return Ok((0, packets));
        };
        for count in [[params_low, params_high], [columns_low, columns_high]].map(u16::from_le_bytes) {
            let end = usize::from(count > 0 && !self.capabilities.contains(CapabilityFlags::DEPRECATE_EOF));
            for _ in 0..usize::from(count) + end {
                packets.push(self.read().await?);
            }
        }
        Ok((u32::from_le_bytes([a, b, c, d]), packets))
    }

    /// Every packet until rows end or an error comes, whatever is before it.
    pub async fn read_to_end_of_rows(&mut self) -> anyhow::Result<Vec<Bytes>> {
        let mut packets = Vec::new();
        loop {
            let packet = self.read().await?;
            let is_last = matches!(packet.first(), Some(0xFF)) || packet.first() == Some(&0xFE) && packet.len() < 9;
            packets.push(packet);
            if is_last {
                return Ok(packets);
            }
        }
    }

    /// Every packet until the last result ends.
    pub async fn read_results(&mut self) -> anyhow::Result<Vec<Bytes>> {
        let mut packets = Vec::new();
        loop {
            let status = self.read_one_result(&mut packets).await?;
            if !status.contains(StatusFlags::MORE_RESULTS) {
                return Ok(packets);
            }
        }
    }

    /// Reads one result and returns the status at its end; an ERR packet ends everything.
    async fn read_one_result(&mut self, packets: &mut Vec<Bytes>) -> anyhow::Result<StatusFlags> {
        let deprecate_eof = self.capabilities.contains(CapabilityFlags::DEPRECATE_EOF);
        let mut first = self.read().await?;
        packets.push(first.clone());
        if first.first() == Some(&0xFB) {
            self.send_file().await?;
            first = self.read().await?;
            packets.push(first.clone());
        }
        let columns = match first.first() {
            Some(0x00) => return Ok(OkPacket::parse(&first, self.capabilities)?.status),
            Some(0xFF) => return Ok(StatusFlags(0)),
            Some(&count @ 1..=0xFA) => usize::from(count),
            Some(0xFC) if first.len() == 3 => usize::from(u16::from_le_bytes([first[1], first[2]])),
            other => bail!("a result that begins with {other:?}"),
        };
        for _ in 0..columns + usize::from(!deprecate_eof) {
            packets.push(self.read().await?);
        }
        // With a server-side cursor the EOF after the columns is the end, and rows come with COM_STMT_FETCH.
        let status = packets
            .last()
            .filter(|_| !deprecate_eof)
            .and_then(|packet| packet.get(3..5));
        let status = status.map_or(0, |bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
        if StatusFlags(status).contains(StatusFlags::CURSOR_EXISTS) {
            return Ok(StatusFlags(status));
        }
        loop {
            let packet = self.read().await?;
            packets.push(packet.clone());
            match packet.first() {
                Some(0xFF) => return Ok(StatusFlags(0)),
                Some(0xFE) if deprecate_eof && packet.len() < grove_wire::packet::MAX_PAYLOAD_LEN => {
                    return Ok(OkPacket::parse(&packet, self.capabilities)?.status);
                }
                Some(0xFE) if !deprecate_eof && packet.len() == 5 => {
                    return Ok(StatusFlags(u16::from_le_bytes([packet[3], packet[4]])));
                }
                _ => {}
            }
        }
    }
}

/// The byte stream.
enum Stream {
    Plain(TcpStream),
    Compressed(Box<Compressed<TcpStream>>),
    Closed,
}

impl Stream {
    fn compress(&mut self, algorithm: Algorithm) {
        if let Self::Plain(stream) = std::mem::replace(self, Self::Closed) {
            *self = Self::Compressed(Box::new(Compressed::new(stream, Side::Client, algorithm)));
        }
    }

    fn begin_command(&mut self) {
        if let Self::Compressed(stream) = self {
            stream.begin_command();
        }
    }

    async fn read(&mut self, buffer: &mut BytesMut) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read_buf(buffer).await,
            Self::Compressed(stream) => stream.read_buf(buffer).await,
            Self::Closed => Ok(0),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes).await?,
            Self::Compressed(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await?;
            }
            Self::Closed => bail!("the connection is closed"),
        }
        Ok(())
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "plain",
            Self::Compressed(_) => "compressed",
            Self::Closed => "closed",
        })
    }
}

/// The error in a packet, if it is an ERR packet.
pub fn error_of(packet: &[u8]) -> Option<ErrPacket> {
    (packet.first() == Some(&0xFF))
        .then(|| ErrPacket::parse(packet, CapabilityFlags::PROTOCOL_41).ok())
        .flatten()
}

/// `ERROR 1045 (28000): Access denied …`, as the command-line client prints it.
pub fn describe(error: &ErrPacket) -> String {
    format!(
        "ERROR {} ({}): {}",
        error.code,
        String::from_utf8_lossy(&error.sql_state),
        String::from_utf8_lossy(&error.message)
    )
}
