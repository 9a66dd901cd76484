//! The flags that name a certificate and its key.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// TLS by the certificate chain and the key in two PEM files, for clients that show no certificate.
pub(crate) fn server_config(certificate: &Path, key: &Path) -> Result<ServerConfig, Box<dyn Error>> {
    let failed = |file: &Path| {
        let file = file.display().to_string();
        move |error: pem::Error| format!("{file}: {error}")
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(|found| found.collect::<Result<Vec<_>, _>>())
        .map_err(failed(certificate))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(failed(key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?)
}
