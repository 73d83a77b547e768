//! What must hold for any bytes. The fuzz targets call these, and so does a plain test
//! (`tests/tests/fuzz_corpus.rs`), with the seeds and the vectors.
#![allow(dead_code, missing_docs, reason = "each target uses one of them")]

use amochats::crm::{self, CrmProblem, Page, parse_crm_webhook as parse_crm};
use amochats::{
    ChannelSecret, Connected, CreatedChat, EditMessage, HistoryPage, MessageReceipt, NewMessage,
    VerifiedBody, diagnose_signature, encode_request, parse_webhook as parse, sign_body,
    verify_webhook as verify,
};

/// The first 40 bytes are taken as the signature. What is signed here must be found genuine, and
/// nothing else.
pub(crate) fn verify_webhook(bytes: &[u8]) {
    let secrets = ["old", "new"].map(|secret| ChannelSecret::new(secret).expect("clean"));
    let (claimed, body) = bytes.split_at(bytes.len().min(40));
    let claimed = String::from_utf8_lossy(claimed);
    let genuine = verify(&secrets, body, Some(&claimed)).is_ok();
    let ours =
        |signed: &[u8]| secrets.iter().any(|secret| sign_body(secret, signed).eq_ignore_ascii_case(&claimed));
    let candidates = [Some(body), body.strip_suffix(b"\n"), body.strip_suffix(b"\r\n")];
    assert_eq!(genuine, candidates.into_iter().flatten().any(ours));
    assert_eq!(diagnose_signature(&secrets, &[], body, Some(&claimed)).is_valid(), genuine);

    let signature = sign_body(&secrets[1], body);
    for end in ["", "\n", "\r\n"] {
        let wire = [body, end.as_bytes()].concat();
        assert!(verify(&secrets, &wire, Some(&signature)).is_ok());
    }
}

/// A body is a webhook exactly if it is a JSON object, and the event can be written.
pub(crate) fn parse_webhook(bytes: &[u8]) {
    if let Ok(event) = parse(VerifiedBody::trust(bytes)) {
        serde_json::to_string(&event).expect("an event is made of JSON values");
    }
}

/// What is taken as a message is written in a form that is taken again, and says the same. Answers
/// are read or refused.
pub(crate) fn messages(bytes: &[u8]) {
    if let Ok(message) = NewMessage::from_json(bytes) {
        let written = message.to_json().expect("it was checked when it was read");
        let again = NewMessage::from_json(&written).expect("what was written can be read");
        assert_eq!(again, message);
    }
    if let Ok(edit) = EditMessage::from_json(bytes) {
        let written = edit.to_json().expect("it was checked when it was read");
        assert_eq!(EditMessage::from_json(&written).expect("what was written can be read"), edit);
    }
    for call in [
        "send_message",
        "edit_message",
        "create_chat",
        "set_delivery_status",
        "set_delivery_status_old",
        "send_typing",
        "react",
    ] {
        if let Ok(written) = encode_request(call, bytes) {
            let again = encode_request(call, &written).expect("what was written can be read");
            assert_eq!(again, written, "{call}");
        }
    }
    if let Ok(page) = HistoryPage::from_json(bytes) {
        serde_json::to_string(&page).expect("a page is made of JSON values");
    }
    let _ = CreatedChat::from_json(bytes);
    let _ = MessageReceipt::from_json(bytes);
    let _ = Connected::from_json(bytes);
    let _ = crm::Account::from_json(bytes);
    let _ = crm::LegacyAccount::from_json(bytes);
    let _ = crm::Talk::from_json(bytes);
    let _ = crm::Tokens::from_json(bytes);
    let _ = Page::<crm::Source>::from_json(bytes);
    let _ = Page::<crm::Template>::from_json(bytes);
    let _ = CrmProblem::from_json(bytes);
}

/// A form is read or refused, and what is read can be written.
pub(crate) fn parse_crm_webhook(bytes: &[u8]) {
    if let Ok(webhook) = parse_crm(bytes) {
        assert!(!webhook.events.is_empty());
        serde_json::to_string(&webhook).expect("a webhook is made of JSON values");
    }
}
