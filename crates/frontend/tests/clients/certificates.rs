//! Clients' certificates: who must show one, and whose count.

use crate::raw::Raw;
use crate::stage::{Stage, mysql};
use grove_config::ListenTlsMode;
use grove_frontend::FrontendError;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::path::PathBuf;

/// An authority, with its certificate in a file of the test's own.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(name: &str) -> Self {
        let (mut params, key) = (CertificateParams::new([]).unwrap(), KeyPair::generate().unwrap());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let file = std::env::temp_dir().join(format!("grove-{}-{name}.pem", std::process::id()));
        std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            file,
        }
    }

    /// A certificate for a client, with its key.
    fn sign(&self) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["client".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        (certificate.der().clone(), key.into())
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

async fn stage(file: PathBuf) -> Result<Stage, FrontendError> {
    let certificates = |config: &mut grove_config::Config| {
        config.listen.tls.mode = ListenTlsMode::Preferred;
        config.listen.tls.client_ca = Some(file);
        config.users[0].require_certificate = true;
    };
    Stage::try_with(mysql(), certificates).await
}

#[tokio::test]
async fn an_account_may_require_a_certificate() {
    let authority = Authority::new("required");
    let stage = stage(authority.file.clone()).await.unwrap();
    let plain = Raw::connect(stage.address).await;
    let without = Raw::connect(stage.address).await.start_tls().await;
    for mut client in [plain, without] {
        let err = client.log_in("app", "app secret").await.unwrap_err();
        let denied = "Access denied for user 'app'@'localhost' (using password: YES)";
        assert_eq!((err.code, &*String::from_utf8_lossy(&err.message)), (1045, denied));
    }
    let client = Raw::connect(stage.address).await;
    let mut client = client.start_tls_as(Some(authority.sign())).await;
    client.log_in("app", "app secret").await.unwrap();
    let client = Raw::connect(stage.address).await;
    let mut client = client.start_tls_as(Some(authority.sign())).await;
    assert_eq!(
        client.log_in("app", "").await.unwrap_err().code,
        1045,
        "it does not replace the password"
    );
    let mut other = Raw::connect(stage.address).await.start_tls().await;
    other.log_in("other", "other secret").await.unwrap();
    assert_eq!(other.change_user("app", "app secret", "").await.unwrap_err().code, 1045);
}

#[tokio::test]
async fn somebody_elses_certificate_ends_the_connection() {
    let (authority, stranger) = (Authority::new("own"), Authority::new("stranger"));
    let stage = stage(authority.file.clone()).await.unwrap();
    let client = Raw::connect(stage.address).await;
    let mut client = client.start_tls_as(Some(stranger.sign())).await;
    assert!(client.read().await.is_none());
    assert_eq!(stage.metrics.sessions.value(), 0);
}

#[tokio::test]
async fn authorities_that_are_none_are_named() {
    let path = std::env::temp_dir().join(format!("grove-{}-none.pem", std::process::id()));
    std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let refused = stage(path.clone()).await.err();
    std::fs::remove_file(&path).unwrap();
    assert!(
        matches!(&refused, Some(FrontendError::TlsFile { file, .. }) if *file == path),
        "{refused:?}"
    );
}
