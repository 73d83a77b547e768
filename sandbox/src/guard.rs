//! Keeps other pages in the same browser out of a local page's API.

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::net::IpAddr;
use url::Url;

/// Refuses, as an axum middleware, what may be another page's request.
///
/// The `Host` must be an address, `localhost` or a name below it, which always is this machine (RFC 6761,
/// section 6.3); any other name could be rebound to it. An `Origin` must be the page's own, and what is posted must come as JSON or as bytes without a type,
/// which a plain form cannot send (nor can it use another method). The answer is 403 with the reason as `{"error": …}`.
pub async fn own_page_only(request: Request, next: Next) -> Response {
    match foreign(request.method(), request.headers()) {
        Some(why) => (StatusCode::FORBIDDEN, Json(json!({ "error": why }))).into_response(),
        None => next.run(request).await,
    }
}

/// Why a request may be another page's.
fn foreign(method: &Method, headers: &HeaderMap) -> Option<&'static str> {
    let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let Some(host) = text(header::HOST).and_then(|host| Url::parse(&format!("http://{host}/")).ok()) else {
        return Some("the Host header is missing or malformed");
    };
    let name = host.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let local = name == "localhost" || name.ends_with(".localhost");
    if !local && name.parse::<IpAddr>().is_err() {
        return Some("open the page by its address, as localhost or as a name below it");
    }
    if let Some(origin) = text(header::ORIGIN) {
        let own = Url::parse(origin).is_ok_and(|origin| origin.origin() == host.origin());
        if !own {
            return Some("the Origin is another page's");
        }
    }
    let kind = text(header::CONTENT_TYPE).unwrap_or_default();
    let foreign_kind =
        !["application/json", "application/octet-stream"].iter().any(|own| kind.starts_with(own));
    if *method == Method::POST && foreign_kind {
        return Some("the Content-Type must be application/json, or application/octet-stream for a file");
    }
    None
}
