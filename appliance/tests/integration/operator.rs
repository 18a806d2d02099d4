//! A person at the control socket: requests as the command line sends them, and the command line itself.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::controller::Controller;

/// A refusal: status, exit code, text.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) exit: u64,
    pub(crate) error: String,
}

pub(crate) async fn get(controller: &Controller, path: &str) -> Result<Value, Refused> {
    send(controller, "GET", path, &[], None).await
}

pub(crate) async fn post(controller: &Controller, path: &str, body: Value) -> Result<Value, Refused> {
    send(controller, "POST", path, body.to_string().as_bytes(), None).await
}

/// Sends these bytes as an image.
pub(crate) async fn import(controller: &Controller, image: Vec<u8>) -> Result<Value, Refused> {
    send(controller, "POST", "/v1/images", &image, None).await
}

/// Announces an image of so many bytes, and sends these as its beginning.
pub(crate) async fn announce(controller: &Controller, claims: u64, begins: &[u8]) -> Refused {
    send(controller, "POST", "/v1/images", begins, Some(claims)).await.unwrap_err()
}

/// The thing of an answer, or the rows of one.
async fn send(
    controller: &Controller,
    method: &str,
    path: &str,
    body: &[u8],
    claims: Option<u64>,
) -> Result<Value, Refused> {
    let claims = claims.unwrap_or(u64::try_from(body.len()).unwrap());
    let (status, body) = exchange(&controller.socket(), method, path, body, claims).await;
    let value: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(value["apiVersion"], "rackwright/v1", "{value}");
    if status == 200 {
        return Ok(value.get("item").or(value.get("items")).unwrap().clone());
    }
    let error = value["error"].as_str().unwrap().to_owned();
    Err(Refused { status, exit: value["exit"].as_u64().unwrap(), error })
}

/// Status and body of the answer. Written by hand, so that an answer is read whatever became of the request: a refusal
/// may come while most of an image is still to be sent.
async fn exchange(socket: &Path, method: &str, path: &str, body: &[u8], claims: u64) -> (u16, Vec<u8>) {
    let stream = UnixStream::connect(socket).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {claims}\r\nconnection: close\r\n\r\n"
    );
    let sent = [head.as_bytes(), body].concat();
    let sending = tokio::spawn(async move {
        let written = write.write_all(&sent).await;
        // Kept open: nothing says that the rest of what was announced will not come.
        (written, write)
    });
    let mut answer = Vec::new();
    // A reset after the answer is the other side's way not to read the rest.
    let _ = read.read_to_end(&mut answer).await;
    sending.abort();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer");
    let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
    (status, answer.split_off(end + 4))
}

/// What the command line itself said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs the program that ships, without a terminal.
pub(crate) async fn rackwright(controller: &Controller, words: &str) -> Ran {
    rackwright_at(&controller.socket(), words).await
}

/// The same, at any socket.
pub(crate) async fn rackwright_at(socket: &Path, words: &str) -> Ran {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_rackwright"));
    command.arg("--socket").arg(socket).args(words.split_whitespace());
    let Output { status, stdout, stderr } =
        command.stdin(std::process::Stdio::null()).output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: status.code(), out: text(stdout), err: text(stderr) }
}
