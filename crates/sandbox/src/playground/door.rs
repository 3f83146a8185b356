//! The socket on which a playground takes requests from other processes.
//!
//! A server dies with the process that started it, so only the supervisor can restart one. A request is one line, the
//! server's name; the answer is one line of JSON, `{"pid": N}` or `{"error": "…"}`. Both are bounded in size and time.
//! The socket has the directory's protection: who may write there may kill the servers anyway.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::directory::{self, Directory};
use crate::SandboxError;

/// How long either side waits for the other to write its line, apart from the work itself.
const TALK_LIMIT: Duration = Duration::from_secs(5);
/// How long a restart may take: an orderly stop and a start, each with its own shorter limit inside.
const RESTART_LIMIT: Duration = Duration::from_secs(200);
/// The longest line.
const LINE_LIMIT: u64 = 64 * 1024;

/// The supervisor's side of the socket.
#[derive(Debug)]
pub(crate) struct Door {
    listener: UnixListener,
}

/// A request for a restart.
#[derive(Debug)]
pub(crate) struct Request {
    backend: String,
    stream: UnixStream,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Pid(u32),
    Error(String),
}

impl Door {
    pub(crate) fn open(directory: &Directory) -> Result<Self, SandboxError> {
        let path = directory.socket();
        let listener = UnixListener::bind(&path).map_err(SandboxError::io("listen on", &path))?;
        Ok(Self { listener })
    }

    /// The next connection. Dropping the future loses none.
    pub(crate) async fn accept(&self) -> UnixStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(error) => {
                    tracing::warn!(%error, "the playground's socket cannot be used");
                    // Without a pause, a lack of file descriptors would make this loop spin.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

impl Request {
    /// Reads the request that a connection brings.
    pub(crate) async fn read(mut stream: UnixStream) -> io::Result<Self> {
        let backend = tokio::time::timeout(TALK_LIMIT, read_line(&mut stream)).await??;
        Ok(Self { backend, stream })
    }

    /// The server to restart.
    pub(crate) fn backend(&self) -> &str {
        &self.backend
    }

    /// Tells the sender how it went. A sender that is gone does not want to know.
    pub(crate) async fn answer(mut self, outcome: Result<u32, SandboxError>) {
        let answer = match outcome {
            Ok(pid) => Answer::Pid(pid),
            Err(error) => Answer::Error(error.to_string()),
        };
        let line = serde_json::to_string(&answer).unwrap_or_default() + "\n";
        let _ = tokio::time::timeout(TALK_LIMIT, self.stream.write_all(line.as_bytes())).await;
    }
}

/// Asks the playground in `directory` to start a server again that was killed, or to stop and start one that runs.
/// Returns the server's new process id.
pub async fn restart(directory: &Path, backend: &str) -> Result<u32, SandboxError> {
    let path = directory::socket(directory);
    let mut stream = UnixStream::connect(&path)
        .await
        .map_err(|error| SandboxError::Refused(format!("no playground runs in {}: {error}", directory.display())))?;
    let asked = async {
        stream.write_all(format!("{backend}\n").as_bytes()).await?;
        read_line(&mut stream).await
    };
    let line = tokio::time::timeout(RESTART_LIMIT, asked)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(SandboxError::io("ask the playground over", &path))?;
    match serde_json::from_str(&line) {
        Ok(Answer::Pid(pid)) => Ok(pid),
        Ok(Answer::Error(error)) => Err(SandboxError::Refused(error)),
        Err(_) => Err(SandboxError::Refused(
            "the playground ended before it answered".to_owned(),
        )),
    }
}

async fn read_line(stream: &mut UnixStream) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(stream.take(LINE_LIMIT)).read_line(&mut line).await?;
    Ok(line.trim_end().to_owned())
}
