//! The vectors of the CRM's side, through the Rust core; `tests/c` runs them through C and C++. Python
//! has no calls that only encode or parse them, so the group has a runner of its own.

use amochats::crm::{
    Account, ChatLink, ClientSecret, CreatedContact, CrmProblem, Integration, LegacyAccount, LinkedChat,
    Listed, NewContact, NewSource, NewSubscription, NewTemplate, OneTimeTokenRules, Page, Request, Review,
    ReviewStatus, Source, SourceChange, Talk, Template, Tokens, User, parse_crm_webhook, verify_disable_hook,
    verify_one_time_token,
};
use amochats::{Connected, Error};
use amochats_tests::vectors;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, UNIX_EPOCH};

/// The vendor's own examples of this side, each of which is a case of that name.
const EXAMPLES: [&str; 33] = [
    "account-with-everything",
    "contact-chat-link-request",
    "contact-chat-link-response",
    "contact-chat-list-response",
    "contact-create-request",
    "contact-create-response",
    "crm-validation-error",
    "crm-webhook-template-review",
    "crm-webhooks-subscribe-request",
    "kommo-crm-webhook-message-add",
    "kommo-crm-webhook-talk-add",
    "kommo-crm-webhook-talk-close",
    "kommo-link-response",
    "kommo-user-amojo",
    "oauth-code-request",
    "oauth-code-response",
    "oauth-refresh-response",
    "sources-add-request",
    "sources-add-response",
    "sources-add-response-steps",
    "sources-delete-error",
    "sources-delete-request",
    "sources-list-response",
    "sources-patch-request",
    "talk-get-response",
    "template-review-response",
    "template-review-status-request",
    "templates-add-request",
    "templates-add-response",
    "templates-delete-request",
    "templates-list-response",
    "templates-patch-response",
    "v1-connect-response",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    description: String,
    source: String,
    operation: String,
    input: Input,
    expected: Value,
}

/// What a case may give; each operation takes its part.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Input {
    body: Option<String>,
    request: Option<Value>,
    secret: Option<String>,
    client_uuid: Option<String>,
    account_id: Option<String>,
    signature: Option<String>,
    redirect_uri: Option<String>,
    token: Option<String>,
    now: Option<u64>,
}

fn cases() -> BTreeMap<String, Case> {
    let mut cases = BTreeMap::new();
    for entry in fs::read_dir(vectors::folder().join("crm")).expect("the folder is there") {
        let path = entry.expect("a readable folder").path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("names are ASCII").to_owned();
        let case: Case = serde_json::from_slice(&fs::read(&path).expect("a readable file"))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(!case.description.is_empty() && !case.source.is_empty(), "{name} says where it is from");
        cases.insert(name, case);
    }
    cases
}

#[test]
fn the_core_answers_as_expected() {
    let cases = cases();
    let mut ran: BTreeMap<&str, usize> = BTreeMap::new();
    let mut failures = Vec::new();
    for (name, case) in &cases {
        *ran.entry(&case.operation).or_default() += 1;
        let answered = answer(case).unwrap_or_else(|error| match error.field() {
            Some(field) => json!({"error": {"kind": error.kind().name(), "field": field}}),
            None => json!({"error": {"kind": error.kind().name()}}),
        });
        if answered != case.expected {
            failures.push(format!("{name}\n  expected {}\n  answered {answered}", case.expected));
        }
    }
    println!("vectors: {ran:?}");
    assert!(!cases.is_empty(), "no case was run");
    assert!(failures.is_empty(), "{} cases failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_example_of_the_vendor_is_a_case() {
    let cases = cases();
    for example in EXAMPLES {
        let case = cases.get(example).unwrap_or_else(|| panic!("{example} has no case"));
        assert!(case.source.contains(&format!("(example {example}.json)")), "{example} names its source");
    }
}

fn answer(case: &Case) -> Result<Value, Error> {
    let input = &case.input;
    let body = input.body.as_deref().unwrap_or_default().as_bytes();
    let text = |field: &Option<String>| field.clone().expect("the operation needs it");
    Ok(match case.operation.as_str() {
        "parse_connected" => json!({ "answer": Connected::from_json(body)? }),
        "parse_crm_account" => json!({ "answer": Account::from_json(body)? }),
        "parse_crm_legacy_account" => json!({ "answer": LegacyAccount::from_json(body)? }),
        "parse_crm_user" => json!({ "answer": User::from_json(body)? }),
        "parse_crm_talk" => json!({ "answer": Talk::from_json(body)? }),
        "parse_crm_linked_chats" => page::<LinkedChat>(body)?,
        "parse_crm_created_contacts" => page::<CreatedContact>(body)?,
        "parse_crm_sources" => page::<Source>(body)?,
        "parse_crm_templates" => page::<Template>(body)?,
        "parse_crm_reviews" => page::<Review>(body)?,
        "parse_crm_problem" => json!({ "answer": CrmProblem::from_json(body) }),
        "parse_crm_tokens" => {
            let tokens = Tokens::from_json(body)?;
            json!({ "answer": {
                "access_token": tokens.access_token.expose(),
                "refresh_token": tokens.refresh_token.as_ref().map(amochats::crm::Token::expose),
                "expires_in": tokens.expires_in,
                "server_time": tokens.server_time,
            }})
        }
        "parse_crm_webhook" => json!({ "webhook": parse_crm_webhook(body)? }),
        "encode_crm_link_chats" => shown(&Request::link_chats(&request::<Vec<ChatLink>>(case))?),
        "encode_crm_add_contacts" => shown(&Request::add_contacts(&request::<Vec<NewContact>>(case))?),
        "encode_crm_add_sources" => shown(&Request::add_sources(&request::<Vec<NewSource>>(case))?),
        "encode_crm_update_sources" => shown(&Request::update_sources(&request::<Vec<SourceChange>>(case))?),
        "encode_crm_delete_sources" => shown(&Request::delete_sources(&ids(case))?),
        "encode_crm_add_templates" => shown(&Request::add_templates(&request::<Vec<NewTemplate>>(case))?),
        "encode_crm_delete_templates" => shown(&Request::delete_templates(&ids(case))?),
        "encode_crm_set_review_status" => {
            shown(&Request::set_review_status(7351, 367, &request::<ReviewStatus>(case))?)
        }
        "encode_crm_subscribe" => shown(&Request::subscribe(&request::<NewSubscription>(case))?),
        "encode_crm_exchange_code" => {
            let fields: BTreeMap<String, String> = request(case);
            let integration = Integration {
                client_id: fields["client_id"].clone(),
                client_secret: ClientSecret::new(&fields["client_secret"])?,
                redirect_uri: fields["redirect_uri"].clone(),
            };
            shown(&Request::exchange_code(&integration, &fields["code"]))
        }
        "verify_disable_hook" => {
            let (client, account) = (text(&input.client_uuid), text(&input.account_id));
            let secret = ClientSecret::new(text(&input.secret))?;
            verify_disable_hook(&secret, &client, &account, input.signature.as_deref())?;
            json!({ "valid": true })
        }
        "verify_one_time_token" => {
            let secret = ClientSecret::new(text(&input.secret))?;
            let rules = OneTimeTokenRules::new(text(&input.client_uuid), text(&input.redirect_uri));
            let now = UNIX_EPOCH + Duration::from_secs(input.now.expect("the operation needs it"));
            json!({ "claims": verify_one_time_token(&secret, &text(&input.token), &rules, now)? })
        }
        operation => panic!("{operation} is no operation of this group"),
    })
}

fn page<T: Listed + Serialize>(body: &[u8]) -> Result<Value, Error> {
    Ok(json!({ "answer": Page::<T>::from_json(body)? }))
}

/// The vendor's own form, read into the type that a caller fills.
fn request<T: DeserializeOwned>(case: &Case) -> T {
    let request = case.input.request.clone().expect("the operation needs it");
    serde_json::from_value(request).expect("a type of ours can hold what the vendor shows")
}

fn ids(case: &Case) -> Vec<i64> {
    request::<Vec<BTreeMap<String, i64>>>(case).into_iter().map(|item| item["id"]).collect()
}

fn shown(request: &Request) -> Value {
    let body: Value = serde_json::from_slice(&request.body).expect("the core writes JSON");
    json!({ "method": request.method, "path": request.path, "body": body })
}
