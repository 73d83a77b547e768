//! The widget's calls, which another HTTP server received, and a function that decides who may connect.

use crate::client::{json, read, unknown_call};
use crate::gate;
use amochats::{Error, ErrorKind, Result};
use amochats_runtime::Widget;
use amochats_runtime::widget::{Attempt, Authorizer};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use serde::Deserialize;
use serde_json::json;
use std::net::IpAddr;
use std::time::Duration;

/// How long a function has for its decision.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct Handle {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    peer: String,
}

#[derive(Deserialize)]
struct Serves {
    path: String,
}

/// The widget, where it is configured.
pub(crate) fn configured(widget: Option<&Widget>) -> Result<&Widget> {
    widget.ok_or_else(|| {
        let said = "widget.redirect_uri: must be set, or no accounts are linked here";
        Error::new(ErrorKind::ConfigInvalid, said).with_field("widget.redirect_uri")
    })
}

/// The call of this name.
pub(crate) async fn call(widget: &Widget, name: &str, arguments: &[u8], body: Vec<u8>) -> Result<Vec<u8>> {
    match name {
        "handle" => {
            let Handle { method, path, headers, peer } = read(arguments)?;
            let peer: IpAddr = peer.parse().map_err(|_| {
                Error::invalid(
                    "peer",
                    "must be the address of whoever asks, as \"192.0.2.1\", without a port",
                )
            })?;
            let headers: Vec<_> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let answer = widget.handle(&method, &path, &headers, &body, peer).await;
            json(&json!({
                "status": answer.status, "headers": answer.headers, "body": BASE64.encode(answer.body),
            }))
        }
        "serves" => {
            let Serves { path } = read(arguments)?;
            json(&widget.serves(&path))
        }
        _ => Err(unknown_call(name)),
    }
}

/// A function of Python's that decides who may connect: it takes JSON and says yes or no.
pub(crate) struct PythonAuthorizer(Py<PyAny>);

impl PythonAuthorizer {
    pub(crate) fn new(decide: Py<PyAny>) -> Self {
        Self(decide)
    }
}

fn unclear(said: &str) -> Error {
    Error::new(ErrorKind::Unavailable, said)
}

#[async_trait]
impl Authorizer for PythonAuthorizer {
    /// On a thread that may wait: for the interpreter, and for what the function does.
    async fn authorize(&self, attempt: &Attempt) -> Result<bool> {
        let gone = || Error::new(ErrorKind::Closed, "the process is ending");
        if gate::is_closed() {
            return Err(gone());
        }
        let decide = Python::try_attach(|py| self.0.clone_ref(py)).ok_or_else(gone)?;
        let attempt = attempt.to_json().to_string();
        let deciding = tokio::task::spawn_blocking(move || {
            Python::try_attach(|py| {
                let decided = decide.call1(py, (PyBytes::new(py, attempt.as_bytes()),));
                // What was raised is in the log of Python by now.
                decided.and_then(|decision| decision.extract::<bool>(py)).ok()
            })
        });
        match tokio::time::timeout(TIMEOUT, deciding).await {
            Ok(Ok(Some(Some(decision)))) => Ok(decision),
            Ok(Ok(Some(None))) => Err(unclear("the function that decides who may connect failed")),
            Ok(_) => Err(gone()),
            Err(_) => Err(unclear("the function that decides who may connect takes too long")),
        }
    }
}
