//! A builder from a configuration file: each section becomes what the builder's methods take.

use std::path::Path;
use std::time::Duration;

use http::{HeaderName, Method, StatusCode};
use pop_dns::NameBuf;
use pop_dns::zone::Zone;
use pop_ratelimit::{Access, AccessList, Quota};

use super::{Pop, PopBuilder};
use crate::config::{
    Admin, Block, CachePolicy, CacheSection, CertificateError, Certificates, ConditionSection, File,
    FileError, Forwarding, GuardSection, Host, HostField, HostSection, Limit, LimitSection, Origin,
    OriginSection, PatternSection, PresetName, Problem, RuleSection, Step, ZoneSection,
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

impl PopBuilder {
    /// What `file` describes. Zones and certificates are read from beside `path`; errors call the file so.
    ///
    /// # Errors
    /// [`FileError`] names the section that is wrong, and its line and column where it is written in the file; or the
    /// zone file, its line and column.
    pub fn from_file(file: &File, path: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = path.as_ref();
        build(file, path.parent().unwrap_or(Path::new(""))).map_err(|problem| file.error(path, problem))
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
    if let Some(policy) = cache(&file.cache, directory).map_err(under("cache"))? {
        pop = pop.cache(policy);
    }
    if let Some(section) = &file.limit {
        pop = pop.limit(Limit::per_client(quota(section).map_err(under("limit"))?));
    }
    pop = guard(pop, &file.guard).map_err(under("guard"))?;
    let mut rules = if file.guard.baseline.unwrap_or(false) { Rules::baseline() } else { Rules::default() };
    rules = rules
        .then(each("rule", &file.rule, |section| (&section.name, rule(section)))?)
        .map_err(|error| Problem::new(error.to_string()).at(Step::Key("rule")))?;
    if !rules.is_empty() {
        // The same rules keep what they have counted.
        pop = pop.gate_made_from(format!("rules {:?} {:?}", file.guard.baseline, file.rule), rules);
    }
    let hosts = each("host", &file.host, |section| (&section.name, host(section, directory)))?;
    Ok(hosts.into_iter().fold(pop, PopBuilder::host_with))
}

/// What is wrong is under this key.
fn under(key: &'static str) -> impl Fn(Problem) -> Problem {
    move |problem| problem.under(key)
}

/// Reads the entries of an array of tables, which problems call by their names.
fn each<'s, S, T>(
    key: &'static str,
    sections: &'s [S],
    read: impl Fn(&'s S) -> (&'s String, Result<T, Problem>),
) -> Result<Vec<T>, Problem> {
    let read = |(index, section)| {
        let (name, read) = read(section);
        let called = format!("{key} {name:?}");
        read.map_err(|problem| problem.called(called).at(Step::Index(index)).at(Step::Key(key)))
    };
    sections.iter().enumerate().map(read).collect()
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
    let all = all.ok_or("tls: expected certificate and key, or self_signed")?;
    Ok(file.listen.https.iter().fold(pop, |pop, &address| pop.https(address, all.clone())))
}

/// What `[tls]` says: shown for the names in the certificate itself, and for those of hosts that have none of their own.
fn tls(file: &File, directory: &Path) -> Result<Vec<Certificates>, Problem> {
    let wrong = |error: CertificateError| Problem::new(chain(&error)).under("tls");
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
        _ => Err(Problem::new("expected both certificate and key").under("tls")),
    }
}

/// The certificates that hosts have of their own: shown for the host's name, or where that is any, for their own names.
fn certificates_of_hosts(file: &File, directory: &Path) -> Result<Vec<Certificates>, Problem> {
    let own = |host: &HostSection| match (&host.certificate, &host.key) {
        (Some(certificate), Some(key)) => {
            let names = Some(&*host.name).filter(|name| *name != "*");
            let loaded = Certificates::pem_files(names, directory.join(certificate), directory.join(key));
            loaded.map(Some).map_err(|error| Problem::new(chain(&error)).at(Step::Key("certificate")))
        }
        (None, None) => Ok(None),
        _ => Err("expected both certificate and key".into()),
    };
    Ok(each("host", &file.host, |host| (&host.name, own(host)))?.into_iter().flatten().collect())
}

fn dns(mut pop: PopBuilder, file: &File, directory: &Path) -> Result<PopBuilder, Problem> {
    match (file.listen.dns.is_empty(), file.zone.is_empty()) {
        (true, true) => return Ok(pop),
        (true, false) => {
            return Err(Problem::new("expected an address in listen.dns to answer on").under("zone"));
        }
        (false, true) => {
            let problem = Problem::new("listen.dns: expected a zone to answer");
            return Err(problem.at(Step::Key("dns")).at(Step::Key("listen")));
        }
        (false, false) => {}
    }
    // Every address answers every zone.
    pop.dns.extend(file.listen.dns.iter().map(|&address| (address, None)));
    for (index, section) in file.zone.iter().enumerate() {
        let placed = |problem: Problem| problem.at(Step::Index(index)).at(Step::Key("zone"));
        pop.zones.push(zone(section, directory).map_err(placed)?);
    }
    Ok(pop)
}

fn zone(section: &ZoneSection, directory: &Path) -> Result<Zone, Problem> {
    let wrong =
        |error| Problem::new(format!("zone {:?}: origin: {error}", section.origin)).at(Step::Key("origin"));
    let origin: NameBuf = section.origin.parse().map_err(wrong)?;
    let loaded = Zone::load(&directory.join(&section.file), origin);
    loaded.map_err(|error| Problem::new(chain(&error)).at(Step::Key("file")))
}

fn quota(section: &LimitSection) -> Result<Quota, Problem> {
    let per = section.per.map_or(Duration::from_secs(1), |span| span.0);
    let quota = Quota::new(section.rate, per)
        .map_err(|error| Problem::new(error.to_string()).at(Step::Key("rate")))?;
    match section.burst {
        Some(burst) => {
            quota.try_burst(burst).map_err(|error| Problem::new(error.to_string()).at(Step::Key("burst")))
        }
        None => Ok(quota),
    }
}

/// The policy of a section; `None` for an empty one, which leaves the preset's.
fn cache(section: &CacheSection, directory: &Path) -> Result<Option<CachePolicy>, Problem> {
    if section.off {
        return Ok(Some(CachePolicy::off()));
    }
    let names = |field: &'static str, names: &[String]| -> Result<Vec<HeaderName>, Problem> {
        let parse = |name: &String| {
            name.parse::<HeaderName>()
                .map_err(|_| Problem::new(format!("{name:?} is no field name")).under(field))
        };
        names.iter().map(parse).collect()
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
        let wrong = || Problem::new(format!("expected br, zstd or gzip, found {name:?}")).under("compress");
        known.copied().ok_or_else(wrong)
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
        (None, Some(_)) => Err(Problem::new("expected a disk").under("disk_capacity")),
        (None, None) => Ok(policy),
    }
}

#[cfg(not(feature = "disk"))]
fn on_disk(policy: CachePolicy, section: &CacheSection, _: &Path) -> Result<CachePolicy, Problem> {
    if section.disk.is_some() { Err("disk: this program was built without it".into()) } else { Ok(policy) }
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
        let proxies = proxies.map_err(|error| Problem::new(error.to_string()).under("trusted_proxies"))?;
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

fn origin(section: &OriginSection, directory: &Path) -> Result<Origin, Problem> {
    let (first, rest) = section.urls.split_first().ok_or("expected at least one URL")?;
    let parse =
        |url: &String| Origin::from_url(url).map_err(|error| Problem::new(format!("{url:?}: {error}")));
    let scheme = |url: &str| url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let mut origin = parse(first)?;
    for url in rest {
        parse(url)?;
        if scheme(url) != scheme(first) {
            return Err(format!("{url:?}: expected the scheme of {first:?}").into());
        }
        let backend = url.split_once("://").map_or("", |(_, backend)| backend);
        origin = origin.backend(backend.trim_end_matches('/'));
    }
    origin = match section.host.as_deref() {
        None | Some("keep") => origin,
        Some("backend") => origin.host_field(HostField::Backend),
        Some(name) => match name.parse::<http::uri::Authority>() {
            Ok(_) => origin.host_field(HostField::Name(name.to_owned())),
            Err(_) => {
                let problem = Problem::new(format!("expected keep, backend or a host, found {name:?}"));
                return Err(problem.under("host"));
            }
        },
    };
    if let Some(file) = &section.ca_file {
        origin = origin.ca_file(directory.join(file));
    }
    if section.public_only {
        origin = origin.public_only();
    }
    if let Some(timeout) = section.connect_timeout {
        origin = origin.connect_timeout(timeout.0);
    }
    if let Some(timeout) = section.first_byte_timeout {
        origin = origin.first_byte_timeout(timeout.0);
    }
    if let Some(timeout) = section.between_bytes_timeout {
        origin = origin.between_bytes_timeout(timeout.0);
    }
    if let Some(connections) = section.idle_connections_max {
        origin = origin.idle_connections_max(connections);
    }
    if let Some(retries) = section.retries_max {
        origin = origin.retries_max(retries);
    }
    Ok(origin)
}

fn host(section: &HostSection, directory: &Path) -> Result<Host, Problem> {
    crate::config::Pattern::parse(&section.name)
        .map_err(|error| Problem::new(error.to_string()).at(Step::Key("name")))?;
    let origin = origin(&section.origin, directory).map_err(under("origin"))?;
    let mut host = Host::new(&section.name).origin(origin);
    if let Some(path) = &section.path {
        host = host.path_prefix(path);
    }
    if let Some(section) = &section.cache
        && let Some(policy) = cache(section, directory).map_err(under("cache"))?
    {
        host = host.cache(policy);
    }
    if let Some(limit) = &section.limit {
        host = host.limit(Limit::per_client(quota(limit).map_err(under("limit"))?));
    }
    Ok(host)
}

fn rule(section: &RuleSection) -> Result<Rule, Problem> {
    let mut actions = Vec::new();
    if let Some(status) = section.deny {
        let status = StatusCode::from_u16(status).ok().filter(|status| status.is_client_error());
        let wrong = || Problem::new("expected a status from 400 to 499").under("deny");
        actions.push(Action::Deny(status.ok_or_else(wrong)?));
    }
    if let Some(limit) = &section.limit {
        actions.push(Action::limit(quota(limit).map_err(under("limit"))?));
    }
    if section.count {
        actions.push(Action::Count);
    }
    if section.pass {
        actions.push(Action::Pass);
    }
    let (Some(action), true) = (actions.pop(), actions.is_empty()) else {
        return Err("expected exactly one of deny, limit, count and pass".into());
    };
    let rule = Rule::new(&section.name, condition(&section.when).map_err(placed("when"))?, action);
    match &section.unless {
        Some(exception) => Ok(rule.unless(condition(exception).map_err(placed("unless"))?)),
        None => Ok(rule),
    }
}

/// What is wrong stands under this key, which the text need not say.
fn placed(key: &'static str) -> impl Fn(Problem) -> Problem {
    move |problem| problem.at(Step::Key(key))
}

fn condition(section: &ConditionSection) -> Result<Condition, Problem> {
    let mut condition = Condition::new();
    for method in &section.method {
        let method: Method =
            method.parse().map_err(|_| Problem::new(format!("{method:?} is no method")).under("method"))?;
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
        let name: HeaderName = field
            .name
            .parse()
            .map_err(|_| Problem::new(format!("{:?} is no field name", field.name)).under("field"))?;
        condition = match (&field.value, field.absent) {
            (Some(_), true) => {
                let problem = Problem::new(format!("field {name}: expected value or absent, found both"));
                return Err(problem.at(Step::Key("field")));
            }
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
            "pop.toml:3:10: host \"a\": origin: expected at least one URL",
        );
        check(
            "[[host]]\nname = \"a\"\norigin = [\"ftp://x\"]\n",
            ":3:10: host \"a\": origin: \"ftp://x\": expected http:// or https://",
        );
        check("[limit]\nrate = 9999999999999\n", "pop.toml:2:8: limit: rate of 9999999999999");
        check("[listen]\ndns = [\"127.0.0.1:53\"]\n", "pop.toml:2:7: listen.dns: expected a zone");
        check(
            "[[rule]]\nname = \"r\"\ndeny = 403\ncount = true\n",
            "pop.toml:1:1: rule \"r\": expected exactly one of",
        );
        check(
            "[[rule]]\nname = \"r\"\ndeny = 200\n",
            "pop.toml:3:8: rule \"r\": deny: expected a status from 400 to 499",
        );
        check("[cache]\ntargets = [\"not a field\"]\n", "cache: targets: \"not a field\" is no field name");
        check("[cache]\ndisk_capacity = \"1GiB\"\n", "cache: disk_capacity: expected a disk");
        check("[cache]\ncompress = [\"rar\"]\n", "compress: expected br, zstd or gzip, found \"rar\"");
        check(
            "[[host]]\nname = \"a\"\norigin = \"http://a\"\n\n[[host]]\nname = \"b/c\"\norigin = \"http://b\"\n",
            "pop.toml:6:8: host \"b/c\": expected letters, digits",
        );
        check(
            "[[host]]\nname = \"a\"\norigin = \"http://a\"\nlimit = { rate = 1, burst = 99999999999999 }\n",
            "pop.toml:4:29: host \"a\": limit: ",
        );
        check(
            "[[host]]\nname = \"a\"\norigin = { urls = [\"http://a\"], host = \"a b\" }\n",
            "pop.toml:3:40: host \"a\": origin: host: expected keep, backend or a host, found \"a b\"",
        );
        check("[[host]]\nname = \"a\"\norigin = { host = \"b\" }\n", "pop.toml:3:");
        check("[[host]]\nname = \"a\"\norigin = { url = \"b\" }\n", ": unknown field `url`");
        check("[[host]]\nname = \"a\"\norigin = 7\n", "invalid type: integer `7`, expected a URL");
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
