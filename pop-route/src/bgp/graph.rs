//! The graph of autonomous systems: who buys transit from whom, and who peers.

use core::fmt;

use ahash::AHashMap;

/// Systems in a graph at most: some ten times the Internet's.
pub const AS_MAX: usize = 1 << 20;
/// Links in a graph at most.
pub const LINKS_MAX: usize = 1 << 23;

/// The bounds as they are enforced: small in tests, which reach them.
const SYSTEMS: usize = if cfg!(test) { 32 } else { AS_MAX };
const LINKS: usize = if cfg!(test) { 48 } else { LINKS_MAX };

/// What a system is to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Relation {
    /// It pays for transit.
    Customer,
    /// Both exchange their customers' traffic.
    Peer,
    /// It sells transit.
    Provider,
}

/// Systems and their links.
///
/// ```
/// use pop_route::AsGraph;
///
/// // The serial-1 form of public relationship files: provider|customer|-1, peer|peer|0.
/// let graph = AsGraph::parse("# relationships\n64500|64510|-1\n64500|64501|0\n")?;
/// assert_eq!((graph.len(), graph.links()), (3, 2));
/// # Ok::<(), pop_route::GraphError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct AsGraph {
    numbers: AHashMap<u32, u32>,
    systems: Vec<u32>,
    /// For each system, its neighbours by place, with what each is to it.
    neighbours: Vec<Vec<(u32, Relation)>>,
    links: usize,
}

impl AsGraph {
    /// No system.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads `provider|customer|-1` and `peer|peer|0`, a link a line; `#` begins a comment, further fields are passed
    /// over.
    ///
    /// # Errors
    /// [`GraphError`] with the line.
    pub fn parse(text: &str) -> Result<Self, GraphError> {
        let mut graph = Self::new();
        for (line, text) in (1..).zip(text.lines()) {
            if text.trim().is_empty() || text.starts_with('#') {
                continue;
            }
            let mut fields = text.trim().split('|');
            let mut system =
                || fields.next().and_then(|field| field.parse().ok()).ok_or(GraphError::Syntax { line });
            let (one, other) = (system()?, system()?);
            match fields.next() {
                Some("-1") => graph.link(other, one, Relation::Provider),
                Some("0") => graph.link(one, other, Relation::Peer),
                _ => return Err(GraphError::Syntax { line }),
            }
            .map_err(|error| error.at(line))?;
        }
        Ok(graph)
    }

    /// Links two systems: `other` is to `one` what the relation says. A second link between the two replaces the first.
    ///
    /// # Errors
    /// [`GraphError`] for a system linked to itself, or beyond [`AS_MAX`] or [`LINKS_MAX`].
    pub fn link(&mut self, one: u32, other: u32, relation: Relation) -> Result<(), GraphError> {
        if one == other {
            return Err(GraphError::Itself { line: 0 });
        }
        let (one, other) = (self.number(one)?, self.number(other)?);
        let back = match relation {
            Relation::Customer => Relation::Provider,
            Relation::Peer => Relation::Peer,
            Relation::Provider => Relation::Customer,
        };
        if self.links >= LINKS {
            return Err(GraphError::Size { line: 0 });
        }
        let new = put(&mut self.neighbours[one as usize], other, relation);
        put(&mut self.neighbours[other as usize], one, back);
        self.links += usize::from(new);
        Ok(())
    }

    fn number(&mut self, system: u32) -> Result<u32, GraphError> {
        if let Some(&number) = self.numbers.get(&system) {
            return Ok(number);
        }
        if self.systems.len() >= SYSTEMS {
            return Err(GraphError::Size { line: 0 });
        }
        let number = self.systems.len() as u32;
        self.numbers.insert(system, number);
        self.systems.push(system);
        self.neighbours.push(Vec::new());
        Ok(number)
    }

    /// How many systems there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.systems.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.systems.is_empty()
    }

    /// How many links there are.
    #[must_use]
    pub const fn links(&self) -> usize {
        self.links
    }

    pub(super) fn place(&self, system: u32) -> Option<usize> {
        self.numbers.get(&system).map(|&number| number as usize)
    }

    pub(super) fn system(&self, place: usize) -> u32 {
        self.systems[place]
    }

    pub(super) fn neighbours(&self, place: usize) -> &[(u32, Relation)] {
        &self.neighbours[place]
    }
}

/// Sets a neighbour; true if it is a new one.
fn put(neighbours: &mut Vec<(u32, Relation)>, other: u32, relation: Relation) -> bool {
    match neighbours.iter_mut().find(|(neighbour, _)| *neighbour == other) {
        Some(old) => {
            old.1 = relation;
            false
        }
        None => {
            neighbours.push((other, relation));
            true
        }
    }
}

/// A graph that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GraphError {
    /// A line that is no link.
    Syntax {
        /// The line, from 1.
        line: usize,
    },
    /// A system linked to itself.
    Itself {
        /// The line, from 1; 0 if it came from no text.
        line: usize,
    },
    /// More than [`AS_MAX`] systems or [`LINKS_MAX`] links.
    Size {
        /// The line, from 1; 0 if it came from no text.
        line: usize,
    },
}

impl GraphError {
    fn at(self, line: usize) -> Self {
        match self {
            Self::Syntax { .. } => Self::Syntax { line },
            Self::Itself { .. } => Self::Itself { line },
            Self::Size { .. } => Self::Size { line },
        }
    }
}

impl fmt::Display for GraphError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax { line } => write!(f, "line {line}: expected AS|AS|-1 or AS|AS|0"),
            Self::Itself { line } => write!(f, "line {line}: a system is linked to itself"),
            Self::Size { line } => write!(f, "line {line}: more than {AS_MAX} systems or {LINKS_MAX} links"),
        }
    }
}

impl core::error::Error for GraphError {}
