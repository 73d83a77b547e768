//! `amochats webhook trigger`: a webhook as the vendor sends it.
#![expect(clippy::doc_markdown, reason = "--help shows these lines as they are")]

use super::super::listen::http_client;
use super::super::secret::Secrets;
use super::super::{Exit, Failure, io, process};
use amochats::{AccountId, CONTENT_TYPE, SIGNATURE_HEADER, ScopeId, sign_body};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long the vendor waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Send a webhook as the vendor does, and say what the receiver answered
///
/// Signed over the body alone, with a line feed after it that is not signed, sent once, given up after
/// 5 seconds. Exits with 0 if the receiver answered 200, which alone counts, and with 1 otherwise.
#[derive(Args)]
#[command(after_help = "\
Examples:
  amochats webhook trigger --to http://127.0.0.1:8080/hook/CHANNEL_ID_ACCOUNT_ID \\
    --secret-file channel.secret message --set message.message.text='Yes, of course'
  amochats webhook trigger --to https://example.com/hook/SCOPE_ID --secret-file channel.secret v1 --json

The account of the body is that of the scope id in the address, unless --set account_id=ID names another.
The value after --set is JSON where it can be read as such, and text otherwise; a path goes through
objects by name and through arrays by number. A new message id is made each time.")]
pub(in crate::cli) struct Trigger {
    /// What happened in the CRM
    #[arg(value_name = "KIND", value_enum)]
    kind: Kind,
    /// The whole address of the receiver, with the scope id in it
    #[arg(long, value_name = "URL")]
    to: String,
    /// Set a field of the body; may be repeated
    #[arg(long, value_name = "PATH=VALUE", value_parser = assignment)]
    set: Vec<(String, Value)>,
    /// Print the signed request as one JSON object, with method, url, headers and body, and do not send it
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object: status, duration_msec, error, body and signature
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    secrets: Secrets,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// A user answers with text
    Message,
    /// The same in the first form
    V1,
    /// A user answers with a picture
    Picture,
    /// A user is typing
    Typing,
    /// A user reacts with an emoji
    Reaction,
    /// A user sends a template with buttons
    Template,
    /// A user sends a list of WhatsApp
    ListMessage,
    /// A user quotes a message
    Reply,
    /// A user forwards a message of another chat
    Forward,
    /// A user answers a comment under a post
    Comment,
    /// A user writes first to a phone number
    WriteFirst,
}

fn assignment(text: &str) -> Result<(String, Value), &'static str> {
    let (path, value) = text.split_once('=').ok_or("must be a path, \"=\" and a value")?;
    if path.split('.').any(str::is_empty) {
        return Err("must begin with a path such as message.message.text");
    }
    Ok((path.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into())))
}

/// Puts a value at a path. A place that an array does not have yet is its next one.
fn set(body: &mut Value, path: &str, value: Value) -> Result<(), Failure> {
    let mut place = body;
    for key in path.split('.') {
        place = match place {
            Value::Array(items) => {
                let at = key.parse().ok().filter(|at| *at <= items.len());
                let at: usize = at.ok_or_else(|| {
                    Failure::usage(format!("--set {path}: {key} is no place of an array of {}", items.len()))
                })?;
                if at == items.len() {
                    items.push(Value::Null);
                }
                &mut items[at]
            }
            Value::Object(fields) => fields.entry(key).or_insert(Value::Null),
            other => {
                *other = Value::Object(Map::new());
                other.as_object_mut().expect("it is one now").entry(key).or_insert(Value::Null)
            }
        };
    }
    *place = value;
    Ok(())
}

impl Kind {
    /// A body in the form of the vendor's pages, with a new message id and the present time.
    #[expect(clippy::too_many_lines, reason = "a table of bodies")]
    fn body(self) -> Value {
        let message_ref_id = uuid::Uuid::new_v4().to_string();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let msec = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let account = "13fa84f7-6b61-4086-98ed-0a9de19ee15c";
        let conversation = json!({"id": "8e4d4baa-9e6c-4a88-838a-5f62be227bdc", "client_id": "c-9"});
        let user = json!({"id": "76fc2bea-902f-425c-9a3d-dcdac4766090"});
        let message = |kind: &str, text: &str| {
            json!({
                "account_id": account,
                "time": now.as_secs(),
                "message": {
                    "receiver": {
                        "id": "2ed64e26-70a1-4857-8382-bb066a076219",
                        "phone": "", "email": "", "client_id": "u-5",
                    },
                    "sender": user,
                    "conversation": conversation,
                    "timestamp": now.as_secs(),
                    "msec_timestamp": msec,
                    "message": {
                        "id": message_ref_id, "type": kind, "text": text, "markup": null, "tag": "",
                        "media": "", "thumbnail": "", "file_name": "", "file_size": 0,
                    },
                },
            })
        };
        let action = |action: Value| json!({"account_id": account, "time": now.as_secs(), "action": action});
        let with = |kind: &str, text: &str, fields: Value| {
            let mut body = message(kind, text);
            if let (Value::Object(inside), Value::Object(fields)) = (&mut body["message"]["message"], fields)
            {
                inside.extend(fields);
            }
            body
        };
        match self {
            Self::Message => message("text", "Yes, of course"),
            Self::V1 => json!({
                "receiver": "u-5", "conversation_id": "c-9", "type": "text", "text": "Yes, of course",
                "media": "", "thumbnail": "", "file_name": "", "file_size": 0,
            }),
            Self::Picture => with(
                "picture",
                "",
                json!({
                    "media": "https://amojo.amocrm.ru/attachments/image.jpg",
                    "thumbnail": "https://amojo.amocrm.ru/attachments/image_320x200.jpg",
                    "file_name": "image.jpg", "file_size": 34211,
                }),
            ),
            Self::Typing => action(json!({"typing": {
                "user": user, "conversation": conversation, "expired_at": now.as_secs() + 5,
            }})),
            Self::Reaction => action(json!({"reaction": {
                "msgid": message_ref_id, "user": user, "conversation": conversation,
                "type": "react", "emoji": "😍",
            }})),
            Self::Template => with(
                "text",
                "Order 15926745",
                json!({
                    "markup": {"mode": "inline", "buttons": [[{"text": "Accept"}, {"text": "Cancel"}]]},
                    "template": {
                        "id": 7103, "external_id": "order", "content": "Order {{lead.id}}",
                        "params": [{"key": "{{lead.id}}", "value": "15926745"}],
                    },
                }),
            ),
            Self::ListMessage => with(
                "text",
                "Choose one",
                json!({"markup": {"list_message": {
                    "header": "Which service?", "body": "Please choose", "footer": "", "button": "Services",
                    "sections": [{"title": "Services", "rows": [
                        {"callback_data": "vG9ujre8N7", "title": "First", "description": "The first one"},
                    ]}],
                }}}),
            ),
            Self::Reply => with(
                "text",
                "Yes, of course",
                json!({"reply_to": {"message": {
                    "id": "079e44fb-fc22-476b-9e8a-421b688ec53b", "msgid": "m-17", "type": "text",
                    "text": "This one?", "timestamp": now.as_secs(), "msec_timestamp": msec,
                    "sender": {"id": "2ed64e26-70a1-4857-8382-bb066a076219", "client_id": "u-5", "name": "Anna"},
                }}}),
            ),
            Self::Forward => with(
                "text",
                "",
                json!({"forwards": {
                    "conversation_ref_id": "6cbab3d5-c4c1-46ff-b710-ad59ad10805f",
                    "messages": [{
                        "id": "079e44fb-fc22-476b-9e8a-421b688ec53b", "type": "text", "text": "This one?",
                        "timestamp": now.as_secs(), "msec_timestamp": msec,
                        "sender": {"id": "2ed64e26-70a1-4857-8382-bb066a076219", "name": "Anna"},
                    }],
                }}),
            ),
            Self::Comment => with("text", "Thank you", json!({"post": {"id": "post-1"}})),
            Self::WriteFirst => {
                let mut body = message("text", "Good afternoon");
                for person in ["receiver", "conversation"] {
                    if let Value::Object(ids) = &mut body["message"][person] {
                        ids.shift_remove("client_id");
                    }
                }
                body["message"]["receiver"]["phone"] = "+15550100".into();
                body
            }
        }
    }
}

impl Trigger {
    pub(in crate::cli) fn run(self) -> Result<Exit, Failure> {
        let secret = self.secrets.one()?;
        let url = reqwest::Url::parse(&self.to)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| Failure::usage("--to must be an http or https address"))?;
        let mut body = self.kind.body();
        if let (Some(account_id), Some(named)) = (addressed(&url), body.get_mut("account_id")) {
            *named = account_id.as_str().into();
        }
        for (path, value) in self.set {
            set(&mut body, &path, value)?;
        }
        let mut wire = body.to_string().into_bytes();
        let signature = sign_body(&secret, &wire);
        wire.push(b'\n');
        if self.dry_run {
            let headers = json!({"Content-Type": CONTENT_TYPE, SIGNATURE_HEADER: signature});
            let sent = String::from_utf8(wire).expect("JSON is text");
            let shown = json!({"method": "POST", "url": url.as_str(), "headers": headers, "body": sent});
            io::print(&shown.to_string())?;
            return Ok(Exit::Ok);
        }

        process::run(async move {
            let request = http_client(TIMEOUT)?
                .post(url)
                .header("Content-Type", CONTENT_TYPE)
                .header(SIGNATURE_HEADER, &signature)
                .body(wire);
            let started = Instant::now();
            let sent = request.send().await.map_err(reqwest::Error::without_url);
            let duration_msec = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            let (status, error) = match sent {
                Ok(response) => (Some(response.status().as_u16()), None),
                Err(error) if error.is_timeout() => (None, Some("no answer within 5 s".to_owned())),
                Err(error) => (None, Some(reason(&error))),
            };
            if self.json {
                io::print(
                    &json!({
                        "status": status, "duration_msec": duration_msec, "error": error,
                        "body": body.to_string(), "signature": signature,
                    })
                    .to_string(),
                )?;
            } else {
                let what = error.or_else(|| status.map(|status| format!("HTTP {status}")));
                let line = format!("{} after {duration_msec} ms", what.unwrap_or_default());
                if status != Some(200) {
                    return Err(Failure::no(format!(
                        "{line}; only 200 counts, and the vendor does not send again"
                    )));
                }
                io::print(&line)?;
            }
            Ok(if status == Some(200) { Exit::Ok } else { Exit::No })
        })
    }
}

/// The account in the scope id that an address ends with.
fn addressed(url: &reqwest::Url) -> Option<AccountId> {
    let last = url.path_segments()?.rfind(|part| !part.is_empty())?;
    let (_, account_id) = ScopeId::from(last.to_owned()).split().ok()?;
    uuid::Uuid::try_parse(account_id.as_str()).is_ok().then_some(account_id)
}

/// The cause at the root, which says most.
fn reason(error: &reqwest::Error) -> String {
    let mut root: &dyn std::error::Error = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    format!("the receiver cannot be reached: {root}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use amochats::{VerifiedBody, WebhookKind, parse_webhook};

    #[test]
    fn every_kind_is_a_webhook_that_is_understood() {
        for kind in Kind::value_variants() {
            let body = kind.body().to_string();
            let event = parse_webhook(VerifiedBody::trust(body.as_bytes())).expect("JSON");
            let expected = match kind {
                Kind::Typing => "typing",
                Kind::Reaction => "reaction",
                _ => "message",
            };
            assert_eq!(event.kind.name(), expected, "{body}");
            if let WebhookKind::Message(message) = event.kind {
                assert_eq!(message.template.is_some(), matches!(kind, Kind::Template));
                assert_eq!(message.reply_to.is_some(), matches!(kind, Kind::Reply));
                let list = message.markup.is_some_and(|markup| markup.list_message.is_some());
                assert_eq!(list, matches!(kind, Kind::ListMessage));
            }
        }
    }

    #[test]
    fn a_path_reaches_every_place() {
        let mut body = json!({"a": {"b": [1]}, "c": 1});
        for (path, value) in
            [("a.b.0", json!(2)), ("a.b.1.x", json!("new")), ("c.d", json!(null)), ("e", json!({}))]
        {
            set(&mut body, path, value).expect("a place");
        }
        assert_eq!(body, json!({"a": {"b": [2, {"x": "new"}]}, "c": {"d": null}, "e": {}}));
        assert!(set(&mut body, "a.b.7", json!(1)).is_err());
        assert!(set(&mut body, "a.b.x", json!(1)).is_err());
        for bad in ["a", "=1", "a..b=1", ".a=1"] {
            assert!(assignment(bad).is_err(), "{bad}");
        }
        assert_eq!(assignment("a=7"), Ok(("a".into(), json!(7))));
        assert_eq!(assignment("a=x=y"), Ok(("a".into(), json!("x=y"))));
    }
}
