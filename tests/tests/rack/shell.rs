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

    /// Types a line to a program that asks, and waits until it has said `text` and then `prompt`; returns what it said.
    pub(crate) fn answer(&mut self, line: &str, (text, prompt): (&str, &str), limit: Duration) -> String {
        self.port.write_all(format!("{line}\n").as_bytes()).unwrap();
        let asked = |said: &str| said.split_once(text).is_some_and(|(_, rest)| rest.contains(prompt));
        let (said, there) = self.hear(line, limit, asked);
        assert!(there, "{line:?} was not answered by {text:?} and {prompt:?}:\n{said}");
        said
    }

    /// (exit code, output), or `None` when the end did not come in time.
    fn try_run(&mut self, command: &str, limit: Duration) -> Option<(String, String)> {
        // The quotes keep the echo of the line itself from looking like its end.
        let line = format!("{command}; echo 'rack''end:'$?:\n");
        self.port.write_all(line.as_bytes()).unwrap();
        let end = |said: &str| {
            let (output, rest) = said.split_once("rackend:")?;
            Some((rest.split_once(':')?.0.to_owned(), output.to_owned()))
        };
        let (said, _) = self.hear(command, limit, |said| end(said).is_some());
        end(&said)
    }

    /// What was said until it was enough, and whether it came to be.
    fn hear(&mut self, to: &str, limit: Duration, enough: impl Fn(&str) -> bool) -> (String, bool) {
        let (start, mut heard, mut said) = (Instant::now(), Vec::new(), String::new());
        while start.elapsed() < limit {
            let mut piece = [0_u8; 4096];
            match self.port.read(&mut piece) {
                Ok(0) => panic!("the server went off while it ran {to}"),
                Ok(count) => heard.extend_from_slice(&piece[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => panic!("{to}: {error}"),
            }
            said = String::from_utf8_lossy(&heard).replace('\r', "");
            if enough(&said) {
                return (said, true);
            }
        }
        (said, false)
    }
}
