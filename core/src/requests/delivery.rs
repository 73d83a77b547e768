//! What became of a message: `delivery_status` on its own and inside an edit.

use super::{ApiRequest, segment};
use crate::error::{Error, Result};
use crate::ids::{MessageRefId, ScopeId};
use crate::message::filled;
use crate::strict::{self, wire};

/// What became of a message from the CRM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// It reached the client.
    Delivered,
    /// The client read it.
    Read,
    /// It could not be delivered.
    Failed {
        /// Why, as a code.
        code: DeliveryErrorCode,
        /// Why, in words; shown to the CRM user.
        error: String,
    },
}

/// Why a message could not be delivered (`error_code`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum DeliveryErrorCode {
    /// 901: the client deleted the conversation (amoCRM) or the message (Kommo).
    Deleted = 901,
    /// 902: the integration is switched off on the channel's side.
    IntegrationDisabled = 902,
    /// 903: an error inside the integration.
    InternalError = 903,
    /// 904: the conversation cannot be made, for instance without a WhatsApp account.
    CannotCreateConversation = 904,
    /// 905: anything else; the words must say what.
    Other = 905,
}

wire! {
    /// The vendor's spelling since 2025.
    pub(crate) struct WireStatus {
        status_code: i64,
        error_code: Option<u16>,
        error: Option<String>,
    }

    /// The spelling before 2025: other names, and the id of the path once more.
    struct OldWireStatus {
        msgid: String,
        delivery_status: i64,
        error_code: Option<u16>,
        error: Option<String>,
    }
}

impl ApiRequest {
    /// Reports what became of a message from the CRM. The message goes by **amoCRM's** id.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for ids that cannot stand
    /// in a path, and for an error without words where the code demands them.
    pub fn set_delivery_status(
        scope: &ScopeId,
        message: &MessageRefId,
        status: &DeliveryStatus,
    ) -> Result<Self> {
        Ok(Self::new("POST", delivery_path(scope, message)?, status.to_json()?))
    }

    /// Like [`ApiRequest::set_delivery_status`], in the form from before 2025, which the vendor's
    /// code samples still show. For a service that does not know the current one.
    ///
    /// # Errors
    /// As [`ApiRequest::set_delivery_status`].
    pub fn set_delivery_status_old(
        scope: &ScopeId,
        message: &MessageRefId,
        status: &DeliveryStatus,
    ) -> Result<Self> {
        Ok(Self::new("POST", delivery_path(scope, message)?, status.to_old_json(message)?))
    }
}

fn delivery_path<'a>(scope: &'a ScopeId, message: &'a MessageRefId) -> Result<[&'a str; 3]> {
    let scope = segment("scope_id", scope.as_str())?;
    Ok([scope, segment("message_ref_id", message.as_str())?, "delivery_status"])
}

impl DeliveryErrorCode {
    /// All codes that the vendor documents.
    pub const ALL: [Self; 5] = [
        Self::Deleted,
        Self::IntegrationDisabled,
        Self::InternalError,
        Self::CannotCreateConversation,
        Self::Other,
    ];

    /// The number on the wire.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The code of this number.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for a number that is not
    /// documented.
    pub fn from_code(code: u16) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|known| known.code() == code)
            .ok_or_else(|| Error::invalid("error_code", "must be 901, 902, 903, 904 or 905"))
    }
}

impl DeliveryStatus {
    /// The number on the wire: 1 delivered, 2 read, -1 error.
    pub fn status_code(&self) -> i8 {
        match self {
            Self::Delivered => 1,
            Self::Read => 2,
            Self::Failed { .. } => -1,
        }
    }

    /// The request's body in the vendor's form.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for an error without words
    /// where the code demands them.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        self.validate("")?;
        Ok(strict::to_vec(&self.to_wire()))
    }

    /// Reads the vendor's form: the current one, and the one from before 2025
    /// (`delivery_status` and `msgid`, which is not looked at).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) with the path of the field
    /// and the rule.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let json = strict::parse(json)?;
        if json.get("delivery_status").is_some_and(|status| !status.is_null()) {
            return Ok(Self::of_old_wire(strict::of_tree(json)?)?.1);
        }
        Self::of_wire(strict::of_tree(json)?, "")
    }

    pub(super) fn to_old_json(&self, message: &MessageRefId) -> Result<Vec<u8>> {
        self.validate("")?;
        filled(message.as_str(), "msgid")?;
        let WireStatus { status_code, error_code, error } = self.to_wire();
        let msgid = message.to_string();
        Ok(strict::to_vec(&OldWireStatus { msgid, delivery_status: status_code, error_code, error }))
    }

    pub(super) fn from_old_json(json: &[u8]) -> Result<(MessageRefId, Self)> {
        Self::of_old_wire(strict::from_slice(json)?)
    }

    fn of_old_wire(wire: OldWireStatus) -> Result<(MessageRefId, Self)> {
        let OldWireStatus { msgid, delivery_status, error_code, error } = wire;
        let wire = WireStatus { status_code: delivery_status, error_code, error };
        // The rule is the same, the field has another name.
        let status = Self::of_wire(wire, "").map_err(|error| match error.field() {
            Some("status_code") => Error::invalid("delivery_status", STATUS_CODES),
            _ => error,
        })?;
        Ok((msgid.into(), status))
    }

    pub(crate) fn to_wire(&self) -> WireStatus {
        let (error_code, error) = match self {
            Self::Failed { code, error } => (Some(code.code()), Some(error.clone())),
            Self::Delivered | Self::Read => (None, None),
        };
        WireStatus { status_code: self.status_code().into(), error_code, error }
    }

    /// `path` goes before the names of fields.
    pub(crate) fn of_wire(wire: WireStatus, path: &str) -> Result<Self> {
        let WireStatus { status_code, error_code, error } = wire;
        let status = match status_code {
            1 => Self::Delivered,
            2 => Self::Read,
            -1 => {
                let required = || Error::invalid(format!("{path}error_code"), "is required where it failed");
                let code = DeliveryErrorCode::from_code(error_code.ok_or_else(required)?)
                    .map_err(|_| Error::invalid(format!("{path}error_code"), ERROR_CODES))?;
                Self::Failed { code, error: error.clone().unwrap_or_default() }
            }
            _ => return Err(Error::invalid(format!("{path}status_code"), STATUS_CODES)),
        };
        // An example of an edit has a zero and an empty text beside "delivered".
        if status_code != -1 && error_code.is_some_and(|code| code != 0) {
            return Err(Error::invalid(format!("{path}error_code"), "goes with the status -1 alone"));
        }
        if status_code != -1 && error.is_some_and(|error| !error.is_empty()) {
            return Err(Error::invalid(format!("{path}error"), "goes with the status -1 alone"));
        }
        status.validate(path)?;
        Ok(status)
    }

    pub(crate) fn validate(&self, path: &str) -> Result<()> {
        match self {
            Self::Failed { code: DeliveryErrorCode::Other, error } => filled(error, &format!("{path}error")),
            _ => Ok(()),
        }
    }
}

const STATUS_CODES: &str = "must be 1 (delivered), 2 (read) or -1 (error)";
const ERROR_CODES: &str = "must be 901, 902, 903, 904 or 905";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_why() {
        let failed = |code, error: &str| {
            let status = DeliveryStatus::Failed { code, error: error.into() };
            ApiRequest::set_delivery_status(&"s".into(), &"m".into(), &status)
        };
        assert_eq!(failed(DeliveryErrorCode::Other, "").expect_err("no words").field(), Some("error"));
        assert_eq!(
            failed(DeliveryErrorCode::Other, "No route").expect("valid").body,
            br#"{"status_code":-1,"error_code":905,"error":"No route"}"#
        );
        assert!(failed(DeliveryErrorCode::Deleted, "").is_ok());
        assert_eq!(DeliveryErrorCode::from_code(900).expect_err("unknown").field(), Some("error_code"));
    }

    #[test]
    fn the_old_form_is_written_where_it_is_asked_for() {
        let status = DeliveryStatus::Failed { code: DeliveryErrorCode::Other, error: "No route".into() };
        let request = ApiRequest::set_delivery_status_old(&"s".into(), &"m".into(), &status).expect("valid");
        assert_eq!(request.path, "/v2/origin/custom/s/m/delivery_status");
        assert_eq!(
            request.body,
            br#"{"msgid":"m","delivery_status":-1,"error_code":905,"error":"No route"}"#
        );
    }

    #[test]
    fn both_forms_are_read() {
        let codes = DeliveryErrorCode::ALL.map(|code| DeliveryStatus::Failed { code, error: "why".into() });
        for status in [DeliveryStatus::Delivered, DeliveryStatus::Read].into_iter().chain(codes) {
            let json = status.to_json().expect("valid");
            assert_eq!(DeliveryStatus::from_json(&json).expect("the current form"), status);
            let json = status.to_old_json(&"m".into()).expect("valid");
            assert_eq!(DeliveryStatus::from_json(&json).expect("the old form"), status);
            assert_eq!(DeliveryStatus::from_old_json(&json).expect("the old form"), ("m".into(), status));
        }
    }
}
