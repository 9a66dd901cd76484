//! A small dig: one question, and the answer in words and columns.
//!
//! ```text
//! cargo run --release -p pop-dns --features doh,tls --example dq -- @127.0.0.1:5300 www.example.org AAAA +dnssec
//! ```

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use pop_dns::client::{Answer, Client, ClientError, Endpoint, Request};
use pop_dns::{Class, EdnsOption, Flags, NameBuf, Rcode, RecordType, Section, Transport};

/// Nobody answered.
const EXIT_UNAVAILABLE: u8 = 69;
/// The command line makes no sense.
const EXIT_USAGE: u8 = 2;
/// The ports where no other is given: by UDP and TCP, by TLS, by HTTPS.
const PORT: u16 = 53;
const PORT_TLS: u16 = 853;
const PORT_HTTPS: u16 = 443;
/// The certificates that the system trusts.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Asks a name server one question. Exit code 0: answered (also if the name does not exist); 1: answered with another
/// error; 2: usage; 69: not answered.
#[derive(Parser)]
#[command(after_help = "Flags may be written as dig has them, +tcp for --tcp.

Examples:
  dq www.example.org
  dq @127.0.0.1:5300 www.example.org AAAA +dnssec
  dq @192.0.2.53 www.example.org +subnet=198.51.100.0/24 +short
  dq @192.0.2.53 www.example.org +tls +tls-host=dns.example
  dq @192.0.2.53 www.example.org +https=https://dns.example/dns-query
  dq @192.0.2.53 id.server TXT CH")]
struct Arguments {
    /// `@SERVER[:PORT]` (by default the first of /etc/resolv.conf), a name or an address to look up in reverse, a
    /// type (A by default), a class.
    #[arg(required = true, value_name = "WORD")]
    words: Vec<String>,
    /// By TCP from the start.
    #[arg(long)]
    tcp: bool,
    /// By TLS (RFC 7858).
    #[arg(long, conflicts_with = "tcp")]
    tls: bool,
    /// By HTTPS (RFC 8484): the server's URI, or its path; by default /dns-query at `--tls-host` or the address.
    #[arg(long, value_name = "URI", num_args = 0..=1, require_equals = true, default_missing_value = "/dns-query", conflicts_with_all = ["tcp", "tls"])]
    https: Option<String>,
    /// HTTPS by GET instead of POST.
    #[arg(long, requires = "https")]
    get: bool,
    /// The name that the server's certificate has to be good for; by default the address.
    #[arg(long, value_name = "NAME")]
    tls_host: Option<String>,
    /// The certificates to trust, in PEM.
    #[arg(long, value_name = "FILE", default_value = SYSTEM_ROOTS)]
    tls_ca: std::path::PathBuf,
    /// DNSSEC records too.
    #[arg(long, alias = "do")]
    dnssec: bool,
    /// Data that fail validation too.
    #[arg(long, alias = "cd")]
    cdflag: bool,
    /// Without recursion.
    #[arg(long)]
    norec: bool,
    /// On behalf of clients in this block.
    #[arg(long, value_name = "ADDR/BITS")]
    subnet: Option<String>,
    /// Ask for the server's name.
    #[arg(long)]
    nsid: bool,
    /// Without EDNS.
    #[arg(long)]
    noedns: bool,
    /// Without cookies.
    #[arg(long)]
    nocookie: bool,
    /// The UDP payload size to offer.
    #[arg(long, value_name = "OCTETS")]
    bufsize: Option<u16>,
    /// How often to ask at most.
    #[arg(long, value_name = "N", default_value = "3")]
    tries: u32,
    /// Seconds an attempt has before the next.
    #[arg(long, value_name = "SECONDS", default_value = "1")]
    time: u64,
    /// The data of the answer and nothing else.
    #[arg(long)]
    short: bool,
}

/// What the words mean.
struct Question {
    server: Endpoint,
    name: NameBuf,
    qtype: RecordType,
    qclass: Class,
}

fn main() -> ExitCode {
    let words = std::env::args().map(|word| match word.strip_prefix('+') {
        Some(flag) => format!("--{flag}"),
        None => word,
    });
    let arguments = Arguments::parse_from(words);
    let (question, request) = match question(&arguments).and_then(|question| {
        let request = request(&question, &arguments)?;
        Ok((question, request))
    }) {
        Ok(asked) => asked,
        Err(error) => {
            eprintln!("dq: {error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("dq: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(ask(&question, &request, &arguments)) {
        Ok(answer) => {
            let text = if arguments.short { short(&answer) } else { long(&question, &answer) };
            print!("{}", text.unwrap_or_else(|error| format!("; {error}\n")));
            match answer.rcode() {
                Rcode::NOERROR | Rcode::NXDOMAIN => ExitCode::SUCCESS,
                _ => ExitCode::FAILURE,
            }
        }
        Err(error) => {
            let cause = std::error::Error::source(&error).map_or(String::new(), |cause| format!(": {cause}"));
            eprintln!("dq: {error}{cause}");
            ExitCode::from(EXIT_UNAVAILABLE)
        }
    }
}

async fn ask(question: &Question, request: &Request, arguments: &Arguments) -> Result<Answer, ClientError> {
    let patience = Duration::from_secs(arguments.time.max(1));
    let client = Client::builder()
        .attempts(arguments.tries)
        .patience(patience)
        .deadline(patience.saturating_mul(arguments.tries.max(1)))
        .build();
    client.query(question.server.clone(), request).await
}

fn question(arguments: &Arguments) -> Result<Question, String> {
    let port = match (arguments.tls, &arguments.https) {
        (true, _) => PORT_TLS,
        (_, Some(_)) => PORT_HTTPS,
        _ => PORT,
    };
    let (mut server, mut name, mut qtype, mut qclass) = (None, None, None, Class::IN);
    for word in &arguments.words {
        if let Some(text) = word.strip_prefix('@') {
            server = Some(address(text, port)?);
        } else if name.is_none() {
            name = Some(match word.parse::<IpAddr>() {
                Ok(address) => {
                    qtype = Some(RecordType::PTR);
                    reverse(address)
                }
                Err(_) => word.parse().map_err(|error| format!("{word}: {error}"))?,
            });
        } else if let Some(found) = RecordType::from_text(word) {
            qtype = Some(found);
        } else if let Some(found) = Class::from_text(word) {
            qclass = found;
        } else {
            return Err(format!("{word}: neither a type nor a class"));
        }
    }
    let server =
        server.or_else(|| configured(port)).ok_or("no server in /etc/resolv.conf, give one as @ADDRESS")?;
    Ok(Question {
        server: endpoint(server, arguments)?,
        name: name.ok_or("a name is missing")?,
        qtype: qtype.unwrap_or(RecordType::A),
        qclass,
    })
}

fn request(question: &Question, arguments: &Arguments) -> Result<Request, String> {
    let mut request =
        Request::new(question.name.clone(), question.qtype).class(question.qclass).authentic_data();
    if let Some(text) = &arguments.subnet {
        request = request.client_subnet(block(text)?);
    }
    if let Some(octets) = arguments.bufsize {
        request = request.udp_payload(octets);
    }
    type Step = fn(Request) -> Request;
    let steps: [(bool, Step); 7] = [
        (arguments.tcp, Request::over_stream),
        (arguments.dnssec, Request::dnssec_ok),
        (arguments.cdflag, Request::checking_disabled),
        (arguments.norec, Request::without_recursion),
        (arguments.nsid, Request::server_id),
        (arguments.nocookie, Request::without_cookies),
        (arguments.noedns, Request::without_edns),
    ];
    Ok(steps.into_iter().filter(|(wanted, _)| *wanted).fold(request, |request, (_, step)| step(request)))
}

/// The server and how it is spoken to.
fn endpoint(server: SocketAddr, arguments: &Arguments) -> Result<Endpoint, String> {
    let host = arguments.tls_host.clone().unwrap_or_else(|| server.ip().to_string());
    if arguments.tls {
        let name = host.clone().try_into().map_err(|_| format!("--tls-host {host}: expected a name"))?;
        return Ok(Endpoint::tls(server, name, Arc::new(trust(arguments)?)));
    }
    let Some(uri) = &arguments.https else { return Ok(Endpoint::udp(server)) };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let uri = if uri.starts_with('/') { format!("https://{host}{uri}") } else { uri.clone() };
    let expected = || format!("--https {uri}: expected https://HOST/PATH");
    let endpoint = Endpoint::https(server, uri.parse().map_err(|_| expected())?, &trust(arguments)?);
    let endpoint = endpoint.ok_or_else(expected)?;
    Ok(if arguments.get { endpoint.by_get() } else { endpoint })
}

/// TLS that trusts the certificates of `--tls-ca`.
fn trust(arguments: &Arguments) -> Result<rustls::ClientConfig, String> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let file = arguments.tls_ca.display();
    let mut roots = rustls::RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(&arguments.tls_ca).map_err(|error| format!("{file}: {error}"))?;
    roots.add_parsable_certificates(certificates.filter_map(Result::ok));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(config.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth())
}

fn address(text: &str, port: u16) -> Result<SocketAddr, String> {
    let with_port = || text.parse::<IpAddr>().map(|address| SocketAddr::new(address, port));
    text.parse().or_else(|_| with_port()).map_err(|_| format!("@{text}: expected an address, perhaps a port"))
}

fn block(text: &str) -> Result<(IpAddr, u8), String> {
    let expected = || format!("{text}: expected a block as 198.51.100.0/24");
    let (address, bits) = text.split_once('/').ok_or_else(expected)?;
    Ok((address.parse().map_err(|_| expected())?, bits.parse().map_err(|_| expected())?))
}

/// The first server of the system's configuration.
fn configured(port: u16) -> Option<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").ok()?;
    let mut servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    servers.find_map(|server| address(server.trim(), port).ok())
}

/// The name under which the names of an address are found (RFC 1035 §3.5, RFC 3596 §2.5).
fn reverse(address: IpAddr) -> NameBuf {
    let text = match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let mut text = String::new();
            for octet in address.octets().iter().rev() {
                let _ = write!(text, "{:x}.{:x}.", octet & 15, octet >> 4);
            }
            text + "ip6.arpa"
        }
    };
    text.parse().expect("digits and dots make a name")
}

fn short(answer: &Answer) -> Result<String, Box<dyn std::error::Error>> {
    let mut text = String::new();
    for record in answer.message().answers()? {
        writeln!(text, "{}", record?.raw_rdata())?;
    }
    Ok(text)
}

fn long(question: &Question, answer: &Answer) -> Result<String, Box<dyn std::error::Error>> {
    let mut text = String::new();
    let message = answer.message();
    let by = match answer.transport {
        Transport::Udp => "UDP",
        Transport::Tcp => "TCP",
        Transport::Https => "HTTPS",
        _ => "TLS",
    };
    writeln!(
        text,
        "; {} {} {} from {} by {by} in {:.1} ms, {} octets",
        question.name,
        question.qclass,
        question.qtype,
        answer.server,
        answer.elapsed.as_secs_f64() * 1e3,
        message.as_wire().len()
    )?;
    writeln!(text, "; {}{}", answer.rcode(), flags(message.header().flags))?;
    for section in [Section::Answer, Section::Authority, Section::Additional] {
        let mut title = Some(format!("\n; {section:?}\n").to_uppercase());
        for record in message.section(section)? {
            let record = record?;
            if record.rtype == RecordType::OPT {
                continue;
            }
            text.push_str(&title.take().unwrap_or_default());
            writeln!(
                text,
                "{:<31} {:>6} {} {:<7} {}",
                record.name.to_string(),
                record.ttl,
                record.class,
                record.rtype,
                record.raw_rdata()
            )?;
        }
    }
    if let Some(edns) = message.edns()? {
        let signed = if edns.dnssec_ok { ", DNSSEC records wanted" } else { "" };
        write!(text, "\n; EDNS: {} octets{signed}", edns.udp_payload)?;
        for option in edns.typed_options() {
            write!(text, "; {}", show(&option?))?;
        }
        text.push('\n');
    }
    Ok(text)
}

fn flags(flags: Flags) -> String {
    let words = [
        (Flags::AA, "authoritative"),
        (Flags::TC, "truncated"),
        (Flags::RD, "recursion desired"),
        (Flags::RA, "recursion available"),
        (Flags::AD, "authentic"),
        (Flags::CD, "unchecked"),
    ];
    words.iter().filter(|(flag, _)| flags.has(*flag)).map(|(_, word)| format!(", {word}")).collect()
}

fn show(option: &EdnsOption<'_>) -> String {
    let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    match option {
        EdnsOption::ClientSubnet(subnet) => {
            let (address, bits) = subnet.block();
            format!("subnet {address}/{bits}, good for /{}", subnet.scope())
        }
        EdnsOption::ExtendedError { code, text } => {
            format!("{} {text}", pop_dns::ExtendedError(*code)).trim_end().to_owned()
        }
        EdnsOption::Nsid(id) => format!("server {}", String::from_utf8_lossy(id).escape_debug()),
        EdnsOption::Cookie(cookie) => format!("cookie {}{}", hex(&cookie.client), hex(cookie.server)),
        EdnsOption::Padding(octets) => format!("{octets} octets of padding"),
        EdnsOption::Unknown(code, contents) => format!("option {code} {}", hex(contents)),
        other => format!("{other:?}"),
    }
}
