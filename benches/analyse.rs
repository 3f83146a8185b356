//! What a statement's analysis costs: of a shape that was seen before, of a new one, and what a full parser needs for the same text.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use grove_sql::{Analyser, Flavor, LexMode, Lexer, split};
use sqlparser::dialect::MySqlDialect;
use sqlparser::parser::Parser;

/// Ordinary statements of an OLTP load (those of sysbench), and two that are larger.
const STATEMENTS: [(&str, &str); 8] = [
    ("point select", "SELECT c FROM sbtest1 WHERE id=5021"),
    (
        "range",
        "SELECT c FROM sbtest3 WHERE id BETWEEN 4990 AND 5089 ORDER BY c",
    ),
    ("update", "UPDATE sbtest1 SET k=k+1 WHERE id=5014"),
    (
        "update text",
        "UPDATE sbtest2 SET c='68487932199-96439406143-93774651418-41631865787-96406072701-20604855487-25459966574-28203206787-41238978918-19503783441' WHERE id=5014",
    ),
    (
        "insert",
        "INSERT INTO sbtest1 (id, k, c, pad) VALUES (5010, 4999, '68487932199-96439406143-93774651418-41631865787-96406072701-20604855487-25459966574-28203206787-41238978918-19503783441', '22195207048-70116052123-74140395089-76317954521-98694025897')",
    ),
    (
        "prepared",
        "SELECT id, name, price FROM items WHERE category = ? AND price < ? ORDER BY price LIMIT ?",
    ),
    (
        "join",
        "SELECT o.id, o.total, c.name FROM orders AS o INNER JOIN customers AS c ON c.id = o.customer_id WHERE o.status IN ('new', 'paid', 'sent') AND o.created_at >= '2024-01-01' ORDER BY o.created_at DESC LIMIT 20",
    ),
    ("commit", "COMMIT"),
];

fn benches(c: &mut Criterion) {
    let mode = LexMode::new(Flavor::MariaDb, 101_119);
    let analyser = Analyser::new(10_000);
    for (name, sql) in STATEMENTS {
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Bytes(sql.len() as u64));
        group.bench_function("shape seen before", |b| {
            b.iter(|| analyser.analyse(black_box(sql.as_bytes()), mode));
        });
        group.bench_function("new shape", |b| {
            b.iter_batched(
                || Analyser::new(1),
                |analyser| analyser.analyse(black_box(sql.as_bytes()), mode),
                criterion::BatchSize::LargeInput,
            );
        });
        group.bench_function("lexer alone", |b| {
            b.iter(|| Lexer::new(black_box(sql.as_bytes()), mode).count());
        });
        group.bench_function("split", |b| b.iter(|| split(black_box(sql.as_bytes()), mode)));
        group.bench_function("sqlparser", |b| {
            b.iter(|| Parser::parse_sql(&MySqlDialect {}, black_box(sql)));
        });
        group.finish();
    }
}

criterion_group!(analysis, benches);
criterion_main!(analysis);
