//! A person at the control socket, as patient as a script: what was not answered is asked again.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// A controller that restarts is asked again so often, and so long after.
const TRIES: u32 = 600;
const PAUSE: Duration = Duration::from_millis(100);

/// Wants something; the thing that is answered. What had been done already when an answer was lost is done.
pub(crate) async fn wants(socket: &Path, path: &str, body: &Value) -> Result<Value, Box<dyn Error>> {
    let body = body.to_string();
    let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: ");
    let request = format!("{head}{}\r\n\r\n{body}", body.len());
    let mut lost = false;
    for _ in 0..TRIES {
        match exchange(socket, &request).await {
            Some((200, answer)) => return Ok(answer.get("item").cloned().unwrap_or_default()),
            Some((409, _)) if lost => return Ok(Value::Null),
            // Stopping, or not yet saving.
            Some((503, _)) => {}
            Some((status, answer)) => {
                return Err(format!("{path}: {status} {}", answer.get("error").unwrap_or(&answer)).into());
            }
            None => lost = true,
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(format!("{path}: nobody answers").into())
}

/// Status and answer; none: there was no whole one.
async fn exchange(socket: &Path, request: &str) -> Option<(u16, Value)> {
    let mut stream = UnixStream::connect(socket).await.ok()?;
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let text = String::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).ok()?))
}
