//! `amochats account`, `link`, `source`, `template`, `talk` and the subscriptions of `webhook`: calls of
//! the CRM's own API.
#![expect(clippy::doc_markdown, reason = "--help shows these lines as they are")]

use super::api::{describe, explain, read_file, region, runtime, words};
use super::secret;
use super::{Exit, Failure, io};
use amochats::crm::{
    ChatLink, LegacyAccount, Listed, NewSource, NewSubscription, NewTemplate, Page, Request, Review,
    ReviewStatus, SourceChange, TemplateButton, TemplateChange,
};
use amochats::{ConversationRefId, CrmClient, Error, ErrorKind, Region, Result as ApiResult};
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use futures_util::TryStreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// The account that is called, and how.
#[derive(Args)]
#[command(next_help_heading = "CRM")]
struct Crm {
    /// The region of the account
    #[arg(long, value_parser = region(), requires = "subdomain", required_unless_present = "base_url")]
    region: Option<Region>,
    /// The first label of the account's host: example in example.kommo.com
    #[arg(long, value_name = "NAME", requires = "region")]
    subdomain: Option<String>,
    /// Another address, such as a sandbox's
    #[arg(long, value_name = "URL", conflicts_with_all = ["region", "subdomain"])]
    base_url: Option<String>,
    /// A PEM file with certificates to trust, too
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// How long the call may take, with its repeats
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// A file with the OAuth access token; otherwise it is taken from AMOCHATS_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Call in the name of this user, by the number in the CRM; the token must be an administrator's
    #[arg(long, value_name = "USER_ID")]
    as_user: Option<i64>,
    /// Print the request as one JSON object, with method, url, headers and body, and do not send it;
    /// needs no token, and shows none
    #[arg(long)]
    dry_run: bool,
    /// Print the answer, or the error, as one JSON object
    #[arg(long)]
    json: bool,
}

impl Crm {
    /// Makes a call, or shows it, and prints what came of it; `say` puts it into words for people.
    fn call<T: Serialize>(
        self,
        request: ApiResult<Request>,
        read: impl FnOnce(&[u8]) -> ApiResult<T>,
        say: impl FnOnce(&T) -> String,
    ) -> Result<Exit, Failure> {
        let json = self.json;
        match request {
            Ok(request) if self.dry_run => {
                let request = self.as_user.map_or(request.clone(), |user| request.as_user(user));
                io::print(&show(self.client(false)?.base_url(), &request))?;
                Ok(Exit::Ok)
            }
            Ok(request) => {
                let client = self.client(request.needs_token)?;
                print(json, runtime()?.block_on(client.call_for(&request, read)), say)
            }
            Err(error) => print(json, Err(error), say),
        }
    }

    /// A call whose answer says nothing: what was done is said instead.
    fn done(self, request: ApiResult<Request>, json: Value, words: &str) -> Result<Exit, Failure> {
        self.call(request, |_| Ok(json), |_| words.to_owned())
    }

    fn client(&self, with_token: bool) -> Result<CrmClient, Failure> {
        let mut builder = CrmClient::builder().deadline(Duration::from_secs(self.timeout));
        if let Some((region, subdomain)) = self.region.zip(self.subdomain.as_deref()) {
            builder = builder.account(region, subdomain)?;
        }
        if let Some(base_url) = &self.base_url {
            builder = builder.base_url(base_url);
        }
        if let Some(file) = &self.cacert {
            builder = builder.add_root_certificate(read_file(file)?);
        }
        if with_token {
            builder = builder.token(secret::token(self.token_file.as_deref())?);
        }
        let client = builder.build()?;
        Ok(self.as_user.map_or(client.clone(), |user| client.as_user(user)))
    }
}

/// Prints what came of a call.
fn print<T: Serialize>(
    json: bool,
    answered: ApiResult<T>,
    say: impl FnOnce(&T) -> String,
) -> Result<Exit, Failure> {
    match answered {
        Ok(answer) if json => {
            io::print(&serde_json::to_string(&answer).expect("an answer has text for keys"))?;
            Ok(Exit::Ok)
        }
        Ok(answer) => {
            io::print(&say(&answer))?;
            Ok(Exit::Ok)
        }
        Err(error) if json => {
            io::print(&describe(&error).to_string())?;
            Ok(Failure::from(error).exit)
        }
        Err(error) => Err(explain(error)),
    }
}

/// A request as JSON, without the token.
fn show(base_url: &str, request: &Request) -> String {
    let mut headers = Map::new();
    if request.needs_token {
        headers.insert("Authorization".into(), "Bearer (not shown)".into());
    }
    if !request.body.is_empty() {
        headers.insert("Content-Type".into(), "application/json".into());
    }
    for (name, value) in &request.headers {
        headers.insert((*name).to_owned(), value.as_str().into());
    }
    let body = String::from_utf8_lossy(&request.body);
    let url = format!("{base_url}{}", request.path);
    json!({"method": request.method, "url": url, "headers": headers, "body": body}).to_string()
}

/// Reads an answer with a collection of which all is on one page.
fn items<T: Listed>(body: &[u8]) -> ApiResult<Vec<T>> {
    Page::from_json(body).map(|page| page.items)
}

/// What a file holds in the vendor's form, as one JSON object.
fn from_file<T: DeserializeOwned>(file: &std::path::Path, what: &str) -> Result<T, Failure> {
    serde_json::from_slice(&read_file(file)?)
        .map_err(|error| Failure::usage(format!("{} is no {what}: {error}", file.display())))
}

/// Lines of cells with tabs between; blanks and control characters in a cell become one blank.
fn table(rows: impl Iterator<Item = Vec<Option<String>>>) -> String {
    let cell = |text: Option<String>| text.map(|text| words(&text)).filter(|text| !text.is_empty());
    let cell = |text| cell(text).unwrap_or_else(|| "-".to_owned());
    let lines: Vec<String> =
        rows.map(|row| row.into_iter().map(cell).collect::<Vec<_>>().join("\t")).collect();
    if lines.is_empty() { "none".to_owned() } else { lines.join("\n") }
}

/// Ask the CRM about the account
#[derive(Subcommand)]
pub(super) enum Account {
    Id(AccountId),
    Users(AccountUsers),
}

/// Print the account's id inside the chat service, which `connect` takes
#[derive(Args)]
#[command(after_help = "\
Examples:
  amochats account id --region kommo --subdomain example --token-file crm.token
  amochats account id --legacy --region ru --subdomain example --login me@example.com

Exit code 1 also where the CRM tells of no such id.")]
pub(super) struct AccountId {
    /// Ask as in the first generation, with a user's login and API key instead of a token
    #[arg(long, requires = "login", requires = "api_key", conflicts_with = "token_file")]
    legacy: bool,
    /// The login of the user
    #[arg(long, value_name = "EMAIL", requires = "legacy")]
    login: Option<String>,
    /// The API key of the user. Other users of this machine can see arguments: prefer the variable
    #[arg(long, value_name = "KEY", env = "AMOCHATS_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    #[command(flatten)]
    crm: Crm,
}

/// List the users of the account: number, id inside the chat service, name
#[derive(Args)]
pub(super) struct AccountUsers {
    #[command(flatten)]
    crm: Crm,
}

impl Account {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Id(id) => id.run(),
            Self::Users(AccountUsers { crm }) if crm.dry_run => {
                crm.call(Ok(Request::users(1)), |_| Ok(()), |()| String::new())
            }
            Self::Users(AccountUsers { crm }) => {
                let client = crm.client(true)?;
                let users = runtime()?.block_on(client.users_all().try_collect::<Vec<_>>());
                print(crm.json, users, |users| {
                    table(users.iter().map(|user| {
                        let amojo_id = user.amojo_id.as_ref().map(ToString::to_string);
                        vec![Some(user.id.to_string()), amojo_id, user.name.clone()]
                    }))
                })
            }
        }
    }
}

impl AccountId {
    fn run(self) -> Result<Exit, Failure> {
        let Self { legacy, login, api_key, crm } = self;
        let found = |id: Option<amochats::AccountId>| {
            id.map(|id| json!({ "account_id": id })).ok_or_else(|| {
                Error::new(
                    ErrorKind::NotFound,
                    "the CRM tells of no amojo_id: the account is not known to the chat service",
                )
            })
        };
        let say = |found: &Value| found["account_id"].as_str().unwrap_or_default().to_owned();
        if !legacy {
            let read = |body: &[u8]| amochats::crm::Account::from_json(body).and_then(|a| found(a.amojo_id));
            return crm.call(Ok(Request::account()), read, say);
        }
        let given = "the argument parser requires it";
        let (login, api_key) = (login.expect(given), api_key.expect(given));
        // The key stands in the address.
        let api_key = if crm.dry_run { "(not shown)" } else { &api_key };
        let request = Request::legacy_account(&login, api_key);
        crm.call(Ok(request), |body| LegacyAccount::from_json(body).and_then(|a| found(a.amojo_id)), say)
    }
}

/// Link a chat to a contact of the CRM
#[derive(Args)]
#[command(after_help = "\
Example:
  amochats link --region kommo --subdomain example --token-file crm.token \\
    --contact-id 3102959 --conversation-ref-id 6cbab3d5-c4c1-46ff-b710-ad59ad10805f")]
pub(super) struct Link {
    /// The contact, by its number in the CRM
    #[arg(long, value_name = "ID")]
    contact_id: i64,
    /// The chat, by amoCRM's id
    #[arg(long, value_name = "ID")]
    conversation_ref_id: ConversationRefId,
    #[command(flatten)]
    crm: Crm,
}

impl Link {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let link = [ChatLink::new(self.contact_id, self.conversation_ref_id)];
        self.crm.call(Request::link_chats(&link), items::<amochats::crm::LinkedChat>, |links| {
            let link = links.first().map_or_else(|| "unknown".into(), |link| link.id.to_string());
            format!("linked; the link is {link}")
        })
    }
}

/// List, add, change and remove sources: the numbers or pages through which clients write
#[derive(Subcommand)]
pub(super) enum Source {
    Ls(SourceLs),
    Add(SourceAdd),
    Edit(SourceEdit),
    Rm(SourceRm),
}

/// List the integration's sources: id, external_id, name, default
#[derive(Args)]
pub(super) struct SourceLs {
    /// Only the one with this id of the integration's; may be repeated
    #[arg(long, value_name = "ID")]
    external_id: Vec<String>,
    #[command(flatten)]
    crm: Crm,
}

/// Add a source
#[derive(Args)]
#[command(after_help = "\
Example:
  amochats source add --region ru --subdomain example --token-file crm.token \\
    --name 'Sales' --external-id 79001234567 --default")]
pub(super) struct SourceAdd {
    /// The name that users see
    #[arg(long)]
    name: String,
    /// The integration's id of it: what messages name as their source
    #[arg(long, value_name = "ID")]
    external_id: String,
    /// The pipeline of its leads
    #[arg(long, value_name = "ID")]
    pipeline_id: Option<i64>,
    /// Let chats without a source go through it
    #[arg(long)]
    default: bool,
    /// The code of the channel with which users start a conversation
    #[arg(long, value_name = "CODE")]
    origin_code: Option<String>,
    #[command(flatten)]
    crm: Crm,
}

/// Change a source; what is not given stays
#[derive(Args)]
#[command(after_help = "\
Example:
  amochats source edit 9619 --region ru --subdomain example --token-file crm.token --default true")]
#[command(group = ArgGroup::new("change").required(true).multiple(true))]
pub(super) struct SourceEdit {
    /// Which one, by the CRM's number
    #[arg(value_name = "ID")]
    id: i64,
    /// The name that users see
    #[arg(long, group = "change")]
    name: Option<String>,
    /// The pipeline of its leads
    #[arg(long, value_name = "ID", group = "change")]
    pipeline_id: Option<i64>,
    /// Whether chats without a source go through it
    #[arg(long, value_name = "BOOL", group = "change")]
    default: Option<bool>,
    /// The code of the channel with which users start a conversation
    #[arg(long, value_name = "CODE", group = "change")]
    origin_code: Option<String>,
    #[command(flatten)]
    crm: Crm,
}

/// Remove sources
#[derive(Args)]
pub(super) struct SourceRm {
    /// Which ones, by the CRM's numbers
    #[arg(required = true, value_name = "ID")]
    ids: Vec<i64>,
    #[command(flatten)]
    crm: Crm,
}

type Sources = Vec<amochats::crm::Source>;

fn source_rows(sources: &Sources) -> String {
    table(sources.iter().map(|source| {
        let default = source.default.unwrap_or_default().then(|| "default".to_owned());
        vec![Some(source.id.to_string()), source.external_id.clone(), source.name.clone(), default]
    }))
}

impl Source {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Ls(SourceLs { external_id, crm }) => {
                let external_ids: Vec<&str> = external_id.iter().map(String::as_str).collect();
                crm.call(Ok(Request::sources(&external_ids)), items, source_rows)
            }
            Self::Add(SourceAdd { name, external_id, pipeline_id, default, origin_code, crm }) => {
                let source = NewSource {
                    pipeline_id,
                    default: default.then_some(true),
                    origin_code,
                    ..NewSource::new(name, external_id)
                };
                crm.call(Request::add_sources(&[source]), items, source_rows)
            }
            Self::Edit(SourceEdit { id, name, pipeline_id, default, origin_code, crm }) => {
                let change =
                    SourceChange { id, name, pipeline_id, default, origin_code, ..SourceChange::default() };
                let read = |body: &[u8]| amochats::crm::Source::from_json(body).map(|source| vec![source]);
                crm.call(Request::update_source(&change), read, source_rows)
            }
            Self::Rm(SourceRm { ids, crm }) => {
                crm.done(Request::delete_sources(&ids), json!({ "removed": ids }), "removed")
            }
        }
    }
}

/// List, show, add, change and remove templates of messages, and review those of WhatsApp
#[derive(Subcommand)]
pub(super) enum Template {
    Ls(TemplateLs),
    Show(TemplateShow),
    Add(TemplateAdd),
    Edit(TemplateEdit),
    Rm(TemplateRm),
    Review(TemplateReview),
}

/// List the integration's templates: id, external_id, name, review
///
/// One page, or with --all every template.
#[derive(Args)]
pub(super) struct TemplateLs {
    /// Which page, of 50 each
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "all")]
    page: u32,
    /// Read all pages
    #[arg(long)]
    all: bool,
    /// Only the one with this id of the integration's
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
    #[command(flatten)]
    crm: Crm,
}

/// Show a template with its reviews, as JSON
#[derive(Args)]
pub(super) struct TemplateShow {
    /// Which one, by the CRM's number
    #[arg(value_name = "ID")]
    id: i64,
    #[command(flatten)]
    crm: Crm,
}

/// Add a template
#[derive(Args)]
#[command(after_help = "\
Example:
  amochats template add --region ru --subdomain example --token-file crm.token \\
    --name Hello --content 'Hello {{contact.name}}' --external-id hello --button Yes --button No")]
pub(super) struct TemplateAdd {
    /// Its name
    #[arg(long, required_unless_present = "file")]
    name: Option<String>,
    /// The text; it may hold markers such as {{contact.name}}
    #[arg(long, value_name = "TEXT", required_unless_present = "file")]
    content: Option<String>,
    /// The integration's id of it
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
    /// A button that answers with its text; may be repeated
    #[arg(long, value_name = "TEXT")]
    button: Vec<String>,
    /// Let users change it
    #[arg(long)]
    editable: bool,
    /// A file with the whole template in the vendor's form, as one JSON object
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "content", "external_id", "button", "editable"])]
    file: Option<PathBuf>,
    #[command(flatten)]
    crm: Crm,
}

/// Change a template; what is not given stays
///
/// One of WhatsApp can be changed only as a draft, before its review.
#[derive(Args)]
#[command(group = ArgGroup::new("change").required(true).multiple(true))]
pub(super) struct TemplateEdit {
    /// Which one, by the CRM's number
    #[arg(value_name = "ID")]
    id: i64,
    /// Its name
    #[arg(long, group = "change")]
    name: Option<String>,
    /// The text; it may hold markers such as {{contact.name}}
    #[arg(long, value_name = "TEXT", group = "change")]
    content: Option<String>,
    /// The integration's id of it
    #[arg(long, value_name = "ID", group = "change")]
    external_id: Option<String>,
    /// A button that answers with its text; may be repeated. They take the place of all former ones
    #[arg(long, value_name = "TEXT", group = "change")]
    button: Vec<String>,
    /// Whether users may change it
    #[arg(long, value_name = "BOOL", group = "change")]
    editable: Option<bool>,
    /// A file with what is to change in the vendor's form, as one JSON object
    #[arg(long, value_name = "FILE", group = "change", conflicts_with_all = ["name", "content", "external_id", "button", "editable"])]
    file: Option<PathBuf>,
    #[command(flatten)]
    crm: Crm,
}

/// Remove templates
#[derive(Args)]
pub(super) struct TemplateRm {
    /// Which ones, by the CRM's numbers
    #[arg(required = true, value_name = "ID")]
    ids: Vec<i64>,
    #[command(flatten)]
    crm: Crm,
}

/// Hand a template of WhatsApp in for review, or report what became of a review
///
/// Prints the reviews: id, source, status, reason.
#[derive(Args)]
#[command(after_help = "\
Examples:
  amochats template review 7351 --region ru --subdomain example --token-file crm.token
  amochats template review 7351 --region ru --subdomain example --token-file crm.token \\
    --review-id 367 --status rejected --reason 'No such language'")]
pub(super) struct TemplateReview {
    /// Which template, by the CRM's number
    #[arg(value_name = "ID")]
    id: i64,
    /// The review that is reported, by its number
    #[arg(long, value_name = "ID", requires = "status")]
    review_id: Option<i64>,
    /// What became of it
    #[arg(long, requires = "review_id")]
    status: Option<Outcome>,
    /// Why it was rejected
    #[arg(long, value_name = "TEXT", required_if_eq("status", "rejected"))]
    reason: Option<String>,
    #[command(flatten)]
    crm: Crm,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Outcome {
    Approved,
    Paused,
    Rejected,
}

fn template_rows(templates: &[amochats::crm::Template]) -> String {
    table(templates.iter().map(|template| {
        vec![
            Some(template.id.to_string()),
            template.external_id.clone(),
            template.name.clone(),
            template.review_status.clone(),
        ]
    }))
}

fn review_rows(reviews: &[Review]) -> String {
    table(reviews.iter().map(|review| {
        vec![
            Some(review.id.to_string()),
            review.source_id.map(|source| source.to_string()),
            review.status.clone(),
            review.reject_reason.clone(),
        ]
    }))
}

fn buttons(texts: Vec<String>) -> Vec<TemplateButton> {
    texts.into_iter().map(TemplateButton::inline).collect()
}

impl Template {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Ls(TemplateLs { page, all, external_id, crm }) if !all || crm.dry_run => {
                let request = Request::templates(page, external_id.as_deref());
                crm.call(Ok(request), Page::<amochats::crm::Template>::from_json, |page| {
                    let more = if page.has_next { "\nthere are more: --page, or --all" } else { "" };
                    format!("{}{more}", template_rows(&page.items))
                })
            }
            Self::Ls(TemplateLs { external_id, crm, .. }) => {
                let client = crm.client(true)?;
                let templates = client.templates_all(external_id.as_deref()).try_collect::<Vec<_>>();
                print(crm.json, runtime()?.block_on(templates), |templates| template_rows(templates))
            }
            Self::Show(TemplateShow { id, crm }) => {
                crm.call(Ok(Request::template(id)), amochats::crm::Template::from_json, |template| {
                    serde_json::to_string_pretty(template).expect("an answer has text for keys")
                })
            }
            Self::Add(add) => add.run(),
            Self::Edit(edit) => edit.run(),
            Self::Rm(TemplateRm { ids, crm }) => {
                crm.done(Request::delete_templates(&ids), json!({ "removed": ids }), "removed")
            }
            Self::Review(review) => review.run(),
        }
    }
}

impl TemplateAdd {
    fn run(self) -> Result<Exit, Failure> {
        let template = match self.file {
            Some(file) => from_file(&file, "template")?,
            None => NewTemplate {
                external_id: self.external_id,
                buttons: buttons(self.button),
                is_editable: self.editable.then_some(true),
                ..NewTemplate::new(self.name.unwrap_or_default(), self.content.unwrap_or_default())
            },
        };
        let request = Request::add_templates(&[template]);
        self.crm.call(request, items, |templates: &Vec<_>| template_rows(templates))
    }
}

impl TemplateEdit {
    fn run(self) -> Result<Exit, Failure> {
        let change = match self.file {
            Some(file) => {
                let mut change: Map<String, Value> = from_file(&file, "change of a template")?;
                change.insert("id".into(), self.id.into());
                serde_json::from_value(change.into()).map_err(|error| {
                    Failure::usage(format!("{} is no change of a template: {error}", file.display()))
                })?
            }
            None => TemplateChange {
                id: self.id,
                name: self.name,
                content: self.content,
                external_id: self.external_id,
                buttons: (!self.button.is_empty()).then(|| buttons(self.button)),
                is_editable: self.editable,
                ..TemplateChange::default()
            },
        };
        let read = |body: &[u8]| amochats::crm::Template::from_json(body).map(|template| vec![template]);
        self.crm.call(Request::update_template(&change), read, |templates| template_rows(templates))
    }
}

impl TemplateReview {
    fn run(self) -> Result<Exit, Failure> {
        let Self { id, review_id, status, reason, crm } = self;
        let Some((review, status)) = review_id.zip(status) else {
            return crm
                .call(Ok(Request::submit_template(id)), items, |reviews: &Vec<_>| review_rows(reviews));
        };
        let status = match status {
            Outcome::Approved => ReviewStatus::Approved,
            Outcome::Paused => ReviewStatus::Paused,
            Outcome::Rejected => ReviewStatus::Rejected { reject_reason: reason.unwrap_or_default() },
        };
        let read = |body: &[u8]| Review::from_json(body).map(|review| vec![review]);
        crm.call(Request::set_review_status(id, review, &status), read, |reviews| review_rows(reviews))
    }
}

/// Look at a talk, or close it
#[derive(Subcommand)]
pub(super) enum Talk {
    Show(TalkShow),
    Close(TalkClose),
}

/// Show a talk, as JSON
#[derive(Args)]
pub(super) struct TalkShow {
    /// Which one, by its number
    #[arg(value_name = "ID")]
    id: i64,
    #[command(flatten)]
    crm: Crm,
}

/// Close a talk
#[derive(Args)]
pub(super) struct TalkClose {
    /// Which one, by its number
    #[arg(value_name = "ID")]
    id: i64,
    /// Close it at once, without asking the client for a rating
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    crm: Crm,
}

impl Talk {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Show(TalkShow { id, crm }) => {
                crm.call(Ok(Request::talk(id)), amochats::crm::Talk::from_json, |talk| {
                    serde_json::to_string_pretty(talk).expect("an answer has text for keys")
                })
            }
            Self::Close(TalkClose { id, force, crm }) => {
                crm.done(Ok(Request::close_talk(id, force)), json!({ "closed": id }), "closed")
            }
        }
    }
}

/// Subscribe an address to the CRM's own webhooks
///
/// They are not those of the channel: they come form-encoded, and nobody signs them.
#[derive(Args)]
#[command(after_help = "\
Example:
  amochats webhook subscribe https://example.org/crm --event add_message --event add_talk \\
    --region kommo --subdomain example --token-file crm.token")]
pub(super) struct Subscribe {
    /// Where they go
    #[arg(value_name = "URL")]
    destination: String,
    /// An event, such as add_message, add_talk, update_talk or add_chat_template_review; may be repeated
    #[arg(long, value_name = "NAME", required = true)]
    event: Vec<String>,
    #[command(flatten)]
    crm: Crm,
}

/// List the subscriptions to the CRM's own webhooks: address, events, whether it is switched off
#[derive(Args)]
pub(super) struct Subscriptions {
    #[command(flatten)]
    crm: Crm,
}

/// End the subscription of an address
#[derive(Args)]
pub(super) struct Unsubscribe {
    /// Where the webhooks went
    #[arg(value_name = "URL")]
    destination: String,
    #[command(flatten)]
    crm: Crm,
}

fn subscription_rows(subscriptions: &[amochats::crm::Subscription]) -> String {
    table(subscriptions.iter().map(|subscription| {
        let off = subscription.disabled.unwrap_or_default().then(|| "off".to_owned());
        vec![Some(subscription.destination.clone()), Some(subscription.settings.join(",")), off]
    }))
}

impl Subscribe {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let subscription =
            NewSubscription { destination: self.destination, settings: self.event, sort: None };
        let read = |body: &[u8]| amochats::crm::Subscription::from_json(body).map(|made| vec![made]);
        self.crm.call(Request::subscribe(&subscription), read, |made| subscription_rows(made))
    }
}

impl Subscriptions {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        self.crm.call(Ok(Request::subscriptions()), items, |found: &Vec<_>| subscription_rows(found))
    }
}

impl Unsubscribe {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let request = Request::unsubscribe(&self.destination);
        self.crm.done(request, json!({ "unsubscribed": self.destination }), "unsubscribed")
    }
}
