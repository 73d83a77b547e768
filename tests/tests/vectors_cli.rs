//! The vectors through the command line.

use amochats_tests::command::{amochats, run};
use amochats_tests::vectors::{self, Call};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

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
        Call::EncodeMessage { message } => encoded(&["send"], message),
        Call::EncodeRequest { call, request } => {
            // The old form repeats the id of the path.
            let message = format!("--message-ref-id={}", request["msgid"].as_str().unwrap_or("m"));
            let command: &[&str] = match call.as_str() {
                "send_message" => &["send"],
                "edit_message" => &["edit"],
                "create_chat" => &["chat", "create"],
                "set_delivery_status" => &["status", &message],
                "set_delivery_status_old" => &["status", "--old-form", &message],
                "send_typing" => &["typing"],
                "react" => &["react"],
                _ => panic!("no command is known for {call}"),
            };
            encoded(command, request)
        }
        Call::ParseHistory { body } => history(body),
    }
}

/// What a command would send of a payload.
fn encoded(command: &[&str], payload: &Value) -> Value {
    let ended = run(
        amochats()
            .args(command)
            .args(["--payload-file=-", "--dry-run", "--json", "--secret=s"])
            .args(["--base-url=http://127.0.0.1", "--scope-id=channel_account"]),
        payload.to_string().as_bytes(),
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

/// What `history` reads from a service that answers this.
fn history(body: &[u8]) -> Value {
    let service = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = service.local_addr().expect("bound");
    let ended = thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = service.accept().expect("a call");
            let mut head = BufReader::new(stream.try_clone().expect("a second handle")).lines();
            while head.next().is_some_and(|line| !line.expect("a line of the head").is_empty()) {}
            let status = if body.is_empty() { "204 No Content" } else { "200 OK" };
            let length =
                if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
            write!(stream, "HTTP/1.1 {status}\r\n{length}Connection: close\r\n\r\n").expect("it listens");
            stream.write_all(body).expect("it listens");
        });
        let url = format!("--base-url=http://{address}");
        run(
            amochats()
                .args(["history", "--json", "--secret=s", "--scope-id=channel_account"])
                .args(["--conversation-ref-id=C", &url]),
            b"",
        )
    });
    let answered = parsed(&ended.stdout);
    match ended.code {
        0 => json!({"page": answered}),
        3 => json!({"error": {"kind": answered["error"]["kind"]}}),
        _ => panic!("{ended:?}"),
    }
}

/// The answer: one line of JSON.
fn parsed(stdout: &str) -> Value {
    let line = stdout.strip_suffix('\n').filter(|line| !line.contains('\n')).expect("one line");
    serde_json::from_str(line).expect("JSON")
}
