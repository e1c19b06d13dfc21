//! Where a role's settings come from: its file, its flags, its `BERTH_…` variables, from weak to strong.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, bail};

/// What a setting's value was taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// The command line.
    Flag,
    /// This environment variable.
    Variable(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File(path) => write!(f, "file {}", path.display()),
            Source::Flag => f.write_str("flag"),
            Source::Variable(name) => write!(f, "variable {name}"),
        }
    }
}

/// The layers of one role's settings, and what has been taken from them.
pub struct Layers {
    file: Option<(PathBuf, toml::Table)>,
    flags: BTreeMap<&'static str, String>,
    variables: fn(&str) -> Option<String>,
    taken: Vec<Setting>,
}

/// A setting that somebody asked for, with its value and where that is from; None when nobody set it.
type Setting = (&'static str, Option<(Value, Source)>);

/// What is shown of a value.
enum Value {
    Text(String),
    /// The names in a table, which may lead to secrets.
    Names(Vec<String>),
}

impl Layers {
    /// Reads the file, if one is named. `flags` are those given on the command line.
    pub fn read(
        file: Option<&Path>,
        flags: impl IntoIterator<Item = (&'static str, String)>,
    ) -> anyhow::Result<Layers> {
        let file = file.map(read_file).transpose()?;
        let variables = |name: &str| std::env::var(name).ok();
        Ok(Layers { file, flags: flags.into_iter().collect(), variables, taken: Vec::new() })
    }

    /// What a file says, and nothing else.
    pub fn of(file: &Path, settings: toml::Table) -> Layers {
        let file = Some((file.to_owned(), settings));
        Layers { file, flags: BTreeMap::new(), variables: |_| None, taken: Vec::new() }
    }

    /// The strongest value of `key`, or `default`.
    pub fn take<T>(&mut self, key: &'static str, default: &str) -> anyhow::Result<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let (text, source) = self.strongest(key)?.unwrap_or_else(|| (default.to_owned(), Source::Default));
        self.parse(key, text, source)
    }

    /// The strongest value of `key`, if there is any.
    pub fn take_optional<T>(&mut self, key: &'static str) -> anyhow::Result<Option<T>>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        match self.strongest(key)? {
            Some((text, source)) => self.parse(key, text, source).map(Some),
            None => {
                self.taken.push((key, None));
                Ok(None)
            }
        }
    }

    /// A table that only the file can give, such as the credentials.
    pub fn take_table(&mut self, key: &'static str) -> anyhow::Result<toml::Table> {
        let found = self.file.as_mut().and_then(|(path, file)| Some((file.remove(key)?, path.clone())));
        let (table, shown) = match found {
            None => (toml::Table::new(), None),
            Some((toml::Value::Table(table), path)) => {
                let names = Value::Names(table.keys().cloned().collect());
                (table, Some((names, Source::File(path))))
            }
            Some((_, path)) => bail!("{}: `{key}` must be a table", path.display()),
        };
        self.taken.push((key, shown));
        Ok(table)
    }

    /// Refuses what is left in the file: a key that nobody takes is a typing error.
    pub fn finish(self) -> anyhow::Result<Taken> {
        if let Some((path, file)) = &self.file
            && let Some(unknown) = file.keys().next()
        {
            let known = self.taken.iter().map(|(key, _)| *key);
            let nearest = known.max_by(|a, b| similarity(unknown, a).total_cmp(&similarity(unknown, b)));
            bail!("{}: unknown setting `{unknown}`; did you mean `{}`?", path.display(), nearest.unwrap_or("data_dir"));
        }
        Ok(Taken(self.taken))
    }

    /// A variable without a value counts as not set: files for service managers often hold such lines.
    fn strongest(&mut self, key: &'static str) -> anyhow::Result<Option<(String, Source)>> {
        let from_file = match &mut self.file {
            Some((path, file)) => file.remove(key).map(|value| scalar(key, value, path)).transpose()?,
            None => None,
        };
        let variable = format!("BERTH_{}", key.to_uppercase());
        Ok((self.variables)(&variable)
            .filter(|text| !text.is_empty())
            .map(|text| (text, Source::Variable(variable)))
            .or_else(|| self.flags.remove(key).map(|text| (text, Source::Flag)))
            .or(from_file))
    }

    fn parse<T>(&mut self, key: &'static str, text: String, source: Source) -> anyhow::Result<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let parsed = text
            .parse()
            .map_err(|error| anyhow::anyhow!("{error}"))
            .with_context(|| format!("setting `{key}` (from {source}) has the unusable value `{text}`"))?;
        self.taken.push((key, Some((Value::Text(text), source))));
        Ok(parsed)
    }
}

/// Text and numbers; a list or a table would be read as something else than it says.
fn scalar(key: &str, value: toml::Value, path: &Path) -> anyhow::Result<(String, Source)> {
    let text = match value {
        toml::Value::String(text) => text,
        toml::Value::Integer(number) => number.to_string(),
        other => bail!("{}: `{key}` must be text or a whole number, not {}", path.display(), other.type_str()),
    };
    Ok((text, Source::File(path.to_owned())))
}

fn similarity(a: &str, b: &str) -> f64 {
    strsim::jaro_winkler(a, b)
}

fn read_file(path: &Path) -> anyhow::Result<(PathBuf, toml::Table)> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
    let table = text.parse().with_context(|| format!("the configuration file {} is not TOML", path.display()))?;
    Ok((path.to_owned(), table))
}

/// What was taken from where, for `--print-config`: TOML, in which comments hold what is not a value.
pub struct Taken(Vec<Setting>);

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, taken) in &self.0 {
            match taken {
                None => writeln!(f, "# {key} is not set")?,
                Some((Value::Text(text), source)) => writeln!(f, "{key} = {text:?}  # {source}")?,
                Some((Value::Names(names), source)) => writeln!(f, "# {key}: {}  # {source}", names.join(", "))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(file: &str, flags: &[(&'static str, &str)], variables: fn(&str) -> Option<String>) -> Layers {
        Layers {
            file: Some((PathBuf::from("berth.toml"), file.parse().unwrap())),
            flags: flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect(),
            variables,
            taken: Vec::new(),
        }
    }

    #[test]
    fn variable_beats_flag_beats_file_beats_default() {
        let mut all =
            layers("bind = 'file'\nname = 'file'\npolicy = 'file'", &[("bind", "flag"), ("name", "flag")], |name| {
                (name == "BERTH_BIND").then(|| "variable".to_owned())
            });
        let taken: Vec<String> =
            ["bind", "name", "policy", "address"].map(|key| all.take(key, "default").unwrap()).to_vec();
        assert_eq!(taken, ["variable", "flag", "file", "default"]);
        assert_eq!(
            all.finish().unwrap().to_string(),
            "bind = \"variable\"  # variable BERTH_BIND\nname = \"flag\"  # flag\n\
             policy = \"file\"  # file berth.toml\naddress = \"default\"  # default\n"
        );
    }

    #[test]
    fn an_unknown_setting_is_refused_with_the_nearest() {
        let mut all = layers("bnid = '127.0.0.1:1'", &[], |_| None);
        let _: String = all.take("bind", "").unwrap();
        let _: String = all.take("data_dir", "").unwrap();
        let error = all.finish().err().unwrap();
        assert_eq!(error.to_string(), "berth.toml: unknown setting `bnid`; did you mean `bind`?");
    }

    #[test]
    fn what_is_not_set_is_known_and_shown() {
        let mut all = layers("memmory = '1GiB'", &[], |_| None);
        assert_eq!(all.take_optional::<String>("memory").unwrap(), None);
        let error = all.finish().err().unwrap();
        assert_eq!(error.to_string(), "berth.toml: unknown setting `memmory`; did you mean `memory`?");

        let mut all = layers("[secrets.a]\n[secrets.b]", &[], |name| (name == "BERTH_CPU").then(String::new));
        assert_eq!(all.take_optional::<String>("cpu").unwrap(), None, "an empty variable is none");
        all.take_table("secrets").unwrap();
        all.take_table("more").unwrap();
        let shown = "# cpu is not set\n# secrets: a, b  # file berth.toml\n# more is not set\n";
        assert_eq!(all.finish().unwrap().to_string(), shown);
    }

    #[test]
    fn a_list_or_a_table_is_no_value() {
        let mut all = layers("labels = {disk = 'ssd'}", &[], |_| None);
        let error = all.take::<String>("labels", "").unwrap_err();
        assert_eq!(error.to_string(), "berth.toml: `labels` must be text or a whole number, not table");
    }

    #[test]
    fn a_value_that_cannot_be_used_names_where_it_came_from() {
        let mut all = layers("keep = 'soon'", &[], |_| None);
        let error = all.take::<u64>("keep", "1").unwrap_err();
        assert_eq!(error.to_string(), "setting `keep` (from file berth.toml) has the unusable value `soon`");
    }
}
