//! When a rule applies: a conjunction of what a request looks like.

use std::net::IpAddr;

use http::{HeaderName, Method};

use super::view::View;
use super::{Pattern, RuleError};

/// What a request must look like; every part that is set must hold, and within methods and client blocks one of them
/// must. An empty condition always holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    methods: Vec<Method>,
    hosts: Vec<Pattern>,
    paths: Vec<Pattern>,
    queries: Vec<Pattern>,
    fields: Vec<(HeaderName, Option<Pattern>)>,
    absent: Vec<HeaderName>,
    clients: Vec<Block>,
    length_above: Option<u64>,
    double_encoded: bool,
    escapes_root: bool,
    control_characters: bool,
}

/// An address block, as the bits that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    ipv4: bool,
    bits: u128,
    length: u8,
}

impl Condition {
    /// A condition that always holds.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// This method, or another one that was named.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.methods.push(method);
        self
    }

    /// The host it is for, without a port.
    #[must_use]
    pub fn host(mut self, pattern: Pattern) -> Self {
        self.hosts.push(pattern.ignore_case());
        self
    }

    /// The path, decoded and without dot segments.
    #[must_use]
    pub fn path(mut self, pattern: Pattern) -> Self {
        self.paths.push(pattern);
        self
    }

    /// The query, decoded.
    #[must_use]
    pub fn query(mut self, pattern: Pattern) -> Self {
        self.queries.push(pattern);
        self
    }

    /// A field with a line that looks like this.
    #[must_use]
    pub fn field(mut self, name: HeaderName, pattern: Pattern) -> Self {
        self.fields.push((name, Some(pattern)));
        self
    }

    /// A field that is there, whatever it says.
    #[must_use]
    pub fn field_present(mut self, name: HeaderName) -> Self {
        self.fields.push((name, None));
        self
    }

    /// A field that is missing.
    #[must_use]
    pub fn field_absent(mut self, name: HeaderName) -> Self {
        self.absent.push(name);
        self
    }

    /// A client in this block, or in another one that was named.
    ///
    /// # Errors
    /// [`RuleError::Prefix`] if the length is above the family's.
    pub fn client(mut self, (address, length): (IpAddr, u8)) -> Result<Self, RuleError> {
        self.clients.push(Block::new(address, length)?);
        Ok(self)
    }

    /// A Content-Length above this many octets.
    #[must_use]
    pub fn length_above(mut self, octets: u64) -> Self {
        self.length_above = Some(octets);
        self
    }

    /// A target in which something is percent-encoded twice.
    #[must_use]
    pub fn double_encoded(mut self) -> Self {
        self.double_encoded = true;
        self
    }

    /// A path whose dot segments climb above the root.
    #[must_use]
    pub fn escapes_root(mut self) -> Self {
        self.escapes_root = true;
        self
    }

    /// A target with control characters in it, encoded or not.
    #[must_use]
    pub fn control_characters(mut self) -> Self {
        self.control_characters = true;
        self
    }

    pub(super) fn holds(&self, view: &View<'_>) -> bool {
        let all = |patterns: &[Pattern], text: &[u8]| patterns.iter().all(|pattern| pattern.matches(text));
        (self.methods.is_empty() || self.methods.contains(view.head.method))
            && (self.clients.is_empty() || self.clients.iter().any(|block| block.contains(view.client)))
            && all(&self.paths, &view.path)
            && all(&self.queries, &view.query)
            && (self.hosts.is_empty() || all(&self.hosts, view.head.host.as_bytes()))
            && self.fields.iter().all(|(name, pattern)| has_field(view, name, pattern.as_ref()))
            && self.absent.iter().all(|name| !view.head.headers.contains_key(name))
            && self.length_above.is_none_or(|bound| content_length(view).is_some_and(|length| length > bound))
            && (!self.double_encoded || view.is_double_encoded())
            && (!self.escapes_root || view.escapes_root)
            && (!self.control_characters || view.has_control_characters())
    }
}

fn has_field(view: &View<'_>, name: &HeaderName, pattern: Option<&Pattern>) -> bool {
    let mut lines = view.head.headers.get_all(name).iter();
    match pattern {
        None => lines.next().is_some(),
        Some(pattern) => lines.any(|line| pattern.matches(line.as_bytes())),
    }
}

fn content_length(view: &View<'_>) -> Option<u64> {
    view.head.headers.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

impl Block {
    fn new(address: IpAddr, length: u8) -> Result<Self, RuleError> {
        let (ipv4, bits, width) = aligned(address);
        if length > width {
            return Err(RuleError::Prefix { address, length });
        }
        Ok(Self { ipv4, bits: bits & mask(length), length })
    }

    fn contains(self, address: IpAddr) -> bool {
        let (ipv4, bits, _) = aligned(address);
        ipv4 == self.ipv4 && bits & mask(self.length) == self.bits
    }
}

/// The family, the address at the upper end of a word, and the family's width.
fn aligned(address: IpAddr) -> (bool, u128, u8) {
    match address {
        IpAddr::V4(address) => (true, u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (false, address.to_bits(), 128),
    }
}

fn mask(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::seen;
    use super::*;
    use http::{Request, header};

    fn holds(condition: &Condition, request: http::request::Builder, client: &str) -> bool {
        seen(request, client, |view| condition.holds(view))
    }

    #[test]
    fn every_part_that_is_set_must_hold() {
        let condition = Condition::new()
            .method(Method::POST)
            .method(Method::PUT)
            .path(Pattern::starts_with("/login"))
            .client(("192.0.2.0".parse().unwrap(), 24))
            .unwrap();
        assert!(holds(&condition, Request::post("/login"), "192.0.2.77"));
        assert!(holds(&condition, Request::put("/login"), "::ffff:192.0.2.77"));
        assert!(!holds(&condition, Request::get("/login"), "192.0.2.77"));
        assert!(!holds(&condition, Request::post("/logout"), "192.0.2.77"));
        assert!(!holds(&condition, Request::post("/login"), "192.0.3.77"));
        assert!(holds(&Condition::new(), Request::get("/"), "192.0.2.1"));
    }

    #[test]
    fn fields_hosts_and_lengths() {
        let agent = Condition::new().field(header::USER_AGENT, Pattern::contains("scan").ignore_case());
        assert!(holds(&agent, Request::get("/").header(header::USER_AGENT, "MasScan/1"), "192.0.2.1"));
        assert!(!holds(&agent, Request::get("/"), "192.0.2.1"));
        let absent = Condition::new().field_absent(header::USER_AGENT);
        assert!(holds(&absent, Request::get("/"), "192.0.2.1"));
        assert!(holds(
            &Condition::new().host(Pattern::is("WWW.example.org")),
            Request::get("/"),
            "192.0.2.1"
        ));
        assert!(!holds(&Condition::new().host(Pattern::ends_with(".net")), Request::get("/"), "192.0.2.1"));
        let large = Condition::new().length_above(10);
        assert!(holds(&large, Request::post("/").header(header::CONTENT_LENGTH, "11"), "192.0.2.1"));
        assert!(!holds(&large, Request::post("/").header(header::CONTENT_LENGTH, "10"), "192.0.2.1"));
    }

    #[test]
    fn prefixes_of_every_length() {
        let error = Condition::new().client(("192.0.2.0".parse().unwrap(), 33)).unwrap_err();
        assert_eq!(error.to_string(), "prefix length 33 of 192.0.2.0 is above 32");
        let everybody = Condition::new().client(("::".parse().unwrap(), 0)).unwrap();
        assert!(holds(&everybody, Request::get("/"), "2001:db8::1"));
        assert!(!holds(&everybody, Request::get("/"), "192.0.2.1"));
    }
}
