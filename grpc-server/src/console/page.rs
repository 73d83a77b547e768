//! The console's files, in the binary: no build step, nothing from the internet.

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

const FILES: [(&str, &str, &str); 8] = [
    ("/console/", HTML, include_str!("page/index.html")),
    ("/console/style.css", STYLE, include_str!("page/style.css")),
    ("/console/app.js", SCRIPT, include_str!("page/app.js")),
    ("/console/api.js", SCRIPT, include_str!("page/api.js")),
    ("/console/figures.js", SCRIPT, include_str!("page/figures.js")),
    ("/console/ui.js", SCRIPT, include_str!("page/ui.js")),
    ("/console/views.js", SCRIPT, include_str!("page/views.js")),
    ("/console/preact-htm.js", SCRIPT, include_str!("page/preact-htm.js")),
];

/// The page may load itself and ask its own server, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
     frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

pub(super) fn router() -> Router {
    let router = Router::new().route("/console", get(async || Redirect::permanent("/console/")));
    FILES.iter().fold(router, |router, &(path, kind, text)| {
        let headers = [
            (header::CONTENT_TYPE, kind),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::CACHE_CONTROL, "no-cache"),
        ];
        router.route(path, get(async move || (headers, text).into_response()))
    })
}
