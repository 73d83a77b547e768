//! Who may connect an account, decided over gRPC: through the listener, and a real client.

use amochats_proto::v1;
use amochats_proto::v1::widget_service_client::WidgetServiceClient;
use amochats_server::{Server, ServerConfig};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::transport::Endpoint;

const SECRET: &str = "integration-secret";
const ORIGIN: &str = "https://demo.amocrm.ru";

async fn server(widget: &str) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let toml = format!(
        "listener.address = \"127.0.0.1:0\"\nadmin.address = \"127.0.0.1:0\"\ngrpc.address = \"127.0.0.1:0\"\n\
         store.path = \"{}\"\nstore.min_free_bytes = 0\n{widget}\n\
         [[channel]]\nid = \"a4490ccc\"\nsecret = \"s\"\nbase_url = \"http://127.0.0.1:9\"\n\
         client_id = \"the-integration\"\nclient_secret = \"{SECRET}\"\n",
        folder.path().join("amochats.db").display()
    );
    let config = ServerConfig::load(&toml, []).expect("valid");
    (Server::start(config).await.expect("started"), folder)
}

fn linking() -> String {
    let key = amochats_runtime::widget::new_key();
    format!("[widget]\nredirect_uri = \"https://chat.example.org/oauth\"\nkey = \"{key}\"")
}

/// A page that wants to connect: the status and code of its answer.
async fn connect(server: &Server, number: u32) -> (u16, String) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let claims = json!({
        "iss": ORIGIN, "aud": "https://chat.example.org", "jti": format!("jti-{number}"), "iat": now, "nbf": now,
        "exp": now + 1800, "account_id": 7, "user_id": 501, "client_uuid": "the-integration",
    });
    let text = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any length");
    mac.update(text.as_bytes());
    let token = format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()));
    let body = json!({ "login": "anna", "password": "her password", "amojo_id": "13fa84f7" }).to_string();
    let request = format!(
        "POST /widget/connect HTTP/1.1\r\nHost: a\r\nConnection: close\r\nOrigin: {ORIGIN}\r\n\
         X-Auth-Token: {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(server.listener_address()).await.expect("connected");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    let status = answer[9..12].parse().expect("a status");
    let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").expect("a body").1).expect("JSON");
    (status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
}

async fn client(server: &Server) -> WidgetServiceClient<tonic::transport::Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.grpc_address())).expect("an address");
    WidgetServiceClient::new(endpoint.connect().await.expect("connected"))
}

#[tokio::test]
async fn a_client_decides_over_a_stream() {
    let (server, _folder) = server(&linking()).await;
    let unavailable = (503, "SERVER_UNAVAILABLE".to_owned());
    assert_eq!(connect(&server, 0).await, unavailable, "nobody is there");

    let (decisions, outgoing) = mpsc::channel(8);
    let asked = client(&server).await.stream_decisions(ReceiverStream::new(outgoing)).await;
    let mut questions = asked.expect("a stream").into_inner();
    // Allowed, it comes to whether the CRM has told of the installation.
    for (number, allow, expected) in
        [(1, true, (409, "NOT_INSTALLED")), (2, false, (403, "WRONG_CREDENTIALS"))]
    {
        let deciding = async {
            let question = questions.message().await.expect("readable").expect("a question");
            assert_eq!((question.login.as_str(), question.password.as_str()), ("anna", "her password"));
            assert_eq!((question.crm_account_id, question.crm_user_id), (7, 501));
            assert_eq!((question.origin.as_str(), question.account_id.as_str()), (ORIGIN, "13fa84f7"));
            assert_eq!(
                (question.client_id.as_str(), question.peer.as_str()),
                ("the-integration", "127.0.0.1")
            );
            // One that nobody asked changes nothing.
            for attempt_id in ["made-up".to_owned(), question.attempt_id] {
                decisions.send(v1::StreamDecisionsRequest { attempt_id, allow }).await.expect("sent");
            }
        };
        let (answer, ()) = tokio::join!(connect(&server, number), deciding);
        assert_eq!(answer, (expected.0, expected.1.to_owned()));
    }

    // A client that goes away leaves nobody waiting.
    let leaving = async {
        questions.message().await.expect("readable").expect("a question");
        drop((questions, decisions));
    };
    let (answer, ()) = tokio::join!(connect(&server, 3), leaving);
    assert_eq!(answer, unavailable);
    server.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn nobody_is_asked_where_the_configuration_decides() {
    let folder = tempfile::tempdir().expect("a folder");
    let users = folder.path().join("users");
    std::fs::write(&users, "").expect("written");
    for widget in [String::new(), format!("{}\nusers_file = \"{}\"", linking(), users.display())] {
        let (server, _folder) = server(&widget).await;
        let (_decisions, outgoing) = mpsc::channel(1);
        let asked = client(&server).await.stream_decisions(ReceiverStream::new(outgoing)).await;
        assert_eq!(asked.expect_err("refused").code(), Code::FailedPrecondition);
        server.shutdown(Duration::from_secs(10)).await;
    }
}
