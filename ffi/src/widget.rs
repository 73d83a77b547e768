//! The widget's calls, which another HTTP server received, and a callback that decides who may connect.

use crate::boundary::{boundary, required};
use crate::channel::{Channel, amochats_channel};
use crate::completion::in_callback;
use crate::engine::Timeout;
use crate::error::amochats_error;
use crate::handle;
use crate::result::amochats_result;
use crate::slice::amochats_slice;
use crate::value::amochats_value;
use amochats_core::{Error, ErrorKind, Result};
use amochats_runtime::widget::{Attempt, Authorizer};
use async_trait::async_trait;
use serde_json::{Map, Value, json};
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a callback has for its decision.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What a callback says of an attempt to connect an account.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum amochats_decision {
    /// It may not.
    Refuse = 0,
    /// It may.
    Allow = 1,
    /// It cannot be decided now; the widget is told to try again.
    Unavailable = 2,
}

/// Decides who may connect an account: returns an amochats_decision. Any other number is
/// AMOCHATS_DECISION_UNAVAILABLE.
///
/// The attempt is {"login", "password", "client_id", "crm_account_id", "crm_user_id", "origin",
/// "account_id", "peer"}. The CRM has vouched for the account and its user, and nobody yet for login and
/// password. It ends with the callback, which is called on threads of the library, several at once; it has
/// 5 s and may wait, but not for the library: that is AMOCHATS_RESULT_MISUSE. An unknown login and a wrong
/// password are both refused, and should take the same time.
pub type amochats_authorizer =
    Option<unsafe extern "C" fn(user_data: *mut c_void, attempt: *const amochats_value) -> u32>;

#[derive(Clone, Copy)]
struct CallC {
    callback: amochats_authorizer,
    user_data: *mut c_void,
}

// SAFETY: C promises that the callback may be called from any thread with its user data.
unsafe impl Send for CallC {}
// SAFETY: as above, by several at once.
unsafe impl Sync for CallC {}

impl CallC {
    fn decide(self, attempt: Value) -> u32 {
        let Some(callback) = self.callback else { return amochats_decision::Unavailable as u32 };
        let attempt = amochats_value::from(attempt);
        // SAFETY: the attempt outlives the call; that the callback may be called is C's promise.
        in_callback(|| unsafe { callback(self.user_data, &raw const attempt) })
    }
}

#[async_trait]
impl Authorizer for CallC {
    /// On a thread that may wait.
    async fn authorize(&self, attempt: &Attempt) -> Result<bool> {
        let (decider, attempt) = (*self, attempt.to_json());
        let deciding = tokio::task::spawn_blocking(move || decider.decide(attempt));
        let unclear = |said: &str| Error::new(ErrorKind::Unavailable, said);
        let decided = tokio::time::timeout(TIMEOUT, deciding).await;
        let decided = decided.map_err(|_| unclear("the callback takes too long to decide"))?;
        match decided.map_err(|_| unclear("the channel is closing"))? {
            decided if decided == amochats_decision::Allow as u32 => Ok(true),
            decided if decided == amochats_decision::Refuse as u32 => Ok(false),
            _ => Err(unclear("the callback cannot decide now")),
        }
    }
}

/// Has a callback decide who may connect an account with the widget, in place of what the configuration
/// says; NULL is nobody, and the widget is told to try again. It is called until amochats_channel_close()
/// has returned.
///
/// AMOCHATS_RESULT_CONFIG_INVALID where widget.redirect_uri is not set.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_channel_set_authorizer(
    channel: *const amochats_channel,
    callback: amochats_authorizer,
    user_data: *mut c_void,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        channel.engine().same_process()?;
        let authorizer = callback.map(|_| -> Arc<dyn Authorizer> { Arc::new(CallC { callback, user_data }) });
        channel.widget()?.set_authorizer(authorizer);
        Ok(())
    })
}

/// Answers a call of the widget that another HTTP server received; the channel's own listener does so
/// anyway, beside the webhooks. `path` is with its query; `headers` is an object in JSON, as
/// {"origin": "https://example.amocrm.ru"}; `body` is whole; `peer` is the address of whoever asks, not of
/// a proxy in between: attempts are limited by it. The answer is {"status", "headers", "body"}: the headers
/// an object with names in lower case, the body text. What is wrong with the call is said in it.
///
/// AMOCHATS_RESULT_INVALID_ARGUMENT for headers or a peer that are none; AMOCHATS_RESULT_CONFIG_INVALID
/// where widget.redirect_uri is not set.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_channel_widget_handle(
    channel: *const amochats_channel,
    method: amochats_slice<'_>,
    path: amochats_slice<'_>,
    headers: amochats_slice<'_>,
    body: amochats_slice<'_>,
    peer: amochats_slice<'_>,
    timeout_ms: i64,
    answer: Option<&mut MaybeUninit<*mut amochats_value>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let output = required(answer, "answer")?;
        let widget = channel.widget()?.clone();
        let (method, path) = (method.text("method")?.to_owned(), path.text("path")?.to_owned());
        let headers: std::collections::BTreeMap<String, String> =
            serde_json::from_slice(headers.bytes("headers")?)
                .map_err(|_| Error::invalid("headers", "must be a JSON object of text"))?;
        let body = body.bytes("body")?.to_vec();
        let peer: IpAddr = peer.text("peer")?.parse().map_err(|_| {
            Error::invalid("peer", "must be the address of whoever asks, as \"192.0.2.1\", without a port")
        })?;
        let work = async move {
            let headers: Vec<_> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            Ok(widget.handle(&method, &path, &headers, &body, peer).await)
        };
        let answered = channel.engine().run(Timeout::of_ms(timeout_ms), work)?;
        let headers: Map<String, Value> =
            answered.headers.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        output.write(amochats_value::into_raw(json!({
            "status": answered.status, "headers": headers, "body": String::from_utf8_lossy(&answered.body),
        })));
        Ok(())
    })
}
