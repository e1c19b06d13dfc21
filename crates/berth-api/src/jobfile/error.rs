//! What is wrong with a job file, and where: collected while reading, shown once.

use std::fmt;

/// At most this many faults of one file are told; the rest are counted.
pub const MAX_ERRORS: usize = 10;

/// Where a value stands: in a file, and in the document's tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// From 1; 0 where there is no text, such as in a request's JSON value.
    pub line: usize,
    /// In characters, from 1; 0 where there is no text.
    pub column: usize,
    /// Keys and positions from the top, such as `groups[0].tasks[0].image`.
    pub path: String,
}

/// One fault of a job file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct JobFileError {
    /// The file, as its caller named it.
    pub file: String,
    /// Line from 1; none where the input was not text.
    pub line: Option<usize>,
    /// Column in characters from 1; none where the input was not text.
    pub column: Option<usize>,
    /// Keys and positions from the top, such as `groups[0].tasks[0].image`; empty for the whole.
    pub path: String,
    /// What was found and what was expected.
    pub message: String,
    /// The valid word nearest to what was written.
    pub nearest: Option<String>,
    /// The line at fault, cut to a bounded window around the column.
    pub source_line: Option<String>,
    /// The place of the caret in `source_line`, in characters from 0.
    pub caret: usize,
}

impl fmt::Display for JobFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": ")?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{}", self.message)?;
        if let Some(nearest) = &self.nearest {
            write!(f, "; did you mean `{nearest}`?")?;
        }
        if let (Some(text), Some(line)) = (&self.source_line, self.line) {
            let gutter = line.to_string();
            let blank = " ".repeat(gutter.len());
            write!(f, "\n {gutter} | {text}\n {blank} | {}^", " ".repeat(self.caret))?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a job file, in order of place.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, thiserror::Error)]
pub struct JobFileErrors {
    /// At least one, at most [`MAX_ERRORS`].
    pub errors: Vec<JobFileError>,
    /// How many more there are.
    pub omitted: usize,
}

impl fmt::Display for JobFileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.errors.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        match self.omitted {
            0 => Ok(()),
            n => write!(f, "\nand {n} more"),
        }
    }
}

/// A fault before it knows its file.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub place: Option<Place>,
    pub message: String,
    pub nearest: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl serde::de::Error for Fault {
    fn custom<T: fmt::Display>(msg: T) -> Self {
        Fault { place: None, message: msg.to_string(), nearest: None }
    }
}

/// Collects faults and the places of values while a document is read.
#[derive(Default)]
pub(super) struct Faults {
    list: Vec<(Place, Fault)>,
    places: Vec<Place>,
}

impl Faults {
    /// Remembers a place; the number finds it again.
    pub fn remember(&mut self, place: Place) -> usize {
        self.places.push(place);
        self.places.len() - 1
    }

    /// The place of that number; the document's start for a number never given.
    pub fn place(&self, id: usize) -> Place {
        self.places.get(id).cloned().unwrap_or_default()
    }

    /// A fault at a remembered place.
    pub fn at(&mut self, id: usize, message: impl Into<String>) {
        self.at_nearest(id, message, None);
    }

    /// A fault at a remembered place, with the valid word nearest to what was written.
    pub fn at_nearest(&mut self, id: usize, message: impl Into<String>, nearest: Option<String>) {
        let place = self.place(id);
        self.add(place, Fault { place: None, message: message.into(), nearest });
    }

    /// A fault at a place of its own, or else at `place`.
    pub fn add(&mut self, place: Place, mut fault: Fault) {
        let place = fault.place.take().unwrap_or(place);
        self.list.push((place, fault));
    }

    /// Whether nothing was wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Names the file and cuts the lines out of `text`.
    pub fn finish(mut self, file: &str, text: Option<&str>) -> JobFileErrors {
        self.list.sort_by_key(|(place, _)| (place.line, place.column));
        let omitted = self.list.len().saturating_sub(MAX_ERRORS);
        self.list.truncate(MAX_ERRORS);
        let errors = self.list.into_iter().map(|(place, fault)| located(file, text, place, fault)).collect();
        JobFileErrors { errors, omitted }
    }
}

fn located(file: &str, text: Option<&str>, place: Place, fault: Fault) -> JobFileError {
    let shown = text.filter(|_| place.line > 0).map(|text| window(text, place.line, place.column));
    let (source_line, caret) = match shown {
        Some((line, caret)) => (Some(line), caret),
        None => (None, 0),
    };
    JobFileError {
        file: file.to_owned(),
        line: (place.line > 0).then_some(place.line),
        column: (place.line > 0).then_some(place.column),
        path: place.path,
        message: fault.message,
        nearest: fault.nearest,
        source_line,
        caret,
    }
}

/// The line, cut to 100 characters around the column; control characters become blanks, so that a
/// file cannot steer the terminal that shows its faults.
fn window(text: &str, line: usize, column: usize) -> (String, usize) {
    const WIDTH: usize = 100;
    let whole = text.lines().nth(line - 1).unwrap_or("");
    let start = column.saturating_sub(1).saturating_sub(WIDTH / 2);
    let start = if column <= WIDTH - 20 { 0 } else { start };
    let shown: String = whole.chars().skip(start).take(WIDTH).map(|c| if c.is_control() { ' ' } else { c }).collect();
    (shown.trim_end().to_owned(), column.saturating_sub(1).saturating_sub(start))
}

/// What `text` looks like in a message: bounded, and without control characters.
pub(super) fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(60).collect();
    let rest = if text.chars().count() > 60 { "…" } else { "" };
    format!("`{}{rest}`", harmless(&shown))
}

/// `text` with its control characters written out.
pub(super) fn harmless(text: &str) -> String {
    text.chars().flat_map(Escape::escape_debug_keeping_quotes).collect()
}

trait Escape {
    fn escape_debug_keeping_quotes(self) -> Vec<char>;
}

impl Escape for char {
    fn escape_debug_keeping_quotes(self) -> Vec<char> {
        match self {
            '"' | '\'' | '\\' => vec![self],
            other => other.escape_debug().collect(),
        }
    }
}

/// The word of `valid` nearest to `word`, if near enough to be meant.
pub(super) fn nearest<'a>(word: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let word: String = word.chars().take(80).flat_map(char::to_lowercase).collect();
    valid
        .into_iter()
        .map(|v| (strsim::damerau_levenshtein(&word, &v.to_lowercase()), v))
        .filter(|(distance, v)| *distance <= (v.len().max(word.len()) / 3).max(1) && *distance < v.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, v)| v.to_owned())
}
