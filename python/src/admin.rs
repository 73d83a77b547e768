//! Channels and accounts that change while everything runs.

use crate::channel::NOTHING;
use crate::client::{read, unknown_call};
use amochats::{ChannelId, Result};
use amochats_runtime::config::{AccountConfig, ChannelConfig};
use amochats_runtime::{Channels, Runtime};
use serde::Deserialize;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Arguments {
    channel_id: Option<String>,
    account_id: String,
    secret: String,
    until: Option<String>,
}

/// The channel that is meant; the only one, unless it is named.
fn channel_of(channels: &Channels, named: Option<String>) -> Result<ChannelId> {
    named.map_or_else(|| channels.only().map(|channel| channel.id().clone()), |id| Ok(id.into()))
}

/// The call of this name; what is set is the body.
pub(crate) fn call(runtime: &Runtime, name: &str, arguments: &[u8], body: &[u8]) -> Result<Vec<u8>> {
    let with: Arguments = read(arguments)?;
    if name == "set_channel" {
        return runtime.set_channel(ChannelConfig::from_json(body)?).map(|()| NOTHING);
    }
    let channel = channel_of(runtime.channels(), with.channel_id)?;
    match name {
        "remove_channel" => runtime.remove_channel(&channel)?,
        "rotate_secret" => runtime.rotate_secret(&channel, &with.secret, with.until.as_deref())?,
        "set_account" => runtime.set_account(&channel, AccountConfig::from_json(body)?)?,
        "remove_account" => runtime.remove_account(&channel, &with.account_id.into())?,
        _ => return Err(unknown_call(name)),
    }
    Ok(NOTHING)
}
