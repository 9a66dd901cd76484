//! Certificates: which one a client is shown.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The certificates of a listener, told apart by the name the client asks for. A name that none covers is refused;
/// a client that names none is shown the first.
#[derive(Clone)]
pub struct Certificates {
    keys: Arc<Keys>,
    config: Option<Arc<rustls::ServerConfig>>,
}

struct Keys {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By the name below which the star stands.
    below: HashMap<String, Arc<CertifiedKey>>,
    /// For a name that nothing else covers, if it is to be served.
    any: Option<Arc<CertifiedKey>>,
    first: Arc<CertifiedKey>,
}

/// A certificate or key that cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum CertificateError {
    /// A file cannot be read.
    Unreadable(PathBuf, std::io::Error),
    /// No certificate where a chain was expected.
    NoCertificate,
    /// No private key where one was expected.
    NoKey,
    /// The key does not fit the certificate, or its kind is not known.
    Key(rustls::Error),
    /// The names that it is for cannot be read, or there are none.
    Names,
    /// A self-signed certificate could not be made for these names.
    SelfSigned(Box<dyn std::error::Error + Send + Sync>),
}

impl fmt::Display for CertificateError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, _) => write!(formatter, "cannot read {}", path.display()),
            Self::NoCertificate => formatter.write_str("expected a PEM certificate chain"),
            Self::NoKey => formatter.write_str("expected a PEM private key"),
            Self::Key(_) => formatter.write_str("the private key cannot be used with the certificate"),
            Self::Names => formatter.write_str("expected host names for the certificate"),
            Self::SelfSigned(_) => formatter.write_str("cannot make a certificate for these names"),
        }
    }
}

impl std::error::Error for CertificateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable(_, error) => Some(error),
            Self::Key(error) => Some(error),
            Self::SelfSigned(error) => Some(&**error),
            _ => None,
        }
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Certificates").field(&self.keys).finish()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.exact.keys().chain(self.below.keys())).finish()
    }
}

impl Certificates {
    /// A certificate made now for these names, signed by itself: for development and for tests.
    ///
    /// # Errors
    /// A name cannot stand in a certificate.
    pub fn self_signed(names: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, CertificateError> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let made = rcgen::generate_simple_self_signed(names.clone())
            .map_err(|error| CertificateError::SelfSigned(error.into()))?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        Self::for_names(&names, vec![made.cert.der().clone()], key)
    }

    /// A chain and its key from PEM files, shown to clients who ask for one of `names`; as [`pem`](Self::pem).
    ///
    /// # Errors
    /// A file cannot be read, or holds something else.
    pub fn pem_files(
        names: impl IntoIterator<Item = impl Into<String>>,
        chain: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, CertificateError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| CertificateError::Unreadable(path.to_owned(), error))
        };
        Self::pem(names, &read(chain.as_ref())?, &read(key.as_ref())?)
    }

    /// A chain and its key in PEM, shown to clients who ask for one of `names`: a name, a wildcard, or `*` for whatever no
    /// other certificate covers. Without `names` they are those in the certificate itself (its subject alternative
    /// names, RFC 6125 §6.4.4); one that has none is shown to everybody.
    ///
    /// # Errors
    /// It holds something else.
    pub fn pem(
        names: impl IntoIterator<Item = impl Into<String>>,
        chain: &[u8],
        key: &[u8],
    ) -> Result<Self, CertificateError> {
        let mut names: Vec<String> = names.into_iter().map(Into::into).collect();
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|_| CertificateError::NoCertificate)?;
        let leaf = chain.first().ok_or(CertificateError::NoCertificate)?;
        if names.is_empty() {
            names = own_names(leaf);
        }
        if names.is_empty() {
            names.push("*".to_owned());
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| CertificateError::NoKey)?;
        Self::for_names(&names, chain, key)
    }

    /// A whole configuration of rustls, used as it is.
    #[must_use]
    pub fn with_config(mut self, config: Arc<rustls::ServerConfig>) -> Self {
        self.config = Some(config);
        self
    }

    /// These and `others`; where both cover a name, `others` do. Who names nothing is shown the first of these.
    #[must_use]
    pub fn and(self, others: &Self) -> Self {
        let merge = |one: &HashMap<_, _>, two: &HashMap<_, _>| {
            let mut all = one.clone();
            all.extend(
                two.iter().map(|(name, key): (&String, &Arc<CertifiedKey>)| (name.clone(), key.clone())),
            );
            all
        };
        let keys = Keys {
            exact: merge(&self.keys.exact, &others.keys.exact),
            below: merge(&self.keys.below, &others.keys.below),
            any: others.keys.any.as_ref().or(self.keys.any.as_ref()).cloned(),
            first: Arc::clone(&self.keys.first),
        };
        Self { keys: Arc::new(keys), config: self.config }
    }

    fn for_names(
        names: &[String],
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, CertificateError> {
        if names.is_empty() {
            return Err(CertificateError::Names);
        }
        let first = Arc::new(CertifiedKey::from_der(chain, key, &provider()).map_err(CertificateError::Key)?);
        let mut keys = Keys { exact: HashMap::new(), below: HashMap::new(), any: None, first };
        for name in names {
            let name = name.to_ascii_lowercase();
            let key = Arc::clone(&keys.first);
            if name == "*" {
                keys.any = Some(key);
                continue;
            }
            match name.strip_prefix("*.") {
                Some(rest) => keys.below.insert(rest.to_owned(), key),
                None => keys.exact.insert(name, key),
            };
        }
        Ok(Self { keys: Arc::new(keys), config: None })
    }

    /// What a listener shows. TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN, no early data, no client certificates.
    pub(crate) fn showcase(&self) -> Result<Showcase, rustls::Error> {
        if let Some(config) = &self.config {
            return Ok(Showcase { config: Arc::clone(config), shown: None });
        }
        let resolver = Arc::new(Shown(ArcSwap::new(Arc::clone(&self.keys))));
        let shown = Some(Arc::clone(&resolver));
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Showcase { config: Arc::new(config), shown })
    }
}

/// What a listener shows, and may show something else from now on.
#[derive(Clone, Debug)]
pub(crate) struct Showcase {
    pub(crate) config: Arc<rustls::ServerConfig>,
    /// `None` where the configuration was given whole.
    shown: Option<Arc<Shown>>,
}

impl Showcase {
    /// Shows these from the next handshake on; `false` if that cannot be.
    pub(crate) fn show(&self, certificates: &Certificates) -> bool {
        match (&self.shown, &certificates.config) {
            (Some(shown), None) => {
                shown.0.store(Arc::clone(&certificates.keys));
                true
            }
            (None, Some(config)) => Arc::ptr_eq(config, &self.config),
            _ => false,
        }
    }
}

/// The keys of now.
#[derive(Debug)]
struct Shown(ArcSwap<Keys>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().resolve(hello)
    }
}

impl Keys {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let Some(name) = hello.server_name() else { return Some(Arc::clone(&self.first)) };
        let name = name.to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        let wild = || name.split_once('.').and_then(|(_, rest)| self.below.get(rest));
        self.exact.get(name).or_else(wild).or(self.any.as_ref()).cloned()
    }
}

/// The host names in a certificate; none where it has none, or cannot be read by who only reads what browsers take.
fn own_names(leaf: &CertificateDer<'_>) -> Vec<String> {
    let parsed = webpki::EndEntityCert::try_from(leaf);
    parsed.map_or_else(|_| Vec::new(), |leaf| leaf.valid_dns_names().map(str::to_owned).collect())
}

/// The provider of this build. The process-wide default is the application's business.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
