//! A login over TLS with `caching_sha2_password` and one query, as cheap for the client as it can be: what a storm of logins is made of.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, bail};
use bytes::BytesMut;
use grove_wire::auth::{CACHING_SHA2_PASSWORD, caching_sha2_password};
use grove_wire::command::COM_QUERY;
use grove_wire::handshake::{Greeting, HandshakeResponse};
use grove_wire::packet::{Payload, PayloadReader, encode_frames};
use grove_wire::{CapabilityFlags, ErrPacket};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::accounts;
use crate::raw_client::EVERYDAY;

/// Connects over TLS without looking at certificates.
pub(super) fn connector() -> anyhow::Result<TlsConnector> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAny(provider)))
        .with_no_client_auth();
    // Every client of a storm is a new one.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Logs in, asks one question and leaves.
pub(super) async fn login(address: SocketAddr, connector: &TlsConnector) -> anyhow::Result<()> {
    let mut plain = TcpStream::connect(address).await?;
    plain.set_nodelay(true)?;
    let (mut reader, mut buffer) = (PayloadReader::new(1 << 20), BytesMut::new());
    let greeting = Greeting::parse(&read(&mut plain, &mut reader, &mut buffer).await?.bytes)?;
    let response = HandshakeResponse {
        capabilities: EVERYDAY | CapabilityFlags::SSL,
        max_packet_len: 1 << 24,
        collation: 45,
        user: accounts::APP_USER.into(),
        auth_response: caching_sha2_password(accounts::APP_PASSWORD.as_bytes(), &greeting.challenge),
        database: accounts::APP_DATABASE.into(),
        auth_plugin: CACHING_SHA2_PASSWORD.into(),
        ..HandshakeResponse::default()
    };
    plain.write_all(&framed(&response.encode_ssl_request(), 1)).await?;
    let name = ServerName::from(address.ip());
    let mut stream = connector.connect(name, plain).await.context("TLS")?;
    stream.write_all(&framed(&response.encode(), 2)).await?;
    reader.expect_sequence(3);
    loop {
        let payload = read(&mut stream, &mut reader, &mut buffer).await?.bytes;
        match payload.first() {
            Some(0x00) => break,
            Some(0x01) => {}
            Some(0xFF) => bail!("{:?}", ErrPacket::parse(&payload, EVERYDAY)?),
            other => bail!("a login is answered with {other:?}"),
        }
    }
    stream
        .write_all(&framed(&[&[COM_QUERY][..], b"DO 1"].concat(), 0))
        .await?;
    reader.expect_sequence(1);
    read(&mut stream, &mut reader, &mut buffer).await?;
    Ok(())
}

fn framed(payload: &[u8], mut sequence: u8) -> BytesMut {
    let mut out = BytesMut::new();
    encode_frames(payload, &mut sequence, &mut out);
    out
}

async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    reader: &mut PayloadReader,
    buffer: &mut BytesMut,
) -> anyhow::Result<Payload> {
    loop {
        if let Some(payload) = reader.feed(buffer)? {
            return Ok(payload);
        }
        if stream.read_buf(buffer).await? == 0 {
            bail!("the connection ended");
        }
    }
}

#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
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
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
