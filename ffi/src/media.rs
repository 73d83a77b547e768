//! Files that go with messages.

use crate::boundary::{boundary, required};
use crate::builder::given;
use crate::channel::{Channel, amochats_channel};
use crate::engine::Timeout;
use crate::error::amochats_error;
use crate::handle;
use crate::result::amochats_result;
use crate::slice::amochats_slice;
use crate::value::amochats_value;
use amochats_core::Result;
use amochats_runtime::media::NewFile;
use std::mem::MaybeUninit;
use std::path::PathBuf;
use std::time::Duration;

/// Keeps a file durably and writes a link to it, {"url", "size", "content_type", "expires_at_msec"}: the
/// url is to be sent as the media of a message, and the listener serves it until it expires. Who knows it
/// can read the file. `content_type` is its media type, such as "image/png"; `expires_in_ms` of 0 is the
/// configured time.
///
/// AMOCHATS_RESULT_INVALID_ARGUMENT; AMOCHATS_RESULT_BODY_TOO_LARGE above media.max_bytes;
/// AMOCHATS_RESULT_STORE_FULL.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_media_attach(
    channel: *const amochats_channel,
    file_name: amochats_slice<'_>,
    content_type: amochats_slice<'_>,
    bytes: amochats_slice<'_>,
    expires_in_ms: u64,
    timeout_ms: i64,
    attached: Option<&mut MaybeUninit<*mut amochats_value>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let output = required(attached, "attached")?;
        let file = new_file(file_name, content_type, expires_in_ms)?;
        let bytes = bytes.bytes("bytes")?.to_vec();
        let media = channel.media().clone();
        let work = async move { media.attach_bytes(file, bytes).await };
        let attached = channel.engine().run(Timeout::of_ms(timeout_ms), work)?;
        output.write(amochats_value::into_raw(attached.to_json()));
        Ok(())
    })
}

/// Keeps a copy of the file at `path`, see amochats_media_attach(). It is served with the last part of the
/// path as its name, unless `file_name` is one.
///
/// AMOCHATS_RESULT_INVALID_ARGUMENT, with the field "path", where it cannot be read.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_media_attach_file(
    channel: *const amochats_channel,
    path: amochats_slice<'_>,
    file_name: amochats_slice<'_>,
    content_type: amochats_slice<'_>,
    expires_in_ms: u64,
    timeout_ms: i64,
    attached: Option<&mut MaybeUninit<*mut amochats_value>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let output = required(attached, "attached")?;
        let path = PathBuf::from(path.text("path")?);
        let mut file = new_file(file_name, content_type, expires_in_ms)?;
        if file.file_name.is_empty() {
            file.file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        }
        let media = channel.media().clone();
        let work = async move { media.attach_file(file, &path).await };
        let attached = channel.engine().run(Timeout::of_ms(timeout_ms), work)?;
        output.write(amochats_value::into_raw(attached.to_json()));
        Ok(())
    })
}

fn new_file(
    file_name: amochats_slice<'_>,
    content_type: amochats_slice<'_>,
    expires_in_ms: u64,
) -> Result<NewFile> {
    let name = given(file_name, "file_name")?.unwrap_or_default();
    let mut file = NewFile::new(name, content_type.text("content_type")?);
    file.expires_in = (expires_in_ms > 0).then(|| Duration::from_millis(expires_in_ms));
    Ok(file)
}

/// Writes what the message of an event came with, {"event_id", "state", "url", "attempts", "next_at_msec",
/// "file_name", "content_type", "size", "problem", "path"}. The state is "pending", "fetched" or "failed";
/// the path is where the file is once it is fetched, and is deleted with its event.
///
/// AMOCHATS_RESULT_NOT_FOUND where the event is not kept, came with nothing, or media.fetch is off.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_media_attachment(
    channel: *const amochats_channel,
    event_id: amochats_slice<'_>,
    timeout_ms: i64,
    attachment: Option<&mut MaybeUninit<*mut amochats_value>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let output = required(attachment, "attachment")?;
        let id = event_id.text("event_id")?.to_owned();
        let media = channel.media().clone();
        let work = async move { media.attachment(&id).await.map(|found| media.to_json(&found)) };
        output.write(amochats_value::into_raw(channel.engine().run(Timeout::of_ms(timeout_ms), work)?));
        Ok(())
    })
}

/// Waits until what the message of an event came with is fetched or given up. Writes it, see
/// amochats_media_attachment(); `attachment` may be NULL.
///
/// AMOCHATS_RESULT_NOT_FOUND, also where the event is purged meanwhile; AMOCHATS_RESULT_TIMEOUT where it has not
/// ended by then; it goes on.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_media_wait(
    channel: *const amochats_channel,
    event_id: amochats_slice<'_>,
    timeout_ms: i64,
    attachment: Option<&mut MaybeUninit<*mut amochats_value>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let id = event_id.text("event_id")?.to_owned();
        let media = channel.media().clone();
        let work = async move { media.wait(&id).await.map(|found| media.to_json(&found)) };
        let found = channel.engine().run(Timeout::of_ms(timeout_ms), work)?;
        if let Some(attachment) = attachment {
            attachment.write(amochats_value::into_raw(found));
        }
        Ok(())
    })
}
