//! Calls of the CRM's API that are made, with a token or a store of tokens.

use super::call::amochats_crm_call;
use super::hook::amochats_crm_integration;
use super::tokens_json;
use crate::boundary::{boundary, required, value};
use crate::completion::{Mailbox, amochats_callback, in_callback, outside_of_callbacks};
use crate::config::thread_count;
use crate::consumer::{amochats_consumer, dispatcher};
use crate::engine::{Engine, Timeout, amochats_token};
use crate::error::amochats_error;
use crate::handle::{self, Kind};
use crate::log::{Log, amochats_log_callback};
use crate::result::amochats_result;
use crate::slice::amochats_slice;
use crate::value::amochats_value;
use amochats_core::crm::{Integration, Token, Tokens};
use amochats_core::{CrmClient, Error, ErrorKind, Region, Result, TokenStore};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Calls the CRM's API for one account, with threads of its own. Made by amochats_crm_client_open(), ended by
/// amochats_crm_client_close(), freed by the caller with amochats_crm_client_free(). Any thread may use it. After
/// a fork() it works in the parent alone.
///
/// What only reads is sent again where that may help; nothing else is, since it would be done twice. A call that
/// is answered 401 is sent once more with new tokens, where there is a token store.
pub struct amochats_crm_client {
    _opaque: [u8; 0],
}

struct Client {
    engine: Arc<Engine>,
    api: CrmClient,
}

impl Kind for Client {
    type C = amochats_crm_client;
    const NAME: &'static str = "amochats_crm_client";
    const MARK: u64 = 0x616d_6f63_6372_6d63;
}

/// Where an account is, what opens it and how to call it. Made by amochats_crm_options_new(), freed by the
/// caller with amochats_crm_options_free(). Not for several threads at once.
pub struct amochats_crm_options {
    base_url: Option<String>,
    access: Access,
    timeout: Option<Duration>,
    deadline: Option<Duration>,
    request_interval: Option<Duration>,
    root_certificates: Vec<Vec<u8>>,
    threads: usize,
    log: Log,
}

enum Access {
    Nothing,
    Token(Token),
    Store(StoreInC, Box<Integration>),
}

/// Takes the tokens that a token store kept, see amochats_crm_tokens_give(). It ends with the callback.
pub struct amochats_crm_tokens(Option<Tokens>);

/// Gives back what was kept last: passes it to amochats_crm_tokens_give(), and returns whether it could. Called
/// on threads of the library; it may wait, but not for the library: that is AMOCHATS_RESULT_MISUSE.
pub type amochats_crm_load =
    Option<unsafe extern "C" fn(user_data: *mut c_void, tokens: Option<&mut amochats_crm_tokens>) -> bool>;

/// Keeps tokens durably, in place of the last, and returns whether it could: they are used only then, and
/// otherwise given to it again with the next call that needs them. `tokens` is JSON, which ends with the callback
/// and lets who has it act for the integration. Called as amochats_crm_load is.
pub type amochats_crm_store =
    Option<unsafe extern "C" fn(user_data: *mut c_void, tokens: amochats_slice<'_>) -> bool>;

#[derive(Clone, Copy)]
struct StoreInC {
    load: amochats_crm_load,
    store: amochats_crm_store,
    user_data: *mut c_void,
}

// SAFETY: C promises that the callbacks may be called from any thread with their user data.
unsafe impl Send for StoreInC {}
// SAFETY: as above, by several at once.
unsafe impl Sync for StoreInC {}

impl StoreInC {
    fn load_now(self) -> Option<Tokens> {
        let mut tokens = amochats_crm_tokens(None);
        // SAFETY: that the callback may be called is C's promise.
        let could = in_callback(|| unsafe { self.load?(self.user_data, Some(&mut tokens)).then_some(()) });
        could.and(tokens.0)
    }

    fn store_now(self, json: &str) -> Option<()> {
        // SAFETY: the text lives during the call; the rest is C's promise.
        in_callback(|| unsafe { self.store?(self.user_data, json.into()).then_some(()) })
    }
}

/// On a thread that may wait.
async fn waiting<T: Send + 'static>(
    call: impl FnOnce() -> Option<T> + Send + 'static,
    said: &str,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(call).await;
    let done = done.map_err(|_| Error::new(ErrorKind::Closed, "the client is closing"))?;
    done.ok_or_else(|| Error::new(ErrorKind::StoreFailed, said))
}

#[async_trait]
impl TokenStore for StoreInC {
    async fn load(&self) -> Result<Tokens> {
        let store = *self;
        waiting(move || store.load_now(), "the callback that loads the tokens gave none").await
    }

    async fn store(&self, tokens: &Tokens) -> Result<()> {
        let (store, json) = (*self, tokens_json(tokens).to_string());
        waiting(move || store.store_now(&json), "the callback that stores the tokens could not").await
    }
}

/// Gives a token store's tokens to the client that asks for them: the JSON that was kept, or {"access_token",
/// "refresh_token"} with what amochats_crm_call_exchange_code() answered.
///
/// AMOCHATS_RESULT_INVALID_ARGUMENT where it is not that.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_tokens_give(
    tokens: Option<&mut amochats_crm_tokens>,
    json: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    #[derive(Deserialize)]
    struct Kept {
        access_token: String,
        refresh_token: Option<String>,
        expires_in: Option<i64>,
        server_time: Option<i64>,
    }
    boundary(error, || {
        let output = required(tokens, "tokens")?;
        let Kept { access_token, refresh_token, expires_in, server_time } =
            serde_json::from_slice(json.bytes("json")?)
                .map_err(|_| Error::invalid("json", "must be the tokens as they were kept"))?;
        let mut tokens = Tokens::long_lived(access_token)?;
        tokens.refresh_token = refresh_token.map(Token::new).transpose()?;
        (tokens.expires_in, tokens.server_time) = (expires_in, server_time);
        output.0 = Some(tokens);
        Ok(())
    })
}

/// Makes options with the defaults, without an account and without a token.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_options_new() -> *mut amochats_crm_options {
    value(std::ptr::null_mut(), || {
        Box::into_raw(Box::new(amochats_crm_options {
            base_url: None,
            access: Access::Nothing,
            timeout: None,
            deadline: None,
            request_interval: None,
            root_certificates: Vec::new(),
            threads: 1,
            log: Log::NONE,
        }))
    })
}

/// Says which account: `region` is "ru", "kommo" or "com", `subdomain` the first label of the account's host.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_options_set_account(
    options: Option<&mut amochats_crm_options>,
    region: amochats_slice<'_>,
    subdomain: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let options = required(options, "options")?;
        let region: Region = region.text("region")?.parse()?;
        options.base_url = Some(region.crm_url(subdomain.text("subdomain")?)?);
        Ok(())
    })
}

/// Says where the account is, in place of amochats_crm_options_set_account(): "https://" and the referer of an
/// installation, or a sandbox.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_options_set_base_url(
    options: Option<&mut amochats_crm_options>,
    base_url: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        required(options, "options")?.base_url = Some(base_url.text("base_url")?.to_owned());
        Ok(())
    })
}

/// Calls with a token that does not change: a long-lived one.
///
/// AMOCHATS_RESULT_INVALID_ARGUMENT for what cannot be one.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_options_set_token(
    options: Option<&mut amochats_crm_options>,
    token: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        required(options, "options")?.access = Access::Token(Token::new(token.text("token")?)?);
        Ok(())
    })
}

/// Calls with tokens that the caller keeps, in a file or a database, and that are refreshed for this
/// integration: on a 401, once however many calls meet it, the tokens are loaded; where another process has not
/// refreshed them, they are traded, stored, and only then used. Several clients, also of several processes, may
/// share a store. A refresh token works once, so store durably.
///
/// The callbacks are called until amochats_crm_client_close() has returned.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_options_set_token_store(
    options: Option<&mut amochats_crm_options>,
    integration: Option<&amochats_crm_integration>,
    load: amochats_crm_load,
    store: amochats_crm_store,
    user_data: *mut c_void,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let options = required(options, "options")?;
        let integration = required(integration, "integration")?.get().clone();
        required(load, "load")?;
        required(store, "store")?;
        options.access = Access::Store(StoreInC { load, store, user_data }, Box::new(integration));
        Ok(())
    })
}

/// Sets how long one request may take; 10 s unless set.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_options_set_timeout_ms(
    options: Option<&mut amochats_crm_options>,
    timeout_ms: u64,
) {
    set(options, |options| options.timeout = Some(Duration::from_millis(timeout_ms)));
}

/// Sets how long a call may take with all its waiting and repeats; 30 s unless set.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_options_set_deadline_ms(
    options: Option<&mut amochats_crm_options>,
    deadline_ms: u64,
) {
    set(options, |options| options.deadline = Some(Duration::from_millis(deadline_ms)));
}

/// Sets how far apart requests go out; a seventh of a second unless set. The CRM counts what all programs of an
/// integration send, so that several need longer ones.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_options_set_request_interval_ms(
    options: Option<&mut amochats_crm_options>,
    interval_ms: u64,
) {
    set(options, |options| options.request_interval = Some(Duration::from_millis(interval_ms)));
}

/// Trusts one more root certificate, in PEM, such as a proxy's.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_options_add_root_certificate(
    options: Option<&mut amochats_crm_options>,
    pem: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        required(options, "options")?.root_certificates.push(pem.bytes("pem")?.to_vec());
        Ok(())
    })
}

/// Sets how many threads work, 1 to 64; 1 unless set.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_options_set_threads(
    options: Option<&mut amochats_crm_options>,
    threads: u32,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        required(options, "options")?.threads = thread_count(threads)?;
        Ok(())
    })
}

/// Sends the log there, see amochats_config_set_log().
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_options_set_log(
    options: Option<&mut amochats_crm_options>,
    level: u32,
    callback: amochats_log_callback,
    user_data: *mut c_void,
) {
    set(options, |options| options.log = Log { level, callback, user_data });
}

fn set(options: Option<&mut amochats_crm_options>, set: impl FnOnce(&mut amochats_crm_options)) {
    value((), || options.map_or((), set));
}

/// Frees options and wipes the token; NULL is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_options_free(options: Option<Box<amochats_crm_options>>) {
    value((), || drop(options));
}

/// Makes a client. Nothing is sent yet.
///
/// AMOCHATS_RESULT_INVALID_ARGUMENT where no account is set or the address is none. Without a token the calls of
/// OAuth can be made and amochats_crm_call_legacy_account().
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_client_open(
    options: Option<&amochats_crm_options>,
    client: Option<&mut MaybeUninit<*mut amochats_crm_client>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let options = required(options, "options")?;
        let client = required(client, "client")?;
        let base_url = options.base_url.as_ref().ok_or_else(|| {
            let said = "must be set, or the account: amochats_crm_options_set_account()";
            Error::invalid("base_url", said)
        })?;
        let mut builder = CrmClient::builder().base_url(base_url);
        builder = match &options.access {
            Access::Nothing => builder,
            Access::Token(token) => builder.token(token.clone()),
            Access::Store(store, integration) => {
                builder.token_store(Arc::new(*store), Integration::clone(integration))
            }
        };
        if let Some(timeout) = options.timeout {
            builder = builder.timeout(timeout);
        }
        if let Some(deadline) = options.deadline {
            builder = builder.deadline(deadline);
        }
        if let Some(interval) = options.request_interval {
            builder = builder.request_interval(interval);
        }
        for pem in &options.root_certificates {
            builder = builder.add_root_certificate(pem.clone());
        }
        let api = builder.build()?;
        let engine = Engine::start(options.threads, options.log)?;
        client.write(handle::into_raw(Client { engine, api }));
        Ok(())
    })
}

impl Client {
    fn work(
        &self,
        call: Option<&amochats_crm_call>,
    ) -> Result<impl Future<Output = Result<Option<Value>>> + Send + use<>> {
        let (request, read) = required(call, "call")?.parts();
        let api = self.api.clone();
        Ok(async move { api.call_for(&request, read).await })
    }

    fn close(&self, ends: Instant) -> Result<()> {
        let api = self.api.clone();
        // A refresh goes on beside the call that needed it, and its pair is lost where it is cut off.
        self.engine.close(ends, async move { api.close().await })
    }
}

/// Makes a call and waits for the answer, which is described at the function that made the call. `answer` may be
/// NULL; NULL is written where there is none.
///
/// AMOCHATS_RESULT_REJECTED and the others from 200 on as the CRM says, with the first field at fault;
/// AMOCHATS_RESULT_STORE_FAILED where a token store could not; after AMOCHATS_RESULT_TIMEOUT and
/// AMOCHATS_RESULT_TRANSPORT the call may have had its effect.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_client_call(
    client: *const amochats_crm_client,
    call: Option<&amochats_crm_call>,
    timeout_ms: i64,
    answer: Option<&mut MaybeUninit<*mut amochats_value>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let client = handle::get::<Client>(client, "client")?;
        let work = client.work(call)?;
        let done = client.engine.run(Timeout::of_ms(timeout_ms), work)?;
        if let Some(answer) = answer {
            answer.write(done.map_or(std::ptr::null_mut(), amochats_value::into_raw));
        }
        Ok(())
    })
}

/// Makes a call without waiting, see amochats_client_call_async(). After amochats_crm_client_close() has returned
/// no callback comes.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_client_call_async(
    client: *const amochats_crm_client,
    call: Option<&amochats_crm_call>,
    callback: amochats_callback,
    user_data: *mut c_void,
    token: Option<&mut MaybeUninit<*mut amochats_token>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let client = handle::get::<Client>(client, "client")?;
        let work = client.work(call)?;
        client.engine.start_call(callback, user_data, None, token, work)
    })
}

/// Sends the completions of calls that do not wait to a consumer, whose descriptor tells of them, see
/// amochats_channel_set_dispatcher().
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_client_set_dispatcher(
    client: *const amochats_crm_client,
    consumer: *const amochats_consumer,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let client = handle::get::<Client>(client, "client")?;
        let queue: Arc<dyn Mailbox> = dispatcher(consumer)?;
        let mailbox: Weak<dyn Mailbox> = Arc::downgrade(&queue);
        client.engine.set_mailbox(mailbox);
        Ok(())
    })
}

/// Ends the client: calls that do not wait are called back with AMOCHATS_RESULT_CANCELLED, a refresh of tokens
/// that is under way is waited for, since the new pair would be lost, and no thread of it remains. From now on
/// its calls return AMOCHATS_RESULT_CLOSED. Closed before, it is AMOCHATS_RESULT_OK.
///
/// AMOCHATS_RESULT_TIMEOUT where something was cut off; AMOCHATS_RESULT_MISUSE inside a callback.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_client_close(
    client: *const amochats_crm_client,
    timeout_ms: i64,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let client = handle::get::<Client>(client, "client")?;
        // What is for ever is long enough.
        let ends = Timeout::of_ms(timeout_ms).ends();
        client.close(ends.unwrap_or_else(|| Instant::now() + Duration::from_hours(24 * 365)))
    })
}

/// Closes the client within 5 s where it is not closed, and frees it. In a callback it does nothing, since it
/// would wait for itself. NULL is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_client_free(client: *mut amochats_crm_client) {
    value((), || {
        if outside_of_callbacks().is_err() {
            return;
        }
        let Ok(Some(client)) = handle::take::<Client>(client, "client") else { return };
        if client.object().engine.same_process().is_err() {
            // Its locks may be held by threads that are not here.
            std::mem::forget(client);
            return;
        }
        // What was cut off cannot be told here.
        let _ = client.object().close(Instant::now() + Duration::from_secs(5));
    });
}
