//! `proxyctl backend show`: everything about one server.

use anyhow::Context as _;
use serde_json::value::RawValue;

use crate::arguments::{Output, Show};
use crate::client::Client;
use crate::server::named;
use crate::table::{Style, fields};
use crate::{Failure, age, say};

/// Prints the server, or fails if there is none of that name.
pub(crate) async fn show(client: &Client, options: &Show) -> Result<(), Failure> {
    let (servers, source) = client.servers().await?;
    let index = named(&servers, &options.name)?;
    match options.output {
        Output::Table => say(&fields(&servers[index], age::now(), Style::of_output())),
        Output::Json => say(&format!("{}\n", object(&source, index)?)),
    }
}

/// One object out of Grove's array, as Grove wrote it: with fields that are not known here, and in Grove's order.
fn object(source: &str, index: usize) -> anyhow::Result<&str> {
    let objects: Vec<&RawValue> = serde_json::from_str(source).context("cannot take the answer apart")?;
    Ok(objects[index].get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_as_grove_wrote_it() {
        let source = r#"[{"name":"db1"},{"name":"db2","colour":"blue","age":1.50}]"#;
        assert_eq!(
            object(source, 1).unwrap(),
            r#"{"name":"db2","colour":"blue","age":1.50}"#
        );
    }
}
