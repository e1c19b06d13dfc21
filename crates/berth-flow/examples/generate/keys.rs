//! What a shape is asked for by name, and what it makes.

use std::collections::BTreeMap;

use berth_flow::Instance;

/// A problem, and what becomes of it.
pub struct Pair {
    /// Before the change.
    pub base: Instance,
    /// After it; nodes are the same where their numbers are.
    pub changed: Instance,
}

/// The arguments of a shape, taken one by one.
pub struct Keys(BTreeMap<String, u64>);

impl Keys {
    /// From words `KEY=NUMBER`.
    pub fn parse(args: &[String]) -> Result<Keys, String> {
        let pair = |arg: &String| {
            let (key, value) = arg.split_once('=').ok_or(format!("expected KEY=NUMBER, found {arg}"))?;
            let value = value.parse().map_err(|_| format!("expected a whole number for {key}, found {value}"))?;
            Ok((key.to_owned(), value))
        };
        args.iter().map(pair).collect::<Result<_, String>>().map(Keys)
    }

    /// What was said of a key, else the default.
    pub fn take(&mut self, key: &str, default: u64) -> u64 {
        self.0.remove(key).unwrap_or(default)
    }

    /// A key that was not taken.
    pub fn left(&self) -> Option<&str> {
        self.0.keys().next().map(String::as_str)
    }
}
