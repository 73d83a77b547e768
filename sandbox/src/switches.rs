//! How strict the sandbox is, and what it does where the vendor's pages are silent.

use amochats::{Error, Result, SIGNATURE_LIFETIME};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The longest time of a switch, in seconds: a year.
const SECONDS_MAX: u64 = 366 * 24 * 3600;

/// How strict the sandbox is. Each can be changed while it runs.
///
/// The default takes what live clients are known to send. Where the real service's behaviour is not
/// known, the switch says so: try both.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// Which signatures of requests are taken.
    pub signatures: Signatures,
    /// How far a request's `Date` may be from now, in seconds, in both directions; `null` switches
    /// the check off. Documented: 15 minutes from the date; how far ahead it may be is not known.
    pub date_window_s: Option<u64>,
    /// Whether `Content-MD5` must be that of the body. What a wrong one gets is not known: 403 here.
    pub check_md5: bool,
    /// Whether `Content-Type` must be `application/json` alone. What another gets is not known: 403 here.
    pub check_content_type: bool,
    /// Whether a number in place of a text, or a text in place of a number, is an error, as documented.
    pub strict_types: bool,
    /// What becomes of fields that no page names. Not known of the service.
    pub unknown_fields: UnknownFields,
    /// Whether fields must be there which the pages require and live clients leave out.
    pub required_fields: RequiredFields,
    /// What a second message with the same `msgid` gets. Documented is only that it is not accepted.
    pub duplicates: Duplicates,
    /// What a call gets whose channel is not connected to the account of its scope. Not known.
    pub not_connected: Absent,
    /// What a call gets whose channel does not exist. Documented for connect and disconnect: 404.
    pub unknown_channel: Absent,
    /// Which year's answer a new message gets.
    pub answers: Answers,
    /// Whether a delivery status may have the form of before 2025. Not known today.
    pub old_delivery_status: bool,
    /// Which delivery states may follow which. Not known.
    pub transitions: Transitions,
    /// How many calls a second a scope may make; more get 429 with `Retry-After`. `null`: any number.
    /// No limit of the chats API is documented; the CRM's is 7.
    pub requests_per_second: Option<u32>,
    /// How many calls of its own API the CRM takes of an account in a second; more get 429 with
    /// `Retry-After`, and who goes on 403. Documented: 7. `null`: any number.
    pub crm_requests_per_second: Option<u32>,
    /// Whether a line feed goes after the body of each webhook, outside of the signature, as in
    /// captured webhooks.
    pub hook_newline: bool,
    /// How long a webhook waits for its answer, in milliseconds. Documented: 5 s.
    pub hook_timeout_ms: u64,
    /// How long each webhook of a receiver that answered late three times in a row waits, until it
    /// is quick again, in milliseconds; `null`: not at all. Documented is that such a queue exists,
    /// not its times.
    pub slow_lane_ms: Option<u64>,
    /// How a webhook shows that phone or e-mail are not known.
    pub hook_contacts: HookContacts,
    /// How `<`, `>` and `&` are written in webhooks. Not known.
    pub hook_escaping: HookEscaping,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            signatures: Signatures::default(),
            date_window_s: Some(SIGNATURE_LIFETIME.as_secs()),
            check_md5: true,
            check_content_type: true,
            strict_types: true,
            unknown_fields: UnknownFields::default(),
            required_fields: RequiredFields::default(),
            duplicates: Duplicates::default(),
            not_connected: Absent::Forbidden,
            unknown_channel: Absent::NotFound,
            answers: Answers::default(),
            old_delivery_status: true,
            transitions: Transitions::default(),
            requests_per_second: None,
            crm_requests_per_second: Some(7),
            hook_newline: true,
            hook_timeout_ms: 5000,
            slow_lane_ms: Some(1000),
            hook_contacts: HookContacts::default(),
            hook_escaping: HookEscaping::default(),
        }
    }
}

impl Switches {
    /// Takes only what the pages document.
    pub fn strict() -> Self {
        Self {
            signatures: Signatures::Canonical,
            unknown_fields: UnknownFields::Refuse,
            required_fields: RequiredFields::Documented,
            old_delivery_status: false,
            ..Self::default()
        }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        if self.hook_timeout_ms == 0 || self.hook_timeout_ms > 1000 * SECONDS_MAX {
            return Err(Error::invalid("hook_timeout_ms", "must be at least 1 and at most a year"));
        }
        if self.slow_lane_ms.is_some_and(|delay| delay > 60_000) {
            return Err(Error::invalid("slow_lane_ms", "must be at most 60000, or null for none"));
        }
        if self.date_window_s.is_some_and(|seconds| seconds > SECONDS_MAX) {
            return Err(Error::invalid("date_window_s", "must be at most a year, or null for no check"));
        }
        for (field, limit) in [
            ("requests_per_second", self.requests_per_second),
            ("crm_requests_per_second", self.crm_requests_per_second),
        ] {
            if limit == Some(0) {
                return Err(Error::invalid(field, "must be at least 1, or null for no limit"));
            }
        }
        Ok(())
    }

    pub(crate) fn hook_timeout(&self) -> Duration {
        Duration::from_millis(self.hook_timeout_ms)
    }
}

macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident { $($(#[$choice:meta])* $variant:ident,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$choice])* $variant,)+ }
    )+};
}

choices! {
    /// Which signatures of requests are taken.
    Signatures {
        /// The canonical form, and on every method the body alone, as live clients use it.
        #[default]
        Any,
        /// As [`Any`](Self::Any), but the body alone only on the methods of before autumn 2019,
        /// connect and message, as documented.
        AnyOnOldMethods,
        /// The canonical form alone.
        Canonical,
    }
    /// What becomes of fields that no page names.
    UnknownFields {
        /// They are ignored, and the journal names them: most are misspelt.
        #[default]
        Note,
        /// The request is refused.
        Refuse,
    }
    /// Whether fields must be there which the pages require and live clients leave out.
    RequiredFields {
        /// They may be absent; the journal names them.
        #[default]
        Live,
        /// They must be there: `file_name` and `file_size` (ru), `title` of connect (kommo).
        Documented,
    }
    /// What a second message with the same `msgid` gets. The vendor says only that it is "not
    /// accepted", so both readings can be tried.
    Duplicates {
        /// 400.
        #[default]
        Reject,
        /// 200 with the first answer; nothing is added.
        Replay,
    }
    /// What a call gets for what is not there.
    Absent {
        /// 403.
        #[default]
        Forbidden,
        /// 404.
        NotFound,
    }
    /// Which year's answer a new message gets.
    Answers {
        /// All ids.
        #[default]
        Current,
        /// From autumn 2021 to 2024: `msgid` and `ref_id`.
        #[serde(rename = "2021")]
        Since2021,
        /// 2020: `msgid` alone.
        #[serde(rename = "2020")]
        Since2020,
    }
    /// Which delivery states may follow which.
    Transitions {
        /// What was read stays read, since calls may overtake each other.
        #[default]
        Forward,
        /// The last report counts.
        Any,
    }
    /// How a webhook shows that phone or e-mail are not known.
    HookContacts {
        /// They are absent, as in live webhooks of 2023.
        #[default]
        Absent,
        /// They are empty, as the pages have them.
        Empty,
    }
    /// How `<`, `>` and `&` are written in webhooks.
    HookEscaping {
        /// As they are.
        #[default]
        Plain,
        /// As `\u003c`, `\u003e`, `\u0026`: the way of Go's encoder, whose habits webhooks show.
        Go,
    }
}
