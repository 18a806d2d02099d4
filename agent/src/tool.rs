//! Child processes: the only place that starts one. An argument vector, never a shell; the C locale; no standard input.

use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Every program that `deploy` runs; the ramdisk recipe must hold them (busybox has all).
pub const DEPLOY_TOOLS: [&str; 2] = ["ip", "modprobe"];

const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
const TAIL: usize = 512;

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// It could not be started.
    #[error("starting `{argv}`")]
    Spawn {
        /// What was to be run.
        argv: String,
        /// Why not.
        source: io::Error,
    },
    /// It ran and failed.
    #[error("`{argv}` ended with {status}: {stderr}")]
    Failed {
        /// What was run.
        argv: String,
        /// How it ended.
        status: String,
        /// The end of what it said.
        stderr: String,
    },
}

impl ToolError {
    /// Whether the program itself said this.
    pub fn said(&self, words: &str) -> bool {
        match self {
            ToolError::Spawn { .. } => false,
            ToolError::Failed { stderr, .. } => stderr.contains(words),
        }
    }
}

/// Runs a program and gives its standard output back.
///
/// # Errors
/// [`ToolError`] when it can't be started or does not end with status 0.
pub fn run(program: &str, args: &[&str]) -> Result<Vec<u8>, ToolError> {
    let argv = [&[program], args].concat().join(" ");
    let output = Command::new(program)
        .args(args)
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| ToolError::Spawn { argv: argv.clone(), source })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let from = output.stderr.len().saturating_sub(TAIL);
    let tail = output.stderr.get(from..).unwrap_or_default();
    let stderr = crate::text::clean(&String::from_utf8_lossy(tail), TAIL);
    Err(ToolError::Failed { argv, status: output.status.to_string(), stderr })
}

/// Whether a program ends with status 0 within a time. One that can't be started, fails or takes longer does not; then
/// it is killed. What it says goes nowhere.
pub async fn holds(program: &str, args: &[String], within: Duration) -> bool {
    let mut command = tokio::process::Command::new(program);
    command.args(args).env_clear().env("LC_ALL", "C").env("PATH", PATH).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let ended = tokio::time::timeout(within, command.status()).await;
    ended.is_ok_and(|status| status.is_ok_and(|status| status.success()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ToolError, holds, run};

    #[test]
    fn only_success_holds() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let holds = |program: &str, arg: &str, within| {
            runtime.block_on(holds(program, &[arg.to_owned()], Duration::from_millis(within)))
        };
        assert!(holds("true", "", 60_000));
        assert!(!holds("false", "", 60_000));
        assert!(!holds("no-such-program-here", "", 60_000));
        assert!(!holds("sleep", "1000", 1));
    }

    #[test]
    fn output_comes_back_and_failure_carries_its_words() {
        assert_eq!(run("echo", &["a b"]).unwrap(), b"a b\n");
        let error = run("ls", &["/nonexistent-path"]).unwrap_err();
        assert!(error.said("No such file"), "{error}");
        assert!(matches!(run("no-such-program-here", &[]), Err(ToolError::Spawn { .. })));
    }
}
