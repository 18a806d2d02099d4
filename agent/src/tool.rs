//! Child processes: the only place that starts one. An argument vector, never a shell; the C locale; no standard input.

use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Every program that `deploy` runs by its name; the ramdisk recipe must hold them (busybox has all). Beside them there is
/// `/usr/bin/image-build`, for captures.
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
    /// What it said could not be read, or its end not waited for.
    #[error("listening to `{argv}`")]
    Read {
        /// What was run.
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
            ToolError::Spawn { .. } | ToolError::Read { .. } => false,
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

/// How long drivers may take to load, which are files in memory.
const DRIVERS: Duration = Duration::from_secs(60);

/// Loads drivers that no hardware announces. Those that are built in can't be loaded, and need not be.
pub async fn drivers(names: &[&str]) {
    let args = ["-a", "-q"].iter().chain(names).map(|&word| word.to_owned()).collect::<Vec<_>>();
    let _loaded = holds("modprobe", &args, DRIVERS).await;
}

/// How long a program that nobody wants any more may take to leave things as it found them.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A program that says something and, if it is so made, stays until its standard input ends. When this is dropped, that ends,
/// and a second later the program is killed with all that it has started.
#[derive(Debug)]
pub struct Staying {
    argv: String,
    group: Group,
    stdout: BufReader<ChildStdout>,
    complaints: JoinHandle<Vec<u8>>,
}

/// How much of what a program says is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Its first line.
    Line,
    /// All of it.
    End,
}

impl Staying {
    /// Starts it.
    ///
    /// # Errors
    /// [`ToolError::Spawn`].
    pub fn start(program: &Path, args: &[&str]) -> Result<Self, ToolError> {
        let argv = format!("{} {}", program.display(), args.join(" "));
        let mut command = tokio::process::Command::new(program);
        command.args(args).env_clear().env("LC_ALL", "C").env("PATH", PATH).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let spawned = |source| ToolError::Spawn { argv: argv.clone(), source };
        let mut child = command.spawn().map_err(spawned)?;
        let gone = || spawned(io::ErrorKind::BrokenPipe.into());
        let stdin = child.stdin.take();
        let leader = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let (out, complaints) = (child.stdout.take(), child.stderr.take());
        let group = Group { child: Some(child), leader, stdin };
        let stdout = BufReader::new(out.ok_or_else(gone)?);
        let complaints = tokio::spawn(tail(complaints.ok_or_else(gone)?));
        Ok(Self { argv, group, stdout, complaints })
    }

    /// What it says next, at most so many bytes: more is cut off. Empty when it says nothing more.
    ///
    /// # Errors
    /// [`ToolError::Read`].
    pub async fn says(&mut self, until: Until, most: u64) -> Result<Vec<u8>, ToolError> {
        let mut said = Vec::new();
        let mut out = (&mut self.stdout).take(most);
        let read = match until {
            Until::Line => out.read_until(b'\n', &mut said).await,
            Until::End => out.read_to_end(&mut said).await,
        };
        read.map_err(|source| ToolError::Read { argv: self.argv.clone(), source })?;
        Ok(said)
    }

    /// Ends its standard input and waits until it has ended; gives its status code.
    ///
    /// # Errors
    /// [`ToolError::Failed`] when a signal ended it, or it is not among those that `mean` something; with its own words.
    pub async fn end(mut self, mean: &[i32]) -> Result<i32, ToolError> {
        let waited = self.group.end().await;
        let status = waited.map_err(|source| ToolError::Read { argv: self.argv.clone(), source })?;
        if let Some(code) = status.code().filter(|code| mean.contains(code)) {
            return Ok(code);
        }
        let tail = self.complaints.await.unwrap_or_default();
        let stderr = crate::text::clean(&String::from_utf8_lossy(&tail), TAIL);
        Err(ToolError::Failed { argv: self.argv, status: status.to_string(), stderr })
    }
}

/// A program and all that it has started, for as long as that does not leave the group.
#[derive(Debug)]
struct Group {
    child: Option<Child>,
    /// The program, whose number the group has too; none when it has ended.
    leader: Option<Pid>,
    stdin: Option<ChildStdin>,
}

impl Group {
    /// Ends its standard input and waits for the program. Of one that was killed, what it had started is killed too: nobody
    /// else would wait for that.
    async fn end(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        let status = self.child.as_mut().ok_or(io::ErrorKind::NotFound)?.wait().await?;
        let leader = self.leader.take();
        if status.code().is_none() {
            leader.into_iter().for_each(kill);
        }
        Ok(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(leader) = self.leader.take() else { return };
        let mut rest = Group { child: self.child.take(), leader: None, stdin: self.stdin.take() };
        let Ok(runtime) = Handle::try_current() else { return kill(leader) };
        runtime.spawn(async move {
            let ended = tokio::time::timeout(LAST_WORDS, rest.end()).await;
            if !ended.is_ok_and(|status| status.is_ok_and(|status| status.code().is_some())) {
                kill(leader);
            }
            // Else it stays a zombie.
            drop(rest.end().await);
        });
    }
}

fn kill(leader: Pid) {
    // One that is gone is what is wanted.
    let _gone = kill_process_group(leader, Signal::KILL);
}

/// The last of what comes, and all of it taken in: a program that can't say more would stop.
async fn tail(mut from: impl AsyncRead + Unpin) -> Vec<u8> {
    let (mut kept, mut part) = (Vec::new(), [0; 1024]);
    while let Ok(bytes @ 1..) = from.read(&mut part).await {
        kept.extend_from_slice(part.get(..bytes).unwrap_or_default());
        kept.drain(..kept.len().saturating_sub(TAIL));
    }
    kept
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::{Staying, ToolError, Until, holds, run};

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
    fn a_program_stays_until_it_is_let_go_and_tells_why_it_failed() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let sh = |line: &str| Staying::start(Path::new("/bin/sh"), &["-c", line]).unwrap();
            let mut one = sh("echo first; echo second; cat; exit 5");
            assert_eq!(one.says(Until::Line, 100).await.unwrap(), b"first\n");
            assert_eq!(one.says(Until::Line, 3).await.unwrap(), b"sec", "no more than is asked for");
            assert_eq!(one.end(&[0, 5]).await.unwrap(), 5);
            let mut noisy = sh("seq 1 100000 >&2; echo why >&2; exit 1");
            assert_eq!(noisy.says(Until::End, 100).await.unwrap(), b"");
            let error = noisy.end(&[0]).await.unwrap_err();
            assert!(error.said("99999 100000 why"), "{error}");
            assert!(Staying::start(Path::new("/no/such/program"), &[]).is_err());
        });
    }

    /// The number of the group that said its own.
    async fn group(program: &mut Staying) -> rustix::process::Pid {
        let line = program.says(Until::Line, 100).await.unwrap();
        let number = String::from_utf8(line).unwrap().trim().parse().unwrap();
        rustix::process::Pid::from_raw(number).unwrap()
    }

    async fn is_gone(group: rustix::process::Pid) -> bool {
        for _ in 0..100 {
            if rustix::process::test_kill_process_group(group).is_err() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        false
    }

    #[test]
    fn a_program_that_nobody_wants_any_more_ends_with_all_that_it_has_started() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        runtime.block_on(async {
            let sh = |line: &str| Staying::start(Path::new("/bin/sh"), &["-c", line]).unwrap();
            // Neither hears that its standard input has ended.
            let mut deaf = sh("sleep 1000 & echo $$; sleep 1000");
            let number = group(&mut deaf).await;
            assert!(rustix::process::test_kill_process_group(number).is_ok());
            drop(deaf);
            assert!(is_gone(number).await, "something is left of one that was dropped");
            // One that does may leave things as it found them.
            let mark = folder.path().join("mark");
            let mut tidy = sh(&format!("echo $$; cat; sleep 0.2; touch {}", mark.display()));
            let number = group(&mut tidy).await;
            drop(tidy);
            assert!(is_gone(number).await && mark.exists(), "it had no time to end");
            // Killed by somebody else, as by the kernel when memory is short.
            let mut killed = sh("sleep 1000 & echo $$; kill -9 $$");
            let number = group(&mut killed).await;
            assert!(killed.end(&[0]).await.is_err());
            assert!(is_gone(number).await, "something is left of one that was killed");
        });
    }

    #[test]
    fn output_comes_back_and_failure_carries_its_words() {
        assert_eq!(run("echo", &["a b"]).unwrap(), b"a b\n");
        let error = run("ls", &["/nonexistent-path"]).unwrap_err();
        assert!(error.said("No such file"), "{error}");
        assert!(matches!(run("no-such-program-here", &[]), Err(ToolError::Spawn { .. })));
    }
}
