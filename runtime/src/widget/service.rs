//! The operator's own service is asked over HTTP. `docs/linking.md` describes request and answer.

use super::authorize::{Attempt, Authorizer};
use amochats::{Error, ErrorKind, Result};
use async_trait::async_trait;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::Sha256;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// The largest answer that is read, in bytes.
const ANSWER_MAX: usize = 64 << 10;

/// Asks a service.
pub(crate) struct HttpAuthorizer {
    http: reqwest::Client,
    url: url::Url,
    secret: SecretString,
    clock: Arc<dyn crate::clock::Clock>,
}

impl HttpAuthorizer {
    pub(crate) fn new(
        url: &str,
        secret: SecretString,
        timeout: Duration,
        clock: Arc<dyn crate::clock::Clock>,
    ) -> Result<Self> {
        let invalid = |rule: &str| {
            let said = format!("widget.service_url: {rule}");
            Error::new(ErrorKind::ConfigInvalid, said).with_field("widget.service_url")
        };
        let url: url::Url = url.parse().map_err(|_| invalid("must be an address"))?;
        let loopback = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        if url.scheme() != "https" && !(url.scheme() == "http" && loopback) {
            return Err(invalid("must begin with https://, or be on this machine: passwords go there"));
        }
        let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has cipher suites for TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .timeout(timeout)
            // A redirect would carry a password to another place.
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never());
        let http = if loopback { http.no_proxy() } else { http };
        let http = http.build().map_err(|_| invalid("the HTTP client cannot be made"))?;
        Ok(Self { http, url, secret, clock })
    }

    /// `v1=` and the HMAC-SHA256 of time and body, in hex.
    fn signature(&self, time: &str, body: &[u8]) -> String {
        let key = self.secret.expose_secret().as_bytes();
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
        mac.update(time.as_bytes());
        mac.update(b".");
        mac.update(body);
        mac.finalize().into_bytes().iter().fold("v1=".to_owned(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a String takes all");
            hex
        })
    }
}

#[async_trait]
impl Authorizer for HttpAuthorizer {
    async fn authorize(&self, attempt: &Attempt) -> Result<bool> {
        #[derive(Deserialize)]
        struct Decision {
            allow: bool,
        }
        let unclear = |said: &str| Error::new(ErrorKind::Unavailable, format!("widget.service_url {said}"));
        let body = attempt.to_json().to_string();
        let time = (self.clock.now_msec() / 1000).to_string();
        let sent = self
            .http
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header("x-amochats-timestamp", &time)
            .header("x-amochats-signature", self.signature(&time, body.as_bytes()))
            .body(body)
            .send()
            .await;
        // The cause could quote the address, which may hold a key.
        let mut answer = sent.map_err(|_| unclear("does not answer"))?;
        match answer.status().as_u16() {
            200 => {}
            401 | 403 => return Ok(false),
            status => return Err(unclear(&format!("answers {status}")).with_http_status(status)),
        }
        let mut read = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|_| unclear("broke off"))? {
            read.extend_from_slice(&part);
            if read.len() > ANSWER_MAX {
                return Err(unclear("answers too much"));
            }
        }
        let decision: Decision = serde_json::from_slice(&read)
            .map_err(|_| unclear("does not answer {\"allow\": true} or false"))?;
        Ok(decision.allow)
    }

    fn name(&self) -> &'static str {
        "service"
    }
}
