//! The vectors through the command line.

use amochats_tests::command::{amochats, run};
use amochats_tests::vectors::{self, Call};
use serde_json::{Value, json};

#[test]
fn the_command_answers_as_expected() {
    vectors::check(&vectors::load(), answer);
}

fn answer(call: &Call) -> Value {
    match call {
        Call::SignBody { secret, body } => {
            let ended = run(amochats().args(["sign", "body"]).arg(format!("--secret={secret}")), body);
            assert_eq!(ended.code, 0, "{ended:?}");
            json!({"x_signature": ended.stdout.trim_end()})
        }
        Call::SignRequest { secret, method, path, content_type, date, body } => {
            let ended = run(
                amochats().args(["sign", "request"]).args([
                    format!("--secret={secret}"),
                    format!("--method={method}"),
                    format!("--path={path}"),
                    format!("--content-type={content_type}"),
                    format!("--date={date}"),
                ]),
                body,
            );
            match ended.code {
                0 => json!({"headers": parsed(&ended.stdout)}),
                2 => {
                    let (field, _rule) = ended.error().split_once(": ").expect("the error names a field");
                    json!({"error": {"kind": "INVALID_ARGUMENT", "field": field}})
                }
                _ => panic!("{ended:?}"),
            }
        }
        Call::VerifyWebhook { secrets, body, signature } => {
            let signature = signature.as_deref().unwrap_or_default();
            let ended = run(
                amochats()
                    .args(["webhook", "verify", "--json"])
                    .arg(format!("--signature={signature}"))
                    .args(secrets.iter().map(|secret| format!("--secret={secret}"))),
                body,
            );
            let answered = parsed(&ended.stdout);
            assert_eq!(ended.code, i32::from(answered["valid"] != json!(true)), "{ended:?}");
            match answered["verdict"].as_str() {
                Some("valid") => json!({"valid": true}),
                Some("missing" | "not_hex") => json!({"error": {"kind": "SIGNATURE_MISSING"}}),
                _ => json!({"error": {"kind": "SIGNATURE_MISMATCH"}}),
            }
        }
        Call::ParseWebhook { body } => {
            let ended = run(amochats().args(["webhook", "parse"]), body);
            match ended.code {
                0 => json!({"event": parsed(&ended.stdout)}),
                1 => {
                    assert!(ended.error().contains(" at line "), "{ended:?}");
                    json!({"error": {"kind": "MALFORMED_WEBHOOK"}})
                }
                _ => panic!("{ended:?}"),
            }
        }
        Call::EncodeMessage { message } => {
            let ended = run(
                amochats()
                    .args(["send", "--payload-file=-", "--dry-run", "--json", "--secret=s"])
                    .args(["--base-url=http://127.0.0.1", "--scope-id=channel_account"]),
                message.to_string().as_bytes(),
            );
            let answered = parsed(&ended.stdout);
            match ended.code {
                0 => {
                    json!({"body": serde_json::from_str::<Value>(answered["body"].as_str().expect("text")).expect("JSON")})
                }
                2 => {
                    let error = &answered["error"];
                    json!({"error": {"kind": error["kind"], "field": error["field"]}})
                }
                _ => panic!("{ended:?}"),
            }
        }
    }
}

/// The answer: one line of JSON.
fn parsed(stdout: &str) -> Value {
    let line = stdout.strip_suffix('\n').filter(|line| !line.contains('\n')).expect("one line");
    serde_json::from_str(line).expect("JSON")
}
