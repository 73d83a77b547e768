//! The configuration of a channel.

use crate::boundary::{boundary, required, value};
use crate::error::amochats_error;
use crate::log::{Log, amochats_log_callback};
use crate::result::amochats_result;
use crate::slice::amochats_slice;
use amochats_core::{Error, ErrorKind, Result};
use amochats_runtime::Config;
use amochats_runtime::config::{ENV_PREFIX, parse};
use std::ffi::c_void;
use std::mem::MaybeUninit;

/// How a channel works. Made by amochats_config_new(), freed by the caller with
/// amochats_config_free(); amochats_channel_open() reads it and keeps nothing of it. Not for several
/// threads at once.
pub struct amochats_config {
    table: toml::Table,
    overrides: Vec<(String, String)>,
    pub(crate) threads: usize,
    pub(crate) log: Log,
}

/// Makes a configuration with the defaults and without a channel.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_config_new() -> *mut amochats_config {
    value(std::ptr::null_mut(), || {
        Box::into_raw(Box::new(amochats_config {
            table: toml::Table::new(),
            overrides: Vec::new(),
            threads: 2,
            log: Log::NONE,
        }))
    })
}

/// Takes a configuration in TOML in place of what was set before, in the form that
/// `amochats config example` prints. What the other functions set after it wins.
///
/// AMOCHATS_RESULT_CONFIG_INVALID, with the line, where it is not TOML; keys and values are checked by
/// amochats_channel_open(). The process's environment is not looked at.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_config_set_toml(
    config: Option<&mut amochats_config>,
    toml: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let config = required(config, "config")?;
        config.table = parse(toml.text("toml")?)?;
        config.overrides.clear();
        Ok(())
    })
}

/// Reads a file as amochats_config_set_toml() takes text.
///
/// AMOCHATS_RESULT_CONFIG_INVALID also where it cannot be read.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_config_load(
    config: Option<&mut amochats_config>,
    path: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let config = required(config, "config")?;
        let path = path.text("path")?;
        let toml = std::fs::read_to_string(path).map_err(|error| {
            Error::new(ErrorKind::ConfigInvalid, format!("{path} cannot be read: {error}")).with_field("path")
        })?;
        config.table = parse(&toml)?;
        config.overrides.clear();
        Ok(())
    })
}

/// Sets a key of a section, such as "listener.address", "store.path" or "inbox.max_attempts", by its
/// value as text.
///
/// AMOCHATS_RESULT_INVALID_ARGUMENT for a key without a section. Whether it is known is checked by
/// amochats_channel_open().
#[unsafe(no_mangle)]
pub extern "C" fn amochats_config_set(
    config: Option<&mut amochats_config>,
    key: amochats_slice<'_>,
    to: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let config = required(config, "config")?;
        let (section, name) =
            key.text("key")?.split_once('.').filter(|(_, name)| !name.is_empty()).ok_or_else(|| {
                Error::invalid("key", "must be a section and a key, as \"listener.address\"")
            })?;
        // The runtime knows overrides as variables of the environment.
        let variable = format!("{ENV_PREFIX}{section}_{name}").to_ascii_uppercase();
        config.overrides.push((variable, to.text("value")?.to_owned()));
        Ok(())
    })
}

/// Adds a channel, as the vendor's support registered it. `service` says where its chats API is: "ru",
/// "kommo" or "com", or an address such as a sandbox's.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_config_add_channel(
    config: Option<&mut amochats_config>,
    channel_id: amochats_slice<'_>,
    secret: amochats_slice<'_>,
    service: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let config = required(config, "config")?;
        let service = service.text("service")?;
        let place = if service.contains(':') { "base_url" } else { "region" };
        let channel =
            [("id", channel_id.text("channel_id")?), ("secret", secret.text("secret")?), (place, service)];
        let channel = channel.map(|(key, text)| (key.to_owned(), toml::Value::from(text)));
        let channels = config.table.entry("channel").or_insert_with(|| toml::Value::Array(Vec::new()));
        let channels = channels.as_array_mut().ok_or_else(|| {
            Error::new(ErrorKind::ConfigInvalid, "channel: must be written as [[channel]] in the TOML")
        })?;
        channels.push(toml::Table::from_iter(channel).into());
        Ok(())
    })
}

/// Sets how many threads work, 1 to 64; 2 unless set. The store and slow look-ups have a few more.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_config_set_threads(
    config: Option<&mut amochats_config>,
    threads: u32,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let config = required(config, "config")?;
        config.threads = thread_count(threads)?;
        Ok(())
    })
}

pub(crate) fn thread_count(threads: u32) -> Result<usize> {
    match threads {
        1..=64 => Ok(threads as usize),
        _ => Err(Error::invalid("threads", "must be 1 to 64")),
    }
}

/// Sends the log there: lines of this amochats_level and those that matter more. A callback of NULL is no log.
/// It is called until amochats_channel_close() has returned.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_config_set_log(
    config: Option<&mut amochats_config>,
    level: u32,
    callback: amochats_log_callback,
    user_data: *mut c_void,
) {
    value((), || {
        if let Some(config) = config {
            config.log = Log { level, callback, user_data };
        }
    });
}

/// Frees a configuration; NULL is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_config_free(config: Option<Box<amochats_config>>) {
    value((), || drop(config));
}

impl amochats_config {
    /// What the runtime reads.
    pub(crate) fn read(&self) -> Result<Config> {
        Config::from_table(self.table.clone(), self.overrides.iter().cloned())
    }
}
