//! Grove's TLS identity towards clients: files from the configuration, or a certificate made at start.

use crate::error::FrontendError;
use grove_config::{ListenTls, ListenTlsMode, TlsIdentity};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// Whether and how clients may encrypt.
pub(crate) struct Tls {
    /// Absent when TLS is disabled.
    pub acceptor: Option<TlsAcceptor>,
    /// Plain connections over the network are refused.
    pub is_required: bool,
}

impl Tls {
    pub fn new(config: &ListenTls) -> Result<Self, FrontendError> {
        if config.mode == ListenTlsMode::Disabled {
            return Ok(Self {
                acceptor: None,
                is_required: false,
            });
        }
        let (chain, key) = match &config.identity {
            TlsIdentity::SelfGenerated => self_signed()?,
            TlsIdentity::Files { certificate, key } => (read_chain(certificate)?, read_key(key)?),
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let unusable = |error: rustls::Error| match &config.identity {
            TlsIdentity::SelfGenerated => FrontendError::Cryptography("a TLS configuration"),
            TlsIdentity::Files { certificate, .. } => file_error(certificate, error),
        };
        let verifier = match &config.client_ca {
            Some(file) => client_verifier(file, &provider)?,
            None => WebPkiClientVerifier::no_client_auth(),
        };
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_client_cert_verifier(verifier).with_single_cert(chain, key))
            .map_err(unusable)?;
        Ok(Self {
            acceptor: Some(TlsAcceptor::from(Arc::new(server))),
            is_required: config.mode == ListenTlsMode::Required,
        })
    }
}

/// Asks clients for a certificate. Whether one must be there is each account's business; one that is there must be right.
fn client_verifier(file: &Path, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, FrontendError> {
    let mut authorities = RootCertStore::empty();
    for authority in read_chain(file)? {
        authorities.add(authority).map_err(|error| file_error(file, error))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), Arc::clone(provider));
    let verifier = builder.allow_unauthenticated().build();
    verifier.map_err(|error| file_error(file, error))
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Like the servers' own automatic certificate: it encrypts, and proves nothing.
fn self_signed() -> Result<Identity, FrontendError> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])
        .map_err(|_| FrontendError::Cryptography("a self-signed certificate"))?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    Ok((vec![made.cert.der().clone()], key.into()))
}

fn read_chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, FrontendError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let chain = chain.map_err(|error| file_error(file, error))?;
    if chain.is_empty() {
        return Err(file_error(file, "there is no certificate in it"));
    }
    Ok(chain)
}

fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>, FrontendError> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| file_error(file, error))
}

fn file_error(file: &Path, reason: impl ToString) -> FrontendError {
    FrontendError::TlsFile {
        file: file.to_owned(),
        reason: reason.to_string(),
    }
}
