//! Tokens of a master file (RFC 1035 §5.1): quotes, parentheses, comments and escapes.

use super::ZoneProblem;
use crate::Token;

/// One entry of the file: a line, or several that parentheses join.
#[derive(Debug, Default)]
pub(super) struct Entry<'t> {
    /// The line on which it begins, from 1.
    pub(super) line: usize,
    /// It begins with a blank: the owner is that of the entry before.
    pub(super) blank_owner: bool,
    pub(super) tokens: Vec<Token<'t>>,
    /// Line and column of each token, and of the end.
    pub(super) places: Vec<(usize, usize)>,
}

/// Cuts a file into entries.
#[derive(Debug)]
pub(super) struct Lexer<'t> {
    text: &'t [u8],
    position: usize,
    line: usize,
    line_start: usize,
}

impl<'t> Lexer<'t> {
    pub(super) const fn new(text: &'t [u8]) -> Self {
        Self { text, position: 0, line: 1, line_start: 0 }
    }

    /// The next entry that is not empty, into `entry`; false at the end of the file.
    pub(super) fn next(&mut self, entry: &mut Entry<'t>) -> Result<bool, ((usize, usize), ZoneProblem)> {
        loop {
            entry.tokens.clear();
            entry.places.clear();
            entry.line = self.line;
            entry.blank_owner = matches!(self.text.get(self.position), Some(b' ' | b'\t'));
            let more = self.entry(entry)?;
            if !entry.tokens.is_empty() {
                return Ok(true);
            }
            if !more {
                return Ok(false);
            }
        }
    }

    /// Reads up to the end of an entry; false at the end of the file.
    fn entry(&mut self, entry: &mut Entry<'t>) -> Result<bool, ((usize, usize), ZoneProblem)> {
        let mut open = None;
        while let Some(&octet) = self.text.get(self.position) {
            let place = self.place();
            match octet {
                b'\n' => {
                    self.new_line();
                    if open.is_none() {
                        entry.places.push(place);
                        return Ok(true);
                    }
                }
                b' ' | b'\t' | b'\r' => self.position += 1,
                b';' => self.position += self.rest().iter().take_while(|&&octet| octet != b'\n').count(),
                b'(' if open.is_none() => {
                    open = Some(place);
                    self.position += 1;
                }
                b')' if open.is_some() => {
                    open = None;
                    self.position += 1;
                }
                b'(' | b')' => return Err((place, ZoneProblem::Expected("parentheses that match"))),
                b'"' => {
                    let octets = self.quoted().ok_or((place, ZoneProblem::Unclosed("a closing quote")))?;
                    entry.tokens.push(Token { octets, quoted: true });
                    entry.places.push(place);
                }
                _ => {
                    entry.tokens.push(Token { octets: self.word(), quoted: false });
                    entry.places.push(place);
                }
            }
        }
        entry.places.push(self.place());
        match open {
            Some(place) => Err((place, ZoneProblem::Unclosed("a closing parenthesis"))),
            None => Ok(false),
        }
    }

    fn word(&mut self) -> &'t [u8] {
        let start = self.position;
        while let Some(&octet) = self.text.get(self.position) {
            match octet {
                b' ' | b'\t' | b'\r' | b'\n' | b';' | b'(' | b')' | b'"' => break,
                // Whatever is escaped belongs to the word, but a line never ends inside one.
                b'\\' if self.text.get(self.position + 1).is_some_and(|&next| next != b'\n') => {
                    self.position += 2;
                }
                _ => self.position += 1,
            }
        }
        &self.text[start..self.position]
    }

    fn quoted(&mut self) -> Option<&'t [u8]> {
        self.position += 1;
        let start = self.position;
        loop {
            match self.text.get(self.position)? {
                b'"' => break,
                b'\\' => self.position += 2,
                b'\n' => self.new_line(),
                _ => self.position += 1,
            }
        }
        let octets = self.text.get(start..self.position)?;
        self.position += 1;
        Some(octets)
    }

    fn new_line(&mut self) {
        self.position += 1;
        self.line += 1;
        self.line_start = self.position;
    }

    fn rest(&self) -> &'t [u8] {
        &self.text[self.position..]
    }

    fn place(&self) -> (usize, usize) {
        (self.line, self.position - self.line_start + 1)
    }
}
