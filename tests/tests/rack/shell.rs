//! The root shell that [`crate::offline::add_shell`] put on a server's second serial port.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// One connection; QEMU serves one at a time.
pub(crate) struct Shell {
    port: UnixStream,
}

impl Shell {
    /// Waits until the shell answers.
    pub(crate) fn open(socket: &Path, limit: Duration) -> Shell {
        let port = UnixStream::connect(socket).unwrap();
        port.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut shell = Shell { port };
        let start = Instant::now();
        while shell.try_run("stty -echo", Duration::from_secs(5)).is_none() {
            assert!(start.elapsed() < limit, "no shell at {} within {limit:?}", socket.display());
        }
        shell
    }

    /// Runs a command that has to succeed; returns what it printed, without white space around it.
    pub(crate) fn run(&mut self, command: &str) -> String {
        let (code, text) =
            self.try_run(command, Duration::from_secs(60)).unwrap_or_else(|| panic!("{command}: no end"));
        assert_eq!(code, "0", "{command}: {text}");
        // Line ends around it are the terminal's.
        text.trim().to_owned()
    }

    /// (exit code, output), or `None` when the end did not come in time.
    fn try_run(&mut self, command: &str, limit: Duration) -> Option<(String, String)> {
        // The quotes keep the echo of the line itself from looking like its end.
        let line = format!("{command}; echo 'rack''end:'$?:\n");
        self.port.write_all(line.as_bytes()).unwrap();
        let (start, mut heard) = (Instant::now(), Vec::new());
        while start.elapsed() < limit {
            let mut piece = [0_u8; 4096];
            match self.port.read(&mut piece) {
                Ok(0) => panic!("the server went off while it ran {command}"),
                Ok(count) => heard.extend_from_slice(&piece[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => panic!("{command}: {error}"),
            }
            let text = String::from_utf8_lossy(&heard).replace('\r', "");
            if let Some((output, rest)) = text.split_once("rackend:")
                && let Some((code, _)) = rest.split_once(':')
            {
                return Some((code.to_owned(), output.to_owned()));
            }
        }
        None
    }
}
