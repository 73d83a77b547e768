//! The integration, and what the CRM and its widgets send to its server.

use super::{give, shown};
use crate::boundary::{boundary, required, value};
use crate::builder::given;
use crate::error::amochats_error;
use crate::result::amochats_result;
use crate::slice::amochats_slice;
use crate::value::amochats_value;
use amochats_core::Connected;
use amochats_core::crm::{
    ClientSecret, CrmProblem, Integration, OneTimeTokenRules, parse_crm_webhook, verify_disable_hook,
    verify_one_time_token,
};
use std::mem::MaybeUninit;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An integration, as OAuth knows it. Made by amochats_crm_integration_new(), freed by the caller with
/// amochats_crm_integration_free(). Never changes: any thread may use it.
pub struct amochats_crm_integration(Integration);

impl amochats_crm_integration {
    pub(super) fn get(&self) -> &Integration {
        &self.0
    }
}

/// Makes an integration of what its page in the CRM shows: `client_id` is its UUID, `client_secret` its secret
/// key, which is not the secret of a channel, and `redirect_uri` the address as it is registered.
///
/// AMOCHATS_RESULT_INVALID_ARGUMENT for a secret that is empty or holds blanks or line feeds.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_integration_new(
    client_id: amochats_slice<'_>,
    client_secret: amochats_slice<'_>,
    redirect_uri: amochats_slice<'_>,
    integration: Option<&mut MaybeUninit<*mut amochats_crm_integration>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        give(integration, "integration", || {
            Ok(amochats_crm_integration(Integration {
                client_id: client_id.text("client_id")?.to_owned(),
                client_secret: ClientSecret::new(client_secret.text("client_secret")?)?,
                redirect_uri: redirect_uri.text("redirect_uri")?.to_owned(),
            }))
        })
    })
}

/// Frees an integration and wipes its secret; NULL is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_integration_free(integration: Option<Box<amochats_crm_integration>>) {
    value((), || drop(integration));
}

/// Checks the one-time token of a widget's call (the header X-Auth-Token) and writes what it says: {"iss",
/// "aud", "jti", "iat", "nbf", "exp", "account_id", "user_id", "subdomain", "client_uuid", "is_admin"}, the
/// last three not always. `origin` is the header Origin, nothing where there was none; `issuer` one more
/// address to take as that of an account, such as a sandbox's, or nothing; `now_sec` the time in Unix seconds,
/// or 0 for the clock's.
///
/// It proves the account and the user of the CRM, and that alone. **Whether it was seen before is the
/// caller's to check**: keep "jti" until "exp", and refuse it the second time.
///
/// AMOCHATS_RESULT_UNAUTHENTICATED with the part at fault as its field: "token", "alg", "signature", or a
/// claim. AMOCHATS_RESULT_INVALID_ARGUMENT for an integration without an address.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_verify_one_time_token(
    integration: Option<&amochats_crm_integration>,
    token: amochats_slice<'_>,
    origin: amochats_slice<'_>,
    issuer: amochats_slice<'_>,
    now_sec: u64,
    claims: Option<&mut MaybeUninit<*mut amochats_value>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let integration = required(integration, "integration")?.get();
        let claims = required(claims, "claims")?;
        let mut rules = OneTimeTokenRules::new(&integration.client_id, &integration.redirect_uri);
        rules.origin = given(origin, "origin")?.map(str::to_owned);
        rules.issuers.extend(given(issuer, "issuer")?.map(str::to_owned));
        let now = match now_sec {
            0 => SystemTime::now(),
            seconds => UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH),
        };
        // Whoever calls chooses its bytes: what is no text is one more token that is not genuine.
        let token = String::from_utf8_lossy(token.bytes("token")?);
        let found = verify_one_time_token(&integration.client_secret, &token, &rules, now)?;
        claims.write(amochats_value::into_raw(shown(&found)));
        Ok(())
    })
}

/// Checks the disable hook: the GET that the CRM sends when an account switches the integration off.
/// `account_id`, the number of the account in the CRM, and `signature` are as they stand in its query, whose
/// client_uuid must be the integration's. The hook carries no time, so that it can be sent again.
///
/// AMOCHATS_RESULT_SIGNATURE_MISSING without a signature of 64 hex digits;
/// AMOCHATS_RESULT_SIGNATURE_MISMATCH where it belongs to something else.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_verify_disable_hook(
    integration: Option<&amochats_crm_integration>,
    account_id: amochats_slice<'_>,
    signature: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let integration = required(integration, "integration")?.get();
        let account = String::from_utf8_lossy(account_id.bytes("account_id")?);
        let bytes = signature.bytes("signature")?;
        let signature = signature.is_present().then(|| String::from_utf8_lossy(bytes));
        let secret = &integration.client_secret;
        verify_disable_hook(secret, &integration.client_id, &account, signature.as_deref())
    })
}

/// Reads a webhook of the CRM itself, a form that is not signed, and writes {"events": [...]}, each event with
/// its "kind": "message_added", "talk_added", "talk_updated", "template_review" or "unknown". Those of a
/// channel are for amochats_webhook_parse().
///
/// AMOCHATS_RESULT_MALFORMED_WEBHOOK where it is no form; AMOCHATS_RESULT_BODY_TOO_LARGE.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_webhook_parse(
    body: amochats_slice<'_>,
    webhook: Option<&mut MaybeUninit<*mut amochats_value>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        give(webhook, "webhook", || Ok(shown(&parse_crm_webhook(body.bytes("body")?)?).into()))
    })
}

/// Reads what the CRM says where it refuses a call, for a program with an HTTP stack of its own: {"title",
/// "detail", "status", "errors": [{"request_id", "code", "path", "detail"}]}. NULL is written where the body is of
/// another form. It may quote what was sent: show it to people, never log it.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_problem_parse(
    body: amochats_slice<'_>,
    problem: Option<&mut MaybeUninit<*mut amochats_value>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let problem = required(problem, "problem")?;
        let found = CrmProblem::from_json(body.bytes("body")?);
        problem.write(found.map_or(std::ptr::null_mut(), |found| amochats_value::into_raw(shown(&found))));
        Ok(())
    })
}

/// Reads the answer to the call of the chats API that connects an account, as amochats_call_connect() gives
/// it, for a program with an HTTP stack of its own.
///
/// AMOCHATS_RESULT_UNEXPECTED_RESPONSE where it is of another form.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_connected_parse(
    answer: amochats_slice<'_>,
    connected: Option<&mut MaybeUninit<*mut amochats_value>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        give(connected, "connected", || Ok(shown(&Connected::from_json(answer.bytes("answer")?)?).into()))
    })
}
