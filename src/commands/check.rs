//! `proxyd check`: every error of a configuration file at once.
//!
//! The words come from `grove-config`, which loads the file here exactly as `proxyd run` does. Errors go to standard
//! error with exit code 2; a file without errors is named on standard output.

use std::path::Path;

use grove_config::Config;

use super::Failure;

/// Loads the file and says what is wrong with it, or that nothing is.
pub fn check(file: &Path) -> Result<(), Failure> {
    Config::load(file)?;
    println!("{}: ok", file.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(name: &str, text: &str) -> String {
        let file = std::env::temp_dir().join(format!("grove-check-{}-{name}.yaml", std::process::id()));
        std::fs::write(&file, text).unwrap();
        let outcome = check(&file);
        std::fs::remove_file(&file).unwrap();
        let text = match outcome {
            Ok(()) => "ok".to_owned(),
            Err(Failure::Configuration(report)) => report.to_string(),
            Err(Failure::Runtime(error)) => format!("runtime failure: {error}"),
        };
        text.replace(&file.display().to_string(), "F")
    }

    #[test]
    fn every_error_is_told_at_once_with_its_line_key_and_remedy() {
        let text = "\
listen:
  adress: 127.0.0.1:3306
backends:
  - name: db1
    address: 127.0.0.1
    user: grove
users:
  - name: app
    password: app
reads:
  policy: randomly
";
        let expected = "\
F:2: listen.adress: unknown key; did you mean `address`?
F:4: backends[0].password: missing; write password: \"...\", password_env: NAME or password_file: PATH
F:5: backends[0].address: `127.0.0.1` has no port; write host:port, as in 127.0.0.1:3306, or the absolute path of a Unix socket
F:11: reads.policy: `randomly` is not a choice; write one of least_outstanding, round_robin, weighted, latency
4 errors in F";
        assert_eq!(report("wrong", text), expected);
    }

    #[test]
    fn a_file_that_serves_is_ok() {
        let text = "\
backends: [{ name: db1, address: '127.0.0.1:3306', user: grove, password: g }]
users: [{ name: app, password: app }]
";
        assert_eq!(report("right", text), "ok");
    }

    #[test]
    fn a_file_that_is_not_there_is_a_configuration_error() {
        let missing = check(Path::new("/nowhere/grove.yaml"));
        assert!(matches!(missing, Err(Failure::Configuration(_))), "{missing:?}");
    }
}
