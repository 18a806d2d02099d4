//! The one way a program is run and waited for.
//!
//! Knows argv, exit codes and the tail of stderr. Refuses to use a shell, to inherit a terminal on stdin, and
//! to wait past an interrupt.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::interrupt;

/// How often a waiting loop looks; the price of being interruptible without threads of its own.
pub const TICK: Duration = Duration::from_millis(20);

/// Why a program did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It could not be started: not installed, or not executable.
    #[error("starting {argv}")]
    Start {
        /// The command as typed.
        argv: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// It could not be waited for.
    #[error("waiting for {argv}")]
    Wait {
        /// The command as typed.
        argv: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// It ended with something else than success.
    #[error("{argv}: {status}{tail}")]
    Failed {
        /// The command as typed.
        argv: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its stderr, with a separator, or nothing.
        tail: String,
    },
    /// It was still running at the deadline and was killed.
    #[error("{argv}: still running after {after:?}, killed")]
    TimedOut {
        /// The command as typed.
        argv: String,
        /// How long it was given.
        after: Duration,
    },
    /// A stop was asked for while it ran; it was killed.
    #[error(transparent)]
    Interrupted(#[from] interrupt::Interrupted),
}

/// What a finished program left behind.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its stdout, lossily decoded.
    pub stdout: String,
    /// Its stderr, lossily decoded.
    pub stderr: String,
}

/// A program and its arguments, not yet run.
#[derive(Debug)]
pub struct Tool {
    command: Command,
    argv: String,
    deadline: Option<Duration>,
    cleaning: bool,
}

impl Tool {
    /// `program` is looked up in `PATH` unless it has a slash.
    #[must_use]
    pub fn new(program: impl AsRef<OsStr>) -> Tool {
        let argv = program.as_ref().to_string_lossy().into_owned();
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        Tool { command, argv, deadline: None, cleaning: false }
    }

    /// Appends one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Tool {
        self.argv.push(' ');
        self.argv.push_str(&arg.as_ref().to_string_lossy());
        self.command.arg(arg);
        self
    }

    /// Appends arguments.
    #[must_use]
    pub fn args(self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Tool {
        args.into_iter().fold(self, |tool, arg| tool.arg(arg.into()))
    }

    /// Sets one variable of its environment.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Tool {
        self.command.env(key, value);
        self
    }

    /// Takes one variable out of its environment.
    #[must_use]
    pub fn without(mut self, key: &OsStr) -> Tool {
        self.command.env_remove(key);
        self
    }

    /// Runs it in `dir`.
    #[must_use]
    pub fn dir(mut self, dir: &Path) -> Tool {
        self.command.current_dir(dir);
        self
    }

    /// Kills it when it runs longer than this.
    #[must_use]
    pub fn deadline(mut self, after: Duration) -> Tool {
        self.deadline = Some(after);
        self
    }

    /// Lets it finish although a stop was asked for: it is part of the cleaning up.
    #[must_use]
    pub fn cleaning(mut self) -> Tool {
        self.cleaning = true;
        self
    }

    /// Runs it with its output going where ours goes.
    ///
    /// # Errors
    /// Anything but exit status 0.
    pub fn show(mut self) -> Result<(), ToolError> {
        let child =
            self.command.spawn().map_err(|source| ToolError::Start { argv: self.argv.clone(), source })?;
        let status = self.wait(child)?;
        if status.success() {
            Ok(())
        } else {
            Err(ToolError::Failed { argv: self.argv, status, tail: String::new() })
        }
    }

    /// Runs it and keeps stdout and stderr.
    ///
    /// # Errors
    /// Anything but exit status 0; the error carries the tail of stderr.
    pub fn read(self) -> Result<String, ToolError> {
        let argv = self.argv.clone();
        let output = self.output()?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(ToolError::Failed { argv, status: output.status, tail: tail(&output.stderr) })
    }

    /// Runs it and keeps stdout and stderr; any exit status is an answer.
    ///
    /// # Errors
    /// Not started, past the deadline, or interrupted.
    pub fn output(mut self) -> Result<Output, ToolError> {
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            self.command.spawn().map_err(|source| ToolError::Start { argv: self.argv.clone(), source })?;
        let stdout = drain(child.stdout.take());
        let stderr = drain(child.stderr.take());
        // Not joined on a time-out: a grandchild may hold the pipe open for ever.
        let status = self.wait(child)?;
        Ok(Output { status, stdout: join(stdout), stderr: join(stderr) })
    }

    fn wait(&self, mut child: Child) -> Result<ExitStatus, ToolError> {
        let start = Instant::now();
        loop {
            let done =
                child.try_wait().map_err(|source| ToolError::Wait { argv: self.argv.clone(), source })?;
            if let Some(status) = done {
                return Ok(status);
            }
            let late = self.deadline.filter(|&limit| start.elapsed() > limit);
            let stop = if self.cleaning { Ok(()) } else { interrupt::check() };
            if late.is_some() || stop.is_err() {
                // Already gone is as good as killed.
                let _ = child.kill().and_then(|()| child.wait());
            }
            stop?;
            if let Some(after) = late {
                return Err(ToolError::TimedOut { argv: self.argv.clone(), after });
            }
            thread::sleep(TICK);
        }
    }
}

/// True when `program` can be found in `PATH`.
#[must_use]
pub fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> Option<JoinHandle<Vec<u8>>> {
    let mut pipe = pipe?;
    Some(thread::spawn(move || {
        let mut bytes = Vec::new();
        // What arrived before an error is still worth showing.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    }))
}

fn join(reader: Option<JoinHandle<Vec<u8>>>) -> String {
    let bytes = reader.and_then(|reader| reader.join().ok()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The last lines of what a program complained about, ready to be appended to an error.
fn tail(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(12);
    match lines.get(from..) {
        None | Some([]) => String::new(),
        Some([one]) => format!(": {one}"),
        Some(many) => format!("\n    {}", many.join("\n    ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_command_status_and_complaint() {
        let error = Tool::new("sh").args(["-c", "echo no such rack >&2; exit 3"]).read().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit status: 3") && text.contains("no such rack"), "{text}");
    }

    #[test]
    fn output_larger_than_a_pipe_does_not_hang() {
        let text = Tool::new("sh").args(["-c", "head -c 300000 /dev/zero | tr '\\0' x"]).read().unwrap();
        assert_eq!(text.len(), 300_000);
    }

    #[test]
    fn a_missing_program_is_a_start_error() {
        let error = Tool::new("no-such-program-here").read().unwrap_err();
        assert!(matches!(error, ToolError::Start { .. }), "{error}");
    }

    #[test]
    fn the_deadline_kills() {
        let error = Tool::new("sleep").arg("1000").deadline(Duration::from_millis(50)).read().unwrap_err();
        assert!(matches!(error, ToolError::TimedOut { .. }), "{error}");
    }
}
