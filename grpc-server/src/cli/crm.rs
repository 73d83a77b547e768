//! `amochats account`, `link`, `source` and `template`: calls of the CRM's own API.
#![expect(clippy::doc_markdown, reason = "--help shows these lines as they are")]

use super::api::{describe, explain, read_file, region, runtime, words};
use super::secret;
use super::{Exit, Failure, io};
use amochats::crm::{ChatLink, NewSource, NewTemplate, TemplateButton};
use amochats::{ConversationRefId, CrmClient, CrmClientBuilder, Region, Result as ApiResult};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;
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
    /// Print the answer, or the error, as one JSON object
    #[arg(long)]
    json: bool,
}

impl Crm {
    /// A client without a token.
    fn builder(&self) -> Result<CrmClientBuilder, Failure> {
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
        Ok(builder)
    }

    fn client(&self) -> Result<CrmClient, Failure> {
        let token = secret::token(self.token_file.as_deref())?;
        Ok(self.builder()?.token(token).build()?)
    }

    /// Waits for a call and prints what came of it; `say` puts it into words for people.
    fn print<T: Serialize>(
        &self,
        call: impl Future<Output = ApiResult<T>>,
        say: impl FnOnce(&T) -> String,
    ) -> Result<Exit, Failure> {
        match runtime()?.block_on(call) {
            Ok(answer) if self.json => {
                io::print(&serde_json::to_string(&answer).expect("an answer has text for keys"))?;
                Ok(Exit::Ok)
            }
            Ok(answer) => {
                io::print(&say(&answer))?;
                Ok(Exit::Ok)
            }
            Err(error) if self.json => {
                io::print(&describe(&error).to_string())?;
                Ok(Failure::from(error).exit)
            }
            Err(error) => Err(explain(error)),
        }
    }
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

impl Account {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let Self::Id(AccountId { legacy, login, api_key, crm }) = self;
        let found = if legacy {
            let client = crm.builder()?.build()?;
            let given = "the argument parser requires it";
            let (login, api_key) = (login.expect(given), api_key.expect(given));
            runtime()?
                .block_on(async { client.legacy_account(&login, &api_key).await.map(|found| found.amojo_id) })
        } else {
            let client = crm.client()?;
            runtime()?.block_on(async { client.account().await.map(|found| found.amojo_id) })
        };
        let found = found.and_then(|id| {
            id.ok_or_else(|| {
                amochats::Error::new(
                    amochats::ErrorKind::NotFound,
                    "the CRM tells of no amojo_id: the account is not known to the chat service",
                )
            })
        });
        crm.print(async { found.map(|id| json!({ "account_id": id })) }, |found| {
            found["account_id"].as_str().unwrap_or_default().to_owned()
        })
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
        let client = self.crm.client()?;
        let link = [ChatLink::new(self.contact_id, self.conversation_ref_id)];
        self.crm.print(client.link_chats(&link), |links| {
            format!(
                "linked; the link is {}",
                links.first().map_or_else(|| "unknown".into(), |link| link.id.to_string())
            )
        })
    }
}

/// List, add and remove sources: the numbers or pages through which clients write
#[derive(Subcommand)]
pub(super) enum Source {
    Ls(SourceLs),
    Add(SourceAdd),
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

/// Remove sources
#[derive(Args)]
pub(super) struct SourceRm {
    /// Which ones, by the CRM's numbers
    #[arg(required = true, value_name = "ID")]
    ids: Vec<i64>,
    #[command(flatten)]
    crm: Crm,
}

impl Source {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let rows = |sources: &Vec<amochats::crm::Source>| {
            table(sources.iter().map(|source| {
                let default = source.default.unwrap_or_default().then(|| "default".to_owned());
                vec![Some(source.id.to_string()), source.external_id.clone(), source.name.clone(), default]
            }))
        };
        match self {
            Self::Ls(SourceLs { external_id, crm }) => {
                let client = crm.client()?;
                let external_ids: Vec<&str> = external_id.iter().map(String::as_str).collect();
                crm.print(client.sources(&external_ids), rows)
            }
            Self::Add(SourceAdd { name, external_id, pipeline_id, default, origin_code, crm }) => {
                let client = crm.client()?;
                let source = NewSource {
                    pipeline_id,
                    default: default.then_some(true),
                    origin_code,
                    ..NewSource::new(name, external_id)
                };
                crm.print(client.add_sources(&[source]), rows)
            }
            Self::Rm(SourceRm { ids, crm }) => {
                let client = crm.client()?;
                let done = json!({ "removed": ids });
                crm.print(async { client.delete_sources(&ids).await.map(|()| done) }, |_| {
                    "removed".to_owned()
                })
            }
        }
    }
}

/// List, add and remove templates of messages
#[derive(Subcommand)]
pub(super) enum Template {
    Ls(TemplateLs),
    Add(TemplateAdd),
    Rm(TemplateRm),
}

/// List a page of the integration's templates: id, external_id, name, review
#[derive(Args)]
pub(super) struct TemplateLs {
    /// Which page, of 50 each
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    page: u32,
    /// Only the one with this id of the integration's
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
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

/// Remove templates
#[derive(Args)]
pub(super) struct TemplateRm {
    /// Which ones, by the CRM's numbers
    #[arg(required = true, value_name = "ID")]
    ids: Vec<i64>,
    #[command(flatten)]
    crm: Crm,
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

impl Template {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Ls(TemplateLs { page, external_id, crm }) => {
                let client = crm.client()?;
                crm.print(client.templates(page, external_id.as_deref()), |page| {
                    let more = if page.has_next { "\nthere are more: --page" } else { "" };
                    format!("{}{more}", template_rows(&page.items))
                })
            }
            Self::Add(add) => add.run(),
            Self::Rm(TemplateRm { ids, crm }) => {
                let client = crm.client()?;
                let done = json!({ "removed": ids });
                crm.print(async { client.delete_templates(&ids).await.map(|()| done) }, |_| {
                    "removed".to_owned()
                })
            }
        }
    }
}

impl TemplateAdd {
    fn run(self) -> Result<Exit, Failure> {
        let client = self.crm.client()?;
        let template = match self.file {
            Some(file) => serde_json::from_slice(&read_file(&file)?)
                .map_err(|error| Failure::usage(format!("{} is no template: {error}", file.display())))?,
            None => NewTemplate {
                external_id: self.external_id,
                buttons: self.button.into_iter().map(TemplateButton::inline).collect(),
                is_editable: self.editable.then_some(true),
                ..NewTemplate::new(self.name.unwrap_or_default(), self.content.unwrap_or_default())
            },
        };
        self.crm.print(client.add_templates(&[template]), |templates| template_rows(templates))
    }
}
