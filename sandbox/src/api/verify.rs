//! Whether a request's signature holds, and if not, which rule it breaks.
//!
//! The order of the checks is: headers present, content type, date window, MD5, signature. A
//! signature over the body alone, the first generation's form, is looked for first: such a request
//! may lack `Date` and `Content-MD5`, and live clients send them without signing them.

use super::Fault;
use crate::switches::{Signatures, Switches};
use amochats::{
    CONTENT_MD5_HEADER, CONTENT_TYPE, ChannelSecret, SIGNATURE_HEADER, SignatureVerdict, canonical_string,
    content_md5, diagnose_signature, parse_date, sign_body,
};
use axum::http::{HeaderMap, StatusCode};
use std::time::{Duration, SystemTime};

/// What the checks go by.
pub(crate) struct Rules<'a> {
    pub(crate) secret: &'a ChannelSecret,
    pub(crate) switches: &'a Switches,
    /// Whether the method existed before autumn 2019, when the canonical form came.
    pub(crate) old_method: bool,
    pub(crate) now: SystemTime,
}

impl Rules<'_> {
    fn takes_body_only(&self) -> bool {
        match self.switches.signatures {
            Signatures::Any => true,
            Signatures::AnyOnOldMethods => self.old_method,
            Signatures::Canonical => false,
        }
    }
}

/// The request as it came.
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a str,
    /// As on the request line.
    pub(crate) path_and_query: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
}

/// How a genuine request was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Canonical,
    BodyOnly,
}

pub(crate) fn verify(rules: &Rules<'_>, request: &Signed<'_>) -> Result<Scheme, Fault> {
    let signature = header(request.headers, SIGNATURE_HEADER)?;
    if let Some(signature) = signature
        && rules.takes_body_only()
        && !request.body.is_empty()
        && signature == sign_body(rules.secret, request.body)
    {
        content_type(rules, header(request.headers, "Content-Type")?)?;
        return Ok(Scheme::BodyOnly);
    }
    let signature = present(signature, SIGNATURE_HEADER)?;
    let date = present(header(request.headers, "Date")?, "Date")?;
    let declared = present(header(request.headers, "Content-Type")?, "Content-Type")?;
    let md5 = present(header(request.headers, CONTENT_MD5_HEADER)?, CONTENT_MD5_HEADER)?;
    content_type(rules, Some(declared))?;
    date_in_window(rules, date)?;
    if rules.switches.check_md5 {
        md5_of_body(md5, request.body)?;
    }
    let canonical = |method: &str, path: &str| canonical_text(method, md5, declared, date, path);
    let path = request.path_and_query.split_once('?').map_or(request.path_and_query, |(path, _)| path);
    if signature == sign_body(rules.secret, canonical(request.method, path).as_bytes()) {
        return Ok(Scheme::Canonical);
    }
    Err(forbidden("signature_mismatch", diagnose(rules, request, signature, path, &canonical)))
}

/// Like [`canonical_string`], but a query string in `path` stays: to recognise who signed it.
fn canonical_text(method: &str, md5: &str, content_type: &str, date: &str, path: &str) -> String {
    canonical_string(method, md5, content_type, date, "") + path
}

fn forbidden(error_type: &'static str, description: impl Into<String>) -> Fault {
    Fault::new(StatusCode::FORBIDDEN, error_type, description)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Fault> {
    headers
        .get(name)
        .map(|value| {
            value
                .to_str()
                .map_err(|_| forbidden("header_malformed", format!("the header {name} is not ASCII")))
        })
        .transpose()
}

fn present<'a>(value: Option<&'a str>, name: &str) -> Result<&'a str, Fault> {
    value.ok_or_else(|| {
        forbidden(
            "header_missing",
            format!("the header {name} is missing: Date, Content-Type, Content-MD5 and X-Signature are all required"),
        )
    })
}

fn content_type(rules: &Rules<'_>, value: Option<&str>) -> Result<(), Fault> {
    match value {
        _ if !rules.switches.check_content_type => Ok(()),
        Some(CONTENT_TYPE) => Ok(()),
        Some(_) => Err(forbidden(
            "content_type",
            "the Content-Type must be application/json and nothing else, without a charset",
        )),
        None => present(None, "Content-Type").map(drop),
    }
}

fn date_in_window(rules: &Rules<'_>, date: &str) -> Result<(), Fault> {
    let sent = parse_date(date).map_err(|_| {
        forbidden(
            "date_malformed",
            "the Date is not a date of RFC 2822 such as \"Wed, 15 Dec 2021 23:12:55 +0000\" (is the day of the week right?)",
        )
    })?;
    let Some(window) = rules.switches.date_window_s.map(Duration::from_secs) else { return Ok(()) };
    let (distance, side) = match rules.now.duration_since(sent) {
        Ok(past) => (past, "old"),
        Err(future) => (future.duration(), "in the future"),
    };
    if distance <= window {
        return Ok(());
    }
    Err(forbidden(
        "date_outside_window",
        format!(
            "the Date is {} s {side}, a signature is valid for {} s: check the clock and sign each request anew",
            distance.as_secs(),
            window.as_secs()
        ),
    ))
}

fn md5_of_body(claimed: &str, body: &[u8]) -> Result<(), Fault> {
    let genuine = content_md5(body);
    if claimed == genuine {
        return Ok(());
    }
    let trimmed = body.strip_suffix(b"\n").unwrap_or(body);
    let said = if claimed.eq_ignore_ascii_case(&genuine) {
        "the Content-MD5 must be written in lower-case hex"
    } else if claimed.ends_with('=') {
        "the Content-MD5 must be written in lower-case hex, not in base64 as in RFC 1864"
    } else if claimed == content_md5(&[body, b"\n"].concat()) {
        "the Content-MD5 matches the body with a final newline that was not sent: hash the bytes that are sent"
    } else if claimed == content_md5(trimmed) {
        "the Content-MD5 matches the body without its final newline: every byte that is sent counts"
    } else if claimed == content_md5(b"") {
        "the Content-MD5 is that of an empty body, but a body was sent"
    } else {
        "the Content-MD5 does not belong to the body: serialise once, hash and send the same bytes"
    };
    Err(forbidden("content_md5_mismatch", said))
}

/// Tries the usual mistakes.
fn diagnose(
    rules: &Rules<'_>,
    request: &Signed<'_>,
    signature: &str,
    path: &str,
    canonical: &dyn Fn(&str, &str) -> String,
) -> String {
    let Rules { secret, .. } = rules;
    let secrets = std::slice::from_ref(*secret);
    let is = |text: &str| sign_body(secret, text.as_bytes()).eq_ignore_ascii_case(signature);
    let right = canonical(request.method, path);
    match diagnose_signature(secrets, &[], right.as_bytes(), Some(signature)) {
        SignatureVerdict::Valid => return "the signature must be written in lower-case hex".into(),
        SignatureVerdict::NotHex => return "the X-Signature is not 40 hex digits".into(),
        SignatureVerdict::WithNewline => {
            return "the signature matches the five lines with a final newline: there is none after the path"
                .into();
        }
        SignatureVerdict::HexDecodedSecret => {
            return "the signature was made with the secret decoded from hex: use its text as the key".into();
        }
        _ => {}
    }
    if is(&canonical(request.method, request.path_and_query)) {
        return "the signature covers the query string: sign the path alone".into();
    }
    for method in ["POST", "GET", "DELETE", "PUT", "PATCH", "post", "get", "delete"] {
        if is(&canonical(method, path)) {
            return format!(
                "the signature was made for the method {method}, the request is a {}",
                request.method
            );
        }
    }
    if let Some(host) = request.headers.get("host").and_then(|host| host.to_str().ok()) {
        let signed_url = ["http", "https"]
            .iter()
            .any(|scheme| is(&canonical(request.method, &format!("{scheme}://{host}{path}"))));
        if signed_url {
            return "the signature covers the whole URL: sign the path alone, without scheme and host".into();
        }
    }
    if is(&right.replace('\n', "\r\n")) {
        return "the signature matches the five lines joined by CRLF: join them by LF".into();
    }
    if is(&right.replace('\n', "")) {
        return "the signature matches the five parts joined by nothing: join them by LF".into();
    }
    match diagnose_signature(secrets, &[], request.body, Some(signature)) {
        SignatureVerdict::Valid if !rules.takes_body_only() => {
            "the signature covers the body alone; this sandbox is strict and takes the canonical form only".into()
        }
        SignatureVerdict::Valid => "the signature matches the body without its final newline, or in upper case".into(),
        SignatureVerdict::WithNewline => "the signature matches the body with a final newline that was not sent".into(),
        SignatureVerdict::Reserialised => {
            "the signature matches the same JSON written differently: serialise once, hash and send the same bytes".into()
        }
        SignatureVerdict::HexDecodedSecret => {
            "the signature covers the body alone and was made with the secret decoded from hex: use its text as the key".into()
        }
        _ => "the signature belongs to another secret, path or date: it covers METHOD, Content-MD5, Content-Type, Date \
              and path, joined by LF, keyed with the channel's secret as text"
            .into(),
    }
}
