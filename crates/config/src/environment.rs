//! Environment variables: overrides of keys, and secrets.
//!
//! `GROVE_LISTEN__ADDRESS` overrides `listen.address`; two underscores separate levels and a number names a list's
//! item, so `GROVE_BACKENDS__0__PASSWORD` overrides the first backend's password and the number after the last item
//! adds one. Values stay text until the reader wants a number: a password such as `0123` must not become 123, which
//! is why figment's own environment provider is not used. Invariant: variables without two underscores are not
//! overrides, so that `password_env: GROVE_PASSWORD` and tools' own variables are possible.

use std::collections::BTreeMap;

use figment::value::{Dict, Value};

use crate::report::{Origin, Problem};
use crate::schema::{self, Kind};

const PREFIX: &str = "GROVE_";

/// The environment as a value, so that tests need not change the process's own.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// The process's environment. Variables that are not Unicode are left out.
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// The value of one variable.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Writes every override into `root`, and notes in `origins` which variable each path now comes from.
    pub(crate) fn apply(&self, root: &mut Dict, origins: &mut BTreeMap<String, String>, problems: &mut Vec<Problem>) {
        for (name, value) in &self.variables {
            let Some(path) = name.strip_prefix(PREFIX) else {
                continue;
            };
            if !path.contains("__") {
                continue;
            }
            let segments: Vec<String> = path.split("__").map(str::to_ascii_lowercase).collect();
            let mut place = Override { name, value, origins };
            if let Err(problem) = place.place_in_section(root, "", &segments) {
                problems.push(problem);
            }
        }
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let variables = pairs.into_iter().map(|(k, v)| (k.into(), v.into()));
        Self {
            variables: variables.collect(),
        }
    }
}

/// One variable on its way to its place.
struct Override<'a> {
    name: &'a str,
    value: &'a str,
    origins: &'a mut BTreeMap<String, String>,
}

impl Override<'_> {
    fn place_in_section(&mut self, section: &mut Dict, path: &str, segments: &[String]) -> Result<(), Problem> {
        let Some((key, rest)) = segments.split_first() else {
            return Ok(());
        };
        let dot = if path.is_empty() { "" } else { "." };
        let here = format!("{path}{dot}{key}");
        if schema::kind(&here) == Kind::Unknown {
            return Err(self.problem(here, "unknown key".to_owned(), schema::suggestion(path, key)));
        }
        if rest.is_empty() {
            // An overriding secret replaces the file's, whichever of the three forms each has.
            if key.starts_with("password") {
                section.retain(|other, _| {
                    !other.starts_with("password") || self.origins.contains_key(&format!("{path}{dot}{other}"))
                });
            }
            section.insert(key.clone(), Value::from(self.value));
            self.origins.insert(here, self.name.to_owned());
            return Ok(());
        }
        if !section.contains_key(key) || matches!(section[key], Value::Empty(..)) {
            self.origins.insert(here.clone(), self.name.to_owned());
            let empty = match schema::kind(&here) {
                Kind::List => Value::from(Vec::<Value>::new()),
                _ => Value::from(Dict::new()),
            };
            section.insert(key.clone(), empty);
        }
        match section.get_mut(key) {
            Some(Value::Dict(_, inner)) => self.place_in_section(inner, &here, rest),
            Some(Value::Array(_, items)) => self.place_in_list(items, &here, rest),
            _ => Err(self.problem(
                here,
                "the name goes on below a plain value".to_owned(),
                "end it here, or make the key in the file a section".to_owned(),
            )),
        }
    }

    fn place_in_list(&mut self, items: &mut Vec<Value>, path: &str, segments: &[String]) -> Result<(), Problem> {
        let Some((number, rest)) = segments.split_first() else {
            return Ok(());
        };
        let index = number.parse().unwrap_or(usize::MAX);
        if index > items.len() {
            return Err(self.problem(
                path.to_owned(),
                format!("`{number}` names no item of the list"),
                format!("use a number from 0 to {}, which adds an item", items.len()),
            ));
        }
        let here = format!("{path}[{index}]");
        if index == items.len() {
            self.origins.insert(here.clone(), self.name.to_owned());
            items.push(Value::from(Dict::new()));
        }
        match &mut items[index] {
            Value::Dict(_, item) if !rest.is_empty() => self.place_in_section(item, &here, rest),
            _ => Err(self.problem(
                here,
                "an item cannot be replaced as a whole".to_owned(),
                "name one of its keys, as in GROVE_BACKENDS__0__ADDRESS".to_owned(),
            )),
        }
    }

    fn problem(&self, key: String, wrong: String, right: String) -> Problem {
        Problem {
            origin: Origin::Variable(self.name.to_owned()),
            key,
            wrong,
            right,
        }
    }
}
