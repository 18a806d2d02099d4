//! Programs of the system that make disks: util-linux, e2fsprogs, dosfstools.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::process::{Command, Stdio};

/// Lines of what a program said that a person is told.
const LINES: usize = 3;

/// What it prints.
///
/// # Errors
/// Which program, with what, and what it said.
pub(super) fn run(
    program: &str,
    args: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Result<String, String> {
    with_input(program, args, "")
}

/// The same of one that reads this.
///
/// # Errors
/// As [`run`].
pub(super) fn with_input(
    program: &str,
    args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    input: &str,
) -> Result<String, String> {
    let args = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect::<Vec<OsString>>();
    let words = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
    let told = |why: &dyn std::fmt::Display| format!("{program} {words}: {why}");
    let mut command = Command::new(program);
    command
        .args(&args)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|why| told(&why))?;
    // One that ends without reading has its reasons, and says them.
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(input.as_bytes());
    }
    let done = child.wait_with_output().map_err(|why| told(&why))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    let lines = said.lines().filter(|line| !line.trim().is_empty()).collect::<Vec<_>>();
    let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join("; ");
    Err(told(&format_args!("{}: {last}", done.status)))
}
