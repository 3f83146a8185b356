//! The playground's supervision, with real servers and a stand-in for Grove that only says that it is ready.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use grove_sandbox::Kind;
use grove_sandbox::playground::{BackendDescription, Description, Notice, Playground, PlaygroundOptions, restart};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

fn directory(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("grove-playground-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

fn program(directory: &Path, script: &str) -> PathBuf {
    let path = directory.join("stand-in");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn options(directory: &Path, script: &str) -> PlaygroundOptions {
    PlaygroundOptions {
        kind: Kind::MariaDb,
        backends: 2,
        directory: directory.join("playground"),
        port: 0,
        program: program(directory, script),
    }
}

fn described(directory: &Path) -> Description {
    let text = fs::read_to_string(directory.join("playground/playground.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(i32::try_from(number).unwrap()).unwrap()
}

async fn next(playground: &mut Playground) -> Notice {
    tokio::time::timeout(Duration::from_secs(60), playground.supervise())
        .await
        .expect("the supervisor has something to tell")
}

async fn select_one(backend: &BackendDescription) -> u8 {
    use mysql_async::prelude::Queryable;
    let options = mysql_async::OptsBuilder::default()
        .socket(Some(backend.socket.display().to_string()))
        .user(Some(&backend.superuser))
        .pass(Some(&backend.password));
    let mut connection = mysql_async::Conn::new(options).await.unwrap();
    connection.query_first("SELECT 1").await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_is_told_about_and_restarts_on_request_with_its_pid_written() {
    let directory = directory("restart");
    let script = "#!/bin/sh\necho ready: mysql://somewhere\nexec sleep 1000\n";
    let mut playground = Playground::start(options(&directory, script)).await.unwrap();
    let before = described(&directory);
    assert_eq!(&before, playground.description());
    assert_eq!(before.backends.len(), 2);
    assert_eq!(select_one(&before.backends[1]).await, 1);

    let second = Playground::start(options(&directory, script))
        .await
        .unwrap_err()
        .to_string();
    assert!(second.contains("a playground runs in"), "{second}");

    kill_process(pid(before.backends[1].pid), Signal::KILL).unwrap();
    let ended = Notice::ServerEnded { name: "db2".to_owned() };
    assert_eq!(next(&mut playground).await, ended);

    let home = directory.join("playground");
    let asked = tokio::spawn(async move { restart(&home, "db2").await });
    let restarted = next(&mut playground).await;
    let new_pid = asked.await.unwrap().unwrap();
    assert_eq!(
        restarted,
        Notice::ServerRestarted {
            name: "db2".to_owned(),
            pid: new_pid
        }
    );
    let after = described(&directory);
    assert_ne!(after.backends[1].pid, before.backends[1].pid);
    assert_eq!(
        (after.backends[1].pid, after.backends[1].port),
        (new_pid, before.backends[1].port)
    );
    assert_eq!(select_one(&after.backends[1]).await, 1);

    let home = directory.join("playground");
    let asked = tokio::spawn(async move { restart(&home, "db9").await });
    kill_process(pid(before.pid), Signal::KILL).unwrap();
    let notice = next(&mut playground).await;
    assert!(matches!(notice, Notice::GroveEnded { .. }), "{notice:?}");
    let quiet = tokio::time::timeout(Duration::from_secs(1), playground.supervise()).await;
    assert!(quiet.is_err(), "each end is told about once: {quiet:?}");
    let unknown = asked.await.unwrap().unwrap_err().to_string();
    assert_eq!(
        unknown,
        "there is no server \"db9\" in this playground: it has db1, db2"
    );

    playground.shutdown().await;
    for number in after.backends.iter().map(|backend| backend.pid) {
        assert!(test_kill_process(pid(number)).is_err(), "server {number} still runs");
    }
    assert!(!directory.join("playground/playground.json").exists());
    let nobody = restart(&directory.join("playground"), "db1")
        .await
        .unwrap_err()
        .to_string();
    assert!(nobody.contains("no playground runs in"), "{nobody}");
    fs::remove_dir_all(&directory).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grove_that_does_not_start_is_told_about_with_the_end_of_its_log() {
    let directory = directory("broken");
    let script = "#!/bin/sh\necho the listener is on fire >&2\nexit 1\n";
    let error = Playground::start(options(&directory, script))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("server grove did not start: exit status: 1"),
        "{error}"
    );
    assert!(error.contains("the listener is on fire"), "{error}");
    fs::remove_dir_all(&directory).unwrap();
}
