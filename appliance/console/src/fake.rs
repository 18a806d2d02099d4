//! A daemon that answers as a test wants, on a socket in a directory of its own.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value, json};

/// What was asked.
#[derive(Debug)]
struct Asked {
    /// `GET /v1/nodes`
    line: String,
    body: Vec<u8>,
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// A status and a body.
    Http(u16, String),
    /// Nothing: the connection ends.
    HangUp,
    /// This, before the body of the request was read; then the connection ends.
    Early(u16, String),
}

pub(crate) fn item(value: Value) -> Reply {
    Reply::Http(200, json!({ "apiVersion": "rackwright/v1", "item": value }).to_string())
}

pub(crate) fn list(values: &[Value]) -> Reply {
    Reply::Http(200, json!({ "apiVersion": "rackwright/v1", "items": values }).to_string())
}

pub(crate) fn problem_text(error: &str, exit: u8) -> String {
    json!({ "apiVersion": "rackwright/v1", "error": error, "exit": exit }).to_string()
}

pub(crate) fn problem(status: u16, error: &str, exit: u8) -> Reply {
    Reply::Http(status, problem_text(error, exit))
}

pub(crate) struct Fake {
    pub(crate) socket: PathBuf,
    asked: Arc<Mutex<Vec<Asked>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    _dir: tempfile::TempDir,
}

impl Fake {
    /// Answers each `METHOD path`.
    pub(crate) fn start(answer: impl Fn(&str) -> Reply + Send + 'static) -> Fake {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("control.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let (asked, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (log, ends) = (Arc::clone(&asked), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                serve(stream.unwrap(), &answer, &log);
            }
        });
        Fake { socket, asked, stop, thread: Some(thread), _dir: dir }
    }

    /// `METHOD path`, in order.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|asked| asked.line.clone()).collect()
    }

    /// The body of the last request of this line, as JSON.
    pub(crate) fn body(&self, line: &str) -> Value {
        serde_json::from_slice(&self.raw_body(line)).unwrap()
    }

    pub(crate) fn raw_body(&self, line: &str) -> Vec<u8> {
        let asked = self.asked.lock().unwrap();
        asked.iter().rev().find(|asked| asked.line == line).unwrap().body.clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = UnixStream::connect(&self.socket);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: UnixStream, answer: &impl Fn(&str) -> Reply, log: &Mutex<Vec<Asked>>) {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(length) => bytes.extend_from_slice(&piece[..length]),
        }
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8(bytes).unwrap();
    let line = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
    let reply = answer(&line);
    if let Reply::Early(status, text) = reply {
        return respond(&mut stream, status, &text);
    }
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut rest = vec![0; length.unwrap_or(0usize).saturating_sub(body.len())];
    if stream.read_exact(&mut rest).is_err() {
        return;
    }
    body.extend(rest);
    log.lock().unwrap().push(Asked { line, body });
    match reply {
        Reply::Http(status, text) | Reply::Early(status, text) => respond(&mut stream, status, &text),
        Reply::HangUp => {}
    }
}

fn respond(stream: &mut UnixStream, status: u16, text: &str) {
    let length = text.len();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(text.as_bytes()));
}
