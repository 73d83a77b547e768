//! The bodies of requests, read as strictly as the switches say: by default a number is not a
//! string, and a field that no page names is noted, since it is most often a misspelt one.

use super::Fault;
use crate::config::Personality;
use crate::state::Delivery;
use crate::switches::{RequiredFields, Switches, UnknownFields};
use amochats::{AccountId, DeliveryErrorCode, DeliveryStatus, EditMessage, Error, HookVersion, NewMessage};
use axum::http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// How many unusual fields of one body are put up with.
const ODDITIES_MAX: usize = 32;

/// How bodies are read, and what was unusual in them.
pub(crate) struct Reading<'a> {
    pub(super) switches: &'a Switches,
    pub(super) personality: Personality,
    /// Sentences for the journal.
    pub(super) notes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConnectBody {
    account_id: String,
    title: Option<String>,
    hook_api_version: Option<String>,
    #[serde(default)]
    is_time_window_disabled: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DisconnectBody {
    account_id: AccountId,
}

/// Both dialects: `status_code`, and before 2025 `delivery_status` with a repeated `msgid`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeliveryBody {
    status_code: Option<i64>,
    delivery_status: Option<i64>,
    msgid: Option<String>,
    error_code: Option<u16>,
    error: Option<String>,
}

pub(super) struct Connect {
    pub(super) account_id: AccountId,
    pub(super) title: Option<String>,
    pub(super) hook_api_version: HookVersion,
    pub(super) is_time_window_disabled: bool,
}

pub(super) fn invalid(description: impl Into<String>) -> Fault {
    Fault::new(StatusCode::BAD_REQUEST, "invalid_field", description)
}

/// A request that breaks a rule which the channel's library knows too.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn refused(error: Error) -> Fault {
    invalid(error.message())
}

fn not_json(error: &serde_json::Error) -> Fault {
    Fault::new(StatusCode::BAD_REQUEST, "invalid_json", format!("the body is not JSON: {error}"))
}

fn value_of(body: &[u8]) -> Result<Value, Fault> {
    serde_json::from_slice(body).map_err(|error| not_json(&error))
}

/// Reads a body that the channel's library has no type for. Its errors are of the same form.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let said = error.into_inner().to_string();
        let said = said.rsplit_once(" at line ").map_or(said.as_str(), |(said, _position)| said);
        if let Some(field) = said.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
            return Error::invalid(field, "is required");
        }
        if said.starts_with("unknown field") {
            return Error::invalid(path, "is not a field of this request");
        }
        let expected = said.rsplit_once("expected ").map_or("another type", |(_sent, expected)| expected);
        Error::invalid(path, format!("must be {expected}"))
    })
}

/// The value at a path such as `payload.forwards.messages[0].text`, with what it is in.
fn at<'a>(value: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let path = path.replace('[', ".").replace(']', "");
    let (parent, name) = path.rsplit_once('.').unwrap_or(("", &path));
    let mut place = value;
    for part in parent.split('.').filter(|part| !part.is_empty()) {
        place = match place {
            Value::Object(fields) => fields.get_mut(part)?,
            Value::Array(items) => items.get_mut(part.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some((place, name.to_owned()))
}

impl Reading<'_> {
    /// Reads a body, and reads it again without what may be overlooked.
    pub(super) fn read<T>(
        &mut self,
        body: &[u8],
        parse: impl Fn(&[u8]) -> Result<T, Error>,
    ) -> Result<T, Fault> {
        let mut value = value_of(body)?;
        let mut error = match parse(body) {
            Ok(read) => return Ok(read),
            Err(error) => error,
        };
        for _ in 0..ODDITIES_MAX {
            if !self.overlook(&mut value, &error) {
                break;
            }
            match parse(value.to_string().as_bytes()) {
                Ok(read) => return Ok(read),
                Err(next) => error = next,
            }
        }
        Err(refused(error))
    }

    /// Takes away what a switch allows; whether there was anything.
    fn overlook(&mut self, body: &mut Value, error: &Error) -> bool {
        let Some(path) = error.field() else { return false };
        let Some((parent, name)) = at(body, path) else { return false };
        let rule = error.message().strip_prefix(path).unwrap_or_default();
        if rule == ": is not a field of this request" && self.switches.unknown_fields == UnknownFields::Note {
            self.notes.push(format!("{path} is not a field of this request and was ignored"));
            return parent.as_object_mut().is_some_and(|fields| fields.shift_remove(&name).is_some());
        }
        if self.switches.strict_types {
            return false;
        }
        let place = match parent {
            Value::Object(fields) => fields.get_mut(&name),
            Value::Array(items) => name.parse::<usize>().ok().and_then(|at| items.get_mut(at)),
            _ => None,
        };
        let Some(place) = place else { return false };
        let other = match place {
            Value::Number(number) => Some(Value::String(number.to_string())),
            Value::String(text) => text.parse().ok().map(Value::Number),
            _ => None,
        };
        let Some(other) = other else { return false };
        self.notes.push(format!("{path} has another type than documented"));
        *place = other;
        true
    }

    /// A field that the pages require and live clients leave out.
    fn expect(&mut self, there: bool, field: &str) -> Result<(), Fault> {
        if there {
            return Ok(());
        }
        if self.switches.required_fields == RequiredFields::Documented {
            return Err(invalid(format!("{field}: is required")));
        }
        self.notes.push(format!("{field} is required by the pages, but live clients leave it out"));
        Ok(())
    }
}

impl Reading<'_> {
    pub(super) fn connect(&mut self, body: &[u8]) -> Result<Connect, Fault> {
        let body: ConnectBody = self.read(body, parse)?;
        let kommo = self.personality == Personality::Kommo;
        if kommo {
            self.expect(body.title.is_some(), "title")?;
        }
        let hook_api_version = match body.hook_api_version.as_deref() {
            Some("v2") => HookVersion::V2,
            Some("v1") if kommo => return Err(invalid("hook_api_version: must be v2 on Kommo")),
            // Not naming one gives the old form, on live Kommo too.
            None | Some("v1") => HookVersion::V1,
            Some(_) => return Err(invalid("hook_api_version: must be v1 or v2")),
        };
        Ok(Connect {
            account_id: body.account_id.into(),
            title: body.title,
            hook_api_version,
            is_time_window_disabled: body.is_time_window_disabled,
        })
    }

    pub(super) fn disconnect(&mut self, body: &[u8]) -> Result<AccountId, Fault> {
        self.read(body, parse::<DisconnectBody>).map(|body| body.account_id)
    }
}

/// A message, or the change of one.
pub(super) enum Sent {
    /// With what of it webhooks have no field for.
    New(Box<NewMessage>, Option<Value>),
    /// With what of it webhooks have no field for, and the delivery state.
    Edit(Box<EditMessage>, Option<Value>, Option<Delivery>),
}

impl Reading<'_> {
    pub(super) fn message(&mut self, body: &[u8]) -> Result<Sent, Fault> {
        let mut value = value_of(body)?;
        let gen1 = self.personality == Personality::Gen1;
        if value["event_type"] == "edit_message" {
            if gen1 {
                return Err(Fault::new(
                    StatusCode::BAD_REQUEST,
                    "unsupported_event_type",
                    "event_type: the first generation does not edit messages, it takes new_message",
                ));
            }
            let edit = self.read(body, EditMessage::from_json)?;
            let status = edit.delivery_status.as_ref().map(|status| match status {
                DeliveryStatus::Delivered => Delivery::Delivered,
                DeliveryStatus::Read => Delivery::Read,
                DeliveryStatus::Failed { code, error } => {
                    Delivery::Error { code: code.code(), text: error.clone() }
                }
            });
            return Ok(Sent::Edit(Box::new(edit), details(value), status));
        }
        let parsed = if gen1 {
            numeric_phones_to_text(&mut value);
            self.read(value.to_string().as_bytes(), NewMessage::from_json)?
        } else {
            self.read(body, NewMessage::from_json)?
        };
        let message = &value["payload"]["message"];
        if self.personality == Personality::Ru
            && matches!(parsed.content.type_name(), "file" | "video" | "picture")
        {
            for field in ["file_name", "file_size"] {
                self.expect(!message[field].is_null(), &format!("payload.message.{field}"))?;
            }
        }
        Ok(Sent::New(Box::new(parsed), details(value)))
    }
}

/// What of a message webhooks have no field for.
fn details(mut body: Value) -> Option<Value> {
    const FIELDS: [&str; 6] = ["type", "text", "media", "file_name", "file_size", "delivery_status"];
    let mut details = body["payload"]["message"].take();
    if let Value::Object(fields) = &mut details {
        fields.retain(|name, _| !FIELDS.contains(&&**name));
        for name in ["reply_to", "forwards"] {
            if let Some(quoted) = body["payload"].get(name) {
                fields.insert(name.to_owned(), quoted.clone());
            }
        }
    }
    let empty = details.as_object().is_none_or(serde_json::Map::is_empty);
    (!empty).then_some(details)
}

/// The first examples of the vendor wrote phones as numbers.
fn numeric_phones_to_text(value: &mut Value) {
    for person in ["sender", "receiver"] {
        if let Some(phone) = value.pointer_mut(&format!("/payload/{person}/profile/phone"))
            && phone.is_u64()
        {
            *phone = Value::String(phone.to_string());
        }
    }
}

impl Reading<'_> {
    pub(super) fn delivery_status(&mut self, body: &[u8], path_id: &str) -> Result<Delivery, Fault> {
        let body: DeliveryBody = self.read(body, parse)?;
        if !self.switches.old_delivery_status && (body.delivery_status.is_some() || body.msgid.is_some()) {
            return Err(invalid(
                "status_code: this sandbox does not take the form of before 2025 (delivery_status, msgid)",
            ));
        }
        if body.msgid.as_deref().is_some_and(|id| id != path_id) {
            return Err(invalid("msgid: must be the id in the path"));
        }
        let status = match (body.status_code, body.delivery_status) {
            (Some(status), None) | (None, Some(status)) => status,
            (Some(_), Some(_)) => {
                return Err(invalid("status_code: goes without its old name delivery_status"));
            }
            (None, None) => return Err(invalid("status_code: is required")),
        };
        match status {
            1 => Ok(Delivery::Delivered),
            2 => Ok(Delivery::Read),
            -1 => {
                let code = body
                    .error_code
                    .ok_or_else(|| invalid("error_code: is required where status_code is -1"))?;
                let code = DeliveryErrorCode::from_code(code).map_err(|error| invalid(error.message()))?;
                let text = body.error.ok_or_else(|| invalid("error: is required where status_code is -1"))?;
                if code == DeliveryErrorCode::Other && text.trim().is_empty() {
                    return Err(invalid("error: must say what happened where error_code is 905"));
                }
                if code.code() == 901 {
                    let gone =
                        if self.personality == Personality::Kommo { "message" } else { "conversation" };
                    self.notes.push(format!("901 means that the client deleted the {gone}"));
                }
                Ok(Delivery::Error { code: code.code(), text })
            }
            _ => Err(invalid("status_code: must be 1 (delivered), 2 (read) or -1 (error)")),
        }
    }
}
