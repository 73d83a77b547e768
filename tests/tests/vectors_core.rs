//! The vectors through the Rust core, and through Python's standard library as a second opinion.

use amochats::{
    ChannelSecret, Error, HistoryPage, NewMessage, VerifiedBody, encode_request, parse_webhook, sign_body,
    sign_request, verify_webhook,
};
use amochats_tests::vectors::{self, Call};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

#[test]
fn the_core_answers_as_expected() {
    vectors::check(&vectors::load(), |call| {
        answer(call).unwrap_or_else(|error| match error.field() {
            Some(field) => json!({"error": {"kind": error.kind().name(), "field": field}}),
            None => json!({"error": {"kind": error.kind().name()}}),
        })
    });
}

fn answer(call: &Call) -> Result<Value, Error> {
    Ok(match call {
        Call::SignBody { secret, body } => {
            json!({"x_signature": sign_body(&ChannelSecret::new(secret)?, body)})
        }
        Call::SignRequest { secret, method, path, content_type, date, body } => {
            json!({"headers": sign_request(&ChannelSecret::new(secret)?, method, path, content_type, date, body)?})
        }
        Call::VerifyWebhook { secrets, body, signature } => {
            let secrets = secrets.iter().map(ChannelSecret::new).collect::<Result<Vec<_>, _>>()?;
            verify_webhook(&secrets, body, signature.as_deref())?;
            json!({"valid": true})
        }
        Call::ParseWebhook { body } => json!({"event": parse_webhook(VerifiedBody::trust(body))?}),
        Call::EncodeMessage { message } => {
            let encoded = NewMessage::from_json(message.to_string().as_bytes())?.to_json()?;
            json!({"body": serde_json::from_slice::<Value>(&encoded).expect("the core writes JSON")})
        }
        Call::EncodeRequest { call, request } => {
            let encoded = encode_request(call, request.to_string().as_bytes())?;
            json!({"body": serde_json::from_slice::<Value>(&encoded).expect("the core writes JSON")})
        }
        Call::ParseHistory { body } => json!({"page": HistoryPage::from_json(body)?}),
    })
}

/// What the core signs is confirmed by an implementation that shares no code with it.
#[test]
fn python_confirms_the_signatures() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/confirm_signatures.py");
    let output =
        Command::new("python3").arg(script).arg(vectors::folder()).output().expect("python3 is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    print!("{}", String::from_utf8_lossy(&output.stdout));
}

/// An absent `Content-MD5` is an empty line in the signed text, which `sign_request` never makes.
#[test]
fn an_absent_header_is_an_empty_line() {
    let path = "/v2/origin/custom/a4490ccc-5d7f-11e7-907b-a6006ad3dba0/connect";
    let text =
        amochats::canonical_string("POST", "", "application/json", "Mon, 01 Jan 2024 00:00:00 +0000", path);
    assert_eq!(text, format!("POST\n\napplication/json\nMon, 01 Jan 2024 00:00:00 +0000\n{path}"));
    let secret = ChannelSecret::new("da39a3ee5e6b4b0d3255bfef95601890afd80709").expect("clean");
    assert_eq!(sign_body(&secret, text.as_bytes()), "cc0e990c722ca9f351b24619664de6a59497adb0");
}
