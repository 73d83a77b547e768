//! The manager's page: three files in the binary, no build step, nothing from the internet.

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::get;
use url::Url;

const FILES: [(&str, &str, &str); 4] = [
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/app.js", "text/javascript; charset=utf-8", include_str!("page/app.js")),
    ("/view.js", "text/javascript; charset=utf-8", include_str!("page/view.js")),
    ("/style.css", "text/css; charset=utf-8", include_str!("page/style.css")),
];

/// The routes of the page's files. The page may load itself, show pictures from anywhere and frame
/// the companion, and nothing else.
pub(crate) fn router<S: Clone + Send + Sync + 'static>(companion_url: Option<&str>) -> Router<S> {
    let companion = companion_url
        .and_then(|url| Url::parse(url).ok())
        .map_or_else(|| "'none'".to_owned(), |url| url.origin().ascii_serialization());
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src * data:; connect-src 'self'; \
         frame-src {companion}; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    );
    let policy = HeaderValue::from_str(&policy).expect("an origin is ASCII without control characters");
    FILES.iter().fold(Router::new(), |router, &(path, kind, text)| {
        let headers: [(HeaderName, HeaderValue); 5] = [
            (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
            (header::CONTENT_SECURITY_POLICY, policy.clone()),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        ];
        router.route(path, get(async move || (headers.clone(), text).into_response()))
    })
}
