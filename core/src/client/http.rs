//! What the clients of both services share: how a connection is made and an answer taken in.

use super::answer;
use crate::error::{Error, ErrorKind, Result};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode, Url};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::sync::Arc;
use std::time::Duration;

/// What a caller may set about the connections of a client.
pub(super) struct Settings {
    pub(super) base_url: Option<String>,
    /// From the start of a request to the last byte of its answer.
    pub(super) timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) user_agent_suffix: Option<String>,
    /// PEM files.
    pub(super) root_certificates: Vec<Vec<u8>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            base_url: None,
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            user_agent_suffix: None,
            root_certificates: Vec::new(),
        }
    }
}

impl Settings {
    /// Refuses what cannot be used, with the name of the setting; `example` is a base address.
    pub(super) fn build(self, example: &str) -> Result<Http> {
        let base_url = self.base_url.as_deref().ok_or_else(|| {
            Error::invalid("base_url", "is missing: choose a region, or the address of a sandbox")
        })?;
        let base_url = parse_base(base_url, example)?;
        for (field, limit) in [("timeout", self.timeout), ("connect_timeout", self.connect_timeout)] {
            if limit.is_zero() {
                return Err(Error::invalid(field, "must be longer than nothing"));
            }
        }
        let mut http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(&self.root_certificates)?)
            .user_agent(user_agent(self.user_agent_suffix.as_deref())?)
            .timeout(self.timeout)
            .connect_timeout(self.connect_timeout)
            // A redirect would carry a signature or a token to another place.
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never());
        if is_this_machine(&base_url) {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| {
            Error::new(ErrorKind::ConfigInvalid, "the HTTP client cannot be made")
                .with_source(error.without_url())
        })?;
        Ok(Http { http, base_url: base_url.as_str().trim_end_matches('/').to_owned() })
    }
}

/// Sends requests to one address, each once.
pub(super) struct Http {
    http: reqwest::Client,
    /// Scheme, host, port and path prefix, without a final slash.
    base_url: String,
}

/// An answer of any status. Its body may be missing where the connection broke.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Result<Vec<u8>>,
}

impl Http {
    pub(super) fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The whole address of a path, if it would go on the wire as it is written: what is signed
    /// must be what is sent, so no dot segments, no blanks, nothing re-encoded.
    pub(super) fn url(&self, path: &str) -> Result<String> {
        let url = format!("{}{path}", self.base_url);
        if !Url::parse(&url).is_ok_and(|parsed| parsed.as_str() == url && parsed.fragment().is_none()) {
            return Err(Error::invalid("path", "must be a percent-encoded path without dot segments"));
        }
        Ok(url)
    }

    pub(super) async fn exchange<'a>(
        &self,
        method: &str,
        url: &str,
        headers: impl IntoIterator<Item = (&'static str, &'a str)>,
        body: Vec<u8>,
    ) -> Result<Answer> {
        let method = Method::from_bytes(method.as_bytes()).expect("a request's method is of capital letters");
        let mut call = self.http.request(method, url);
        for (name, value) in headers {
            call = call.header(name, value);
        }
        let mut response =
            call.body(body).send().await.map_err(|error| answer::failure(error, &self.base_url))?;
        let body = answer::read_body(&mut response, &self.base_url).await;
        Ok(Answer { status: response.status(), headers: std::mem::take(response.headers_mut()), body })
    }
}

fn parse_base(text: &str, example: &str) -> Result<Url> {
    let refuse = |rule| Err(Error::invalid("base_url", rule));
    let Ok(url) = Url::parse(text) else {
        return Err(Error::invalid("base_url", format!("must be an address such as {example}")));
    };
    if !matches!(url.scheme(), "http" | "https") {
        return refuse("must begin with http:// or https://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("must not hold a user name or password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse("must not hold \"?\" or \"#\"");
    }
    Ok(url)
}

fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn user_agent(suffix: Option<&str>) -> Result<String> {
    const PRODUCT: &str = concat!("amochats/", env!("CARGO_PKG_VERSION"));
    match suffix {
        None => Ok(PRODUCT.to_owned()),
        Some(suffix) if !suffix.is_empty() && suffix.bytes().all(|b| (b' '..=b'~').contains(&b)) => {
            Ok(format!("{PRODUCT} {suffix}"))
        }
        Some(_) => Err(Error::invalid("user_agent", "must be printable ASCII characters")),
    }
}

/// A configuration of its own: the choice of a cryptography provider for the whole process
/// belongs to the program, and without one reqwest panics.
fn tls(root_certificates: &[Vec<u8>]) -> Result<rustls::ClientConfig> {
    let mut roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    for pem in root_certificates {
        let refuse = || Error::invalid("root_certificate", "must be PEM with at least one certificate");
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.map_err(|_| refuse())?).map_err(|_| refuse())?;
        }
        if roots.len() == before {
            return Err(refuse());
        }
    }
    let mut config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has cipher suites for TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
