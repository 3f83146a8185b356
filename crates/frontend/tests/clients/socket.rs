//! The Unix socket: as private as TLS, there while Grove lives, and nobody else's.

use crate::raw::Raw;
use crate::stage::{Stage, mysql};
use grove_config::{Config, ListenTlsMode, Source};
use grove_frontend::FrontendError;
use grove_wire::auth::{AUTH_MORE_DATA, PERFORM_FULL_AUTH};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;

/// A path of the test's own, removed with it.
struct Place(PathBuf);

impl Place {
    fn new(test: &str) -> Self {
        let name = format!("grove-{}-{test}.sock", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    async fn stage(&self, change: impl FnOnce(&mut Config)) -> Stage {
        self.try_stage(change).await.unwrap()
    }

    async fn try_stage(&self, change: impl FnOnce(&mut Config)) -> Result<Stage, FrontendError> {
        let listen = |config: &mut Config| {
            config.listen.socket = Some(self.0.clone());
            change(config);
        };
        Stage::try_with(mysql(), listen).await
    }

    async fn connect(&self) -> Raw {
        let stream = UnixStream::connect(&self.0).await.unwrap();
        Raw::greeted(Raw::read_first(stream).await)
    }
}

impl AsRef<Path> for Place {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn clients_of_this_machine_log_in_through_the_socket() {
    let place = Place::new("login");
    let stage = place
        .stage(|config| config.users[0].allow_from = vec![Source::Localhost])
        .await;
    let mut client = place.connect().await;
    client.log_in("app", "app secret").await.unwrap();
    client.query("anything").await.unwrap();
    let err = place.connect().await.log_in("other", "").await.unwrap_err();
    let denied = "Access denied for user 'other'@'localhost' (using password: NO)";
    assert_eq!((err.code, &*String::from_utf8_lossy(&err.message)), (1045, denied));
    assert_eq!(stage.metrics.connections.value(), 2);
}

#[tokio::test]
async fn the_socket_has_no_address() {
    let place = Place::new("address");
    let everywhere = vec![Source::Network("0.0.0.0/0".parse().unwrap())];
    let stage = place.stage(|config| config.users[0].allow_from = everywhere).await;
    Raw::login(stage.address, "app", "app secret").await;
    let mut client = place.connect().await;
    client
        .send_packet(&client.response("app", "", "caching_sha2_password").encode())
        .await;
    assert_eq!(client.finish_login().await.unwrap_err().code, 1045);
}

#[tokio::test]
async fn through_the_socket_a_password_needs_no_encryption() {
    let place = Place::new("password");
    let _stage = place
        .stage(|config| config.listen.tls.mode = ListenTlsMode::Required)
        .await;
    for (password, is_right) in [("app secret", true), ("wrong", false)] {
        let mut client = place.connect().await;
        let mut response = client.response("app", "", "caching_sha2_password");
        response.auth_response = vec![7; 32];
        client.send_packet(&response.encode()).await;
        assert_eq!(client.packet().await[..], [AUTH_MORE_DATA, PERFORM_FULL_AUTH]);
        client.send_packet(&[password.as_bytes(), b"\0"].concat()).await;
        assert_eq!(client.finish_login().await.is_ok(), is_right);
    }
}

#[tokio::test]
async fn tls_goes_through_the_socket_too() {
    let place = Place::new("tls");
    let require = |config: &mut Config| {
        config.listen.tls.mode = ListenTlsMode::Preferred;
        config.users[0].require_tls = true;
    };
    let _stage = place.stage(require).await;
    // As on a server: REQUIRE SSL means TLS, wherever a client is.
    let err = place.connect().await.log_in("app", "app secret").await.unwrap_err();
    assert_eq!(err.code, 1045);
    let mut client = place.connect().await.start_tls().await;
    client.log_in("app", "app secret").await.unwrap();
}

#[tokio::test]
async fn clients_through_the_socket_count() {
    let place = Place::new("count");
    let stage = place.stage(|config| config.listen.max_connections = 1).await;
    let _first = Raw::connect(stage.address).await;
    let stream = UnixStream::connect(&place).await.unwrap();
    let (_, packet) = Raw::read_first(stream).await;
    assert_eq!(packet[..], b"\xFF\x10\x04Too many connections"[..]);
}

#[tokio::test]
async fn a_dead_processs_socket_is_replaced_and_the_own_one_removed() {
    let place = Place::new("stale");
    // The file of a listener stays when it is dropped, as it does when a process is killed.
    drop(UnixListener::bind(&place).unwrap());
    assert!(place.0.exists());
    let stage = place.stage(|_| {}).await;
    place.connect().await.log_in("app", "app secret").await.unwrap();
    stage.stop.cancel();
    stage.report().await;
    assert!(!place.0.exists());
}

#[tokio::test]
async fn what_is_somebody_elses_stays() {
    let place = Place::new("live");
    let stage = place.stage(|_| {}).await;
    let refused = place.try_stage(|_| {}).await.err();
    assert!(
        matches!(refused, Some(FrontendError::SocketInUse { .. })),
        "{refused:?}"
    );
    place.connect().await.log_in("app", "app secret").await.unwrap();
    drop(stage);

    let file = Place::new("file");
    std::fs::write(&file, "precious").unwrap();
    let refused = file.try_stage(|_| {}).await.err();
    assert!(matches!(refused, Some(FrontendError::NoSocket { .. })), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");

    let nowhere = Place(Path::new("/nowhere/grove.sock").to_owned());
    let refused = nowhere.try_stage(|_| {}).await.err();
    assert!(
        matches!(refused, Some(FrontendError::ListenSocket { .. })),
        "{refused:?}"
    );
}
