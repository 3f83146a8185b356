//! The table that `benches/reads.lua` reads: 10,000 rows of sysbench's form, with values that depend on the key alone.

use anyhow::Context;
use mysql_async::prelude::Queryable;

use crate::Cluster;

/// How many rows it has.
pub(super) const ROWS: u32 = 10_000;
/// Rows of one INSERT.
const BATCH: u32 = 500;

/// Creates and fills it through Grove, which would miss writes that went past it.
pub(super) async fn create(cluster: &Cluster) -> anyhow::Result<()> {
    let mut client = cluster.client().await?;
    client
        .query_drop(
            "CREATE TABLE bench (id INT PRIMARY KEY, k INT NOT NULL, c CHAR(120) NOT NULL, pad CHAR(60) NOT NULL, KEY (k)) \
             CHARACTER SET latin1",
        )
        .await?;
    for first in (1..=ROWS).step_by(BATCH as usize) {
        let rows: Vec<String> = (first..first + BATCH).map(row).collect();
        let insert = format!("INSERT INTO bench VALUES {}", rows.join(", "));
        client
            .query_drop(insert)
            .await
            .with_context(|| format!("rows from {first}"))?;
    }
    client.disconnect().await.context("leave")
}

fn row(id: u32) -> String {
    let k = id * 7919 % 10_007;
    let c = format!("{:011}-", u64::from(id) * 69_621).repeat(10);
    let pad = format!("{:011}-", u64::from(id) * 40_014).repeat(5);
    format!("({id}, {k}, '{c}', '{pad}')")
}
