//! Patterns over octets: literal, anchored or not. No wildcards, so matching is linear and cannot be made to backtrack.

/// How a part of a request must look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    shape: Shape,
    needle: Vec<u8>,
    ignore_case: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Is,
    StartsWith,
    EndsWith,
    Contains,
}

impl Pattern {
    /// Exactly this.
    #[must_use]
    pub fn is(text: impl Into<Vec<u8>>) -> Self {
        Self::new(Shape::Is, text)
    }

    /// This first.
    #[must_use]
    pub fn starts_with(text: impl Into<Vec<u8>>) -> Self {
        Self::new(Shape::StartsWith, text)
    }

    /// This last.
    #[must_use]
    pub fn ends_with(text: impl Into<Vec<u8>>) -> Self {
        Self::new(Shape::EndsWith, text)
    }

    /// This anywhere.
    #[must_use]
    pub fn contains(text: impl Into<Vec<u8>>) -> Self {
        Self::new(Shape::Contains, text)
    }

    /// Without regard to the case of ASCII letters.
    #[must_use]
    pub fn ignore_case(mut self) -> Self {
        self.ignore_case = true;
        self
    }

    fn new(shape: Shape, text: impl Into<Vec<u8>>) -> Self {
        Self { shape, needle: text.into(), ignore_case: false }
    }

    /// Whether `text` looks like that. At most `text.len() × needle.len()` comparisons.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        let length = self.needle.len();
        match self.shape {
            Shape::Is => self.same(text),
            Shape::StartsWith => text.get(..length).is_some_and(|head| self.same(head)),
            Shape::EndsWith => text.len() >= length && self.same(&text[text.len() - length..]),
            Shape::Contains => length == 0 || text.windows(length).any(|window| self.same(window)),
        }
    }

    fn same(&self, text: &[u8]) -> bool {
        if self.ignore_case { text.eq_ignore_ascii_case(&self.needle) } else { text == self.needle }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_and_case() {
        let check = |pattern: &Pattern, yes: &[&str], no: &[&str]| {
            yes.iter().for_each(|text| assert!(pattern.matches(text.as_bytes()), "{pattern:?} {text}"));
            no.iter().for_each(|text| assert!(!pattern.matches(text.as_bytes()), "{pattern:?} {text}"));
        };
        check(&Pattern::is("/a"), &["/a"], &["/A", "/ab", ""]);
        check(&Pattern::starts_with("/a"), &["/a", "/ab"], &["/", "b/a"]);
        check(&Pattern::ends_with(".php").ignore_case(), &["/x.PHP", ".php"], &["php", "/x.php5"]);
        check(&Pattern::contains("sqlmap").ignore_case(), &["SQLMap/1.5"], &["sqlma"]);
        check(&Pattern::contains(""), &["", "x"], &[]);
    }
}
