//! TLS towards servers, with the meaning that the MySQL client's `--ssl-mode` has.
//!
//! Without verification any certificate is accepted, also one that rustls could not parse: servers make their own. With `verify_ca` the chain must
//! end at a configured authority; the host name is not compared (that would be `VERIFY_IDENTITY`), because servers' own certificates name no host.

use crate::BackendError;
use grove_config::{Backend, BackendTlsMode};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// When a connection is encrypted.
#[derive(Clone)]
pub(crate) enum TlsPolicy {
    /// Never.
    Never,
    /// When the server offers it over TCP. A Unix socket stays plain, as with the servers' own clients.
    IfOffered(TlsConnector),
    /// Always.
    Always(TlsConnector),
}

impl TlsPolicy {
    pub fn new(backend: &Backend) -> Result<Self, BackendError> {
        Ok(match backend.tls.mode {
            BackendTlsMode::Disabled => Self::Never,
            BackendTlsMode::Preferred => Self::IfOffered(unverified(backend)?),
            BackendTlsMode::Required => Self::Always(unverified(backend)?),
            BackendTlsMode::VerifyCa => {
                let path = backend.tls.ca.as_deref().ok_or_else(|| BackendError::NoAuthorities {
                    backend: backend.name.clone(),
                })?;
                Self::Always(verified(backend, path)?)
            }
        })
    }
}

fn unverified(backend: &Backend) -> Result<TlsConnector, BackendError> {
    connector(backend, Arc::new(AcceptAny(Arc::new(aws_lc_rs::default_provider()))))
}

fn verified(backend: &Backend, path: &Path) -> Result<TlsConnector, BackendError> {
    let bad = |reason: String| BackendError::Authorities {
        backend: backend.name.clone(),
        path: path.to_owned(),
        reason,
    };
    let mut roots = RootCertStore::empty();
    let mut trusted = Vec::new();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))? {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        roots.add(certificate.clone()).map_err(|error| bad(error.to_string()))?;
        trusted.push(certificate);
    }
    if trusted.is_empty() {
        return Err(bad("no certificate in this file".into()));
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| bad(error.to_string()))?;
    connector(backend, Arc::new(VerifyChain { chain, trusted }))
}

fn connector(backend: &Backend, verifier: Arc<dyn ServerCertVerifier>) -> Result<TlsConnector, BackendError> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|source| BackendError::Tls {
            backend: backend.name.clone(),
            source,
        })?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Checks nothing: the connection is private, but not proven to reach the right server.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Checks the chain and the key, not the name.
#[derive(Debug)]
struct VerifyChain {
    chain: Arc<WebPkiServerVerifier>,
    trusted: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for VerifyChain {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // A self-signed certificate that is itself in the file is trusted by name, which webpki would refuse as an authority in a server's place.
        if self.trusted.iter().any(|trusted| trusted == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        let verdict = self
            .chain
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verdict {
            // The name is compared last, after the chain has been found good.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
