//! Calls of the chats API that are made at once.

use crate::boundary::{boundary, required, value};
use crate::builder::given;
use crate::call::{What, amochats_call, answer, make};
use crate::channel::{Channel, amochats_channel};
use crate::completion::{amochats_callback, outside_of_callbacks};
use crate::config::thread_count;
use crate::engine::{Engine, Timeout, amochats_token};
use crate::error::amochats_error;
use crate::handle::{self, Kind};
use crate::log::{Log, amochats_log_callback};
use crate::result::amochats_result;
use crate::slice::amochats_slice;
use crate::value::amochats_value;
use amochats_core::{ChannelSecret, Client as ApiClient, Region, Result};
use amochats_runtime::{Channel as ChannelAtWork, Channels};
use serde_json::Value;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Calls the chats API for one channel. Made by amochats_client_open() with threads of its own, or by
/// amochats_channel_client() with those of a channel; freed by the caller with amochats_client_free(). Any
/// thread may use it. After a fork() it works in the parent alone.
pub struct amochats_client {
    _opaque: [u8; 0],
}

/// How a client works. Made by amochats_client_options_new(), freed by the caller with
/// amochats_client_options_free(). Not for several threads at once.
pub struct amochats_client_options {
    service: Option<String>,
    timeout: Option<Duration>,
    deadline: Option<Duration>,
    requests_per_second: Option<u32>,
    body_signature_only: bool,
    send_once: bool,
    root_certificates: Vec<Vec<u8>>,
    threads: usize,
    log: Log,
}

pub(crate) struct Client {
    engine: Arc<Engine>,
    api: ApiClient,
    /// Where it belongs to a channel: there the state of accounts is noted.
    channel: Option<(Arc<Channels>, Arc<ChannelAtWork>)>,
}

impl Kind for Client {
    type C = amochats_client;
    const NAME: &'static str = "amochats_client";
    const MARK: u64 = 0x616d_6f63_6c69_656e;
}

/// Makes options with the defaults: amoCRM's service in Russia, one thread.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_client_options_new() -> *mut amochats_client_options {
    value(std::ptr::null_mut(), || {
        Box::into_raw(Box::new(amochats_client_options {
            service: None,
            timeout: None,
            deadline: None,
            requests_per_second: None,
            body_signature_only: false,
            send_once: false,
            root_certificates: Vec::new(),
            threads: 1,
            log: Log::NONE,
        }))
    })
}

/// Says where the service is: "ru", "kommo" or "com", or an address such as a sandbox's.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_client_options_set_service(
    options: Option<&mut amochats_client_options>,
    service: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let options = required(options, "options")?;
        let service = service.text("service")?;
        options.service = Some(if service.contains(':') {
            service.to_owned()
        } else {
            service.parse::<Region>()?.base_url().to_owned()
        });
        Ok(())
    })
}

/// Sets how long one request may take.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_client_options_set_timeout_ms(
    options: Option<&mut amochats_client_options>,
    timeout_ms: u64,
) {
    set(options, |options| options.timeout = Some(Duration::from_millis(timeout_ms)));
}

/// Sets how long a call may take with all its waiting and repeats.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_client_options_set_deadline_ms(
    options: Option<&mut amochats_client_options>,
    deadline_ms: u64,
) {
    set(options, |options| options.deadline = Some(Duration::from_millis(deadline_ms)));
}

/// Sets how many requests of a scope go out a second; 0 is without limit. 7 unless set.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_client_options_set_requests_per_second(
    options: Option<&mut amochats_client_options>,
    requests: u32,
) {
    set(options, |options| options.requests_per_second = Some(requests));
}

/// Signs the body alone, as the first generation of the service wants.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_client_options_set_body_signature_only(
    options: Option<&mut amochats_client_options>,
    body_only: bool,
) {
    set(options, |options| options.body_signature_only = body_only);
}

/// Sends each call once: the caller repeats what is safe to repeat.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_client_options_set_send_once(
    options: Option<&mut amochats_client_options>,
    once: bool,
) {
    set(options, |options| options.send_once = once);
}

/// Trusts one more root certificate, in PEM, such as a proxy's.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_client_options_add_root_certificate(
    options: Option<&mut amochats_client_options>,
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
pub extern "C" fn amochats_client_options_set_threads(
    options: Option<&mut amochats_client_options>,
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
pub extern "C" fn amochats_client_options_set_log(
    options: Option<&mut amochats_client_options>,
    level: u32,
    callback: amochats_log_callback,
    user_data: *mut c_void,
) {
    set(options, |options| options.log = Log { level, callback, user_data });
}

fn set(options: Option<&mut amochats_client_options>, set: impl FnOnce(&mut amochats_client_options)) {
    value((), || options.map_or((), set));
}

/// Frees options; NULL is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_client_options_free(options: Option<Box<amochats_client_options>>) {
    value((), || drop(options));
}

/// Makes a client for a channel, by its id and secret. `options` may be NULL.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_client_open(
    channel_id: amochats_slice<'_>,
    secret: amochats_slice<'_>,
    options: Option<&amochats_client_options>,
    client: Option<&mut MaybeUninit<*mut amochats_client>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let client = required(client, "client")?;
        let secret = ChannelSecret::new(secret.text("secret")?)?;
        let mut builder = ApiClient::builder(channel_id.text("channel_id")?, secret);
        let (mut threads, mut log) = (1, Log::NONE);
        if let Some(options) = options {
            (threads, log) = (options.threads, options.log);
            if let Some(service) = &options.service {
                builder = builder.base_url(service);
            }
            if let Some(timeout) = options.timeout {
                builder = builder.timeout(timeout);
            }
            if let Some(deadline) = options.deadline {
                builder = builder.deadline(deadline);
            }
            if let Some(requests) = options.requests_per_second {
                builder = builder.requests_per_second(requests);
            }
            if options.body_signature_only {
                builder = builder.body_signature_only();
            }
            if options.send_once {
                builder = builder.send_once();
            }
            for pem in &options.root_certificates {
                builder = builder.add_root_certificate(pem.clone());
            }
        }
        let made = builder.build()?;
        let engine = Engine::start(threads, log)?;
        client.write(handle::into_raw(Client { engine, api: made, channel: None }));
        Ok(())
    })
}

/// Makes a client of a channel that is open, with its secret; `channel_id` may be empty where one channel is
/// configured. It ends with the channel. The state of accounts that it connects is noted there.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_channel_client(
    channel: *const amochats_channel,
    channel_id: amochats_slice<'_>,
    client: Option<&mut MaybeUninit<*mut amochats_client>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let client = required(client, "client")?;
        channel.engine().same_process()?;
        let channels = channel.channels().clone();
        let one = match given(channel_id, "channel_id")? {
            Some(id) => channels.get(&id.into())?,
            None => channels.only()?,
        };
        let made = Client {
            engine: channel.engine().clone(),
            api: one.client().clone(),
            channel: Some((channels, one)),
        };
        client.write(handle::into_raw(made));
        Ok(())
    })
}

impl Client {
    fn work(
        &self,
        call: Option<&amochats_call>,
    ) -> Result<impl Future<Output = Result<Option<Value>>> + Send + use<>> {
        let (scope, what) = required(call, "call")?.parts();
        let (api, channel) = (self.api.clone(), self.channel.clone());
        Ok(async move {
            match (what, channel) {
                (What::Connect(connect), Some((channels, channel))) => channels
                    .accounts()
                    .connect(&channel, &connect)
                    .await
                    .map(|connected| Some(answer(&connected))),
                (What::Disconnect(account), Some((channels, channel))) => {
                    channels.accounts().disconnect(&channel, &account).await.map(|()| None)
                }
                (what, _) => make(&api, &scope, what).await,
            }
        })
    }
}

/// Makes a call and waits for the answer, which is described at the function that made the call. `answer`
/// may be NULL; NULL is written where there is none.
///
/// AMOCHATS_RESULT_REJECTED and the others from 200 on as the service says; after
/// AMOCHATS_RESULT_TIMEOUT and AMOCHATS_RESULT_TRANSPORT the call may have had its effect.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_client_call(
    client: *const amochats_client,
    call: Option<&amochats_call>,
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

/// Makes a call without waiting. What is wrong with the arguments is returned, and then nobody is called
/// back. After AMOCHATS_RESULT_OK `callback` is called exactly once: on a thread of the library, or in
/// amochats_consumer_dispatch() where amochats_channel_set_dispatcher() says so; never inside this call, but
/// perhaps before it returns; with AMOCHATS_RESULT_CANCELLED after amochats_token_cancel() and when the client
/// or its channel is closed. After amochats_channel_close() or, for a client of its own,
/// amochats_client_free() has returned, none comes.
///
/// What the call is given is copied: only `user_data` must live on. `callback` may be NULL. `token`, which may
/// be NULL, is to be freed with amochats_token_free().
#[unsafe(no_mangle)]
pub extern "C" fn amochats_client_call_async(
    client: *const amochats_client,
    call: Option<&amochats_call>,
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

/// Frees a client. One with threads of its own ends them, within 5 s; its calls that do not wait are called
/// back with AMOCHATS_RESULT_CANCELLED before. In a callback it does nothing, since it would wait for itself.
/// NULL is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_client_free(client: *mut amochats_client) {
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
        if client.object().channel.is_none() {
            // What was cut off cannot be told here.
            let _ = client.object().engine.close(Instant::now() + Duration::from_secs(5), async {});
        }
    });
}
