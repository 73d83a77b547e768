//! The calls of the CRM's own API by name.

use crate::client::{HttpSettings, json, read, seconds, unknown_call};
use amochats::crm::{
    ChatLink, ClientSecret, Integration, LinkedTo, NewContact, NewSource, NewSubscription, NewTemplate,
    Request, ReviewStatus, SourceChange, TemplateChange, Token, Tokens,
};
use amochats::{ConversationRefId, CrmClient, Error, ErrorKind, Region, Result, TokenStore};
use async_trait::async_trait;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Deserialize)]
pub(crate) struct CrmSettings {
    subdomain: Option<String>,
    token: Option<String>,
    integration: Option<IntegrationSettings>,
    request_interval: Option<f64>,
    #[serde(flatten)]
    http: HttpSettings,
}

#[derive(Deserialize)]
struct IntegrationSettings {
    client_id: String,
    client_secret: String,
    redirect_uri: String,
}

impl IntegrationSettings {
    fn integration(self) -> Result<Integration> {
        let client_secret = ClientSecret::new(self.client_secret)?;
        Ok(Integration { client_id: self.client_id, client_secret, redirect_uri: self.redirect_uri })
    }
}

pub(crate) fn build(settings: CrmSettings, store: Option<Py<PyAny>>) -> Result<CrmClient> {
    let CrmSettings { subdomain, token, integration, request_interval, http } = settings;
    let mut builder = CrmClient::builder();
    builder = match (&http.region, subdomain, http.base_url) {
        (Some(region), Some(subdomain), None) => builder.account(region.parse::<Region>()?, &subdomain)?,
        (None, None, Some(url)) => builder.base_url(url),
        _ => {
            return Err(Error::invalid("base_url", "give either base_url, or both region and subdomain"));
        }
    };
    builder = match (token, store, integration) {
        (None, None, _) => builder,
        (Some(token), None, _) => builder.token(Token::new(token)?),
        (None, Some(store), Some(integration)) => {
            builder.token_store(Arc::new(PythonStore(store)), integration.integration()?)
        }
        (None, Some(_), None) => {
            return Err(Error::invalid("integration", "is required with tokens, to refresh them"));
        }
        (Some(_), Some(_), _) => return Err(Error::invalid("token", "must be absent where tokens is given")),
    };
    if let Some(interval) = request_interval {
        builder = builder.request_interval(seconds("request_interval", interval)?);
    }
    if let Some(timeout) = http.timeout {
        builder = builder.timeout(seconds("timeout", timeout)?);
    }
    if let Some(timeout) = http.connect_timeout {
        builder = builder.connect_timeout(seconds("connect_timeout", timeout)?);
    }
    if let Some(deadline) = http.deadline {
        builder = builder.deadline(seconds("deadline", deadline)?);
    }
    if let Some(product) = http.user_agent {
        builder = builder.user_agent_suffix(product);
    }
    for pem in http.root_certificates {
        builder = builder.add_root_certificate(pem);
    }
    builder.build()
}

/// Where a Python program keeps its tokens: an object with `load` and `store`, which work with JSON.
struct PythonStore(Py<PyAny>);

impl PythonStore {
    /// On a thread that may wait: for the interpreter, and for what the method does.
    async fn call(&self, method: &'static str, argument: Option<Vec<u8>>) -> Result<Vec<u8>> {
        let store = Python::try_attach(|py| self.0.clone_ref(py));
        let store = store.ok_or_else(gone)?;
        let call = tokio::task::spawn_blocking(move || {
            Python::try_attach(|py| {
                let called = match argument {
                    None => store.call_method0(py, method),
                    Some(json) => store.call_method1(py, method, (PyBytes::new(py, &json),)),
                };
                let read = |answer: Py<PyAny>| answer.extract::<Vec<u8>>(py);
                called.and_then(read).map_err(|error| {
                    // The type alone: the words may hold a token.
                    let class = error.get_type(py).to_string();
                    Error::new(ErrorKind::StoreFailed, format!("the token store raised {class} in {method}"))
                })
            })
            .unwrap_or_else(|| Err(gone()))
        });
        call.await.map_err(|_| gone())?
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Closed, "the process is ending")
}

#[async_trait]
impl TokenStore for PythonStore {
    async fn load(&self) -> Result<Tokens> {
        tokens_of(&self.call("load", None).await?)
    }

    async fn store(&self, tokens: &Tokens) -> Result<()> {
        self.call("store", Some(json(&tokens_json(tokens))?)).await.map(drop)
    }
}

fn tokens_json(tokens: &Tokens) -> Value {
    json!({
        "access_token": tokens.access_token.expose(),
        "refresh_token": tokens.refresh_token.as_ref().map(Token::expose),
        "expires_in": tokens.expires_in,
        "server_time": tokens.server_time,
    })
}

fn tokens_of(json: &[u8]) -> Result<Tokens> {
    #[derive(Deserialize)]
    struct Kept {
        access_token: String,
        refresh_token: Option<String>,
        expires_in: Option<i64>,
        server_time: Option<i64>,
    }
    let Kept { access_token, refresh_token, expires_in, server_time } = read(json)?;
    let mut tokens = Tokens::long_lived(access_token)?;
    tokens.refresh_token = refresh_token.map(Token::new).transpose()?;
    (tokens.expires_in, tokens.server_time) = (expires_in, server_time);
    Ok(tokens)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Arguments {
    id: i64,
    review_id: i64,
    ids: Vec<i64>,
    external_ids: Vec<String>,
    external_id: Option<String>,
    chats: Vec<ConversationRefId>,
    page: u32,
    force: bool,
    login: String,
    api_key: String,
    code: String,
    state: Option<String>,
    refresh_token: String,
    destination: String,
    integration: Option<IntegrationSettings>,
}

impl Arguments {
    fn integration(&mut self) -> Result<Integration> {
        self.integration.take().ok_or_else(|| Error::invalid("integration", "is required"))?.integration()
    }
}

const NOTHING: Vec<u8> = Vec::new();

pub(crate) async fn call(crm: CrmClient, name: String, arguments: Vec<u8>, body: Vec<u8>) -> Result<Vec<u8>> {
    let mut with: Arguments = read(&arguments)?;
    match name.as_str() {
        "account" => json(&crm.account().await?),
        "legacy_account" => json(&crm.legacy_account(&with.login, &with.api_key).await?),
        "users" => json(&crm.users(with.page).await?),
        "user" => json(&crm.user(with.id).await?),
        "link_chats" => json(&crm.link_chats(&read::<Vec<ChatLink>>(&body)?).await?),
        "linked_chats" => {
            let to = if with.chats.is_empty() {
                LinkedTo::Contacts(&with.ids)
            } else {
                LinkedTo::Chats(&with.chats)
            };
            json(&crm.linked_chats(to).await?)
        }
        "add_contacts" => json(&crm.add_contacts(&read::<Vec<NewContact>>(&body)?).await?),
        "sources" => {
            let ids: Vec<&str> = with.external_ids.iter().map(String::as_str).collect();
            json(&crm.sources(&ids).await?)
        }
        "source" => json(&crm.source(with.id).await?),
        "add_sources" => json(&crm.add_sources(&read::<Vec<NewSource>>(&body)?).await?),
        "update_sources" => json(&crm.update_sources(&read::<Vec<SourceChange>>(&body)?).await?),
        "delete_sources" => crm.delete_sources(&with.ids).await.map(|()| NOTHING),
        "templates" => json(&crm.templates(with.page, with.external_id.as_deref()).await?),
        "template" => json(&crm.template(with.id).await?),
        "add_templates" => json(&crm.add_templates(&read::<Vec<NewTemplate>>(&body)?).await?),
        "update_templates" => json(&crm.update_templates(&read::<Vec<TemplateChange>>(&body)?).await?),
        "delete_templates" => crm.delete_templates(&with.ids).await.map(|()| NOTHING),
        "submit_template" => json(&crm.submit_template(with.id).await?),
        "set_review_status" => {
            let status: ReviewStatus = read(&body)?;
            json(&crm.set_review_status(with.id, with.review_id, &status).await?)
        }
        "talk" => json(&crm.talk(with.id).await?),
        "close_talk" => crm.close_talk(with.id, with.force).await.map(|()| NOTHING),
        "subscribe" => json(&crm.subscribe(&read::<NewSubscription>(&body)?).await?),
        "subscriptions" => json(&crm.subscriptions().await?),
        "unsubscribe" => crm.unsubscribe(&with.destination).await.map(|()| NOTHING),
        "exchange_code" => {
            let integration = with.integration()?;
            json(&tokens_json(&crm.exchange_code(&integration, &with.code).await?))
        }
        "refresh_tokens" => {
            let request = Request::refresh(&with.integration()?, &Token::new(with.refresh_token)?);
            json(&tokens_json(&crm.call_for(&request, Tokens::from_json).await?))
        }
        "exchange_api_key" => {
            let integration = with.integration()?;
            let (login, key, state) = (&with.login, &with.api_key, with.state.as_deref());
            crm.exchange_api_key(&integration, login, key, state).await.map(|()| NOTHING)
        }
        "current_domain" => json(&crm.current_domain(&Token::new(with.refresh_token)?).await?),
        _ => Err(unknown_call(&name)),
    }
}
