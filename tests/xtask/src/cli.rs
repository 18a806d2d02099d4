//! The command line of `cargo xtask`. By hand: xtask is compiled before anything else, so it stays small.

use xtask::bench::{BENCHES, CAST, Wish};

/// What `cargo xtask` can do.
pub(crate) const USAGE: &str = "\
Usage: cargo xtask COMMAND

  demo [--cloud] [--keep] [--fresh]
                            build everything, boot a virtual rack, bring two servers up to Active
                            --cloud: four servers instead, and OpenStack on them, proven by using it
                            --keep: leave it up; --fresh: build the images from nothing
  test [--fast | --long]    everything CI runs; --fast: what needs no QEMU
                            --long: every story of the rack, every way in, every moment of a power cut, fuzzing
  fuzz TARGET|boot|all [--seconds N | --runs N]
                            look for inputs that break a parser, a minute each by default;
                            boot: the targets of network boot, which are compiled quickly
  fuzz TARGET FILE          run a target on one input
  prerequisites             install the Debian packages that all of this needs
  bench NAME… [--quick]     measure, ours and its peers in one run; --quick: a look, for CI
                            NAME: boot, dhcp, tftp, http, pack, cast, or all
  bench cast [--quick] [--ours] [--case NAMES] [--rounds N] [--plots]
                            --ours: without the peers, which take most of the time
                            --case: scenarios or families, with commas (s1, s1-loss5, s1-loss5-n24)
                            --rounds: how often each is run, 5 by default
                            --plots: draw them into appliance/docs
  iso [--out FILE.iso] [--test]
                            build the ISO, target/rackwright.iso by default: a live controller with the node images
                            --test: build it twice and compare, boot it in every way, damage it, let a server boot from it

  rack list                 racks that are up
  rack exec -- ARGV…        run a command on the controller of the rack that was kept
  rack console SERVER       its serial console; Ctrl-] leaves
  rack down                 take kept racks down

Examples:
  cargo xtask demo --keep
  cargo xtask demo --cloud
  cargo xtask rack exec -- rackwright status";

/// A parsed command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Prerequisites,
    Demo(Demo),
    Test(Depth),
    Fuzz(Fuzz),
    Bench { names: Vec<String>, wish: Wish },
    Iso(Iso),
    RackList,
    RackExec(Vec<String>),
    RackConsole(String),
    RackDown,
}

/// How much is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// What needs neither images nor QEMU.
    Fast,
    /// What every change has to pass.
    Usual,
    /// All there is.
    Long,
}

/// How the demo is run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Demo {
    /// A cloud on four servers, instead of two servers.
    pub(crate) cloud: bool,
    pub(crate) keep: bool,
    pub(crate) fresh: bool,
}

/// How the ISO is built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Iso {
    /// Where it goes.
    pub(crate) out: Option<String>,
    /// Whether it is tested in every way there is.
    pub(crate) test: bool,
}

/// What is fuzzed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fuzz {
    /// A target's name, or `all`.
    pub(crate) target: String,
    /// Only this file is run.
    pub(crate) input: Option<String>,
    /// How long to look for inputs, for each target.
    pub(crate) limit: Limit,
}

/// How long a target is fuzzed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// So many seconds.
    Seconds(u32),
    /// So many executions.
    Runs(u64),
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Limit::Seconds(seconds) => write!(f, "{seconds} s"),
            Limit::Runs(runs) => write!(f, "{runs} executions"),
        }
    }
}

impl Fuzz {
    /// A minute finds what is shallow; what is deep needs a night.
    const SECONDS: u32 = 60;
    /// As a part of all checks, beside tables and random inputs that run as tests.
    const BRIEFLY: u32 = 6;

    pub(crate) fn of(target: &str) -> Fuzz {
        Fuzz { target: target.to_owned(), input: None, limit: Limit::Seconds(Fuzz::SECONDS) }
    }

    pub(crate) fn briefly(target: &str) -> Fuzz {
        Fuzz { limit: Limit::Seconds(Fuzz::BRIEFLY), ..Fuzz::of(target) }
    }
}

/// Reads the words after `xtask`; the error is for a person.
pub(crate) fn parse(args: &[String]) -> Result<Command, String> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => Err("what shall be done?".to_owned()),
        ["help" | "-h" | "--help"] => Ok(Command::Help),
        ["prerequisites"] => Ok(Command::Prerequisites),
        ["demo", flags @ ..] => {
            let [cloud, keep, fresh] = flags_of(flags, ["--cloud", "--keep", "--fresh"])?;
            Ok(Command::Demo(Demo { cloud, keep, fresh }))
        }
        ["test", flags @ ..] => match flags_of(flags, ["--fast", "--long"])? {
            [false, false] => Ok(Command::Test(Depth::Usual)),
            [true, false] => Ok(Command::Test(Depth::Fast)),
            [false, true] => Ok(Command::Test(Depth::Long)),
            [true, true] => Err("--fast or --long, not both".to_owned()),
        },
        ["fuzz", target] if !target.starts_with('-') => Ok(Command::Fuzz(Fuzz::of(target))),
        ["fuzz", target, "--seconds", number] if !target.starts_with('-') => {
            let seconds = number.parse().ok().filter(|seconds| *seconds > 0);
            let seconds = seconds.ok_or_else(|| format!("{number} is no number of seconds"))?;
            Ok(Command::Fuzz(Fuzz { limit: Limit::Seconds(seconds), ..Fuzz::of(target) }))
        }
        ["fuzz", target, "--runs", number] if !target.starts_with('-') => {
            let runs = number.parse().ok().filter(|runs| *runs > 0);
            let runs = runs.ok_or_else(|| format!("{number} is no number of executions"))?;
            Ok(Command::Fuzz(Fuzz { limit: Limit::Runs(runs), ..Fuzz::of(target) }))
        }
        ["fuzz", target, file]
            if !["all", "boot"].contains(target) && !target.starts_with('-') && !file.starts_with('-') =>
        {
            Ok(Command::Fuzz(Fuzz { input: Some((*file).to_owned()), ..Fuzz::of(target) }))
        }
        ["bench", words @ ..] => bench(words),
        ["iso", flags @ ..] => {
            let (out, flags) = take_value(flags, "--out")?;
            let [test] = flags_of(&flags, ["--test"])?;
            match out.as_deref().filter(|out| !out.ends_with(".iso")) {
                Some(out) => Err(format!("--out {out}: the name of an ISO ends in .iso")),
                None => Ok(Command::Iso(Iso { out, test })),
            }
        }
        ["rack", "list"] => Ok(Command::RackList),
        ["rack", "exec", "--", argv @ ..] if !argv.is_empty() => {
            Ok(Command::RackExec(argv.iter().map(|&word| word.to_owned()).collect()))
        }
        ["rack", "console", server] => Ok(Command::RackConsole((*server).to_owned())),
        ["rack", "down"] => Ok(Command::RackDown),
        other => Err(format!("no such command: {}", other.join(" "))),
    }
}

/// Names first, options after them.
fn bench(words: &[&str]) -> Result<Command, String> {
    let names = words.iter().take_while(|word| !word.starts_with('-')).count();
    let (names, flags) = words.split_at(names);
    let known = || BENCHES.iter().map(|(name, _)| *name).chain(["all"]);
    if let Some(name) = names.iter().find(|name| !known().any(|known| known == **name)) {
        return Err(format!("no such bench: {name}; there are {}", known().collect::<Vec<_>>().join(", ")));
    }
    if names.is_empty() {
        return Err("what shall be measured?".to_owned());
    }
    let wish = if names == [CAST] {
        let (case, flags) = take_value(flags, "--case")?;
        let (rounds, flags) = take_value(&flags, "--rounds")?;
        let count = |text: String| {
            let count = text.parse().ok().filter(|count| *count > 0);
            count.ok_or_else(|| format!("--rounds {text}: not a number of rounds"))
        };
        let rounds = rounds.map(count).transpose()?;
        let [quick, ours, plots] = flags_of(&flags, ["--quick", "--ours", "--plots"])?;
        Wish { quick, ours, case, rounds, plots }
    } else {
        let [quick] = flags_of(flags, ["--quick"])?;
        Wish { quick, ..Wish::default() }
    };
    Ok(Command::Bench { names: names.iter().map(|&name| name.to_owned()).collect(), wish })
}

/// The word after the option `name`, and what else there is.
fn take_value<'a>(flags: &[&'a str], name: &str) -> Result<(Option<String>, Vec<&'a str>), String> {
    let Some(at) = flags.iter().position(|flag| *flag == name) else { return Ok((None, flags.to_vec())) };
    let (before, after) = flags.split_at(at);
    match after {
        [_, value, rest @ ..] if !value.starts_with('-') => {
            Ok((Some((*value).to_owned()), [before, rest].concat()))
        }
        _ => Err(format!("{name} needs a value")),
    }
}

/// Which of `known` are among `flags`; anything else is a mistake.
fn flags_of<const N: usize>(flags: &[&str], known: [&str; N]) -> Result<[bool; N], String> {
    match flags.iter().find(|flag| !known.contains(flag)) {
        Some(flag) => Err(format!("no such option: {flag}")),
        None => Ok(known.map(|name| flags.contains(&name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Command, String> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn what_usage_says_is_understood() {
        let table = [
            ("demo", Command::Demo(Demo::default())),
            ("demo --fresh --keep", Command::Demo(Demo { keep: true, fresh: true, ..Demo::default() })),
            ("demo --keep --cloud", Command::Demo(Demo { cloud: true, keep: true, ..Demo::default() })),
            ("test --fast", Command::Test(Depth::Fast)),
            ("test --long", Command::Test(Depth::Long)),
            ("fuzz all", Command::Fuzz(Fuzz::of("all"))),
            ("fuzz boot --runs 7", Command::Fuzz(Fuzz { limit: Limit::Runs(7), ..Fuzz::of("boot") })),
            (
                "fuzz dhcp-request --seconds 9",
                Command::Fuzz(Fuzz { limit: Limit::Seconds(9), ..Fuzz::of("dhcp-request") }),
            ),
            (
                "fuzz catalog a/file",
                Command::Fuzz(Fuzz { input: Some("a/file".into()), ..Fuzz::of("catalog") }),
            ),
            (
                "bench boot all --quick",
                Command::Bench {
                    names: vec!["boot".into(), "all".into()],
                    wish: Wish { quick: true, ..Wish::default() },
                },
            ),
            (
                "bench cast --quick --case s0,s1-loss5 --plots --rounds 2",
                Command::Bench {
                    names: vec!["cast".into()],
                    wish: Wish {
                        quick: true,
                        ours: false,
                        case: Some("s0,s1-loss5".into()),
                        rounds: Some(2),
                        plots: true,
                    },
                },
            ),
            ("iso", Command::Iso(Iso::default())),
            ("iso --test --out a/b.iso", Command::Iso(Iso { out: Some("a/b.iso".into()), test: true })),
            ("rack exec -- rackwright status", Command::RackExec(vec!["rackwright".into(), "status".into()])),
            ("rack console n1", Command::RackConsole("n1".into())),
        ];
        for (line, wanted) in table {
            assert_eq!(words(line), Ok(wanted), "{line}");
        }
    }

    #[test]
    fn mistakes_are_refused() {
        for line in [
            "",
            "demo --kep",
            "demo cloud",
            "test fast",
            "fuzz",
            "fuzz --seconds 9",
            "fuzz all file",
            "fuzz catalog --seconds 0",
            "fuzz catalog --runs 0",
            "fuzz boot file",
            "bench",
            "bench --quick",
            "bench boat",
            "bench boot --quik",
            "bench boot --case s1",
            "bench cast --case",
            "bench cast --case --quick",
            "bench cast --rounds 0",
            "bench cast --rounds many",
            "rack",
            "rack exec",
            "rack exec --",
            "iso now",
            "iso --out",
            "iso --out b.img",
        ] {
            assert!(words(line).is_err(), "{line}");
        }
    }
}
