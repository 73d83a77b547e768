//! The server's certificate, and whose certificates clients may show.

use super::config::invalid;
use amochats::Result;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use x509_parser::extensions::GeneralName;

/// Where the certificates are.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
    pub(super) client_ca: Option<PathBuf>,
}

impl Files {
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        [Some(&self.cert), Some(&self.key), self.client_ca.as_ref()].into_iter().flatten().cloned().collect()
    }

    /// What connections are greeted with.
    ///
    /// # Errors
    /// [`amochats::ErrorKind::ConfigInvalid`] with the key whose file cannot be used.
    pub(super) fn load(&self) -> Result<Arc<ServerConfig>> {
        let chain = certificates("grpc.tls_cert", &self.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&read("grpc.tls_key", &self.key)?)
            .map_err(|_| invalid("grpc.tls_key", "must be PEM with a private key that has no password"))?;
        // The provider is named, since a library must not install one for the whole process.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring has cipher suites for TLS 1.2 and 1.3");
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates("grpc.client_ca", path)? {
                    roots
                        .add(authority)
                        .map_err(|error| invalid("grpc.client_ca", &format!("cannot be used: {error}")))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                let unusable = |error| invalid("grpc.client_ca", &format!("cannot be used: {error}"));
                builder.with_client_cert_verifier(verifier.map_err(unusable)?)
            }
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| invalid("grpc.tls_key", &format!("does not belong to tls_cert: {error}")))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }
}

/// Who a verified certificate was made for.
#[derive(Debug, Default)]
pub(super) struct Identity {
    /// Its subject, for people.
    pub(super) subject: String,
    /// Its names as the file of tokens has them: `CN=`, and `DNS=`, `URI=`, `EMAIL=` of the alternative names.
    pub(super) names: Vec<String>,
}

impl Identity {
    /// What cannot be read names nobody.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Self {
        let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else {
            return Self::default();
        };
        let common = parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        let mut names: Vec<_> = common.map(|name| format!("CN={name}")).collect();
        if let Ok(Some(alternative)) = parsed.subject_alternative_name() {
            names.extend(alternative.value.general_names.iter().filter_map(|name| match name {
                GeneralName::DNSName(host) => Some(format!("DNS={}", host.to_ascii_lowercase())),
                GeneralName::URI(uri) => Some(format!("URI={uri}")),
                GeneralName::RFC822Name(address) => Some(format!("EMAIL={address}")),
                _ => None,
            }));
        }
        Self { subject: parsed.subject().to_string(), names }
    }
}

fn read(key: &str, path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| invalid(key, &format!("cannot read {}: {error}", path.display())))
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let pem = read(key, path)?;
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(&pem).collect::<std::result::Result<_, _>>().unwrap_or_default();
    if found.is_empty() { Err(invalid(key, "must be PEM with certificates")) } else { Ok(found) }
}
