//! The listener's certificate, which is read again when its files change.

use amochats::{Error, ErrorKind, Result};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

pub(crate) struct Tls {
    files: Mutex<Files>,
    current: RwLock<Arc<ServerConfig>>,
}

/// The files, and what was in them when they were last looked at.
struct Files {
    cert: PathBuf,
    key: PathBuf,
    seen: (Vec<u8>, Vec<u8>),
}

impl Tls {
    pub(crate) fn new(cert: &Path, key: &Path) -> Result<Self> {
        let seen = read(cert, key)?;
        let current = RwLock::new(configure(&seen)?);
        let files = Files { cert: cert.to_owned(), key: key.to_owned(), seen };
        Ok(Self { files: Mutex::new(files), current })
    }

    /// What the next connection is greeted with.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the files again; says whether they have changed. Files that cannot be used leave the
    /// old certificate in place, and are complained about once.
    pub(crate) fn refresh(&self) -> Result<bool> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let found = read(&files.cert, &files.key)?;
        if found == files.seen {
            return Ok(false);
        }
        files.seen = found;
        let new = configure(&files.seen)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(true)
    }
}

fn read(cert: &Path, key: &Path) -> Result<(Vec<u8>, Vec<u8>)> {
    let read = |name: &str, path: &Path| {
        std::fs::read(path)
            .map_err(|error| invalid(name, &format!("cannot read {}: {error}", path.display())))
    };
    Ok((read("listener.tls_cert", cert)?, read("listener.tls_key", key)?))
}

fn configure((cert, key): &(Vec<u8>, Vec<u8>)) -> Result<Arc<ServerConfig>> {
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(cert).collect::<std::result::Result<_, _>>().unwrap_or_default();
    if chain.is_empty() {
        return Err(invalid("listener.tls_cert", "must be PEM with the certificate and its chain"));
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| invalid("listener.tls_key", "must be PEM with a private key that has no password"))?;
    // The provider is named, since a library must not install one for the whole process.
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| invalid("listener.tls_key", &format!("does not belong to tls_cert: {error}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn invalid(key: &str, rule: &str) -> Error {
    Error::new(ErrorKind::ConfigInvalid, format!("{key}: {rule}")).with_field(key)
}
