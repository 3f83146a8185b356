//! Queries and writes from a small grammar that knows which tables it has used and whether it has locked rows: the analysis must say the same.

use std::collections::BTreeSet;

use grove_sql::{Analyser, Class, Flavor, LexMode, TouchedTables, WriteKind};
use proptest::prelude::*;

/// A generator of SQL. What it has put into the text is in its fields.
struct Grammar {
    seed: u64,
    tables: BTreeSet<String>,
    locks: bool,
    /// Common table expressions that are visible.
    visible: Vec<String>,
    names: u32,
}

impl Grammar {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            tables: BTreeSet::new(),
            locks: false,
            visible: Vec::new(),
            names: 0,
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) as usize % bound
    }

    fn pick(&mut self, choices: &[&str]) -> String {
        choices[self.below(choices.len())].to_owned()
    }

    fn name(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    fn table(&mut self) -> String {
        let written = self.pick(&["t", "u", "`v`", "db.t", "`db`.`w`", "db . u", "`select`"]);
        let meant = written.replace(['`', ' '], "");
        if !self.visible.contains(&meant) {
            self.tables.insert(meant);
        }
        written
    }

    /// A query without a locking clause of its own, perhaps in parentheses.
    fn query(&mut self, depth: usize) -> String {
        match self.below(8) {
            0 if depth > 0 => {
                let (a, b) = (self.select(depth - 1), self.select(depth - 1));
                let operator = self.pick(&["UNION", "UNION ALL", "EXCEPT", "INTERSECT"]);
                format!("{a} {operator} {b}")
            }
            1 if depth > 0 => {
                let (a, b) = (self.query(depth - 1), self.query(depth - 1));
                format!("({a}) UNION ({b}) ORDER BY 1 LIMIT 3")
            }
            2 if depth > 0 => self.with(depth - 1),
            _ => self.select(depth),
        }
    }

    fn with(&mut self, depth: usize) -> String {
        let outside = self.visible.len();
        let mut list = Vec::new();
        for _ in 0..=self.below(2) {
            // The name of a table, sometimes: it hides the table from then on, but not in its own definition.
            let name = if self.below(3) == 0 {
                "t".to_owned()
            } else {
                self.name("c")
            };
            if self.visible[outside..].contains(&name) {
                continue;
            }
            let query = self.query(depth);
            let columns = self.pick(&["", " (x)"]);
            list.push(format!("{name}{columns} AS ({query})"));
            self.visible.push(name);
        }
        let body = self.select(depth);
        self.visible.truncate(outside);
        format!("WITH {} {body}", list.join(", "))
    }

    fn select(&mut self, depth: usize) -> String {
        let what = self.expression(depth);
        if self.below(8) == 0 {
            return format!("SELECT {what}");
        }
        let from = self.references(depth);
        let mut select = format!("SELECT {what} FROM {from}");
        if self.below(2) == 0 {
            select += &format!(" WHERE {}", self.expression(depth));
        }
        select + &self.pick(&["", "", " GROUP BY 1", " GROUP BY 1 HAVING COUNT(*) > (0)", ""])
    }

    fn references(&mut self, depth: usize) -> String {
        let mut list = self.reference(depth);
        for _ in 0..self.below(3) {
            let next = self.reference(depth);
            list = match self.below(5) {
                0 => format!("{list}, {next}"),
                1 => format!("{list} JOIN {next} ON (1) = 1"),
                2 => format!(
                    "{list} LEFT JOIN ({next}) ON {}",
                    self.expression(depth.saturating_sub(1))
                ),
                3 => format!("({list}) CROSS JOIN {next}"),
                _ => format!("{list} STRAIGHT_JOIN {next}"),
            };
        }
        list
    }

    fn reference(&mut self, depth: usize) -> String {
        let alias = self.name("a");
        match self.below(6) {
            0 if depth > 0 => {
                let query = self.query(depth - 1);
                format!("({query}) AS {alias}")
            }
            1 if !self.visible.is_empty() => {
                let at = self.below(self.visible.len());
                format!("{} AS {alias}", self.visible[at])
            }
            _ => {
                let name = self.table();
                let hint = self.pick(&["", " USE INDEX (PRIMARY)", " IGNORE INDEX FOR JOIN (PRIMARY)"]);
                // No hint goes with a common table expression.
                let hint = if self.visible.is_empty() { hint } else { String::new() };
                format!("{name} AS {alias}{hint}")
            }
        }
    }

    fn expression(&mut self, depth: usize) -> String {
        match self.below(9) {
            0 if depth > 0 => format!("(SELECT MAX({}) FROM {})", self.expression(0), self.references(0)),
            1 if depth > 0 => {
                let query = self.locking(depth - 1);
                format!("EXISTS ({query})")
            }
            2 if depth > 0 => format!("1 IN ({})", self.query(0)),
            3 => "TRIM(LEADING 'x' FROM 'xy')".to_owned(),
            4 => "EXTRACT(YEAR FROM '2024-01-01')".to_owned(),
            5 => "CASE WHEN (1) THEN (2) ELSE ABS(-3) END".to_owned(),
            6 => "'FROM nowhere' /* , nothing */".to_owned(),
            _ => self.pick(&["1", "NULL", "COUNT(*)", "(1 + 2)", "IF(1, 2, 3)", "CAST(1 AS CHAR(5))"]),
        }
    }

    /// A query that may lock rows.
    fn locking(&mut self, depth: usize) -> String {
        let select = self.select(depth);
        if self.below(6) > 0 {
            return select;
        }
        self.locks = true;
        format!(
            "{select} {}",
            self.pick(&["FOR UPDATE", "LOCK IN SHARE MODE", "for/**/update"])
        )
    }

    /// A write, its kind, and the table that it must be known to write.
    fn write(&mut self) -> (String, WriteKind, String) {
        let target = self.pick(&["target", "db.target"]);
        self.tables.insert(target.clone());
        let (sql, kind) = match self.below(5) {
            0 => (format!("INSERT INTO {target} (a) {}", self.query(2)), WriteKind::Insert),
            1 => (
                format!("REPLACE {target} SET a = {}", self.expression(2)),
                WriteKind::Replace,
            ),
            2 => {
                let value = self.expression(2);
                (
                    format!("UPDATE {target} SET a = {value} WHERE {}", self.expression(2)),
                    WriteKind::Update,
                )
            }
            3 => {
                let others = self.references(1);
                let value = self.expression(1);
                (
                    format!("UPDATE {target} AS x JOIN ({others}) SET x.a = {value}"),
                    WriteKind::Update,
                )
            }
            _ => {
                let others = self.references(1);
                (
                    format!("DELETE x FROM {others}, {target} AS x WHERE {}", self.expression(1)),
                    WriteKind::Delete,
                )
            }
        };
        (sql, kind, target)
    }
}

fn names(tables: &TouchedTables) -> BTreeSet<String> {
    let TouchedTables::Known(tables) = tables else {
        return BTreeSet::from(["?".to_owned()]);
    };
    let name = |table: &grove_sql::TableName| match &table.schema {
        Some(schema) => format!("{schema}.{}", table.name),
        None => table.name.to_string(),
    };
    tables.iter().map(name).collect()
}

fn servers() -> [LexMode; 3] {
    [
        LexMode::new(Flavor::Mysql, 90_704),
        LexMode::new(Flavor::Mysql, 50_744),
        LexMode::new(Flavor::MariaDb, 101_119),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn queries_read_the_tables_that_they_name(seed in any::<u64>()) {
        let mut grammar = Grammar::new(seed);
        let sql = if seed % 4 == 0 { grammar.locking(3) } else { grammar.query(3) };
        for mode in servers() {
            let analysis = Analyser::new(1).analyse(sql.as_bytes(), mode);
            let class = if grammar.locks { Class::LockingRead } else { Class::Read };
            prop_assert_eq!(analysis.class, class, "{}", &sql);
            prop_assert_eq!(names(&analysis.tables), grammar.tables.clone(), "{}", &sql);
            prop_assert!(names(&analysis.written).is_empty());
        }
    }

    #[test]
    fn writes_write_their_target(seed in any::<u64>()) {
        let mut grammar = Grammar::new(seed);
        let (sql, kind, target) = grammar.write();
        for mode in servers() {
            let analysis = Analyser::new(1).analyse(sql.as_bytes(), mode);
            prop_assert_eq!(analysis.class, Class::Write(kind), "{}", &sql);
            prop_assert_eq!(names(&analysis.tables), grammar.tables.clone(), "{}", &sql);
            prop_assert!(names(&analysis.written).contains(&target), "{}", &sql);
        }
    }
}
