//! What verifying and parsing one webhook costs, beside the JSON library alone. The measurements take
//! turns, so that a busy moment of the machine meets all of them.

use amochats::{ChannelSecret, VerifiedBody, WebhookKind, parse_webhook, sign_body, verify_webhook};
use serde_json::Value;
use std::hint::black_box;
use std::time::Instant;

const ROUNDS: usize = 301;
const CALLS: u32 = 300;

/// A message as on the wire, with the line feed that its signature does not cover.
const BODY: &str = concat!(
    r#"{"account_id":"52e591f7-c98f-4255-8495-827210138c81","time":1639572261,"message":{"#,
    r#""receiver":{"id":"2ed64e26-70a1-4857-8382-bb066a076219","phone":"79161234567","#,
    r#""email":"example.client@example.com","client_id":"my_int-1376265f-86df-4c49-a0c3-a4816df41af8"},"#,
    r#""sender":{"id":"76fc2bea-902f-425c-9a3d-dcdac4766090"},"#,
    r#""conversation":{"id":"8e4d4baa-9e6c-4a88-838a-5f62be227bdc","#,
    r#""client_id":"my_int-d5a421f7f218"},"#,
    r#""timestamp":1639572260,"msec_timestamp":1639572260980,"#,
    r#""message":{"id":"0371a0ff-b78a-4c7b-8538-a7d547e10692","type":"picture","#,
    r#""text":"Текст сообщения 2","markup":null,"tag":"","#,
    r#""media":"https://amojo.amocrm.ru/attachments/image.jpg","#,
    r#""thumbnail":"https://amojo.amocrm.ru/attachments/image_320x200.jpg","#,
    r#""file_name":"","file_size":0}}}"#,
    "\n"
);

fn main() {
    let secrets = [ChannelSecret::new("da39a3ee5e6b4b0d3255bfef95601890afd80709").expect("clean")];
    let signature = sign_body(&secrets[0], BODY.trim_end().as_bytes());
    let body = BODY.as_bytes();
    let event = parse_webhook(VerifiedBody::trust(body)).expect("JSON");
    assert!(matches!(event.kind, WebhookKind::Message(_)));
    assert!(verify_webhook(&secrets, body, Some(&signature)).is_ok());

    let mut sign = || _ = black_box(sign_body(&secrets[0], black_box(body)));
    let mut verify = || _ = black_box(verify_webhook(&secrets, black_box(body), Some(&signature)).is_ok());
    let mut tree = || _ = black_box(serde_json::from_slice::<Value>(black_box(body)).expect("JSON"));
    let mut parse = || _ = black_box(parse_webhook(VerifiedBody::trust(black_box(body))).expect("JSON"));
    let mut fields = || _ = black_box(black_box(&event).fields());
    let mut calls: [(&str, &mut dyn FnMut()); 5] = [
        ("HMAC-SHA1 of the body", &mut sign),
        ("verify_webhook", &mut verify),
        ("serde_json::Value", &mut tree),
        ("parse_webhook", &mut parse),
        ("WebhookEvent::fields", &mut fields),
    ];
    let mut times = [const { Vec::new() }; 5];
    for _ in 0..ROUNDS {
        for ((_, call), took) in calls.iter_mut().zip(&mut times) {
            let begin = Instant::now();
            (0..CALLS).for_each(|_| call());
            took.push(begin.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS));
        }
    }
    println!("one webhook of {} bytes, median of {ROUNDS} rounds", body.len());
    for ((name, _), took) in calls.iter().zip(&mut times) {
        took.sort_by(f64::total_cmp);
        println!("{name:>24} {:7.0} ns", took[ROUNDS / 2]);
    }
}
