//! MariaDB's sequences. They are not part of a snapshot: their values are read apart, while nobody draws any.
//!
//! Only what a sequence has stored can be read. A server with a cache has stored the first value behind its cache and gives values from inside it, so
//! such a sequence is refused. Without a cache, and with one of a single value, the stored value is the next one.

use grove_engine::io::{CopyError, Leg};

use crate::connection::{Connection, text};
use crate::literal::name;

/// Of a cache that holds no value beside the next one.
const LARGEST_CACHE: u64 = 1;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sequence {
    pub schema: String,
    pub name: String,
    pub create: String,
}

impl Sequence {
    pub fn place(&self) -> String {
        format!("{}.{}", name(&self.schema), name(&self.name))
    }
}

/// All that there are.
pub(crate) async fn read<L: Leg>(from: &mut Connection<L>) -> Result<Vec<Sequence>, CopyError> {
    let listed = from
        .ask(format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES \
             WHERE TABLE_TYPE = 'SEQUENCE' AND LOWER(TABLE_SCHEMA) NOT IN {} ORDER BY 1, 2",
            crate::definitions::NOT_COPIED
        ))
        .await?;
    let mut sequences = Vec::new();
    for row in listed {
        let (schema, sequence) = (text(&row, 0), text(&row, 1));
        let show = format!("SHOW CREATE SEQUENCE {}.{}", name(&schema), name(&sequence));
        let create = from.ask(show).await?;
        sequences.push(Sequence {
            schema,
            name: sequence,
            create: create.first().map(|row| text(row, 1)).unwrap_or_default(),
        });
    }
    Ok(sequences)
}

/// Refuses those whose next value cannot be read.
pub(crate) async fn refuse_cached<L: Leg>(from: &mut Connection<L>, sequences: &[Sequence]) -> Result<(), CopyError> {
    let mut cached = Vec::new();
    for sequence in sequences {
        let rows = from.ask(format!("SELECT cache_size FROM {}", sequence.place())).await?;
        let size = rows.first().map(|row| text(row, 0)).unwrap_or_default();
        if size.parse().is_ok_and(|size: u64| size > LARGEST_CACHE) {
            cached.push(format!("{}.{} (cache {size})", sequence.schema, sequence.name));
        }
    }
    if cached.is_empty() {
        return Ok(());
    }
    Err(CopyError::Unsuitable(format!(
        "the next value of these sequences cannot be read, because the server gives it from a cache: {}; say ALTER SEQUENCE .. NOCACHE for each through Grove",
        cached.join(", ")
    )))
}

/// What a sequence holds now: its only row, as values for an INSERT.
pub(crate) async fn values<L: Leg>(from: &mut Connection<L>, sequence: &Sequence) -> Result<String, CopyError> {
    let rows = from.ask(format!("SELECT * FROM {}", sequence.place())).await?;
    let Some(row) = rows.first() else {
        return Err(CopyError::Changed(format!("{} is gone", sequence.place())));
    };
    let values: Vec<String> = (0..row.len()).map(|at| text(row, at)).collect();
    Ok(values.join(","))
}

/// Makes a sequence with its values. SETVAL would do nothing for one that has been set back.
pub(crate) async fn make<L: Leg>(into: &mut Connection<L>, sequence: &Sequence, values: &str) -> Result<(), CopyError> {
    into.say(format!("USE {}", name(&sequence.schema))).await?;
    into.say(&sequence.create).await?;
    into.say(format!("INSERT INTO {} VALUES ({values})", sequence.place()))
        .await
}
