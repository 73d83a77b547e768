//! The clients of the chats API and of the CRM: a call by its name, its arguments as JSON, its body in
//! the vendor's form. The public methods are Python, in `amochats/_async`.

use crate::bridge::{self, Home, Work};
use crate::crm;
use crate::errors;
use amochats::{
    ChannelSecret, Client, Connect, CreateChat, CrmClient, DeliveryStatus, EditMessage, Error, ErrorKind,
    History, HookVersion, NewMessage, Reaction, Region, Result, ScopeId, Typing,
};
use futures_util::stream::{BoxStream, StreamExt};
use pyo3::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Reads the arguments of a call, which the Python half wrote.
pub(crate) fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T> {
    serde_json::from_slice(json).map_err(|error| {
        // Not the value itself: it may be private.
        Error::new(
            ErrorKind::InvalidArgument,
            format!("an argument is of a wrong type, at column {}", error.column()),
        )
    })
}

/// Writes an answer.
#[expect(clippy::unnecessary_wraps, reason = "it is the end of calls, which return one")]
pub(crate) fn json(answer: &(impl Serialize + ?Sized)) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(answer).expect("answers have text keys and finite numbers only"))
}

pub(crate) fn unknown_call(name: &str) -> Error {
    Error::new(ErrorKind::Panic, format!("there is no call {name:?}"))
}

pub(crate) fn seconds(field: &str, seconds: f64) -> Result<Duration> {
    let rule = "must be a number of seconds that is not negative";
    Duration::try_from_secs_f64(seconds).map_err(|_| Error::invalid(field, rule))
}

/// The settings that both clients have.
#[derive(Deserialize)]
pub(crate) struct HttpSettings {
    pub(crate) region: Option<String>,
    pub(crate) base_url: Option<String>,
    pub(crate) timeout: Option<f64>,
    pub(crate) connect_timeout: Option<f64>,
    pub(crate) deadline: Option<f64>,
    pub(crate) user_agent: Option<String>,
    #[serde(default)]
    pub(crate) root_certificates: Vec<String>,
}

#[derive(Deserialize)]
struct ClientSettings {
    channel_id: String,
    secret: String,
    requests_per_second: Option<u32>,
    #[serde(default)]
    send_once: bool,
    #[serde(default)]
    body_signature_only: bool,
    #[serde(flatten)]
    http: HttpSettings,
}

fn build(settings: ClientSettings) -> Result<Client> {
    let ClientSettings { channel_id, secret, requests_per_second, send_once, body_signature_only, http } =
        settings;
    let mut builder = Client::builder(channel_id, ChannelSecret::new(secret)?);
    builder = match (&http.region, http.base_url) {
        (Some(region), None) => builder.region(region.parse::<Region>()?),
        (None, Some(url)) => builder.base_url(url),
        _ => return Err(Error::invalid("region", "give either region (ru, kommo or com) or base_url")),
    };
    if let Some(timeout) = http.timeout {
        builder = builder.timeout(seconds("timeout", timeout)?);
    }
    if let Some(timeout) = http.connect_timeout {
        builder = builder.connect_timeout(seconds("connect_timeout", timeout)?);
    }
    if let Some(deadline) = http.deadline {
        builder = builder.deadline(seconds("deadline", deadline)?);
    }
    if let Some(requests) = requests_per_second {
        builder = builder.requests_per_second(requests);
    }
    if let Some(product) = http.user_agent {
        builder = builder.user_agent_suffix(product);
    }
    for pem in http.root_certificates {
        builder = builder.add_root_certificate(pem);
    }
    if send_once {
        builder = builder.send_once();
    }
    if body_signature_only {
        builder = builder.body_signature_only();
    }
    builder.build()
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Arguments {
    scope_id: String,
    account_id: String,
    title: Option<String>,
    hook_version: Option<HookVersion>,
    is_time_window_disabled: Option<bool>,
    message_ref_id: String,
    conversation_ref_id: String,
    offset: u64,
    limit: Option<u32>,
}

impl Arguments {
    fn history(&self) -> History {
        let history = History::of(self.conversation_ref_id.as_str()).with_offset(self.offset);
        self.limit.map_or(history.clone(), |limit| history.with_limit(limit))
    }
}

/// The body of `connect`, as both the client and the channel send it.
pub(crate) fn connect(
    account_id: &str,
    title: Option<String>,
    hook_version: Option<HookVersion>,
    is_time_window_disabled: Option<bool>,
) -> Connect {
    let mut connect = Connect::new(account_id);
    connect.title = title;
    connect.hook_api_version = hook_version.unwrap_or(connect.hook_api_version);
    connect.is_time_window_disabled = is_time_window_disabled;
    connect
}

async fn call(client: Client, name: String, arguments: Vec<u8>, body: Vec<u8>) -> Result<Vec<u8>> {
    let arguments: Arguments = read(&arguments)?;
    let scope = ScopeId::from(arguments.scope_id.as_str());
    match name.as_str() {
        "connect" => {
            let Arguments { account_id, title, hook_version, is_time_window_disabled, .. } = arguments;
            json(&client.connect(&connect(&account_id, title, hook_version, is_time_window_disabled)).await?)
        }
        "disconnect" => {
            client.disconnect(&arguments.account_id.into()).await?;
            Ok(Vec::new())
        }
        "send_message" => json(&client.send_message(&scope, &NewMessage::from_json(&body)?).await?),
        "edit_message" => json(&client.edit_message(&scope, &EditMessage::from_json(&body)?).await?),
        "create_chat" => json(&client.create_chat(&scope, &CreateChat::from_json(&body)?).await?),
        "set_delivery_status" => {
            let status = DeliveryStatus::from_json(&body)?;
            client.set_delivery_status(&scope, &arguments.message_ref_id.into(), &status).await?;
            Ok(Vec::new())
        }
        "history" => json(&client.history(&scope, &arguments.history()).await?),
        "send_typing" => {
            client.send_typing(&scope, &Typing::from_json(&body)?).await?;
            Ok(Vec::new())
        }
        "react" => {
            client.react(&scope, &Reaction::from_json(&body)?).await?;
            Ok(Vec::new())
        }
        _ => Err(unknown_call(&name)),
    }
}

/// The client of the chats API.
#[pyclass(frozen, module = "amochats._amochats", name = "Client")]
pub(crate) struct NativeClient(Home<Client>);

impl NativeClient {
    pub(crate) fn of(client: Client) -> Self {
        Self(Home::new(client))
    }

    pub(crate) fn work(&self, name: String, arguments: Vec<u8>, body: Vec<u8>) -> Work {
        Box::pin(call(self.0.clone(), name, arguments, body))
    }
}

#[pymethods]
impl NativeClient {
    #[new]
    fn new(py: Python<'_>, settings: &[u8]) -> PyResult<Self> {
        let make = || {
            bridge::bridge()?;
            build(read(settings)?)
        };
        crate::logs::look_at_level(py)?;
        make().map(Self::of).map_err(|error| errors::to_python(py, &error))
    }

    #[getter]
    fn channel_id(&self) -> String {
        self.0.channel_id().to_string()
    }

    #[getter]
    fn base_url(&self) -> String {
        self.0.base_url().to_owned()
    }

    fn with_deadline(&self, py: Python<'_>, deadline: f64) -> PyResult<Self> {
        let deadline = seconds("deadline", deadline).map_err(|error| errors::to_python(py, &error))?;
        Ok(Self::of(self.0.with_deadline(deadline)))
    }

    /// The whole history of a chat, to be read with the stream's call `next`.
    fn history_all(&self, py: Python<'_>, arguments: &[u8]) -> PyResult<NativeStream> {
        let arguments: Arguments = read(arguments).map_err(|error| errors::to_python(py, &error))?;
        let scope = ScopeId::from(arguments.scope_id.as_str());
        Ok(NativeStream::of(self.0.history_all(&scope, arguments.history())))
    }
}

type Items = Arc<tokio::sync::Mutex<BoxStream<'static, Result<Vec<u8>>>>>;

/// Something that is read item by item, whatever the call's name.
#[pyclass(frozen, module = "amochats._amochats", name = "Stream")]
pub(crate) struct NativeStream(Home<Items>);

impl NativeStream {
    pub(crate) fn of<T: Serialize>(
        items: impl futures_util::Stream<Item = Result<T>> + Send + 'static,
    ) -> Self {
        let items = items.map(|item| item.and_then(|item| json(&item)));
        Self(Home::new(Arc::new(tokio::sync::Mutex::new(items.boxed()))))
    }

    pub(crate) fn work(&self) -> Work {
        let items = Arc::clone(&self.0);
        // No answer at all is the end.
        Box::pin(async move { items.lock().await.next().await.unwrap_or_else(|| Ok(Vec::new())) })
    }
}

/// The client of the CRM's own API.
#[pyclass(frozen, module = "amochats._amochats", name = "CrmClient")]
pub(crate) struct NativeCrmClient(Home<CrmClient>);

impl NativeCrmClient {
    pub(crate) fn work(&self, name: String, arguments: Vec<u8>, body: Vec<u8>) -> Work {
        Box::pin(crm::call(self.0.clone(), name, arguments, body))
    }
}

#[pymethods]
impl NativeCrmClient {
    #[new]
    fn new(py: Python<'_>, settings: &[u8], tokens: Option<Py<PyAny>>) -> PyResult<Self> {
        let make = || {
            bridge::bridge()?;
            crm::build(read(settings)?, tokens)
        };
        crate::logs::look_at_level(py)?;
        make().map(|client| Self(Home::new(client))).map_err(|error| errors::to_python(py, &error))
    }

    #[getter]
    fn base_url(&self) -> String {
        self.0.base_url().to_owned()
    }

    fn as_user(&self, user: i64) -> Self {
        Self(Home::new(self.0.as_user(user)))
    }

    fn users_all(&self) -> NativeStream {
        NativeStream::of(self.0.users_all())
    }

    fn templates_all(&self, external_id: Option<&str>) -> NativeStream {
        NativeStream::of(self.0.templates_all(external_id))
    }
}
