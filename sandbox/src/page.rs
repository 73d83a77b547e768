//! The manager's page: its files in the binary, no build step, nothing from the internet.

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::get;
use url::Url;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Files of the folder `page`, each under its name there.
macro_rules! files {
    ($($kind:ident: $($name:literal)+;)+) => {
        &[$($((concat!("/", $name), $kind, include_str!(concat!("page/", $name))),)+)+]
    };
}

const INDEX: &str = include_str!("page/index.html");
const FILES: &[(&str, &str, &str)] = files! {
    STYLE: "css/base.css" "css/frame.css" "css/inbox.css" "css/message.css" "css/journal.css" "css/views.css"
        "widget/window.css";
    SCRIPT: "vendor/preact-htm.js" "vendor/jquery-2.1.3.min.js"
        "widget/host.js" "widget/loader.js" "widget/page.js" "widget/window.js" "widget/words.js"
        "js/api.js" "js/app.js" "js/commands.js" "js/format.js" "js/icons.js" "js/inbox.js" "js/log.js"
        "js/store.js" "js/ui.js"
        "js/views/channels.js" "js/views/chats.js" "js/views/composer.js" "js/views/controls.js"
        "js/views/conversation.js" "js/views/dialogs.js" "js/views/faults.js" "js/views/journal.js" "js/views/message.js"
        "js/views/side.js" "js/views/welcome.js";
};

/// The routes of the page's files. The page may load itself, show pictures and play sounds from
/// anywhere and frame the companion, and nothing else.
pub(crate) fn router<S: Clone + Send + Sync + 'static>(companion_url: Option<&str>) -> Router<S> {
    let companion = companion_url
        .and_then(|url| Url::parse(url).ok())
        .map_or_else(|| "'none'".to_owned(), |url| url.origin().ascii_serialization());
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src * data:; media-src *; \
         connect-src 'self'; frame-src {companion}; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    );
    let policy = HeaderValue::from_str(&policy).expect("an origin is ASCII without control characters");
    std::iter::once(&("/", HTML, INDEX)).chain(FILES).fold(Router::new(), |router, &(path, kind, text)| {
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

#[cfg(test)]
mod tests {
    use super::{FILES, INDEX};
    use std::path::Path;

    fn files_below(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("the folder is there") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                files_below(&path, found);
            } else {
                found.push(path.display().to_string());
            }
        }
    }

    #[test]
    fn every_file_of_the_page_is_served() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/page");
        let mut found = Vec::new();
        files_below(&root, &mut found);
        found.retain(|path| !path.ends_with("index.html"));
        let mut served: Vec<_> = FILES.iter().map(|(path, ..)| format!("{}{path}", root.display())).collect();
        found.sort();
        served.sort();
        assert_eq!(found, served);
    }

    #[test]
    fn what_the_page_names_is_served() {
        let served = |name: &str| FILES.iter().any(|(path, ..)| *path == name);
        for part in
            INDEX.split(['"', '\'']).filter(|part| part.starts_with("/css/") || part.starts_with("/js/"))
        {
            assert!(served(part), "{part}");
        }
        assert!(served("/js/app.js"));
    }
}
