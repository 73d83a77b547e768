//! Calls of the CRM's API: what is asked, and how the answer is read.

use super::hook::amochats_crm_integration;
use super::{give, shown, tokens_json};
use crate::boundary::{Out, boundary, required, value};
use crate::builder::given;
use crate::error::amochats_error;
use crate::result::amochats_result;
use crate::slice::{amochats_slice, integers};
use crate::value::amochats_value;
use amochats_core::crm::{
    Account, ChatLink, CreatedContact, Domain, LegacyAccount, LinkedChat, LinkedTo, Listed, NewContact,
    NewSource, NewSubscription, NewTemplate, Page, Request, Review, ReviewStatus, Source, SourceChange,
    Subscription, Talk, Template, TemplateChange, Token, Tokens, User,
};
use amochats_core::{ConversationRefId, Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::mem::MaybeUninit;

/// A call of the CRM's API. Made by a function for each call, freed by the caller with
/// amochats_crm_call_free(). Any thread may use it, and more than once.
///
/// amochats_crm_client_call() and amochats_crm_client_call_async() make it. A program with an HTTP stack of its
/// own sends amochats_crm_call_method(), amochats_crm_call_path() and amochats_crm_call_body() to the account's
/// host, and reads the answer with amochats_crm_call_parse().
///
/// Lists of things go in as JSON with the names of the vendor's pages. An answer that is a list is a page,
/// {"items": [...], "has_next"}; fields that the vendor added since are in it.
pub struct amochats_crm_call {
    request: Request,
    headers: amochats_value,
    read: Read,
}

/// Reads an answer; calls that have none give nothing.
pub(super) type Read = fn(&[u8]) -> Result<Option<Value>>;

impl amochats_crm_call {
    fn new(request: Request, read: Read) -> Self {
        let mut call = Self { request, headers: Value::Null.into(), read };
        call.note_headers();
        call
    }

    fn note_headers(&mut self) {
        let headers = self.request.headers.iter();
        let headers = headers.map(|(name, text)| ((*name).to_owned(), Value::from(text.as_str())));
        self.headers = Value::Object(headers.collect()).into();
    }

    pub(super) fn parts(&self) -> (Request, Read) {
        (self.request.clone(), self.read)
    }
}

fn made(
    output: Out<'_, *mut amochats_crm_call>,
    read: Read,
    request: impl FnOnce() -> Result<Request>,
) -> Result<()> {
    give(output, "call", || Ok(amochats_crm_call::new(request()?, read)))
}

#[expect(clippy::unnecessary_wraps, reason = "it is a `Read`")]
fn nothing(_: &[u8]) -> Result<Option<Value>> {
    Ok(None)
}

fn page<T: Listed + Serialize>(body: &[u8]) -> Result<Option<Value>> {
    Ok(Some(shown(&Page::<T>::from_json(body)?)))
}

fn talk(body: &[u8]) -> Result<Option<Value>> {
    Ok(Some(shown(&Talk::from_json(body)?)))
}

fn tokens(body: &[u8]) -> Result<Option<Value>> {
    Ok(Some(tokens_json(&Tokens::from_json(body)?)))
}

/// What the caller gives as JSON.
fn of_json<T: DeserializeOwned>(json: amochats_slice<'_>, name: &str) -> Result<T> {
    serde_json::from_slice(json.bytes(name)?).map_err(|error| {
        // Not the words, which may quote what was given.
        let (line, column) = (error.line(), error.column());
        Error::invalid(
            name,
            format!("must be JSON of the form that is asked for; see line {line}, column {column}"),
        )
    })
}

/// Reads the account: {"id", "amojo_id", ...}; "amojo_id" is the account_id of the chats API.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_account(
    call: Option<&mut MaybeUninit<*mut amochats_crm_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    let read: Read = |body| Ok(Some(shown(&Account::from_json(body)?)));
    boundary(error, || made(call, read, || Ok(Request::account())))
}

/// Reads the account in the first generation's way, with a user's login and API key in place of a token.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_legacy_account(
    login: amochats_slice<'_>,
    api_key: amochats_slice<'_>,
    call: Option<&mut MaybeUninit<*mut amochats_crm_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    let read: Read = |body| Ok(Some(shown(&LegacyAccount::from_json(body)?)));
    boundary(error, || {
        made(call, read, || Ok(Request::legacy_account(login.text("login")?, api_key.text("api_key")?)))
    })
}

/// Reads a page of the users, the first of which is 1: [{"id", "name", "amojo_id", ...}]. Go on while the
/// answer "has_next".
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_users(
    page_number: u32,
    call: Option<&mut MaybeUninit<*mut amochats_crm_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || made(call, page::<User>, || Ok(Request::users(page_number))))
}

/// Reads one user.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_user(
    id: i64,
    call: Option<&mut MaybeUninit<*mut amochats_crm_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    let read: Read = |body| Ok(Some(shown(&User::from_json(body)?)));
    boundary(error, || made(call, read, || Ok(Request::user(id))))
}

/// Links chats to contacts: `links` is [{"contact_id", "chat_id"}], where chat_id is amoCRM's id of the chat, the
/// conversation_ref_id. The answer is a page of [{"id", "contact_id", "chat_id"}].
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_link_chats(
    links: amochats_slice<'_>,
    call: Option<&mut MaybeUninit<*mut amochats_crm_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        made(call, page::<LinkedChat>, || Request::link_chats(&of_json::<Vec<ChatLink>>(links, "links")?))
    })
}

/// Reads what is linked to contacts, by their numbers, or else to chats: `chats` is ["...", ...], amoCRM's ids of
/// them, and is asked for where `count` is 0. The answer is as of amochats_crm_call_link_chats().
///
/// # Safety
/// `contact_ids` must be NULL or point to `count` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn amochats_crm_call_linked_chats(
    contact_ids: *const i64,
    count: usize,
    chats: amochats_slice<'_>,
    call: Option<&mut MaybeUninit<*mut amochats_crm_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        made(call, page::<LinkedChat>, || {
            // SAFETY: the caller upholds this function's contract.
            let contacts = unsafe { integers(contact_ids, count, "contact_ids") }?;
            if !contacts.is_empty() {
                return Request::linked_chats(LinkedTo::Contacts(&contacts));
            }
            Request::linked_chats(LinkedTo::Chats(&of_json::<Vec<ConversationRefId>>(chats, "chats")?))
        })
    })
}

/// Makes contacts: `contacts` is [{"name", "first_name", "last_name", ...}]. The answer is a page of [{"id",
/// "request_id"}].
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_add_contacts(
    contacts: amochats_slice<'_>,
    call: Option<&mut MaybeUninit<*mut amochats_crm_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        made(call, page::<CreatedContact>, || {
            Request::add_contacts(&of_json::<Vec<NewContact>>(contacts, "contacts")?)
        })
    })
}

/// Reads the integration's sources: all, at most 100, or those with these ids of its own, ["...", ...]; nothing
/// is all. The answer is a page of [{"id", "name", "external_id", "pipeline_id", "default", ...}].
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_sources(
    external_ids: amochats_slice<'_>,
    call: Option<&mut MaybeUninit<*mut amochats_crm_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        made(call, page::<Source>, || {
            let ids: Vec<String> = match given(external_ids, "external_ids")? {
                Some(_) => of_json(external_ids, "external_ids")?,
                None => Vec::new(),
            };
            Ok(Request::sources(&ids.iter().map(String::as_str).collect::<Vec<_>>()))
        })
    })
}

/// Reads one source. There is no answer where there is none.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_source(
    id: i64,
    call: Option<&mut MaybeUninit<*mut amochats_crm_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    let read: Read = |body| match body {
        [] => Ok(None),
        body => Ok(Some(shown(&Source::from_json(body)?))),
    };
    boundary(error, || made(call, read, || Ok(Request::source(id))))
}

/// Makes sources: `sources` is [{"name", "external_id", "pipeline_id", "default", ...}]. The answer is as of
/// amochats_crm_call_sources().
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_add_sources(
    sources: amochats_slice<'_>,
    call: Option<&mut MaybeUninit<*mut amochats_crm_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        made(call, page::<Source>, || Request::add_sources(&of_json::<Vec<NewSource>>(sources, "sources")?))
    })
}

/// Changes sources: `changes` is [{"id", ...}] with what is to be another. The answer is as of
/// amochats_crm_call_sources().
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_update_sources(
    changes: amochats_slice<'_>,
    call: Option<&mut MaybeUninit<*mut amochats_crm_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        made(call, page::<Source>, || {
            Request::update_sources(&of_json::<Vec<SourceChange>>(changes, "changes")?)
        })
    })
}

/// Deletes sources. There is no answer.
///
/// # Safety
/// `ids` must be NULL or point to `count` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn amochats_crm_call_delete_sources(
    ids: *const i64,
    count: usize,
    call: Option<&mut MaybeUninit<*mut amochats_crm_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        made(call, nothing, || {
            // SAFETY: the caller upholds this function's contract.
            let ids = unsafe { integers(ids, count, "ids") }?;
            Request::delete_sources(&ids)
        })
    })
}

/// Reads a page of the templates with their reviews, the first of which is 1; those with this id of the
/// integration's own, where `external_id` is not empty. Go on while the answer "has_next".
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_templates(
    page_number: u32,
    external_id: amochats_slice<'_>,
    call: Option<&mut MaybeUninit<*mut amochats_crm_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        made(call, page::<Template>, || {
            Ok(Request::templates(page_number, given(external_id, "external_id")?))
        })
    })
}

/// Reads one template with its reviews.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_template(
    id: i64,
    call: Option<&mut MaybeUninit<*mut amochats_crm_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    let read: Read = |body| Ok(Some(shown(&Template::from_json(body)?)));
    boundary(error, || made(call, read, || Ok(Request::template(id))))
}

/// Makes templates: `templates` is [{"name", "content", ...}]. The answer is a page of templates.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_add_templates(
    templates: amochats_slice<'_>,
    call: Option<&mut MaybeUninit<*mut amochats_crm_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        made(call, page::<Template>, || {
            Request::add_templates(&of_json::<Vec<NewTemplate>>(templates, "templates")?)
        })
    })
}

/// Changes templates: `changes` is [{"id", ...}] with what is to be another. The answer is a page of templates.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_update_templates(
    changes: amochats_slice<'_>,
    call: Option<&mut MaybeUninit<*mut amochats_crm_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        made(call, page::<Template>, || {
            Request::update_templates(&of_json::<Vec<TemplateChange>>(changes, "changes")?)
        })
    })
}

/// Deletes templates. There is no answer.
///
/// # Safety
/// `ids` must be NULL or point to `count` numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn amochats_crm_call_delete_templates(
    ids: *const i64,
    count: usize,
    call: Option<&mut MaybeUninit<*mut amochats_crm_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        made(call, nothing, || {
            // SAFETY: the caller upholds this function's contract.
            let ids = unsafe { integers(ids, count, "ids") }?;
            Request::delete_templates(&ids)
        })
    })
}

/// Hands a template in for review: the answer is a page of reviews, one for each source of WhatsApp.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_submit_template(
    id: i64,
    call: Option<&mut MaybeUninit<*mut amochats_crm_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || made(call, page::<Review>, || Ok(Request::submit_template(id))))
}

/// Reports what became of a review: `status` is "approved", "paused" or "rejected", the last with a reason. The
/// answer is the review.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_set_review_status(
    template_id: i64,
    review_id: i64,
    status: amochats_slice<'_>,
    reject_reason: amochats_slice<'_>,
    call: Option<&mut MaybeUninit<*mut amochats_crm_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    let read: Read = |body| Ok(Some(shown(&Review::from_json(body)?)));
    boundary(error, || {
        made(call, read, || {
            let reason = reject_reason.text("reject_reason")?;
            let status = match status.text("status")? {
                "approved" => ReviewStatus::Approved,
                "paused" => ReviewStatus::Paused,
                "rejected" => ReviewStatus::Rejected { reject_reason: reason.to_owned() },
                _ => return Err(Error::invalid("status", "must be approved, paused or rejected")),
            };
            Request::set_review_status(template_id, review_id, &status)
        })
    })
}

/// Reads one talk.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_talk(
    id: i64,
    call: Option<&mut MaybeUninit<*mut amochats_crm_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || made(call, talk, || Ok(Request::talk(id))))
}

/// Closes a talk, with `force` without asking the client how it was. There is no answer.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_close_talk(
    id: i64,
    force: bool,
    call: Option<&mut MaybeUninit<*mut amochats_crm_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || made(call, nothing, || Ok(Request::close_talk(id, force))))
}

/// Subscribes an address to the CRM's own webhooks: `subscription` is {"destination", "settings": ["add_message",
/// ...], "sort"}, the last only where its place among the others matters. The answer is {"id", "destination",
/// "settings", "disabled"}.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_subscribe(
    subscription: amochats_slice<'_>,
    call: Option<&mut MaybeUninit<*mut amochats_crm_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    let read: Read = |body| Ok(Some(shown(&Subscription::from_json(body)?)));
    boundary(error, || {
        made(call, read, || Request::subscribe(&of_json::<NewSubscription>(subscription, "subscription")?))
    })
}

/// Reads the subscriptions to the CRM's own webhooks, a page of what amochats_crm_call_subscribe() gives.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_subscriptions(
    call: Option<&mut MaybeUninit<*mut amochats_crm_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || made(call, page::<Subscription>, || Ok(Request::subscriptions())))
}

/// Ends the subscription of an address. There is no answer.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_unsubscribe(
    destination: amochats_slice<'_>,
    call: Option<&mut MaybeUninit<*mut amochats_crm_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || made(call, nothing, || Request::unsubscribe(destination.text("destination")?)))
}

/// Trades the code of an installation for tokens: {"access_token", "refresh_token", "expires_in",
/// "server_time"}, the third in seconds and the last in Unix seconds. A code lives 20 minutes and works once.
/// Keep the tokens where amochats_crm_options_set_token_store() loads them.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_exchange_code(
    integration: Option<&amochats_crm_integration>,
    code: amochats_slice<'_>,
    call: Option<&mut MaybeUninit<*mut amochats_crm_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let integration = required(integration, "integration")?.get();
        made(call, tokens, || Ok(Request::exchange_code(integration, code.text("code")?)))
    })
}

/// Trades a refresh token, which works once, for a new pair: see amochats_crm_call_exchange_code(). A client with
/// a token store does so itself.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_refresh_tokens(
    integration: Option<&amochats_crm_integration>,
    refresh_token: amochats_slice<'_>,
    call: Option<&mut MaybeUninit<*mut amochats_crm_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let integration = required(integration, "integration")?.get();
        made(call, tokens, || {
            Ok(Request::refresh(integration, &Token::new(refresh_token.text("refresh_token")?)?))
        })
    })
}

/// Trades a user's API key of the old kind for a code, which goes to the redirect URI with `state`, where that is
/// not empty; once in 5 minutes. There is no answer.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_exchange_api_key(
    integration: Option<&amochats_crm_integration>,
    login: amochats_slice<'_>,
    api_key: amochats_slice<'_>,
    state: amochats_slice<'_>,
    call: Option<&mut MaybeUninit<*mut amochats_crm_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let integration = required(integration, "integration")?.get();
        made(call, nothing, || {
            let (login, key) = (login.text("login")?, api_key.text("api_key")?);
            Ok(Request::exchange_api_key(integration, login, key, given(state, "state")?))
        })
    })
}

/// Asks where the account of a refresh token is now, which may have got another name: {"id", "subdomain",
/// "domain", "top_level_domain"}. The token is not used up.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_current_domain(
    refresh_token: amochats_slice<'_>,
    call: Option<&mut MaybeUninit<*mut amochats_crm_call>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    let read: Read = |body| Ok(Some(shown(&Domain::from_json(body)?)));
    boundary(error, || {
        made(call, read, || Ok(Request::current_domain(&Token::new(refresh_token.text("refresh_token")?)?)))
    })
}

/// Makes the call one in the name of another user of the account, by the number in the CRM. It works with a
/// token that an administrator granted.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_as_user(call: Option<&mut amochats_crm_call>, user_id: i64) {
    value((), || {
        if let Some(call) = call {
            call.request = call.request.clone().as_user(user_id);
            call.note_headers();
        }
    });
}

/// Returns the call's method: "GET", "POST", "PATCH" or "DELETE".
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_method(call: Option<&amochats_crm_call>) -> amochats_slice<'_> {
    value(amochats_slice::ABSENT, || call.map(|call| call.request.method).into())
}

/// Returns the call's path with its query string, to be put behind the account's host.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_path(call: Option<&amochats_crm_call>) -> amochats_slice<'_> {
    value(amochats_slice::ABSENT, || call.map(|call| &call.request.path).into())
}

/// Returns the call's body, JSON, to be sent as application/json; empty where it has none.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_body(call: Option<&amochats_crm_call>) -> amochats_slice<'_> {
    value(amochats_slice::ABSENT, || {
        call.map_or(amochats_slice::ABSENT, |call| call.request.body.as_slice().into())
    })
}

/// Returns the call's headers beside those, an object; Authorization with the token is not in it.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_headers(call: Option<&amochats_crm_call>) -> Option<&amochats_value> {
    value(None, || call.map(|call| &call.headers))
}

/// Returns whether the call goes with "Authorization: Bearer ...". OAuth carries a proof of its own.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_needs_token(call: Option<&amochats_crm_call>) -> bool {
    value(false, || call.is_some_and(|call| call.request.needs_token))
}

/// Reads the body of the answer, with a status of 200 to 299, to a call that another HTTP stack made. NULL is
/// written where there is no answer.
///
/// AMOCHATS_RESULT_UNEXPECTED_RESPONSE where it is of another form.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_parse(
    call: Option<&amochats_crm_call>,
    body: amochats_slice<'_>,
    answer: Option<&mut MaybeUninit<*mut amochats_value>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let call = required(call, "call")?;
        let answer = required(answer, "answer")?;
        let found = (call.read)(body.bytes("body")?)?;
        answer.write(found.map_or(std::ptr::null_mut(), amochats_value::into_raw));
        Ok(())
    })
}

/// Frees a call; what was begun with it goes on. NULL is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_crm_call_free(call: Option<Box<amochats_crm_call>>) {
    value((), || drop(call));
}
