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
use package::{Archive, Package};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

const INDEX: &str = include_str!("../page/widget/index.html");
/// A widget calls its own server and shows what it likes; code comes from this page alone, as the
/// vendor's rules ask: no `eval`, nothing loaded from outside.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src * data:; \
                      media-src *; font-src *; connect-src *; frame-src *; frame-ancestors 'none'; base-uri 'none'; \
                      form-action 'none'";

/// The widgets that were loaded and what accounts keep of them.
#[derive(Clone, Default)]
pub(crate) struct Widgets {
    /// By the integration's `client_id`.
    packages: BTreeMap<String, Package>,
    /// The fields that were saved, by `client_id` and account.
    fields: BTreeMap<(String, AccountId), Map<String, Value>>,
}

/// The same in a state's file. A folder is not in it: it is given at each start.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedWidgets {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    archives: BTreeMap<String, Archive>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fields: Vec<(String, AccountId, Map<String, Value>)>,
}

impl Widgets {
    pub(crate) fn saved(&self) -> SavedWidgets {
        let archives =
            self.packages.iter().filter_map(|(id, package)| Some((id.clone(), package.archive()?)));
        let fields = self.fields.iter();
        SavedWidgets {
            archives: archives.collect(),
            fields: fields.map(|((id, account), kept)| (id.clone(), account.clone(), kept.clone())).collect(),
        }
    }

    /// # Errors
    /// What is wrong with an archive.
    pub(crate) fn restore(saved: SavedWidgets) -> Result<Self> {
        let unpacked = saved.archives.into_iter().map(|(id, archive)| Ok((id, archive.unpack()?)));
        let fields = saved.fields.into_iter().map(|(id, account, kept)| ((id, account), kept));
        Ok(Self { packages: unpacked.collect::<Result<_>>()?, fields: fields.collect() })
    }
}

impl State {
    /// Loads the widget of the first integration from a folder or an archive, if there is one.
    pub(crate) fn load_widget(&mut self, path: Option<&std::path::Path>) -> Result<()> {
        if let (Some(path), Some(first)) = (path, self.crm.integrations().first()) {
            self.widgets.packages.insert(first.client_id.clone(), Package::open(path)?);
        }
        Ok(())
    }
}

impl Inner {
    fn load_widget(&self, client_id: &str, archive: Bytes) -> Result<()> {
        let package = Package::unpack(archive)?;
        {
            let mut state = self.state();
            if !state.crm.integrations().iter().any(|known| known.client_id == client_id) {
                return Err(Error::invalid("client_id", "there is no such integration"));
            }
            state.widgets.packages.insert(client_id.to_owned(), package);
        }
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
    let package = {
        let state = inner.state();
        let owner = state.crm.integrations().iter().find(|integration| integration.code == code);
        owner.and_then(|owner| state.widgets.packages.get(&owner.client_id).cloned())
    };
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
