//! `proxyctl servers`: the servers once, or whenever they change.

use std::ffi::OsStr;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use crate::arguments::Servers;
use crate::client::Client;
use crate::table::{Style, table};
use crate::{Failure, age, complain, say};

const PAUSE: Duration = Duration::from_secs(1);
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Prints the servers; with `--watch`, until Ctrl-C.
pub(crate) async fn servers(client: &Client, options: &Servers) -> Result<(), Failure> {
    if !options.watch {
        return say(&render(client, options).await?.text);
    }
    tokio::select! {
        watched = watch(client, options) => watched,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

/// What is printed, and what it was made from: the ages in a table change every second, though nothing has happened.
struct Rendered {
    text: String,
    source: String,
}

async fn render(client: &Client, options: &Servers) -> Result<Rendered, anyhow::Error> {
    let (servers, source) = client.servers().await?;
    let text = match options.json {
        true => format!("{source}\n"),
        false => table(&servers, age::now(), style()),
    };
    Ok(Rendered { text, source })
}

/// A Grove that is not there at the beginning is an error; later it may be restarted, and is waited for.
async fn watch(client: &Client, options: &Servers) -> Result<(), Failure> {
    let redraw = io::stdout().is_terminal() && !options.json;
    let mut shown = render(client, options).await?;
    let mut trouble = String::new();
    say(&format!("{}{}", if redraw { CLEAR } else { "" }, shown.text))?;
    loop {
        tokio::time::sleep(PAUSE).await;
        match render(client, options).await {
            Ok(now) if redraw => say(&format!("{CLEAR}{}", now.text))?,
            Ok(now) => {
                if now.source != shown.source || !trouble.is_empty() {
                    // A blank line between tables.
                    say(&format!("{}{}", if options.json { "" } else { "\n" }, now.text))?;
                    shown = now;
                }
                trouble.clear();
            }
            Err(error) if redraw => say(&format!("{CLEAR}{error:#}\n"))?,
            Err(error) => {
                let error = format!("{error:#}");
                if error != trouble {
                    complain(&error);
                }
                trouble = error;
            }
        }
    }
}

/// NO_COLOR counts when it is not empty, as <https://no-color.org> has it.
fn style() -> Style {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| value != OsStr::new(""));
    match io::stdout().is_terminal() && !refused {
        true => Style::Coloured,
        false => Style::Plain,
    }
}
