//! Channels, their secrets and their accounts.

use super::text::{ENV_PREFIX, invalid, misfit};
use crate::channels::Secrets;
use amochats::crm::ClientSecret;
use amochats::{ChannelId, ChannelSecret, Client, Connect, HookVersion, Region, Result};
use serde::Deserialize;
use std::fmt;
use std::path::{Path, PathBuf};

/// A channel, as support registered it.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelConfig {
    /// The channel's id (a UUID).
    pub id: String,
    /// The channel's secret. Prefer `secret_file`, or `AMOCHATS_SECRET` where there is one channel.
    #[serde(default)]
    pub secret: Option<String>,
    /// Further secrets under which webhooks are accepted, while the secret is being changed.
    #[serde(default)]
    pub old_secrets: Vec<OldSecret>,
    /// A file that holds the secret.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// Where the chats API is: `ru`, `kommo` or `com`.
    #[serde(default)]
    pub region: Option<String>,
    /// The chats API's address in place of a region, such as a sandbox's.
    #[serde(default)]
    pub base_url: Option<String>,
    /// The integration's id, for the hook that tells of its switching off.
    #[serde(default)]
    pub client_id: Option<String>,
    /// The integration's secret, with which that hook is signed.
    #[serde(default)]
    pub client_secret: Option<String>,
    /// A file that holds the integration's secret.
    #[serde(default)]
    pub client_secret_file: Option<PathBuf>,
    /// Accounts that this channel is for. Others are served as well once they are connected.
    #[serde(default, rename = "account")]
    pub accounts: Vec<AccountConfig>,
}

impl fmt::Debug for ChannelConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelConfig")
            .field("id", &self.id)
            .field("region", &self.region)
            .field("base_url", &self.base_url)
            .finish_non_exhaustive()
    }
}

impl ChannelConfig {
    /// A channel with its secret.
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            secret: Some(secret.into()),
            old_secrets: Vec::new(),
            secret_file: None,
            region: None,
            base_url: None,
            client_id: None,
            client_secret: None,
            client_secret_file: None,
            accounts: Vec::new(),
        }
    }

    pub(crate) fn channel_id(&self) -> Result<ChannelId> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if self.id.is_empty() || !self.id.bytes().all(plain) {
            return Err(invalid("channel.id", "must be the channel's UUID"));
        }
        Ok(ChannelId::new(&self.id))
    }

    /// The current secret first, then the old ones.
    pub(crate) fn secrets(&self) -> Result<Secrets> {
        let given = one_secret("channel.secret", self.secret.as_ref(), self.secret_file.as_deref())?;
        let current = given.ok_or_else(|| {
            let rule = format!("give it as secret_file, or in the environment as {ENV_PREFIX}SECRET");
            invalid("channel.secret", rule)
        })?;
        let current = ChannelSecret::new(current).map_err(|error| misfit("channel.secret", &error))?;
        let old = self.old_secrets.iter().map(OldSecret::read).collect::<Result<_>>()?;
        Ok(Secrets::new(current, old))
    }

    /// The id and secret that the disable hook is checked with, where they are configured.
    pub(crate) fn integration(&self) -> Result<Option<(String, ClientSecret)>> {
        let (text, file) = (self.client_secret.as_ref(), self.client_secret_file.as_deref());
        match (&self.client_id, one_secret("channel.client_secret", text, file)?) {
            (None, None) => Ok(None),
            (Some(id), Some(secret)) => {
                let secret =
                    ClientSecret::new(secret).map_err(|error| misfit("channel.client_secret", &error))?;
                Ok(Some((id.clone(), secret)))
            }
            (Some(_), None) => Err(invalid("channel.client_secret", "belongs to client_id and is missing")),
            (None, Some(_)) => Err(invalid("channel.client_id", "belongs to client_secret and is missing")),
        }
    }

    /// The client of the chats API.
    pub(crate) fn client(&self, id: ChannelId, secret: ChannelSecret) -> Result<Client> {
        // Who asked for the call is told what came of it, and repeats it if that is safe. The outbox and
        // the backfill have rates of their own, which a second one here would only narrow.
        let client = Client::builder(id, secret).base_url(self.api_address()?).send_once();
        let client = client.requests_per_second(0).build();
        client.map_err(|error| misfit("channel.base_url", &error))
    }

    /// The address of the chats API. There is no default region: a channel is registered in one.
    fn api_address(&self) -> Result<String> {
        match (&self.region, &self.base_url) {
            (Some(region), None) => {
                let region: Region = region.parse().map_err(|error| misfit("channel.region", &error))?;
                Ok(region.base_url().to_owned())
            }
            (None, Some(base_url)) => Ok(base_url.clone()),
            _ => Err(invalid("channel.region", "give either region (ru, kommo or com) or base_url")),
        }
    }
}

/// An account of a channel.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountConfig {
    /// The account's id inside the chat service: `amojo_id`.
    pub id: String,
    /// Connects the account at the start, and keeps it connected.
    #[serde(default)]
    pub connect: bool,
    /// The channel's name in this account; Kommo wants one.
    #[serde(default)]
    pub title: Option<String>,
    /// The form of webhooks: `v2`, or `v1`.
    #[serde(default)]
    pub hook_version: Option<String>,
    /// The account's number in the CRM, by which the disable hook names it.
    #[serde(default)]
    pub crm_account_id: Option<u64>,
}

impl AccountConfig {
    pub(crate) fn request(&self) -> Result<Connect> {
        if self.id.is_empty() || !self.id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(invalid("channel.account.id", "must be the account's amojo_id, a UUID"));
        }
        let mut connect = Connect::new(self.id.as_str());
        connect.title.clone_from(&self.title);
        connect.hook_api_version = match self.hook_version.as_deref() {
            None | Some("v2") => HookVersion::V2,
            Some("v1") => HookVersion::V1,
            Some(_) => return Err(invalid("channel.account.hook_version", "must be \"v2\" or \"v1\"")),
        };
        Ok(connect)
    }
}

/// A secret that is being replaced: its text, or a table that says where it is and until when it
/// counts.
#[derive(Clone, Default)]
pub struct OldSecret {
    /// The secret.
    pub value: Option<String>,
    /// A file that holds it.
    pub file: Option<PathBuf>,
    /// Until when it is accepted, as `2026-12-01T00:00:00Z`. Without it: as long as it stands here.
    pub until: Option<String>,
}

impl From<String> for OldSecret {
    fn from(value: String) -> Self {
        Self { value: Some(value), ..Self::default() }
    }
}

impl OldSecret {
    /// The secret, and its end in Unix milliseconds.
    fn read(&self) -> Result<(ChannelSecret, Option<i64>)> {
        let key = "channel.old_secrets";
        let secret = one_secret(key, self.value.as_ref(), self.file.as_deref())?
            .ok_or_else(|| invalid(key, "needs value or file"))?;
        let secret = ChannelSecret::new(secret).map_err(|error| misfit(key, &error))?;
        let until = self.until.as_ref().map(|until| {
            let time = until.parse::<jiff::Timestamp>();
            time.map(jiff::Timestamp::as_millisecond)
                .map_err(|_| invalid(key, "until must be a time such as \"2026-12-01T00:00:00Z\""))
        });
        Ok((secret, until.transpose()?))
    }
}

impl<'de> Deserialize<'de> for OldSecret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            value: Option<String>,
            file: Option<PathBuf>,
            until: Option<String>,
        }

        struct Either;

        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = OldSecret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a secret, or a table with value or file, and until")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<OldSecret, E> {
                Ok(text.to_owned().into())
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                map: A,
            ) -> std::result::Result<OldSecret, A::Error> {
                let table = Table::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(OldSecret { value: table.value, file: table.file, until: table.until })
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// A secret from the file itself or from another one; `None` where there is neither.
pub(crate) fn one_secret(key: &str, text: Option<&String>, file: Option<&Path>) -> Result<Option<String>> {
    match (text, file) {
        (Some(text), None) => Ok(Some(text.clone())),
        (None, Some(path)) => {
            let read = std::fs::read_to_string(path);
            let text = read.map_err(|error| {
                invalid(format!("{key}_file"), format!("cannot read {}: {error}", path.display()))
            })?;
            Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
        }
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(invalid(key, "is given twice: as text and as a file")),
    }
}
