//! `proxyctl backend list`: the servers once, or whenever they change.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use crate::arguments::{List, Output};
use crate::client::{Client, Unreachable};
use crate::table::{Style, table};
use crate::{Failure, age, complain, say};

const PAUSE: Duration = Duration::from_secs(1);
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Prints the servers; with `--watch`, until Ctrl-C.
pub(crate) async fn list(client: &Client, options: &List) -> Result<(), Failure> {
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

async fn render(client: &Client, options: &List) -> Result<Rendered, Unreachable> {
    let (servers, source) = client.servers().await?;
    let text = match options.output {
        Output::Json => format!("{source}\n"),
        Output::Table => table(&servers, age::now(), Style::of_output()),
    };
    Ok(Rendered { text, source })
}

/// A Grove that is not there at the beginning is an error; later it may be restarted, and is waited for.
async fn watch(client: &Client, options: &List) -> Result<(), Failure> {
    let redraw = io::stdout().is_terminal() && options.output == Output::Table;
    let mut shown = render(client, options).await?;
    let mut trouble = String::new();
    say(&format!("{}{}", if redraw { CLEAR } else { "" }, shown.text))?;
    loop {
        tokio::time::sleep(PAUSE).await;
        match render(client, options).await {
            Ok(now) if redraw => say(&format!("{CLEAR}{}", now.text))?,
            Ok(now) => {
                if now.source != shown.source || !trouble.is_empty() {
                    let gap = match options.output {
                        Output::Table => "\n",
                        Output::Json => "",
                    };
                    say(&format!("{gap}{}", now.text))?;
                    shown = now;
                }
                trouble.clear();
            }
            Err(error) if redraw => say(&format!("{CLEAR}{error}\n"))?,
            Err(error) => {
                let error = error.to_string();
                if error != trouble {
                    complain(&error);
                }
                trouble = error;
            }
        }
    }
}
