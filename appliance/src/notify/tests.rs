//! Against a real receiver on loopback.

use std::path::Path;
use std::sync::{Arc, Mutex};

use ring::hmac;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::webhook::{SIGNATURE, TIMESTAMP};
use super::{Notifier, SendError, Webhook, Wish};
use crate::writer::tests::state;

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A receiver that answers so, and what it was sent.
async fn receiver(status: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let got = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&got);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = String::new();
            let mut piece = [0; 4096];
            loop {
                let read = stream.read(&mut piece).await.unwrap();
                text.push_str(std::str::from_utf8(&piece[..read]).unwrap());
                let length = text
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
                let body = text.split_once("\r\n\r\n").map(|(_, body)| body.len());
                if read == 0 || (body.is_some() && body == length) {
                    break;
                }
            }
            log.lock().unwrap().push(text);
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nlocation: http://127.0.0.1:1/\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (format!("http://{address}/hook/secret-path"), got)
}

fn wish(webhook: &str, key: Option<&Path>) -> Wish {
    let (target, secret_file) = (webhook.parse().unwrap(), key.map(Path::to_owned));
    Wish { webhook: Some(Webhook { target, secret_file }), mail: None, an_hour: 20 }
}

#[tokio::test]
async fn a_test_arrives_and_its_signature_is_of_time_and_body() {
    let state = state();
    let (address, got) = receiver("204 No Content").await;
    let key = state.folder.path().join("notify.key");
    std::fs::write(&key, format!("{KEY}\n")).unwrap();
    Notifier::new(state.core.clone(), wish(&address, Some(&key))).test().await.unwrap();
    let got = got.lock().unwrap().clone();
    let (head, body) = got[0].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /hook/secret-path HTTP/1.1"), "{head}");
    let header = |name: &str| {
        head.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap().to_owned()
    };
    let signed = format!("{}.{body}", header(TIMESTAMP));
    let signature =
        data_encoding::HEXLOWER.decode(header(SIGNATURE).strip_prefix("sha256=").unwrap().as_bytes());
    let key = hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes());
    hmac::verify(&key, signed.as_bytes(), &signature.unwrap()).unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["apiVersion"], "rackwright/v1");
    assert_eq!((body["notices"][0]["kind"].as_str(), body["more"].as_u64()), (Some("test"), Some(0)));
}

#[tokio::test]
async fn what_does_not_arrive_is_said_and_no_password_with_it() {
    let state = state();
    let tell = async |wish| Notifier::new(state.core.clone(), wish).test().await.unwrap_err();
    let (moved, _) = receiver("302 Found").await;
    let why = tell(wish(&moved, None)).await;
    assert!(matches!(why, SendError::Refused(_, status) if status == 302), "nobody is followed: {why}");
    assert!(!why.to_string().contains("secret-path"), "{why}");
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let why = tell(wish(&format!("http://{nobody}/secret-path"), None)).await;
    assert!(matches!(why, SendError::Connect(..)) && !crate::chain(&why).contains("secret-path"), "{why}");
    let short = state.folder.path().join("short");
    std::fs::write(&short, "short\n").unwrap();
    let why = crate::chain(&tell(wish(&moved, Some(&short))).await);
    assert!(why.contains("openssl rand -hex 32"), "{why}");
    // Plain HTTP is spoken to one who wants TLS, and is no TLS.
    let (plain, _) = receiver("200 OK").await;
    let why = tell(wish(&plain.replace("http://", "https://"), None)).await;
    assert!(matches!(why, SendError::Connect(..) | SendError::Trust(_)), "{why}");
}
