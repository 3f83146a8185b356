//! Typed reading of single keys that notes what is wrong and goes on.
//!
//! Invariant: a reading either gives a right value or has added a [`Problem`]; with a problem it answers with the
//! default or `None`, so that the remaining keys are checked too. Deliberately absent: knowledge of any particular
//! key, which is in `load`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::value::{Dict, Value};

use crate::environment::Environment;
use crate::lines::Lines;
use crate::network::NotANetwork;
use crate::report::{Origin, Problem};
use crate::schema::{self, Kind};
use crate::{BackendAddress, Credential, Network, Secret, Source};

/// The longest path of a Unix socket on Linux: `sun_path` without its closing zero (unix(7)).
const SOCKET_PATH_LIMIT: usize = 107;

/// What the whole configuration is read from.
pub(crate) struct Reader<'a> {
    pub(crate) root: Dict,
    pub(crate) lines: Lines,
    /// Which variable a path comes from, if not from the file.
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) environment: &'a Environment,
    /// Relative paths in the file start here.
    pub(crate) directory: &'a Path,
    pub(crate) problems: Vec<Problem>,
}

impl Reader<'_> {
    /// Notes a mistake at `path`.
    pub(crate) fn problem(&mut self, path: &str, wrong: impl Into<String>, right: impl Into<String>) {
        self.problems.push(Problem {
            origin: self.origin(path),
            key: path.to_owned(),
            wrong: wrong.into(),
            right: right.into(),
        });
    }

    /// Where `path`, or the nearest key around it, was written.
    pub(crate) fn origin(&self, path: &str) -> Origin {
        let mut path = path;
        loop {
            if let Some(name) = self.variables.get(path) {
                return Origin::Variable(name.clone());
            }
            if let Some(line) = self.lines.line_of(path) {
                return Origin::Line(line);
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                // A key that is missing at the top level: the file begins without it.
                None => return Origin::Line(1),
            }
        }
    }

    /// The value at `path`; a key without a value counts as absent.
    pub(crate) fn value(&self, path: &str) -> Option<&Value> {
        debug_assert!(schema::kind(path) != Kind::Unknown, "{path} is not in KEYS");
        let mut segments = path.split(['.', '[']);
        let mut value = self.root.get(segments.next()?)?;
        for segment in segments {
            value = match (value, segment.strip_suffix(']')) {
                (Value::Dict(_, section), None) => section.get(segment)?,
                (Value::Array(_, items), Some(index)) => items.get(index.parse::<usize>().ok()?)?,
                _ => return None,
            };
        }
        (!matches!(value, Value::Empty(..))).then_some(value)
    }

    /// Whether anything stands at `path`.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.value(path).is_some()
    }

    /// The number of items of the list at `path`.
    pub(crate) fn items(&self, path: &str) -> usize {
        match self.value(path) {
            Some(Value::Array(_, items)) => items.len(),
            _ => 0,
        }
    }

    /// A text that is not empty, if the key is there.
    pub(crate) fn text(&mut self, path: &str) -> Option<String> {
        let problem = match self.value(path)? {
            Value::String(_, text) if !text.trim().is_empty() => return Some(text.clone()),
            Value::Char(_, c) => return Some(c.to_string()),
            Value::String(..) => ("it is empty", "write a value or leave the key out"),
            Value::Num(..) | Value::Bool(..) => ("YAML reads it as a number or a truth value", "put it in quotes"),
            _ => ("it is not a text", "write a single value"),
        };
        self.problem(path, problem.0, problem.1);
        None
    }

    /// A text that must be there.
    pub(crate) fn required_text(&mut self, path: &str, right: &str) -> Option<String> {
        if !self.has(path) {
            self.problem(path, "missing", right);
        }
        self.text(path)
    }

    /// A list of texts that is not empty, if the key is there, each with the path of its item. A single text is a list too, with commas
    /// between the items: that is how an environment variable gives one.
    pub(crate) fn texts(&mut self, path: &str) -> Vec<(String, String)> {
        let items: Vec<_> = match self.value(path) {
            None => return Vec::new(),
            Some(Value::Array(_, items)) => {
                let place = |(index, item)| (format!("{path}[{index}]"), Value::as_str(item).map(str::to_owned));
                items.iter().enumerate().map(place).collect()
            }
            Some(Value::String(_, text)) => {
                let item = |item: &str| (path.to_owned(), Some(item.to_owned()));
                text.split(',').map(item).collect()
            }
            Some(other) => vec![(path.to_owned(), other.as_str().map(str::to_owned))],
        };
        if items.is_empty() {
            self.problem(path, "the list is empty", "write an item, or leave the key out");
        }
        let mut texts = Vec::new();
        for (path, text) in items {
            match text.map(|text| text.trim().to_owned()) {
                Some(text) if !text.is_empty() => texts.push((path, text)),
                _ => self.problem(
                    &path,
                    "the item is no text",
                    "write one value an item, in quotes if need be",
                ),
            }
        }
        texts
    }

    /// Networks and addresses.
    pub(crate) fn networks(&mut self, path: &str) -> Vec<Network> {
        let texts = self.texts(path);
        let network = |(path, text): (String, String)| self.network(&path, &text, "");
        texts.into_iter().filter_map(network).collect()
    }

    /// Networks, addresses, and `localhost`.
    pub(crate) fn sources(&mut self, path: &str) -> Vec<Source> {
        let texts = self.texts(path);
        let source = |(path, text): (String, String)| match text.as_str() {
            "localhost" => Some(Source::Localhost),
            text => self.network(&path, text, ", or localhost").map(Source::Network),
        };
        texts.into_iter().filter_map(source).collect()
    }

    fn network(&mut self, path: &str, text: &str, otherwise: &str) -> Option<Network> {
        let form = format!("write an address, or a network as in 10.0.0.0/8 or fd00::/8{otherwise}");
        let (wrong, right) = match text.parse() {
            Ok(network) => return Some(network),
            Err(NotANetwork::NoAddress) => (format!("`{text}` is no address or network"), form),
            Err(NotANetwork::PrefixTooLong(longest)) => {
                let right = format!("write a prefix of at most {longest} bits");
                (format!("the prefix of `{text}` is longer than the address"), right)
            }
            Err(NotANetwork::BitsBehindPrefix(network)) => {
                let right = format!("write {network}, or a longer prefix");
                (format!("`{text}` has bits behind its prefix"), right)
            }
        };
        self.problem(path, wrong, right);
        None
    }

    /// A truth value.
    pub(crate) fn truth(&mut self, path: &str) -> bool {
        let found = match self.value(path) {
            None => return false,
            Some(Value::Bool(_, truth)) => return *truth,
            // Overrides from the environment are texts.
            Some(Value::String(_, text)) => match text.trim().parse() {
                Ok(truth) => return truth,
                Err(_) => format!("`{text}`"),
            },
            Some(other) => plain(other),
        };
        self.problem(path, format!("{found} is not possible"), "write true or false");
        false
    }

    /// A whole number in `range`.
    pub(crate) fn integer(&mut self, path: &str, default: u64, range: RangeInclusive<u64>) -> u64 {
        let (found, number) = match self.value(path) {
            None => return default,
            Some(Value::Num(_, number)) => (plain(&Value::from(*number)), number.to_u128()),
            // Overrides from the environment are texts.
            Some(Value::String(_, text)) => (format!("`{text}`"), text.trim().parse().ok()),
            Some(other) => (plain(other), None),
        };
        let number = number.and_then(|number| u64::try_from(number).ok());
        match number.filter(|number| range.contains(number)) {
            Some(number) => number,
            None => {
                let right = format!(
                    "write a whole number from {} to {}, such as {default}",
                    range.start(),
                    range.end()
                );
                self.problem(path, format!("{found} is not possible"), right);
                default
            }
        }
    }

    /// A time in milliseconds, never zero and at most a day.
    pub(crate) fn milliseconds(&mut self, path: &str, default: Duration) -> Duration {
        let default = u64::try_from(default.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.integer(path, default, 1..=86_400_000))
    }

    /// A time in seconds, never zero and at most a year, as `wait_timeout` allows.
    pub(crate) fn seconds(&mut self, path: &str, default: Duration) -> Duration {
        Duration::from_secs(self.integer(path, default.as_secs(), 1..=31_536_000))
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy + Default>(&mut self, path: &str, choices: &[(&str, T)]) -> T {
        let Some(found) = self.value(path).map(plain) else {
            return T::default();
        };
        let word = found.trim_matches('`');
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == word) {
            return *choice;
        }
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        let right = match schema::nearest(word, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`? (one of {})", names.join(", ")),
            None => format!("write one of {}", names.join(", ")),
        };
        self.problem(path, format!("{found} is not a choice"), right);
        T::default()
    }

    /// An IP address and port to listen on.
    pub(crate) fn listen_address(&mut self, path: &str, default: SocketAddr) -> SocketAddr {
        let Some(text) = self.text(path) else {
            return default;
        };
        text.parse().unwrap_or_else(|_| {
            let wrong = format!("`{text}` is not an IP address and port");
            self.problem(path, wrong, format!("write them as in {default}"));
            default
        })
    }

    /// A path that need not exist; a relative one starts at the file's directory.
    pub(crate) fn path(&mut self, path: &str) -> Option<PathBuf> {
        Some(self.directory.join(self.text(path)?))
    }

    /// A path in the directory of the file.
    pub(crate) fn beside_the_file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The path of a Unix socket to listen on.
    pub(crate) fn socket_path(&mut self, path: &str) -> Option<PathBuf> {
        let socket = self.directory.join(self.text(path)?);
        let length = socket.as_os_str().len();
        if length > SOCKET_PATH_LIMIT {
            let wrong = format!("the path {} has {length} bytes", socket.display());
            let right =
                format!("choose one of at most {SOCKET_PATH_LIMIT} bytes, which is all that a socket's address holds");
            self.problem(path, wrong, right);
            return None;
        }
        Some(socket)
    }

    /// The address of a server.
    pub(crate) fn backend_address(&mut self, path: &str) -> Option<BackendAddress> {
        let form = "write host:port, as in 127.0.0.1:3306, or the absolute path of a Unix socket";
        let text = self.required_text(path, form)?;
        if text.starts_with('/') {
            return Some(BackendAddress::Socket(PathBuf::from(text)));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            self.problem(path, format!("`{text}` has no port"), form);
            return None;
        };
        let port = port.parse::<u16>().ok().filter(|port| *port != 0);
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let bare = bracketed.unwrap_or(host);
        let named = !bare.is_empty()
            && !bare.contains(|c: char| c.is_whitespace() || "/[]@".contains(c))
            && (bracketed.is_some() || !bare.contains(':'));
        match port {
            Some(port) if named => Some(BackendAddress::Tcp {
                host: bare.to_owned(),
                port,
            }),
            None => {
                let wrong = format!("`{text}` has no port from 1 to 65535");
                self.problem(path, wrong, form);
                None
            }
            Some(_) => {
                let form = format!("{form}; an IPv6 address stands in brackets, as in [::1]:3306");
                self.problem(path, format!("`{text}` has no host name"), form);
                None
            }
        }
    }

    /// A secret in one of its three forms: the value, a variable's name, a file's path.
    pub(crate) fn secret(&mut self, section: &str) -> Option<Secret> {
        let [inline, env, file] = ["password", "password_env", "password_file"].map(|key| format!("{section}.{key}"));
        let forms = [&inline, &env, &file];
        let present: Vec<_> = forms.into_iter().filter(|path| self.has(path)).collect();
        match present.as_slice() {
            [] => {
                let right = "write password: \"...\", password_env: NAME or password_file: PATH";
                self.problem(&inline, "missing", right);
                None
            }
            [path] if *path == &inline => self.inline_secret(path),
            [path] if *path == &env => self.secret_variable(path),
            [path] => self.secret_file(path),
            [.., last] => {
                let wrong = "the password is given more than once";
                self.problem(last, wrong, "keep one of password, password_env, password_file");
                None
            }
        }
    }

    /// A client account's password in one of the forms of a secret, or as the servers' hash of it.
    pub(crate) fn credential(&mut self, section: &str) -> Option<Credential> {
        let hash = format!("{section}.password_hash");
        if !self.has(&hash) {
            return self.secret(section).map(Credential::Password);
        }
        let others = ["password", "password_env", "password_file"].map(|key| format!("{section}.{key}"));
        if others.iter().any(|path| self.has(path)) {
            let wrong = "the password is given more than once";
            let right = "keep one of password, password_env, password_file, password_hash";
            self.problem(&hash, wrong, right);
            return None;
        }
        // The message does not repeat the value: who has it can try passwords.
        let parsed = self.text(&hash)?.parse();
        if parsed.is_err() {
            let wrong = "it is no hash that the servers store";
            let right =
                "write \"*\" and 40 hexadecimal digits, or $A$005$ with salt and digest, as text or as 0x and digits";
            self.problem(&hash, wrong, right);
        }
        parsed.ok().map(Credential::Hash)
    }

    fn inline_secret(&mut self, path: &str) -> Option<Secret> {
        // Neither this nor `text` is used to report: the message must not repeat the value. Empty is allowed here,
        // because an account may have an empty password.
        match self.value(path)? {
            Value::String(_, text) => return Some(Secret::new(text.as_str())),
            Value::Char(_, c) => return Some(Secret::new(*c)),
            _ => {}
        }
        let wrong = "YAML does not read this password as a text";
        self.problem(path, wrong, "put it in quotes");
        None
    }

    fn secret_variable(&mut self, path: &str) -> Option<Secret> {
        let name = self.text(path)?;
        let value = self.environment.variable(&name);
        if value.is_none() {
            let wrong = format!("the environment variable `{name}` is not set");
            self.problem(path, wrong, "set it, or name another one");
        }
        value.map(Secret::new)
    }

    fn secret_file(&mut self, path: &str) -> Option<Secret> {
        let (file, content) = self.file(path)?;
        match String::from_utf8(content) {
            Ok(text) => {
                let line = text.strip_suffix('\n').unwrap_or(&text);
                Some(Secret::new(line.strip_suffix('\r').unwrap_or(line)))
            }
            Err(_) => {
                let wrong = format!("{} is not UTF-8 text", file.display());
                self.problem(path, wrong, "write the password alone into it");
                None
            }
        }
    }

    /// The path of a PEM file that holds `label`, checked by reading it once.
    pub(crate) fn pem_file(&mut self, path: &str, label: &str) -> Option<PathBuf> {
        let (file, content) = self.file(path)?;
        let begins = format!("{label}-----");
        let text = String::from_utf8_lossy(&content);
        let held = text
            .lines()
            .any(|line| line.starts_with("-----BEGIN ") && line.trim_end().ends_with(&begins));
        if !held {
            let wrong = format!("{} holds no PEM block `{label}`", file.display());
            self.problem(path, wrong, format!("name a PEM file with a `{label}` block"));
            return None;
        }
        Some(file)
    }

    fn file(&mut self, path: &str) -> Option<(PathBuf, Vec<u8>)> {
        let name = self.text(path)?;
        let file = self.directory.join(name);
        match std::fs::read(&file) {
            Ok(content) => Some((file, content)),
            Err(error) => {
                let wrong = format!("cannot read {}: {error}", file.display());
                let right = "name a readable file; relative paths start at this file's directory";
                self.problem(path, wrong, right);
                None
            }
        }
    }
}

/// A value as a message shows it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(_, text) => format!("`{text}`"),
        Value::Char(_, c) => format!("`{c}`"),
        Value::Bool(_, truth) => format!("`{truth}`"),
        Value::Num(_, number) => match (number.to_i128(), number.to_u128(), number.to_f64()) {
            (Some(number), ..) => format!("`{number}`"),
            (_, Some(number), _) => format!("`{number}`"),
            (.., Some(number)) => format!("`{number}`"),
            _ => "this number".to_owned(),
        },
        Value::Dict(..) => "a section".to_owned(),
        Value::Array(..) => "a list".to_owned(),
        Value::Empty(..) => "nothing".to_owned(),
    }
}
