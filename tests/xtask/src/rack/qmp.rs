//! QEMU's control socket: one command, one answer.
//!
//! Knows the line protocol of QEMU's `docs/interop/qmp-spec.rst`. Refuses to keep a connection: each call
//! connects, negotiates, asks, and goes.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

/// A machine writes all of its memory to a file while it is asked, beside others that are busy.
const ANSWER: Duration = Duration::from_secs(120);

/// Why a machine did not obey.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// The socket does not answer: QEMU is gone, or hangs.
    #[error("talking to QEMU at {}", socket.display())]
    Io {
        /// The control socket.
        socket: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The answer is not QMP.
    #[error("reading the answer of QEMU at {}", socket.display())]
    Format {
        /// The control socket.
        socket: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// QEMU refuses.
    #[error("QEMU refuses {command}: {why}")]
    Refused {
        /// The command's name.
        command: String,
        /// QEMU's words.
        why: String,
    },
}

/// Runs one command and returns what it returned.
///
/// # Errors
/// QEMU is gone, hangs for two minutes, or refuses.
pub fn ask(socket: &Path, command: &str, arguments: Value) -> Result<Value, QmpError> {
    let io = |source| QmpError::Io { socket: socket.to_path_buf(), source };
    let stream = UnixStream::connect(socket).map_err(io)?;
    stream.set_read_timeout(Some(ANSWER)).map_err(io)?;
    let mut lines = BufReader::new(stream.try_clone().map_err(io)?);
    let mut session = Session { socket, stream, lines: &mut lines };
    session.receive()?;
    session.execute("qmp_capabilities", json!({}))?;
    session.execute(command, arguments)
}

struct Session<'a> {
    socket: &'a Path,
    stream: UnixStream,
    lines: &'a mut BufReader<UnixStream>,
}

impl Session<'_> {
    fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, QmpError> {
        let request = json!({"execute": command, "arguments": arguments});
        let io = |source| QmpError::Io { socket: self.socket.to_path_buf(), source };
        writeln!(self.stream, "{request}").map_err(io)?;
        loop {
            // Events may come in between; they carry neither key.
            let answer = self.receive()?;
            if let Some(value) = answer.get("return") {
                return Ok(value.clone());
            }
            if let Some(error) = answer.get("error") {
                let why = error.get("desc").and_then(Value::as_str).unwrap_or("without a reason").to_owned();
                return Err(QmpError::Refused { command: command.to_owned(), why });
            }
        }
    }

    fn receive(&mut self) -> Result<Value, QmpError> {
        let io = |source| QmpError::Io { socket: self.socket.to_path_buf(), source };
        let mut line = String::new();
        if self.lines.read_line(&mut line).map_err(io)? == 0 {
            return Err(io(io::ErrorKind::UnexpectedEof.into()));
        }
        serde_json::from_str(&line)
            .map_err(|source| QmpError::Format { socket: self.socket.to_path_buf(), source })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// A QEMU that says `lines`, whatever it is asked.
    fn against(lines: &'static [&'static str]) -> Result<Value, QmpError> {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("qmp");
        let listener = UnixListener::bind(&socket).unwrap();
        let peer = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = BufReader::new(stream.try_clone().unwrap());
            for (turn, line) in lines.iter().enumerate() {
                if turn > 0 {
                    let _ = heard.read_line(&mut String::new());
                }
                let _ = writeln!(stream, "{line}");
            }
        });
        let answer = ask(&socket, "query-status", json!({}));
        peer.join().unwrap();
        answer
    }

    #[test]
    fn answers_events_and_refusals() {
        let good = against(&[
            r#"{"QMP": {}}"#,
            r#"{"return": {}}"#,
            "{\"event\": \"RESET\"}\n{\"return\": {\"running\": true}}",
        ]);
        assert_eq!(good.unwrap(), json!({"running": true}));
        let refused =
            against(&[r#"{"QMP": {}}"#, r#"{"return": {}}"#, r#"{"error": {"desc": "no such thing"}}"#]);
        assert_eq!(refused.unwrap_err().to_string(), "QEMU refuses query-status: no such thing");
        assert!(matches!(against(&["not json"]), Err(QmpError::Format { .. })));
        assert!(matches!(against(&[]), Err(QmpError::Io { .. })));
    }
}
