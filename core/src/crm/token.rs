//! The one-time token of a widget: who asks, signed by the CRM (widget reference, section 7).

use super::{ClientSecret, Extra, disable::keyed, lenient};
use crate::error::{Error, ErrorKind, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest token that is looked at, in bytes; the CRM's are below 1 KiB.
const TOKEN_MAX: usize = 8 * 1024;

/// The domains under which accounts live.
const DOMAINS: [&str; 3] = ["amocrm.ru", "amocrm.com", "kommo.com"];

/// What a one-time token must say to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneTimeTokenRules {
    /// The integration's id, which `client_uuid` must be.
    pub client_uuid: String,
    /// The integration's redirect URI as it is registered; its scheme and host must be `aud`.
    pub redirect_uri: String,
    /// The `Origin` header of the request, if it has one: `iss` must be the same. The vendor does
    /// not promise it; a browser sends it on every cross-origin call.
    pub origin: Option<String>,
    /// Issuers to take beside `https://*.amocrm.ru`, `*.amocrm.com` and `*.kommo.com`, exactly as
    /// they are written: a sandbox's.
    pub issuers: Vec<String>,
    /// By how much the two clocks may differ. The vendor's own library allows nothing.
    pub leeway: Duration,
}

impl OneTimeTokenRules {
    /// The vendor's rules for an integration.
    pub fn new(client_uuid: impl Into<String>, redirect_uri: impl Into<String>) -> Self {
        Self {
            client_uuid: client_uuid.into(),
            redirect_uri: redirect_uri.into(),
            origin: None,
            issuers: Vec::new(),
            leeway: Duration::ZERO,
        }
    }
}

/// What a genuine one-time token says.
///
/// It proves the account and the user of the **CRM**, not the `amojo_id` that a widget may send
/// beside it: ask for that with the account's own token ([`Request::account`](super::Request::account)).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OneTimeToken {
    /// The address of the account, such as `https://example.amocrm.ru`.
    pub iss: String,
    /// The scheme and host of the integration's redirect URI.
    pub aud: String,
    /// The token's id. **Whether it was seen before is the caller's to check**: keep it until
    /// `exp`, and refuse it the second time.
    pub jti: String,
    /// When it was made, in Unix seconds.
    #[serde(deserialize_with = "lenient::id")]
    pub iat: i64,
    /// From when on it counts, in Unix seconds.
    #[serde(deserialize_with = "lenient::id")]
    pub nbf: i64,
    /// Until when it counts, in Unix seconds.
    #[serde(deserialize_with = "lenient::id")]
    pub exp: i64,
    /// The number of the account in the CRM. It is not the [`AccountId`](crate::AccountId).
    #[serde(deserialize_with = "lenient::id")]
    pub account_id: i64,
    /// The number of the user in the CRM.
    #[serde(deserialize_with = "lenient::id")]
    pub user_id: i64,
    /// The first label of the account's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subdomain: Option<String>,
    /// The integration.
    pub client_uuid: String,
    /// Whether the user is an administrator. The pages do not tell of it; it may be absent.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::flag")]
    pub is_admin: Option<bool>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Checks the one-time token of a widget's call (`X-Auth-Token`), at the time `now`.
///
/// Only `HS256` with the integration's secret key is taken. That a token was not used before is not
/// checked here: see [`OneTimeToken::jti`].
///
/// # Errors
/// [`ErrorKind::Unauthenticated`] with the reason, and in [`Error::field`] the part at fault:
/// `token` (not of the form), `alg`, `signature`, or the claim that is missing or wrong.
/// [`ErrorKind::InvalidArgument`] for a redirect URI without scheme and host.
pub fn verify_one_time_token(
    secret: &ClientSecret,
    token: &str,
    rules: &OneTimeTokenRules,
    now: SystemTime,
) -> Result<OneTimeToken> {
    #[derive(Deserialize)]
    struct Header {
        alg: String,
        crit: Option<serde_json::Value>,
    }
    let audience = origin_of(&rules.redirect_uri).ok_or_else(|| {
        Error::invalid("redirect_uri", "must be an address such as https://example.org/oauth")
    })?;
    if token.len() > TOKEN_MAX {
        return Err(refused("token", "is too long for a one-time token"));
    }
    let (signed, signature) =
        token.rsplit_once('.').ok_or_else(|| refused("token", "is not three parts with dots between"))?;
    let (header, claims) =
        signed.split_once('.').ok_or_else(|| refused("token", "is not three parts with dots between"))?;

    let header: Header = part(header).ok_or_else(|| refused("token", "has a header that is not JSON"))?;
    if header.alg != "HS256" {
        return Err(refused("alg", "is not HS256"));
    }
    if header.crit.is_some() {
        return Err(refused("crit", "asks for an extension"));
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
    if keyed(secret, signed.as_bytes()).verify_slice(&signature).is_err() {
        return Err(refused("signature", "does not belong to this token and secret"));
    }
    let claims: OneTimeToken =
        part(claims).ok_or_else(|| refused("token", "lacks a claim, or has one twice"))?;
    check(&claims, &audience, rules, now)?;
    Ok(claims)
}

fn check(claims: &OneTimeToken, audience: &str, rules: &OneTimeTokenRules, now: SystemTime) -> Result<()> {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    let now = now.duration_since(UNIX_EPOCH).map_or(i64::MIN, seconds);
    let (earliest, latest) =
        (now.saturating_sub(seconds(rules.leeway)), now.saturating_add(seconds(rules.leeway)));
    if claims.exp <= earliest {
        return Err(refused("exp", "is past: the token has expired"));
    }
    if claims.nbf > latest {
        return Err(refused("nbf", "is still to come"));
    }
    if claims.iat > latest {
        return Err(refused("iat", "is still to come"));
    }
    if claims.client_uuid != rules.client_uuid {
        return Err(refused("client_uuid", "is another integration"));
    }
    // The vendor's library leaves the port out.
    let without_port = audience.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    if claims.aud != audience && Some(claims.aud.as_str()) != without_port.map(|(host, _)| host) {
        return Err(refused("aud", "is not the scheme and host of the redirect URI"));
    }
    if !is_account_address(&claims.iss) && !rules.issuers.contains(&claims.iss) {
        return Err(refused("iss", "is not the address of an account"));
    }
    if rules.origin.as_ref().is_some_and(|origin| *origin != claims.iss) {
        return Err(refused("iss", "is not the origin of the request"));
    }
    if claims.jti.is_empty() {
        return Err(refused("jti", "is empty"));
    }
    Ok(())
}

fn refused(part: &str, why: &str) -> Error {
    Error::new(ErrorKind::Unauthenticated, format!("the one-time token is refused: {part} {why}"))
        .with_field(part)
}

fn part<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

/// Whether an address is `https://{label}.{domain}` of an account: the form of `iss` and of the `Origin`
/// of the CRM's pages.
pub fn is_account_address(address: &str) -> bool {
    let Some((label, domain)) = address.strip_prefix("https://").and_then(|host| host.split_once('.')) else {
        return false;
    };
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !label.is_empty() && label.bytes().all(plain) && DOMAINS.contains(&domain)
}

/// Scheme and host with port of an address.
fn origin_of(address: &str) -> Option<String> {
    let (scheme, rest) = address.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next().filter(|host| !host.is_empty() && !host.contains('@'))?;
    matches!(scheme, "http" | "https").then(|| format!("{scheme}://{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const CLIENT: &str = "11111111-2222-4333-8444-555555555555";
    /// Half of the token's life.
    const NOW: u64 = 1_700_000_900;

    fn secret() -> ClientSecret {
        ClientSecret::new("example-integration-secret-0123456789").expect("clean")
    }

    fn claims() -> Value {
        json!({
            "iss": "https://demo.amocrm.ru", "aud": "https://chat.example.org",
            "jti": "00000000-0000-4000-8000-000000000001",
            "iat": 1_700_000_000, "nbf": 1_700_000_000, "exp": 1_700_001_800,
            "account_id": 12_345_678, "user_id": 501, "subdomain": "demo", "client_uuid": CLIENT,
        })
    }

    fn signed_with(header: &str, claims: &str) -> String {
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(keyed(&secret(), text.as_bytes()).finalize().into_bytes());
        format!("{text}.{signature}")
    }

    fn signed(claims: &Value) -> String {
        signed_with(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string())
    }

    fn rules() -> OneTimeTokenRules {
        OneTimeTokenRules::new(CLIENT, "https://chat.example.org/oauth")
    }

    fn check_at(token: &str, rules: &OneTimeTokenRules, now: u64) -> Result<OneTimeToken> {
        verify_one_time_token(&secret(), token, rules, UNIX_EPOCH + Duration::from_secs(now))
    }

    fn refusal(token: &str, rules: &OneTimeTokenRules, now: u64) -> String {
        let error = check_at(token, rules, now).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        error.field().expect("the part at fault").to_owned()
    }

    #[test]
    fn the_published_vector_is_genuine() {
        let token = signed(&claims());
        assert!(token.ends_with(".GOEWRvJOQCt8yzB4CcSez0H3v_UNez08IvPuNr26dd4"), "{token}");
        let taken = check_at(&token, &rules(), NOW).expect("genuine");
        assert_eq!((taken.account_id, taken.user_id, taken.is_admin), (12_345_678, 501, None));
        assert_eq!(taken.jti, "00000000-0000-4000-8000-000000000001");
    }

    #[test]
    fn every_claim_counts() {
        for (claim, wrong) in [
            ("iss", json!("http://demo.amocrm.ru")),
            ("iss", json!("https://demo.amocrm.ru.example.org")),
            ("iss", json!("https://amocrm.ru")),
            ("iss", json!("https://.amocrm.ru")),
            ("iss", json!("https://a.b.amocrm.ru")),
            ("iss", json!("https://demo.amocrm.ru/")),
            ("iss", json!("https://evil@demo.amocrm.ru")),
            ("aud", json!("https://other.example.org")),
            ("aud", json!("https://chat.example.org/oauth")),
            ("aud", json!("")),
            ("jti", json!("")),
            ("iat", json!(NOW + 1)),
            ("nbf", json!(NOW + 1)),
            ("exp", json!(NOW)),
            ("client_uuid", json!("00000000-2222-4333-8444-555555555555")),
        ] {
            let mut claims = claims();
            claims[claim] = wrong.clone();
            assert_eq!(refusal(&signed(&claims), &rules(), NOW), claim, "{wrong}");
        }
        for claim in ["iss", "aud", "jti", "iat", "nbf", "exp", "account_id", "user_id", "client_uuid"] {
            let mut claims = claims();
            claims.as_object_mut().expect("a map").remove(claim);
            assert_eq!(refusal(&signed(&claims), &rules(), NOW), "token", "{claim}");
        }
        let twice = claims().to_string().replacen('{', r#"{"account_id":1,"#, 1);
        assert_eq!(refusal(&signed_with(r#"{"alg":"HS256"}"#, &twice), &rules(), NOW), "token");
    }

    #[test]
    fn only_hs256_with_our_key_counts() {
        let claims = claims().to_string();
        for header in [r#"{"alg":"none"}"#, r#"{"alg":"HS512"}"#, r#"{"alg":"RS256"}"#, r#"{"alg":"hs256"}"#]
        {
            assert_eq!(refusal(&signed_with(header, &claims), &rules(), NOW), "alg", "{header}");
        }
        let extended = signed_with(r#"{"alg":"HS256","crit":["x"]}"#, &claims);
        assert_eq!(refusal(&extended, &rules(), NOW), "crit");

        let good = signed_with(r#"{"alg":"HS256"}"#, &claims);
        let (text, signature) = good.rsplit_once('.').expect("three parts");
        let foreign = verify_one_time_token(
            &ClientSecret::new("other").expect("clean"),
            &good,
            &rules(),
            UNIX_EPOCH + Duration::from_secs(NOW),
        );
        assert_eq!(foreign.expect_err("refused").field(), Some("signature"));
        for forged in
            [format!("{text}."), format!("{text}.{signature}A"), format!("{text}.{}", &signature[1..])]
        {
            assert_eq!(refusal(&forged, &rules(), NOW), "signature");
        }
        for odd in ["", ".", "..", "a.b", "a.b.c", &format!("{good}.x"), &"x".repeat(TOKEN_MAX + 1)] {
            assert!(["token", "signature"].contains(&&*refusal(odd, &rules(), NOW)), "{odd}");
        }
    }

    #[test]
    fn clocks_ports_origins_and_sandboxes_are_allowed_for_on_purpose() {
        let token = signed(&claims());
        let late = 1_700_001_800;
        assert_eq!(refusal(&token, &rules(), late), "exp");
        let patient = OneTimeTokenRules { leeway: Duration::from_secs(5), ..rules() };
        assert!(check_at(&token, &patient, late + 4).is_ok());
        assert_eq!(refusal(&token, &patient, late + 5), "exp");

        let ported = OneTimeTokenRules { redirect_uri: "https://chat.example.org:8443/x".into(), ..rules() };
        assert!(check_at(&token, &ported, NOW).is_ok());
        let nowhere = OneTimeTokenRules { redirect_uri: "chat.example.org".into(), ..rules() };
        assert_eq!(check_at(&token, &nowhere, NOW).expect_err("unusable").field(), Some("redirect_uri"));

        for (origin, taken) in [("https://demo.amocrm.ru", true), ("https://other.amocrm.ru", false)] {
            let asked = OneTimeTokenRules { origin: Some(origin.into()), ..rules() };
            assert_eq!(check_at(&token, &asked, NOW).is_ok(), taken);
        }
        let mut claims = claims();
        claims["iss"] = json!("http://127.0.0.1:8080");
        let sandboxed = OneTimeTokenRules { issuers: vec!["http://127.0.0.1:8080".into()], ..rules() };
        assert!(check_at(&signed(&claims), &sandboxed, NOW).is_ok());
    }

    proptest! {
        #[test]
        fn any_text_is_refused(token in r"[A-Za-z0-9_.=-]{0,80}|.{0,40}") {
            prop_assert!(check_at(&token, &rules(), NOW).is_err());
        }
    }
}
