//! On which line of a YAML text each key stands.
//!
//! The YAML parser gives values without places, so this walks the text again, by indentation. Invariant: it never
//! fails; a form that it does not follow (flow collections, anchors) leaves its keys out, and [`Lines::line_of`] then
//! answers with the nearest enclosing key, which is the right line or a line close above.

use std::collections::BTreeMap;

/// Key paths and their lines, counted from 1.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    lines: BTreeMap<String, usize>,
    /// Keys that stand twice in one section: path, line of the second. The YAML parser takes the last silently.
    pub(crate) duplicates: Vec<(String, usize)>,
}

impl Lines {
    /// Walks the text once.
    pub(crate) fn scan(text: &str) -> Self {
        let mut scanner = Scanner::default();
        for (index, line) in text.lines().enumerate() {
            scanner.line(line, index + 1);
        }
        scanner.found
    }

    /// The line of exactly this path.
    pub(crate) fn line_of(&self, path: &str) -> Option<usize> {
        self.lines.get(path).copied()
    }

    fn add(&mut self, path: &str, line: usize) {
        if self.lines.contains_key(path) {
            self.duplicates.push((path.to_owned(), line));
        } else {
            self.lines.insert(path.to_owned(), line);
        }
    }
}

/// A mapping or a sequence that is open at the current line.
struct Open {
    indent: usize,
    path: String,
    /// The next item's number in a sequence; `None` in a mapping.
    next_item: Option<usize>,
    /// Path of the key or item read last, which owns whatever is indented deeper.
    current: String,
}

#[derive(Default)]
struct Scanner {
    found: Lines,
    open: Vec<Open>,
    /// Inside a block scalar (`|` or `>`): lines indented deeper than this belong to it.
    block_scalar: Option<usize>,
    /// Open brackets of a flow collection that spans lines.
    flow_depth: usize,
}

impl Scanner {
    fn line(&mut self, line: &str, number: usize) {
        let mut rest = line.trim_start_matches(' ');
        let mut indent = line.len() - rest.len();
        rest = rest.trim_end();
        if self.flow_depth > 0 {
            self.flow(rest);
            return;
        }
        if rest.is_empty() {
            return;
        }
        if let Some(owner) = self.block_scalar {
            if indent > owner {
                return;
            }
            self.block_scalar = None;
        }
        if rest.starts_with('#') || rest == "---" || rest == "..." {
            return;
        }
        while rest == "-" || rest.starts_with("- ") {
            self.item(indent, number);
            let after = rest[1..].trim_start_matches(' ');
            indent += rest.len() - after.len();
            rest = after;
        }
        match split_key(rest) {
            Some((key, value)) => {
                self.key(indent, key, number);
                self.value(indent, value);
            }
            None => self.value(indent.saturating_sub(1), rest),
        }
    }

    fn item(&mut self, indent: usize, number: usize) {
        while self.open.last().is_some_and(|open| open.indent > indent) {
            self.open.pop();
        }
        let continues = self
            .open
            .last()
            .is_some_and(|open| open.indent == indent && open.next_item.is_some());
        if !continues {
            let path = self.enclosing();
            self.push(indent, path, Some(0));
        }
        if let Some(open) = self.open.last_mut() {
            let item = open.next_item.unwrap_or(0);
            open.next_item = Some(item + 1);
            open.current = format!("{}[{item}]", open.path);
            self.found.add(&open.current, number);
        }
    }

    fn key(&mut self, indent: usize, key: &str, number: usize) {
        while self
            .open
            .last()
            .is_some_and(|open| open.indent > indent || (open.indent == indent && open.next_item.is_some()))
        {
            self.open.pop();
        }
        if self.open.last().is_none_or(|open| open.indent < indent) {
            let path = self.enclosing();
            self.push(indent, path, None);
        }
        if let Some(open) = self.open.last_mut() {
            let dot = if open.path.is_empty() { "" } else { "." };
            open.current = format!("{}{dot}{key}", open.path);
            self.found.add(&open.current, number);
        }
    }

    fn value(&mut self, indent: usize, value: &str) {
        if value.starts_with(['|', '>']) {
            self.block_scalar = Some(indent);
        } else if value.starts_with(['{', '[']) {
            self.flow(value);
        }
    }

    /// Counts brackets outside quotes.
    fn flow(&mut self, text: &str) {
        let mut quote = None;
        for c in text.chars() {
            match (quote, c) {
                (None, '#') => return,
                (None, '"' | '\'') => quote = Some(c),
                (None, '{' | '[') => self.flow_depth += 1,
                (None, '}' | ']') => self.flow_depth = self.flow_depth.saturating_sub(1),
                (Some(open), _) if open == c => quote = None,
                _ => {}
            }
        }
    }

    fn enclosing(&self) -> String {
        self.open.last().map_or_else(String::new, |open| open.current.clone())
    }

    fn push(&mut self, indent: usize, path: String, next_item: Option<usize>) {
        self.open.push(Open {
            indent,
            current: path.clone(),
            path,
            next_item,
        });
    }
}

/// `key: value`, where the key may be quoted.
fn split_key(text: &str) -> Option<(&str, &str)> {
    let (key, rest) = match text.chars().next()? {
        quote @ ('"' | '\'') => text[1..].split_once(quote)?,
        _ => text.split_at(text.find(':')?),
    };
    let value = rest.trim_start().strip_prefix(':')?;
    let plain = !key.starts_with(['{', '[', '|', '>', '&', '*', '!', '#']);
    (plain && (value.is_empty() || value.starts_with(' '))).then(|| (key.trim_end(), value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, usize)]) {
        let found = Lines::scan(text).lines;
        let found: Vec<_> = found.iter().map(|(key, line)| (key.as_str(), *line)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn sections_lists_and_comments_are_followed() {
        check(
            "# top\na:\n  b: 1\n\n  c:\n    d: x # e: 2\nf:\n  - g: 1\n    h: 2\n  -\n    g: 3\ni: 1\n",
            &[
                ("a", 2),
                ("a.b", 3),
                ("a.c", 5),
                ("a.c.d", 6),
                ("f", 7),
                ("f[0]", 8),
                ("f[0].g", 8),
                ("f[0].h", 9),
                ("f[1]", 10),
                ("f[1].g", 11),
                ("i", 12),
            ],
        );
    }

    #[test]
    fn a_list_may_stand_at_its_keys_own_indentation() {
        check(
            "a:\n- b: 1\n- b: 2\nc: 3\n",
            &[
                ("a", 1),
                ("a[0]", 2),
                ("a[0].b", 2),
                ("a[1]", 3),
                ("a[1].b", 3),
                ("c", 4),
            ],
        );
    }

    #[test]
    fn block_scalars_and_flow_collections_hide_what_looks_like_keys() {
        check(
            "a: |\n  x: 1\n  y: 2\nb: {\n  z: 1,\n  w: \"}\"\n}\n\"c\": 1\nd: http://x\n",
            &[("a", 1), ("b", 4), ("c", 8), ("d", 9)],
        );
    }

    #[test]
    fn a_key_that_stands_twice_is_noticed() {
        let lines = Lines::scan("a:\n  b: 1\n  b: 2\na: 3\n");
        assert_eq!(lines.duplicates, [("a.b".to_owned(), 3), ("a".to_owned(), 4)]);
    }
}
