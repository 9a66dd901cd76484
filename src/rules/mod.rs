//! Request rules: what one request looks like, and what follows from that.
//!
//! A rule is a conjunction of conditions, an optional exception of the same shape, and an action. Rules are asked in
//! order; the first that denies, limits or passes ends the matter, one that only counts lets the search go on. A rule
//! remembers nothing about clients but what its own limit holds in fixed memory: whoever needs memory is `guard`.
//!
//! Paths and queries are matched as most origins understand them: percent-decoded once, dot segments removed, runs of
//! slashes taken for one. So `/%2e%2e/admin`, `/x/../admin` and `//admin` are all `/admin` here. Letters keep their case
//! (see [`Pattern::ignore_case`]), and backslashes and `;parameters` stay as they are. What needs a second decoding to
//! mean something is what [`Condition::double_encoded`] looks for. Matching is linear in the request and never backtracks.

mod action;
mod condition;
mod pattern;
mod view;

#[cfg(feature = "config")]
pub(crate) use view::as_read;

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use pop_ratelimit::Timestamp;

use crate::{Denial, Gate, RequestHead, Verdict};

pub use action::{Action, LIMIT_MEMORY_BYTES};
pub use condition::Condition;
pub use pattern::Pattern;
use view::View;

/// The most rules in a set: each costs every request a few comparisons.
pub const RULES_MAX: usize = 1024;

/// One rule: a name for the log, when it applies, when it does not all the same, and what follows.
#[derive(Debug)]
pub struct Rule {
    name: String,
    when: Condition,
    unless: Option<Condition>,
    action: Action,
    /// Requests it applied to. A counter and nothing else.
    hits: AtomicU64,
}

impl Rule {
    /// A rule that does `action` whenever `when` holds.
    #[must_use]
    pub fn new(name: impl Into<String>, when: Condition, action: Action) -> Self {
        Self { name: name.into(), when, unless: None, action, hits: AtomicU64::new(0) }
    }

    /// But not when this holds.
    #[must_use]
    pub fn unless(mut self, exception: Condition) -> Self {
        self.unless = Some(exception);
        self
    }

    /// The name it is logged by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many requests it applied to so far.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    fn applies(&self, view: &View<'_>) -> bool {
        self.when.holds(view) && !self.unless.as_ref().is_some_and(|exception| exception.holds(view))
    }
}

/// What the rules say of a request. A denial is an outcome, not an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "an outcome that nobody looks at protects nothing"]
pub enum Outcome<'r> {
    /// No rule objects.
    Pass,
    /// A rule refuses it with a status.
    Denied {
        /// The rule's name.
        rule: &'r str,
        /// What the client is told.
        status: http::StatusCode,
    },
    /// A rule's limit is used up by this client.
    Limited {
        /// The rule's name.
        rule: &'r str,
        /// When the same request would pass; `None` if never.
        retry_after: Option<std::time::Duration>,
    },
}

/// A set of rules, asked in order. It is a [`Gate`].
///
/// ```
/// use http::{HeaderMap, Method, StatusCode, Version};
/// use pop_edge::RequestHead;
/// use pop_edge::ratelimit::Timestamp;
/// use pop_edge::rules::{Action, Condition, Outcome, Pattern, Rule, Rules};
///
/// let rules = Rules::new([
///     Rule::new(
///         "admin from inside",
///         Condition::new().path(Pattern::starts_with("/admin")),
///         Action::Deny(StatusCode::FORBIDDEN),
///     )
///     .unless(Condition::new().client(("10.0.0.0".parse()?, 8))?),
///     Rule::new("no TRACE", Condition::new().method(Method::TRACE), Action::Deny(StatusCode::METHOD_NOT_ALLOWED)),
/// ])?;
/// let head = RequestHead {
///     client: "203.0.113.9".parse()?,
///     method: &Method::GET,
///     uri: &"/x/%2e%2e/admin/users".parse()?,
///     host: "www.example.org",
///     headers: &HeaderMap::new(),
///     version: Version::HTTP_11,
///     is_tls: false,
/// };
/// let denied = Outcome::Denied { rule: "admin from inside", status: StatusCode::FORBIDDEN };
/// assert_eq!(rules.check_at(&head, Timestamp::ZERO), denied);
/// let inside = RequestHead { client: "10.1.2.3".parse()?, ..head };
/// assert_eq!(rules.check_at(&inside, Timestamp::ZERO), Outcome::Pass);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
}

impl Rules {
    /// These rules, in this order.
    ///
    /// # Errors
    /// [`RuleError`] with more than [`RULES_MAX`] rules, or two of one name.
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Result<Self, RuleError> {
        let rules: Vec<Rule> = rules.into_iter().collect();
        if rules.len() > RULES_MAX {
            return Err(RuleError::Count { rules: rules.len() });
        }
        let mut names: Vec<&str> = rules.iter().map(Rule::name).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(RuleError::Duplicate { name: pair[0].to_owned() });
        }
        Ok(Self { rules })
    }

    /// What every edge in front of strangers wants: no traversal out of the document root, no hidden files, no
    /// doubly encoded paths, no control characters, no TRACE.
    #[must_use]
    pub fn baseline() -> Self {
        let deny = |name: &str, when: Condition, status: http::StatusCode| {
            Rule::new(name, when, Action::Deny(status))
        };
        let path = |pattern: Pattern| Condition::new().path(pattern);
        let rules = vec![
            deny("trace", Condition::new().method(http::Method::TRACE), http::StatusCode::METHOD_NOT_ALLOWED),
            deny("double encoding", Condition::new().double_encoded(), http::StatusCode::BAD_REQUEST),
            deny("traversal", Condition::new().escapes_root(), http::StatusCode::BAD_REQUEST),
            deny("control characters", Condition::new().control_characters(), http::StatusCode::BAD_REQUEST),
            deny("hidden files", path(Pattern::contains("/.")), http::StatusCode::NOT_FOUND)
                // RFC 8615: this one is meant to be seen.
                .unless(path(Pattern::starts_with("/.well-known/"))),
        ];
        Self { rules }
    }

    /// These rules after ours.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn then(self, rules: impl IntoIterator<Item = Rule>) -> Result<Self, RuleError> {
        Self::new(self.rules.into_iter().chain(rules))
    }

    /// Asks the rules about a request at `now`.
    ///
    /// Allocates only where the target is percent-encoded or has dot segments.
    pub fn check_at(&self, head: &RequestHead<'_>, now: Timestamp) -> Outcome<'_> {
        if self.rules.is_empty() {
            return Outcome::Pass;
        }
        let view = View::new(head);
        for rule in self.rules.iter().filter(|rule| rule.applies(&view)) {
            rule.hits.fetch_add(1, Ordering::Relaxed);
            match &rule.action {
                Action::Deny(status) => return Outcome::Denied { rule: &rule.name, status: *status },
                Action::Pass => return Outcome::Pass,
                Action::Count => {}
                Action::Limit(limiter) => {
                    let decision = limiter.check_at(&view.client, now, 1);
                    if !decision.is_allowed() {
                        return Outcome::Limited { rule: &rule.name, retry_after: decision.retry_after() };
                    }
                }
            }
        }
        Outcome::Pass
    }

    /// The rules, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl Gate for Rules {
    fn counts(&self, tell: &mut dyn FnMut(&str, u64)) {
        self.rules.iter().for_each(|rule| tell(rule.name(), rule.hits()));
    }

    fn request(&self, head: &RequestHead<'_>) -> Verdict {
        match self.check_at(head, pop_ratelimit::now()) {
            Outcome::Pass => Verdict::Pass,
            Outcome::Denied { rule, status } => {
                tracing::debug!(target: "pop_edge::rules", rule, client = %head.client, "denied");
                Verdict::Deny(Denial::new(status, "rule"))
            }
            Outcome::Limited { rule, retry_after } => {
                tracing::debug!(target: "pop_edge::rules", rule, client = %head.client, "limited");
                Verdict::Deny(Denial::limited(retry_after))
            }
        }
    }
}

/// A set of rules that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RuleError {
    /// More than [`RULES_MAX`].
    Count {
        /// How many.
        rules: usize,
    },
    /// Two rules have one name, so that a log line could mean either.
    Duplicate {
        /// The name.
        name: String,
    },
    /// A prefix longer than its address.
    Prefix {
        /// The address.
        address: IpAddr,
        /// The length.
        length: u8,
    },
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { rules } => write!(f, "{rules} rules, at most {RULES_MAX}"),
            Self::Duplicate { name } => write!(f, "two rules are called {name:?}"),
            Self::Prefix { address, length } => {
                let bits = if address.is_ipv4() { 32 } else { 128 };
                write!(f, "prefix length {length} of {address} is above {bits}")
            }
        }
    }
}

impl std::error::Error for RuleError {}
