//! A section that parses and cannot be used: what was expected, and where in the text it stands.

use std::fmt::Display;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

/// What is wrong with a section, and the way to it from the root of the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// From the root, as far as it is known.
    path: Vec<Step>,
    text: String,
}

/// One step from a value to one in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(&'static str),
    Index(usize),
}

impl Problem {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { path: Vec::new(), text: text.into() }
    }

    /// The same of the value that has this one under `key`, by which the text calls it.
    pub(crate) fn under(self, key: &'static str) -> Self {
        self.called(key).at(Step::Key(key))
    }

    /// The same of the value that has this one there.
    pub(crate) fn at(mut self, step: Step) -> Self {
        self.path.insert(0, step);
        self
    }

    /// The text says of what it is.
    pub(crate) fn called(mut self, name: impl Display) -> Self {
        self.text = format!("{name}: {}", self.text);
        self
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

impl From<&str> for Problem {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Problem {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

/// The text that a file was read from, to find a section in again. It is parsed a second time only to tell an error.
#[derive(Clone, Default)]
pub(crate) struct Source(Option<Arc<str>>);

impl std::fmt::Debug for Source {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Tokens and the like are in it.
        formatter.write_str("Source")
    }
}

impl Source {
    pub(crate) fn new(text: &str) -> Self {
        Self(Some(text.into()))
    }

    /// Line and column of what a problem is about: of the table around it where a key is not written; `None` where the
    /// file has no such entry, because it was added by somebody else.
    pub(crate) fn place(&self, problem: &Problem) -> Option<(usize, usize)> {
        let text = self.0.as_deref()?;
        let table = DeTable::parse(text).ok()?.into_inner();
        let (first, rest) = problem.path.split_first()?;
        let Step::Key(first) = first else { return None };
        let (_, mut value) = table.iter().find(|(key, _)| **key.get_ref() == **first)?;
        for step in rest {
            value = match (value.get_ref(), step) {
                (DeValue::Table(table), Step::Key(name)) => {
                    match table.iter().find(|(key, _)| **key.get_ref() == **name) {
                        Some((_, value)) => value,
                        None => break,
                    }
                }
                (DeValue::Array(array), Step::Index(index)) => array.get(*index)?,
                _ => break,
            };
        }
        Some(place(text, value.span().start))
    }
}

/// Line and column of an offset.
pub(crate) fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_as_deep_as_they_are_written() {
        let source = Source::new("[limit]\nrate = 1\n\n[[host]]\nname = \"a\"\n\n[[host]]\n  name = \"b\"\n");
        let host = |index| Problem::new("wrong").at(Step::Index(index)).at(Step::Key("host"));
        let name =
            |index| Problem::new("wrong").at(Step::Key("name")).at(Step::Index(index)).at(Step::Key("host"));
        assert_eq!(source.place(&Problem::new("wrong").under("rate").under("limit")), Some((2, 8)));
        assert_eq!(source.place(&Problem::new("wrong").under("burst").under("limit")), Some((1, 1)));
        assert_eq!(source.place(&name(1)), Some((8, 10)));
        assert_eq!(source.place(&host(1)), Some((7, 1)));
        assert_eq!(source.place(&host(2)), None, "that one is not from the file");
        assert_eq!(source.place(&Problem::new("wrong").under("guard")), None);
        assert_eq!(Problem::new("wrong").under("rate").under("limit").into_text(), "limit: rate: wrong");
    }
}
