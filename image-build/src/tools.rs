//! The only caller of other programs: argument arrays (never a shell line), C locale, a small fixed
//! environment, and the end of what the program complained about in the error. Knows which Debian package
//! each host program comes from; knows nothing of what the programs are used for.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

/// What must be on the build machine, as (program, Debian package). Everything else (mke2fs, mtools, depmod,
/// grub-mkimage ...) runs from the toolbox, which comes from the target release, so that a Debian 12 and a
/// Debian 13 build machine write the same bytes.
pub const HOST_PROGRAMS: [(&str, &str); 5] = [
    ("apt-get", "apt"),
    ("apt-config", "apt"),
    ("dpkg-deb", "dpkg"),
    ("mmdebstrap", "mmdebstrap"),
    ("tar", "tar"),
];

/// What looking into disks needs beside that, each only for disks that have its kind of volume.
pub const DISK_PROGRAMS: [(&str, &str); 9] = [
    ("losetup", "mount"),
    ("blockdev", "util-linux"),
    ("blkid", "util-linux"),
    ("e2fsck", "e2fsprogs"),
    ("xfs_repair", "xfsprogs"),
    ("btrfs", "btrfs-progs"),
    ("fsck.fat", "dosfstools"),
    ("lvm", "lvm2"),
    ("dmsetup", "dmsetup"),
];

/// Packages without a program of their own that the build needs: the keys that prove the package lists.
pub const HOST_DATA: [&str; 2] = ["ca-certificates", "debian-archive-keyring"];

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const PASSED_ON: [&str; 6] = ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "TMPDIR"];
const TAIL_LINES: usize = 15;

/// Why another program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The program is not installed.
    #[error("{program} is not installed; install it with: apt-get install {package}")]
    Missing {
        /// What was to be run.
        program: String,
        /// The Debian package that has it.
        package: String,
    },
    /// The kernel would not start it.
    #[error("starting {command}")]
    Start {
        /// The command line.
        command: String,
        /// Why not.
        source: io::Error,
    },
    /// Feeding or reading it failed.
    #[error("talking to {command}")]
    Talk {
        /// The command line.
        command: String,
        /// Why not.
        source: io::Error,
    },
    /// It ran and said no.
    #[error("{command}: {status}; it said: {said}")]
    Failed {
        /// The command line.
        command: String,
        /// Exit code or signal.
        status: ExitStatus,
        /// The end of its standard error.
        said: String,
    },
}

/// One program run, being put together.
#[derive(Debug, Clone)]
pub struct Call {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
    input: Input,
}

/// What a program reads on its standard input.
#[derive(Debug, Clone)]
enum Input {
    Bytes(Vec<u8>),
    File(PathBuf),
}

impl Call {
    /// A run of `program`, found on the fixed path when it has no slash.
    pub fn new(program: impl Into<PathBuf>) -> Call {
        Call {
            program: program.into(),
            args: vec![],
            env: vec![],
            directory: None,
            input: Input::Bytes(vec![]),
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Call {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Call {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets one variable; nothing but the path, the locale and the proxies is inherited.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Call {
        self.env.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Runs it in this directory.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Call {
        self.directory = Some(directory.into());
        self
    }

    /// Bytes for its standard input; without them it is empty.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Call {
        self.input = Input::Bytes(bytes.into());
        self
    }

    /// A file for its standard input.
    #[must_use]
    pub fn input_from(mut self, file: impl Into<PathBuf>) -> Call {
        self.input = Input::File(file.into());
        self
    }

    /// Runs it to the end; gives its standard output.
    pub fn run(&self) -> Result<Vec<u8>, ToolError> {
        self.run_watched(&mut |_| ())
    }

    /// As [`Call::run`], handing every line of its standard error to `watch` as it comes.
    pub fn run_watched(&self, watch: &mut dyn FnMut(&str)) -> Result<Vec<u8>, ToolError> {
        let mut child = self.start(Stdio::piped())?;
        let mut stdout = child.stdout.take();
        let reader = thread::spawn(move || {
            let mut out = Vec::new();
            stdout.as_mut().map_or(Ok(0), |pipe| pipe.read_to_end(&mut out)).map(|_| out)
        });
        self.finish(child, watch)?;
        let read = reader.join().unwrap_or_else(|_| Err(io::Error::other("the reading thread died")));
        read.map_err(|source| ToolError::Talk { command: self.command(), source })
    }

    /// As [`Call::run_watched`], its standard output going to `file`.
    pub fn run_into(&self, file: File, watch: &mut dyn FnMut(&str)) -> Result<(), ToolError> {
        let child = self.start(Stdio::from(file))?;
        self.finish(child, watch)
    }

    fn start(&self, stdout: Stdio) -> Result<Child, ToolError> {
        #[expect(clippy::disallowed_methods, reason = "this module is the one place that starts programs")]
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().env("LC_ALL", "C.UTF-8").env("TZ", "UTC").env("PATH", PATH);
        for name in PASSED_ON {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command.stdin(self.stdin()?).stdout(stdout).stderr(Stdio::piped());
        command.spawn().map_err(|source| self.cannot_start(source))
    }

    fn stdin(&self) -> Result<Stdio, ToolError> {
        match &self.input {
            Input::Bytes(_) => Ok(Stdio::piped()),
            Input::File(path) => {
                let opened = File::open(path).map(Stdio::from);
                opened.map_err(|source| ToolError::Talk { command: self.command(), source })
            }
        }
    }

    fn cannot_start(&self, source: io::Error) -> ToolError {
        let program = self.program.display().to_string();
        let package = HOST_PROGRAMS
            .iter()
            .chain(&DISK_PROGRAMS)
            .find(|(name, _)| *name == program)
            .map(|(_, package)| *package);
        match (source.kind(), package) {
            (io::ErrorKind::NotFound, Some(package)) => {
                ToolError::Missing { program, package: package.into() }
            }
            _ => ToolError::Start { command: self.command(), source },
        }
    }

    fn finish(&self, mut child: Child, watch: &mut dyn FnMut(&str)) -> Result<(), ToolError> {
        let talk = |source| ToolError::Talk { command: self.command(), source };
        let input = match &self.input {
            Input::Bytes(bytes) => bytes.clone(),
            Input::File(_) => vec![],
        };
        let mut stdin = child.stdin.take();
        // A program may stop reading early: its exit status says whether that was an error.
        let feeder = thread::spawn(move || stdin.as_mut().map(|pipe| pipe.write_all(&input)));
        let mut tail = VecDeque::new();
        if let Some(stderr) = child.stderr.take() {
            let mut lines = BufReader::new(stderr);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).map_err(talk)? > 0 {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                watch(&text);
                tail.push_back(text);
                if tail.len() > TAIL_LINES {
                    tail.pop_front();
                }
                line.clear();
            }
        }
        let status = child.wait().map_err(talk)?;
        drop(feeder.join());
        if status.success() {
            return Ok(());
        }
        let said = Vec::from(tail).join(" | ");
        Err(ToolError::Failed { command: self.command(), status, said })
    }

    /// The command line as a person would read it; long ones are cut, the program's name is always there.
    fn command(&self) -> String {
        let mut line = self.program.display().to_string();
        for arg in &self.args {
            line.push(' ');
            line.push_str(&arg.to_string_lossy());
        }
        if line.chars().count() > 300 {
            line = line.chars().take(300).collect();
            line.push_str(" ...");
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_its_input_its_output_and_a_bare_environment() {
        let out =
            Call::new("sh").args(["-c", "cat; echo $HOME-$LC_ALL-$X"]).env("X", "y").input(*b"in ").run();
        assert_eq!(String::from_utf8(out.unwrap()).unwrap(), "in -C.UTF-8-y\n");
    }

    #[test]
    fn a_failure_says_what_the_program_said() {
        let mut seen = vec![];
        let call = Call::new("sh").args(["-c", "echo one >&2; echo two >&2; exit 3"]);
        let error = call.run_watched(&mut |line| seen.push(line.to_owned())).unwrap_err().to_string();
        assert!(error.contains("exit status: 3; it said: one | two"), "{error}");
        assert_eq!(seen, ["one", "two"]);
    }

    #[test]
    fn a_program_that_stops_reading_is_judged_by_its_status() {
        assert!(Call::new("true").input(vec![0; 1 << 20]).run().is_ok());
    }

    #[test]
    fn a_program_that_is_missing_is_named_with_its_package() {
        let missing = Call::new("mmdebstrap").cannot_start(io::ErrorKind::NotFound.into());
        assert!(missing.to_string().ends_with("apt-get install mmdebstrap"), "{missing}");
        let error = Call::new("/nonexistent/tool").run().unwrap_err();
        assert!(error.to_string().starts_with("starting /nonexistent/tool"), "{error}");
    }
}
