//! The stand-in for the CRM's pages on which widgets are installed and set up (widget reference,
//! section 10): what the browser needs of the server. The pages themselves are in `page/widget`.

pub(crate) mod control;
mod package;

use crate::sandbox::Inner;
use crate::state::State;
use amochats::{AccountId, Error, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State as AxumState};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use package::Package;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};

const INDEX: &str = include_str!("../page/widget/index.html");
/// A widget calls its own server and shows what it likes; code comes from this page alone, as the
/// vendor's rules ask: no `eval`, nothing loaded from outside.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src * data:; \
                      media-src *; font-src *; connect-src *; frame-src *; frame-ancestors 'none'; base-uri 'none'; \
                      form-action 'none'";

/// The widgets that were loaded and what accounts keep of them. Not part of a saved state.
#[derive(Default)]
pub(crate) struct Widgets {
    /// By the integration's `client_id`.
    packages: BTreeMap<String, Package>,
    /// The fields that were saved, by `client_id` and account.
    fields: BTreeMap<(String, AccountId), Map<String, Value>>,
}

impl Widgets {
    /// With the widget of the first integration, if there is a path to it.
    pub(crate) fn of(path: Option<&std::path::Path>, state: &State) -> Result<Self> {
        let mut widgets = Self::default();
        if let (Some(path), Some(first)) = (path, state.crm.integrations().first()) {
            widgets.packages.insert(first.client_id.clone(), Package::open(path)?);
        }
        Ok(widgets)
    }
}

impl Inner {
    fn widgets(&self) -> MutexGuard<'_, Widgets> {
        self.widgets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load_widget(&self, client_id: &str, archive: Bytes) -> Result<()> {
        if !self.state().crm.integrations().iter().any(|known| known.client_id == client_id) {
            return Err(Error::invalid("client_id", "there is no such integration"));
        }
        let package = Package::unpack(archive)?;
        self.widgets().packages.insert(client_id.to_owned(), package);
        self.changed(crate::Change::Settings);
        Ok(())
    }
}

/// The page and the files of widgets, `/widgets/{code}/…` as in the CRM.
pub(crate) fn pages() -> Router<Arc<Inner>> {
    Router::new().route("/integrations", get(index)).route("/widgets/{code}/{*path}", get(file))
}

async fn index() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, INDEX).into_response()
}

async fn file(
    AxumState(inner): AxumState<Arc<Inner>>,
    Path((code, path)): Path<(String, String)>,
) -> Response {
    let owner = {
        let state = inner.state();
        let known = state.crm.integrations().iter().find(|integration| integration.code == code);
        known.map(|integration| integration.client_id.clone())
    };
    let package = owner.and_then(|client_id| inner.widgets().packages.get(&client_id).cloned());
    match package.and_then(|package| package.file(&path)) {
        Some(content) => {
            let headers = [
                (header::CONTENT_TYPE, package::media_type(&path)),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (header::CACHE_CONTROL, "no-store"),
            ];
            (headers, content).into_response()
        }
        None => (StatusCode::NOT_FOUND, "the widget has no such file").into_response(),
    }
}
