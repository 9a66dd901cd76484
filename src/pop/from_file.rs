//! A builder from a configuration file: each section becomes what the builder's methods take.

use std::path::Path;
use std::time::Duration;

use http::{HeaderName, Method, StatusCode};
use pop_dns::NameBuf;
use pop_dns::zone::Zone;
use pop_ratelimit::{Access, AccessList, Quota};

use super::{Pop, PopBuilder};
use crate::config::{
    Admin, Block, CachePolicy, CacheSection, CertificateError, Certificates, ConditionSection, File, FileError, Forwarding, GuardSection,
    Host, HostSection, Limit, LimitSection, Origin, PatternSection, PresetName, RuleSection, ZoneSection,
};
use crate::exchange::chain;
use crate::guard::{
    CONNECTIONS_MAX, CONNECTIONS_PER_NETWORK_MAX, ConnectionBounds, ForwardingField, Guard, TrustedProxies,
};
use crate::rules::{Action, Condition, Pattern, Rule, Rules};

/// Memory of a cache whose file does not say.
const CAPACITY_BYTES: u64 = 256 << 20;
/// What lies on a disk whose file does not say.
#[cfg(feature = "disk")]
const DISK_BYTES: u64 = 1 << 30;

/// A section that cannot be used: where, and what was expected.
type Problem = String;

impl PopBuilder {
    /// What `file` describes. Zones and certificates are read from beside `path`; errors call the file so.
    ///
    /// # Errors
    /// [`FileError`] names the section that is wrong, or the zone file, its line and column.
    pub fn from_file(file: &File, path: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = path.as_ref();
        build(file, path.parent().unwrap_or(Path::new(""))).map_err(|problem| FileError {
            file: path.to_owned(),
            line: 0,
            column: 0,
            problem,
        })
    }
}

fn build(file: &File, directory: &Path) -> Result<PopBuilder, Problem> {
    let name = if file.name.is_empty() { "pop" } else { &file.name };
    let mut pop = match file.preset {
        PresetName::Cdn => Pop::cdn(name),
        PresetName::Security => Pop::security(name),
        PresetName::Isp => Pop::isp(name),
        PresetName::Cloud => Pop::cloud(name),
    };
    pop = file.listen.http.iter().fold(pop, |pop, &address| pop.http(address));
    pop = https(pop, file, directory)?;
    pop = dns(pop, file, directory)?;
    if let Some(address) = file.listen.admin {
        let admin = Admin::new(address);
        pop = pop.admin(match &file.listen.admin_token {
            Some(token) => admin.token(token).allow_changes(),
            None => admin,
        });
    }
    if let Some(policy) = cache(&file.cache, directory).map_err(at("cache"))? {
        pop = pop.cache(policy);
    }
    if let Some(section) = &file.limit {
        pop = pop.limit(Limit::per_client(quota(section).map_err(at("limit"))?));
    }
    pop = guard(pop, &file.guard).map_err(at("guard"))?;
    let mut rules = if file.guard.baseline.unwrap_or(false) { Rules::baseline() } else { Rules::default() };
    rules = rules
        .then(file.rule.iter().map(rule).collect::<Result<Vec<_>, _>>()?)
        .map_err(|error| error.to_string())?;
    if !rules.is_empty() {
        // The same rules keep what they have counted.
        pop = pop.gate_made_from(format!("rules {:?} {:?}", file.guard.baseline, file.rule), rules);
    }
    for section in &file.host {
        pop = pop.host_with(host(section, directory).map_err(at(&format!("host {:?}", section.name)))?);
    }
    Ok(pop)
}

fn at(section: &str) -> impl Fn(Problem) -> Problem {
    move |problem| format!("{section}: {problem}")
}

fn https(pop: PopBuilder, file: &File, directory: &Path) -> Result<PopBuilder, Problem> {
    if file.listen.https.is_empty() {
        return Ok(pop);
    }
    let mut all: Option<Certificates> = None;
    for certificates in tls(file, directory)?.into_iter().chain(certificates_of_hosts(file, directory)?) {
        all = Some(match all {
            Some(all) => all.and(&certificates),
            None => certificates,
        });
    }
    let all = all.ok_or_else(|| "tls: expected certificate and key, or self_signed".to_owned())?;
    Ok(file.listen.https.iter().fold(pop, |pop, &address| pop.https(address, all.clone())))
}

/// What `[tls]` says: shown for the names in the certificate itself, and for those of hosts that have none of their own.
fn tls(file: &File, directory: &Path) -> Result<Vec<Certificates>, Problem> {
    let wrong = |error: CertificateError| at("tls")(chain(&error));
    match (&file.tls.certificate, &file.tls.key) {
        (Some(chain), Some(key)) => {
            let load = |names: Vec<&str>| {
                Certificates::pem_files(names, directory.join(chain), directory.join(key)).map_err(wrong)
            };
            let plain = file.host.iter().filter(|host| host.name != "*" && host.certificate.is_none());
            let named: Vec<&str> = plain.map(|host| &*host.name).collect();
            let own = load(Vec::new())?;
            Ok(if named.is_empty() { vec![own] } else { vec![load(named)?, own] })
        }
        (None, None) if !file.tls.self_signed.is_empty() => {
            Ok(vec![Certificates::self_signed(&file.tls.self_signed).map_err(wrong)?])
        }
        (None, None) => Ok(Vec::new()),
        _ => Err("tls: expected both certificate and key".to_owned()),
    }
}

/// The certificates that hosts have of their own: shown for the host's name, or where that is any, for their own names.
fn certificates_of_hosts(file: &File, directory: &Path) -> Result<Vec<Certificates>, Problem> {
    let mut all = Vec::new();
    for host in &file.host {
        let at = at(&format!("host {:?}", host.name));
        match (&host.certificate, &host.key) {
            (Some(certificate), Some(key)) => {
                let names = Some(&*host.name).filter(|name| *name != "*");
                let loaded = Certificates::pem_files(names, directory.join(certificate), directory.join(key));
                all.push(loaded.map_err(|error| at(chain(&error)))?);
            }
            (None, None) => {}
            _ => return Err(at("expected both certificate and key".to_owned())),
        }
    }
    Ok(all)
}

fn dns(mut pop: PopBuilder, file: &File, directory: &Path) -> Result<PopBuilder, Problem> {
    match (file.listen.dns.is_empty(), file.zone.is_empty()) {
        (true, true) => return Ok(pop),
        (true, false) => return Err("zone: expected an address in listen.dns to answer on".to_owned()),
        (false, true) => return Err("listen.dns: expected a zone to answer".to_owned()),
        (false, false) => {}
    }
    // Every address answers every zone.
    pop.dns.extend(file.listen.dns.iter().map(|&address| (address, None)));
    for section in &file.zone {
        pop.zones.push(zone(section, directory)?);
    }
    Ok(pop)
}

fn zone(section: &ZoneSection, directory: &Path) -> Result<Zone, Problem> {
    let origin: NameBuf =
        section.origin.parse().map_err(|error| format!("zone {:?}: origin: {error}", section.origin))?;
    Zone::load(&directory.join(&section.file), origin).map_err(|error| chain(&error))
}

fn quota(section: &LimitSection) -> Result<Quota, Problem> {
    let per = section.per.map_or(Duration::from_secs(1), |span| span.0);
    let quota = Quota::new(section.rate, per).map_err(|error| error.to_string())?;
    match section.burst {
        Some(burst) => quota.try_burst(burst).map_err(|error| error.to_string()),
        None => Ok(quota),
    }
}

/// The policy of a section; `None` for an empty one, which leaves the preset's.
fn cache(section: &CacheSection, directory: &Path) -> Result<Option<CachePolicy>, Problem> {
    if section.off {
        return Ok(Some(CachePolicy::off()));
    }
    let names = |field: &str, names: &[String]| -> Result<Vec<HeaderName>, Problem> {
        names
            .iter()
            .map(|name| name.parse().map_err(|_| format!("{field}: {name:?} is no field name")))
            .collect()
    };
    let capacity = section.capacity.map_or(CAPACITY_BYTES, |octets| octets.0);
    let mut policy = CachePolicy::preset(capacity);
    let mut rules = policy.rules.clone();
    if let Some(targets) = &section.targets {
        rules.targets = names("targets", targets)?;
    }
    if let Some(grace) = section.stale_if_error {
        (rules.stale_if_error, rules.stale_if_disconnected) = (grace.0, grace.0);
    }
    rules.stale_while_revalidate =
        section.stale_while_revalidate.map_or(rules.stale_while_revalidate, |span| span.0);
    policy = policy.rules(rules);
    if let Some(fields) = &section.tag_fields {
        let fields = names("tag_fields", fields)?;
        policy = policy.with(move |builder| builder.tag_fields(fields.clone()));
    }
    if !section.ignore_query.is_empty() {
        let ignored = section.ignore_query.clone();
        policy = policy.with(move |builder| {
            let ignored = ignored.clone();
            builder.keep_query(move |name| !ignored.iter().any(|pattern| names_match(pattern, name)))
        });
    }
    if !section.bypass.is_empty() {
        let prefixes = section.bypass.clone();
        policy = policy.with(move |builder| {
            let prefixes = prefixes.clone();
            builder.bypass(move |head| bypasses(&prefixes, head.uri.path()))
        });
    }
    if section.query {
        policy = policy.query();
    }
    policy = compressed(policy, &section.compress)?;
    policy = on_disk(policy, section, directory)?;
    // The same section makes the same policy: a reload of the file keeps what is stored.
    Ok(Some(policy.made_from(format!("{section:?}"))))
}

#[cfg(feature = "compression")]
fn compressed(policy: CachePolicy, names: &[String]) -> Result<CachePolicy, Problem> {
    use pop_cache::http::{Coding, Compression};
    if names.is_empty() {
        return Ok(policy);
    }
    let all = Compression::default();
    let coding = |name: &String| {
        let known = all.codings.iter().find(|coding: &&Coding| coding.as_str() == name);
        known.copied().ok_or_else(|| format!("compress: expected br, zstd or gzip, found {name:?}"))
    };
    let codings = names.iter().map(coding).collect::<Result<_, _>>()?;
    Ok(policy.compression(Compression { codings, ..all }))
}

#[cfg(not(feature = "compression"))]
fn compressed(policy: CachePolicy, names: &[String]) -> Result<CachePolicy, Problem> {
    if names.is_empty() {
        Ok(policy)
    } else {
        Err("compress: this program was built without compression".into())
    }
}

#[cfg(feature = "disk")]
fn on_disk(policy: CachePolicy, section: &CacheSection, directory: &Path) -> Result<CachePolicy, Problem> {
    match (&section.disk, section.disk_capacity) {
        (Some(folder), capacity) => {
            Ok(policy.disk(directory.join(folder), capacity.map_or(DISK_BYTES, |octets| octets.0)))
        }
        (None, Some(_)) => Err("disk_capacity: expected a disk".to_owned()),
        (None, None) => Ok(policy),
    }
}

#[cfg(not(feature = "disk"))]
fn on_disk(policy: CachePolicy, section: &CacheSection, _: &Path) -> Result<CachePolicy, Problem> {
    if section.disk.is_some() {
        Err("disk: this program was built without it".to_owned())
    } else {
        Ok(policy)
    }
}

/// Whether a path begins so, as it is written or as an origin reads it: else `/%61ccount` would be stored where `/account`
/// never is.
fn bypasses(prefixes: &[String], path: &str) -> bool {
    let (read, _) = crate::rules::as_read(path);
    prefixes.iter().any(|prefix| path.starts_with(prefix) || read.starts_with(prefix.as_bytes()))
}

/// `utm_*` stands for every name that begins so.
fn names_match(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    }
}

fn guard(mut pop: PopBuilder, section: &GuardSection) -> Result<PopBuilder, Problem> {
    let pair = |block: &Block| (block.0, block.1);
    if !section.trusted_proxies.is_empty() {
        let field = match section.forwarding_field {
            Forwarding::XForwardedFor => ForwardingField::XForwardedFor,
            Forwarding::Forwarded => ForwardingField::Forwarded,
        };
        let proxies = TrustedProxies::new(field, section.trusted_proxies.iter().map(pair));
        let proxies = proxies.map_err(|error| format!("trusted_proxies: {error}"))?;
        pop = pop.identify(move |peer, headers| proxies.client(peer, headers));
    }
    let allow = section.allow.iter().map(|block| (pair(block), Access::Allow));
    let deny = section.deny.iter().map(|block| (pair(block), Access::Deny));
    let list = AccessList::new(allow.chain(deny)).map_err(|error| error.to_string())?;
    let bounds = ConnectionBounds::new(
        section.connections_max.unwrap_or(CONNECTIONS_MAX),
        section.connections_per_network.unwrap_or(CONNECTIONS_PER_NETWORK_MAX),
    );
    // The same guard keeps count of the connections there are.
    Ok(pop.gate_made_from(format!("{section:?}"), Guard::new().access(list).connections(bounds)))
}

fn host(section: &HostSection, directory: &Path) -> Result<Host, Problem> {
    let parse = |url: &String| Origin::from_url(url).map_err(|error| format!("origin {url:?}: {error}"));
    let (first, rest) = section.origin.split_first().ok_or("origin: expected at least one URL")?;
    let scheme = |url: &str| url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let mut origin = parse(first)?;
    for url in rest {
        parse(url)?;
        if scheme(url) != scheme(first) {
            return Err(format!("origin {url:?}: expected the scheme of {first:?}"));
        }
        let backend = url.split_once("://").map_or("", |(_, backend)| backend);
        origin = origin.backend(backend.trim_end_matches('/'));
    }
    let mut host = Host::new(&section.name).origin(origin);
    if let Some(path) = &section.path {
        host = host.path_prefix(path);
    }
    if let Some(section) = &section.cache
        && let Some(policy) = cache(section, directory).map_err(at("cache"))?
    {
        host = host.cache(policy);
    }
    if let Some(limit) = &section.limit {
        host = host.limit(Limit::per_client(quota(limit).map_err(at("limit"))?));
    }
    Ok(host)
}

fn rule(section: &RuleSection) -> Result<Rule, Problem> {
    let at = |problem: Problem| format!("rule {:?}: {problem}", section.name);
    let mut actions = Vec::new();
    if let Some(status) = section.deny {
        let status = StatusCode::from_u16(status).ok().filter(|status| status.is_client_error());
        actions
            .push(Action::Deny(status.ok_or_else(|| at("deny: expected a status from 400 to 499".into()))?));
    }
    if let Some(limit) = &section.limit {
        actions.push(Action::limit(quota(limit).map_err(|problem| at(format!("limit: {problem}")))?));
    }
    if section.count {
        actions.push(Action::Count);
    }
    if section.pass {
        actions.push(Action::Pass);
    }
    let (Some(action), true) = (actions.pop(), actions.is_empty()) else {
        return Err(at("expected exactly one of deny, limit, count and pass".into()));
    };
    let rule = Rule::new(&section.name, condition(&section.when).map_err(at)?, action);
    match &section.unless {
        Some(exception) => Ok(rule.unless(condition(exception).map_err(at)?)),
        None => Ok(rule),
    }
}

fn condition(section: &ConditionSection) -> Result<Condition, Problem> {
    let mut condition = Condition::new();
    for method in &section.method {
        let method: Method = method.parse().map_err(|_| format!("method: {method:?} is no method"))?;
        condition = condition.method(method);
    }
    for block in &section.client {
        condition = condition.client((block.0, block.1)).map_err(|error| error.to_string())?;
    }
    if let Some(host) = &section.host {
        condition = condition.host(pattern(host));
    }
    if let Some(path) = &section.path {
        condition = condition.path(pattern(path));
    }
    if let Some(query) = &section.query {
        condition = condition.query(pattern(query));
    }
    if let Some(octets) = section.length_above {
        condition = condition.length_above(octets.0);
    }
    if let Some(field) = &section.field {
        let name: HeaderName =
            field.name.parse().map_err(|_| format!("field: {:?} is no field name", field.name))?;
        condition = match (&field.value, field.absent) {
            (Some(_), true) => return Err(format!("field {name}: expected value or absent, found both")),
            (Some(value), false) => condition.field(name, pattern(value)),
            (None, true) => condition.field_absent(name),
            (None, false) => condition.field_present(name),
        };
    }
    Ok(condition)
}

fn pattern(section: &PatternSection) -> Pattern {
    match section {
        PatternSection::Is(text) => Pattern::is(text.as_str()),
        PatternSection::StartsWith(text) => Pattern::starts_with(text.as_str()),
        PatternSection::EndsWith(text) => Pattern::ends_with(text.as_str()),
        PatternSection::Contains(text) => Pattern::contains(text.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let error = File::parse(text, "pop.toml")
            .and_then(|file| PopBuilder::from_file(&file, "pop.toml"))
            .expect_err("it is wrong")
            .to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_whole_file_becomes_a_pop() {
        let text = include_str!("../../examples/pop-edge.toml");
        let file = File::parse(text, "pop-edge.toml").expect("it parses");
        PopBuilder::from_file(&file, "examples/pop-edge.toml")
            .expect("it describes a PoP")
            .build()
            .expect("it builds");
    }

    #[test]
    fn problems_name_their_section() {
        check(
            "[[host]]\nname = \"a\"\norigin = []\n",
            "pop.toml: host \"a\": origin: expected at least one URL",
        );
        check("[[host]]\nname = \"a\"\norigin = [\"ftp://x\"]\n", "expected http:// or https://");
        check("[limit]\nrate = 9999999999999\n", "limit: rate of 9999999999999");
        check("[listen]\ndns = [\"127.0.0.1:53\"]\n", "listen.dns: expected a zone");
        check("[[rule]]\nname = \"r\"\ndeny = 403\ncount = true\n", "rule \"r\": expected exactly one of");
        check("[[rule]]\nname = \"r\"\ndeny = 200\n", "expected a status from 400 to 499");
        check("[cache]\ntargets = [\"not a field\"]\n", "cache: targets: \"not a field\" is no field name");
        check("[cache]\ndisk_capacity = \"1GiB\"\n", "cache: disk_capacity: expected a disk");
        check("[cache]\ncompress = [\"rar\"]\n", "compress: expected br, zstd or gzip, found \"rar\"");
        check("[listen]\nhttps = [\"127.0.0.1:0\"]\n", "tls: expected certificate and key, or self_signed");
    }

    #[test]
    fn a_bypass_cannot_be_written_around() {
        let prefixes = ["/account/".to_owned()];
        for path in
            ["/account/me", "/%61ccount/me", "//account//me", "/x/../account/me", "/x/%2e%2e/account/me"]
        {
            assert!(bypasses(&prefixes, path), "{path}");
        }
        assert!(!bypasses(&prefixes, "/accounts") && !bypasses(&prefixes, "/a/account/me"));
    }

    #[test]
    fn only_the_field_that_the_proxies_write_is_believed() {
        let told = |extra: &str| {
            let text = format!("[guard]\ntrusted_proxies = [\"10.0.0.0/8\"]\n{extra}");
            let file = File::parse(&text, "pop.toml").expect("it parses");
            let pop = PopBuilder::from_file(&file, "pop.toml").expect("it describes a PoP");
            let mut headers = http::HeaderMap::new();
            headers.insert("x-forwarded-for", "6.6.6.6, 192.0.2.1".parse().expect("a value"));
            headers.insert("forwarded", "for=6.6.6.6, for=192.0.2.2".parse().expect("a value"));
            pop.identify.expect("proxies are named")([10, 0, 0, 1].into(), &headers).to_string()
        };
        assert_eq!(told(""), "192.0.2.1");
        assert_eq!(told("forwarding_field = \"forwarded\"\n"), "192.0.2.2");
        check("[guard]\nforwarding_field = \"via\"\n", "expected `x-forwarded-for` or `forwarded`");
    }
}
