//! `cargo xtask bench fleet`: a thousand nodes that enrol, are written, come up and report, and a daemon that is killed meanwhile.
//!
//! The daemon is ours as it ships, in a namespace of its own. The nodes are not there (`tests/crowd`), but what they say is: DHCP, and the
//! agent's protocol through the agent's own line. Nobody else does all of this in one program, so there is no peer; the bars are ours.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use super::dhcp::lab::{CLIENT_ADDRESS, Lab, Running, SERVER_ADDRESS, Server};
use super::wire::CLIENTS;
use super::{Report, Row, median};
use crate::cargo::cargo;
use crate::rack::process::{Lifetime, Process};
use crate::{interrupt, place, say};

/// The bars.
const MIB: f64 = 128.0;
const FIRST_ANSWER_SECONDS: f64 = 1.0;
const EXTRA_SECONDS: f64 = 5.0;
/// The daemon is killed this often.
const KILLS: Duration = Duration::from_secs(20);
/// No crowd takes longer.
const LIMIT: Duration = Duration::from_secs(900);
const LOOK: Duration = Duration::from_millis(50);

/// What `crowd live` writes.
#[derive(Debug, Deserialize)]
struct Figures {
    active: u32,
    failed: Vec<String>,
    enrolled: f64,
    imaged: f64,
    jobs: Vec<f64>,
    reports: Vec<f64>,
    known: String,
}

/// What `crowd answer` writes: milliseconds since 1970.
#[derive(Debug, Deserialize)]
struct Answers {
    fresh: u64,
    known: u64,
}

/// Measures, saves, and gives the table. `quick`: a tenth of the nodes, and one restart.
///
/// # Errors
/// A program that can't be built or started; a crowd that does not end.
pub fn run(quick: bool) -> Result<String, Box<dyn Error>> {
    let dir = place::target().join("bench/fleet");
    fs::create_dir_all(&dir)?;
    let programs = ["-p", "appliance", "--bin", "rackwright", "-p", "crowd", "--bin", "crowd"];
    let build = cargo(["build", "--profile", "ship", "--locked"]).args(programs);
    say::step("building the daemon as it ships, and the crowd", || build.show())?;
    let bench = Bench { lab: Lab::up(&dir, place::target().join("ship/rackwright"), None)?, dir };
    let (many, jobs, restarts) = if quick { (100, 20, 1) } else { (1000, 200, 5) };
    let mut rows = bench.company(many, restarts)?;
    rows.extend(bench.killed(jobs, if quick { 30 } else { 60 })?);
    let report = Report::new("fleet", "nodes and daemon on the same two cores", rows);
    report.save()?;
    Ok(report.table())
}

struct Bench {
    lab: Lab,
    dir: PathBuf,
}

impl Bench {
    /// A daemon that knows nothing but the crowd's image.
    fn daemon(&self) -> Result<Running<'_>, Box<dyn Error>> {
        let mut running = self.lab.start(Server::Ours)?;
        let (image, key) =
            (self.dir.join("crowd.rwimage"), running.file("etc/rackwright/image-keys/crowd.pub"));
        let words = ["image", "--out", text(&image)?, "--key", text(&key)?];
        let mut made = self.crowd(&words)?;
        self.wait(&mut made, || Ok(()))?;
        // Keys are read at the start.
        running.again()?;
        ready(&running)?;
        let said = running.ask(&["image", "import", text(&image)?])?;
        if said.status.success() { Ok(running) } else { Err(format!("importing: {}", said.stderr).into()) }
    }

    fn crowd(&self, words: &[&str]) -> Result<Process, Box<dyn Error>> {
        let program = place::target().join("ship/crowd");
        let argv = [text(&program)?].into_iter().chain(words.iter().copied()).collect::<Vec<_>>();
        Ok(Process::start(
            &self.lab.wire.beside_clients(&argv),
            &self.dir.join("crowd.log"),
            Lifetime::WithUs,
        )?)
    }

    /// Stays until it has ended; does `meanwhile` again and again.
    fn wait(
        &self,
        process: &mut Process,
        mut meanwhile: impl FnMut() -> Result<(), Box<dyn Error>>,
    ) -> Result<(), Box<dyn Error>> {
        let begun = Instant::now();
        loop {
            interrupt::check()?;
            match process.ended() {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    return Err(format!(
                        "the crowd ended with {status}: {}",
                        self.dir.join("crowd.log").display()
                    )
                    .into());
                }
                None if begun.elapsed() > LIMIT => {
                    return Err(format!("the crowd is not through after {LIMIT:?}").into());
                }
                None => {}
            }
            meanwhile()?;
            thread::sleep(LOOK);
        }
    }

    /// So many live; the daemon is killed every so often, or never.
    fn live(
        &self,
        running: &mut Running<'_>,
        count: u32,
        [write, steady]: [u32; 2],
        kills: bool,
    ) -> Result<Figures, Box<dyn Error>> {
        let (out, ca) = (self.dir.join("figures.json"), running.file("var/lib/rackwright/ca/site-ca.pem"));
        let socket = running.file("run/rackwright/control.sock");
        let [server, relay] = [SERVER_ADDRESS, CLIENT_ADDRESS].map(|address| address.to_string());
        let [count, write, steady] = [count, write, steady].map(|number| number.to_string());
        let mut process = self.crowd(&[
            "live",
            "--controller",
            &server,
            "--relay",
            &relay,
            "--interface",
            CLIENTS,
            "--ca",
            text(&ca)?,
            "--socket",
            text(&socket)?,
            "--count",
            &count,
            "--write",
            &write,
            "--steady",
            &steady,
            "--out",
            text(&out)?,
        ])?;
        let mut killed = Instant::now();
        self.wait(&mut process, || {
            if kills && killed.elapsed() >= KILLS {
                running.again()?;
                killed = Instant::now();
            }
            Ok(())
        })?;
        let figures: Figures = serde_json::from_slice(&fs::read(&out)?)?;
        figures.failed.iter().for_each(|why| say::line(&format!("    failed: {why}")));
        Ok(figures)
    }

    /// Many at once, and how soon a daemon that knows them answers after a start.
    fn company(&self, count: u32, restarts: u32) -> Result<Vec<Row>, Box<dyn Error>> {
        let mut running = self.daemon()?;
        let mut found = self.live(&mut running, count, [10, 60], false)?;
        let peak = running.peak_mib().into_iter().collect::<Vec<_>>();
        let (mut fresh, mut known) = (Vec::new(), Vec::new());
        for _ in 0..restarts {
            running.kill();
            let out = self.dir.join("answers.json");
            let [server, relay] = [SERVER_ADDRESS, CLIENT_ADDRESS].map(|address| address.to_string());
            let words = [
                "answer",
                "--controller",
                &server,
                "--relay",
                &relay,
                "--known",
                &found.known,
                "--out",
                text(&out)?,
            ];
            let mut asks = self.crowd(&words)?;
            thread::sleep(Duration::from_millis(300));
            let begun = milliseconds()?;
            running.again()?;
            self.wait(&mut asks, || Ok(()))?;
            let answers: Answers = serde_json::from_slice(&fs::read(&out)?)?;
            fresh.push(seconds(answers.fresh, begun));
            known.push(seconds(answers.known, begun));
        }
        let again = running.peak_mib().into_iter().collect::<Vec<_>>();
        let case = format!("{count} nodes");
        let restarted = format!("{case}, the daemon killed and started");
        let p99 = share(&mut found.reports, 0.99) * 1000.0;
        let rows = [
            Row::at_least(&case, "active", "nodes", f64::from(count), &[f64::from(found.active)]),
            Row::shown(&case, "until all are enrolled", "s", &[found.enrolled]),
            Row::shown(&case, "until all are active, 10 s of writing in it", "s", &[found.imaged]),
            Row::shown(&case, "p99 of a report, one each 10 s", "ms", &[p99]),
            Row::at_most(&case, "peak memory", "MiB", MIB, &peak),
            Row::at_most(&restarted, "peak memory", "MiB", MIB, &again),
            Row::at_most(&restarted, "first DHCP answer, lease known", "s", FIRST_ANSWER_SECONDS, &known),
            Row::at_most(&restarted, "first DHCP answer, new server", "s", FIRST_ANSWER_SECONDS, &fresh),
        ];
        Ok(rows.into_iter().flatten().collect())
    }

    /// The same jobs undisturbed, and with a daemon that is killed again and again.
    fn killed(&self, count: u32, write: u32) -> Result<Vec<Row>, Box<dyn Error>> {
        let mut running = self.daemon()?;
        let calm = self.live(&mut running, count, [write, 0], false)?;
        drop(running);
        let mut running = self.daemon()?;
        let mut found = self.live(&mut running, count, [write, 0], true)?;
        let case = format!("{count} jobs of {write} s, the daemon killed every {} s", KILLS.as_secs());
        let usual = median(&calm.jobs).unwrap_or(f64::NAN);
        let slowest = share(&mut found.jobs, 1.0) - usual;
        let extra = median(&found.jobs).map(|seconds| seconds - usual).into_iter().collect::<Vec<_>>();
        let rows = [
            Row::at_least(&case, "done", "jobs", f64::from(count), &[f64::from(found.active)]),
            Row::shown("the same undisturbed", "median of a job", "s", &[usual]),
            Row::at_most(&case, "longer than that, median", "s", EXTRA_SECONDS, &extra),
            Row::at_most(&case, "longer than that, the slowest", "s", EXTRA_SECONDS, &[slowest]),
        ];
        Ok(rows.into_iter().flatten().collect())
    }
}

/// Waits until the daemon answers its own command line.
fn ready(running: &Running<'_>) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    while !running.ask(&["status"])?.status.success() {
        interrupt::check()?;
        if begun.elapsed() > Duration::from_secs(30) {
            return Err(format!("the daemon does not answer; its log ends:\n{}", running.said()).into());
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

fn text(path: &Path) -> Result<&str, Box<dyn Error>> {
    path.to_str().ok_or_else(|| format!("{} is not text", path.display()).into())
}

fn milliseconds() -> Result<u64, Box<dyn Error>> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis().try_into()?)
}

fn seconds(then: u64, begun: u64) -> f64 {
    Duration::from_millis(then.saturating_sub(begun)).as_secs_f64()
}

/// The figure that so great a share is not above.
fn share(figures: &mut [f64], share: f64) -> f64 {
    figures.sort_by(f64::total_cmp);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place among some thousand"
    )]
    let place = (figures.len() as f64 * share).ceil() as usize;
    figures.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
