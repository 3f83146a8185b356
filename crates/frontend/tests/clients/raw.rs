//! A client that shows every packet, over TCP or TLS.

use bytes::{Bytes, BytesMut};
use grove_wire::handshake::{AuthSwitchRequest, Greeting, HandshakeResponse};
use grove_wire::packet::{PayloadReader, encode_frames};
use grove_wire::{CapabilityFlags, ErrPacket, OkPacket, StatusFlags, auth};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

const LIMIT: Duration = Duration::from_secs(20);

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
        | CapabilityFlags::PLUGIN_AUTH.0
        | CapabilityFlags::DEPRECATE_EOF.0,
);

pub trait Bytestream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Bytestream for T {}

pub struct Raw {
    stream: Box<dyn Bytestream>,
    inbox: BytesMut,
    payloads: PayloadReader,
    pub greeting: Greeting,
    pub capabilities: CapabilityFlags,
    /// Number of the next packet in the current exchange.
    pub sequence: u8,
}

impl Raw {
    /// Connects and reads the greeting.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::greeted(Self::connect_and_read(address).await)
    }

    /// A connection whose first packet is a greeting.
    pub fn greeted((mut raw, first): (Self, Bytes)) -> Self {
        raw.greeting = Greeting::parse(&first).expect("a greeting");
        raw
    }

    /// Connects and reads the first packet, whatever it is.
    pub async fn connect_and_read(address: SocketAddr) -> (Self, Bytes) {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::read_first(stream).await
    }

    /// Reads the first packet of a connection, whatever it is.
    pub async fn read_first(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> (Self, Bytes) {
        let mut raw = Self {
            stream: Box::new(stream),
            inbox: BytesMut::new(),
            payloads: PayloadReader::new(usize::MAX),
            greeting: Greeting {
                version: Vec::new(),
                connection_id: 0,
                challenge: [0; 20],
                capabilities: CapabilityFlags(0),
                collation: 0,
                status: StatusFlags(0),
                auth_plugin: Vec::new(),
            },
            capabilities: EVERYDAY,
            sequence: 0,
        };
        let first = raw.read().await.expect("a first packet");
        (raw, first)
    }

    /// Logs in with everyday capabilities.
    pub async fn login(address: SocketAddr, user: &str, password: &str) -> Self {
        Self::login_with(address, user, password, EVERYDAY).await
    }

    pub async fn login_with(address: SocketAddr, user: &str, password: &str, capabilities: CapabilityFlags) -> Self {
        let mut raw = Self::connect(address).await;
        raw.capabilities = capabilities;
        raw.log_in(user, password).await.expect("a successful login");
        raw
    }

    /// Answers the greeting with the plugin that it names, to the end.
    pub async fn log_in(&mut self, user: &str, password: &str) -> Result<OkPacket, ErrPacket> {
        let plugin = String::from_utf8(self.greeting.auth_plugin.clone()).unwrap();
        let response = self.response(user, password, &plugin);
        self.send_packet(&response.encode()).await;
        self.finish_login().await
    }

    /// COM_CHANGE_USER. Native passwords are asked for with the greeting's challenge once more, as the servers do.
    pub async fn change_user(&mut self, user: &str, password: &str, schema: &str) -> Result<OkPacket, ErrPacket> {
        let plugin = &self.greeting.auth_plugin[..];
        let names = [user.as_bytes(), &[0, 0], schema.as_bytes(), &[0, 45, 0], plugin, &[0]].concat();
        self.command(&[&[0x11], &names[..]].concat()).await;
        let switch = AuthSwitchRequest::parse(&self.packet().await).unwrap();
        let is_native = switch.plugin == b"mysql_native_password";
        assert_eq!(switch.challenge == self.greeting.challenge, is_native);
        let answer = auth::answer(&switch.plugin, password.as_bytes(), &switch.challenge).unwrap();
        self.send_packet(&answer).await;
        self.finish_login().await
    }

    /// An answer to the greeting with the named plugin.
    pub fn response(&self, user: &str, password: &str, plugin: &str) -> HandshakeResponse {
        let answer = auth::answer(plugin.as_bytes(), password.as_bytes(), &self.greeting.challenge);
        HandshakeResponse {
            capabilities: self.capabilities,
            max_packet_len: 1 << 24,
            collation: 45,
            user: user.into(),
            auth_response: answer.unwrap_or_default(),
            database: Vec::new(),
            auth_plugin: plugin.into(),
            connect_attributes: Vec::new(),
            zstd_level: 3,
        }
    }

    /// OK, after the sign of the fast path if there is one.
    pub async fn finish_login(&mut self) -> Result<OkPacket, ErrPacket> {
        let mut packet = self.packet().await;
        if packet[..] == [auth::AUTH_MORE_DATA, auth::FAST_AUTH_OK] {
            packet = self.packet().await;
        }
        self.ok_or_err(&packet)
    }

    pub fn ok_or_err(&self, packet: &[u8]) -> Result<OkPacket, ErrPacket> {
        match packet[0] {
            0 => Ok(OkPacket::parse(packet, self.capabilities).unwrap()),
            0xFF => Err(ErrPacket::parse(packet, self.capabilities).unwrap()),
            _ => panic!("neither OK nor ERR: {packet:?}"),
        }
    }

    /// Sends a packet that continues the exchange.
    pub async fn send_packet(&mut self, payload: &[u8]) {
        let mut out = BytesMut::new();
        encode_frames(payload, &mut self.sequence, &mut out);
        self.send_bytes(&out).await;
    }

    /// Sends a command: a new exchange.
    pub async fn command(&mut self, payload: &[u8]) {
        self.sequence = 0;
        self.send_packet(payload).await;
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next packet, which has the next number; `None` at the end of the stream.
    pub async fn read(&mut self) -> Option<Bytes> {
        tokio::time::timeout(LIMIT, self.read_forever())
            .await
            .expect("a packet or the end")
    }

    pub async fn packet(&mut self) -> Bytes {
        self.read().await.expect("a packet")
    }

    async fn read_forever(&mut self) -> Option<Bytes> {
        self.payloads.expect_sequence(self.sequence);
        loop {
            if let Some(payload) = self.payloads.feed(&mut self.inbox).expect("packets in order") {
                self.sequence = payload.next_sequence;
                return Some(payload.bytes);
            }
            match self.stream.read_buf(&mut self.inbox).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// COM_QUERY and the first packet of its answer.
    pub async fn query(&mut self, sql: &str) -> Result<OkPacket, ErrPacket> {
        self.command(&[b"\x03", sql.as_bytes()].concat()).await;
        let packet = self.packet().await;
        self.ok_or_err(&packet)
    }

    /// The packets of one result, the last of them OK (also in the place of EOF) or ERR.
    pub async fn result(&mut self) -> Vec<Bytes> {
        let mut packets = vec![self.packet().await];
        if !matches!(packets[0][0], 0 | 0xFF) {
            loop {
                let packet = self.packet().await;
                let ends = matches!(packet[0], 0xFE | 0xFF) && packet.len() < 100;
                packets.push(packet);
                if ends {
                    break;
                }
            }
        }
        packets
    }

    /// Status flags at the end of a result (with DEPRECATE_EOF).
    pub fn status(&self, packets: &[Bytes]) -> StatusFlags {
        OkPacket::parse(packets.last().unwrap(), self.capabilities)
            .unwrap()
            .status
    }

    /// The byte stream, when nothing is left in the buffer.
    pub fn into_stream(self) -> Box<dyn Bytestream> {
        assert!(self.inbox.is_empty());
        self.stream
    }

    /// Asks for TLS and goes on encrypted, without checking the certificate.
    pub async fn start_tls(self) -> Self {
        self.start_tls_as(None).await
    }

    /// The same, with a certificate of the client's own.
    pub async fn start_tls_as(self, certificate: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>) -> Self {
        let mut raw = self;
        raw.capabilities.insert(CapabilityFlags::SSL);
        let request = raw.response("", "", "").encode_ssl_request();
        raw.send_packet(&request).await;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate));
        let config = match certificate {
            Some((certificate, key)) => config.with_client_auth_cert(vec![certificate], key).unwrap(),
            None => config.with_no_client_auth(),
        };
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("localhost").unwrap();
        let stream = connector.connect(name, raw.stream).await.expect("a TLS handshake");
        Self {
            stream: Box::new(stream),
            ..raw
        }
    }
}

#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
