//! What people and programs read: tables and sentences, or JSON with `--json`.

use std::io::{self, IsTerminal, Write};

use anyhow::Context as _;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// How a command shows what it has to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Tables and sentences.
    Text,
    /// JSON, with the field names of the API.
    Json,
}

impl Format {
    /// Prints one object: as JSON, or as the text that `text` makes of it.
    pub fn show<T: Serialize>(self, object: &T, text: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        let out = match self {
            Format::Json => serde_json::to_string_pretty(object)? + "\n",
            Format::Text => text(object),
        };
        print(&out)
    }

    /// Prints one of many objects, on a line of its own.
    pub fn show_line<T: Serialize>(self, object: &T, text: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
        let out = match self {
            Format::Json => serde_json::to_string(object)? + "\n",
            Format::Text => text(object),
        };
        print(&out)
    }
}

/// Writes to standard output. A reader that went away, as `head` does, is the end and no failure.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => result.context("cannot write to standard output"),
    }
}

/// Columns of a terminal below which a table would be broken into letters; some terminals say they have none.
const NARROW: u16 = 60;

/// A table with these columns, as wide as the terminal lets it be.
pub fn table<const N: usize>(columns: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(columns);
    if io::stdout().is_terminal() && table.width().is_some_and(|width| width >= NARROW) {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    text.join("\n") + "\n"
}

/// A line that is rewritten while something goes on: on a terminal only, on standard error.
pub struct Progress(Option<indicatif::ProgressBar>);

impl Progress {
    /// Shows nothing yet.
    pub fn start(format: Format) -> Progress {
        let visible = format == Format::Text && io::stderr().is_terminal();
        Progress(visible.then(|| {
            let bar = indicatif::ProgressBar::new_spinner();
            bar.enable_steady_tick(std::time::Duration::from_millis(100));
            bar
        }))
    }

    /// A bar that is full after so many steps.
    pub fn counting(format: Format, steps: usize) -> Progress {
        let visible = format == Format::Text && io::stderr().is_terminal();
        Progress(visible.then(|| {
            let style = indicatif::ProgressStyle::with_template("{msg} {bar:40} {pos}/{len}");
            let style = style.expect("the template is a constant");
            indicatif::ProgressBar::new(u64::try_from(steps).unwrap_or(u64::MAX)).with_style(style)
        }))
    }

    /// One step more.
    pub fn step(&self) {
        if let Some(bar) = &self.0 {
            bar.inc(1);
        }
    }

    /// What goes on now.
    pub fn say(&self, text: String) {
        if let Some(bar) = &self.0 {
            bar.set_message(text);
        }
    }

    /// Removes the line.
    pub fn end(self) {
        if let Some(bar) = self.0 {
            bar.finish_and_clear();
        }
    }
}
