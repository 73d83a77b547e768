//! Files that go with messages: what a program attaches, and what is fetched.

use crate::client::{json, read, seconds, unknown_call};
use amochats::{Error, Result};
use amochats_runtime::Media;
use amochats_runtime::media::NewFile;
use serde::Deserialize;
use std::path::PathBuf;

#[derive(Deserialize)]
struct Attach {
    file_name: String,
    content_type: String,
    path: Option<PathBuf>,
    expires_in: Option<f64>,
    scope_id: Option<String>,
    conversation: Option<String>,
}

#[derive(Deserialize)]
struct Look {
    event_id: String,
}

/// The call of this name. What is attached is the body, unless a path is given.
pub(crate) async fn call(media: &Media, name: &str, arguments: &[u8], body: Vec<u8>) -> Result<Vec<u8>> {
    match name {
        "attach" => {
            let Attach { file_name, content_type, path, expires_in, scope_id, conversation } =
                read(arguments)?;
            let mut file = NewFile::new(file_name, content_type);
            file.expires_in = expires_in.map(|life| seconds("expires_in", life)).transpose()?;
            file.conversation = match (scope_id, conversation) {
                (Some(scope), Some(conversation)) => Some((scope.into(), conversation)),
                (None, None) => None,
                _ => return Err(Error::invalid("conversation", "goes with scope_id: give both or neither")),
            };
            let attached = match path {
                Some(path) => media.attach_file(file, &path).await?,
                None => media.attach_bytes(file, body).await?,
            };
            json(&attached.to_json())
        }
        "attachment" => {
            let Look { event_id } = read(arguments)?;
            json(&media.to_json(&media.attachment(&event_id).await?))
        }
        "wait" => {
            let Look { event_id } = read(arguments)?;
            json(&media.to_json(&media.wait(&event_id).await?))
        }
        _ => Err(unknown_call(name)),
    }
}
