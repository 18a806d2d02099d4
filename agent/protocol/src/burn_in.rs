//! Stage *deploy*: a server's hardware is put under load, and what is found and measured is told. Nothing is written to any disk.
//!
//! ```text
//! TestJob -> TestReport, again and again, each with everything so far -> the last one says that it is over -> asks for work
//! ```
//! Each report stands for itself, so that a server that dies under load leaves behind what it had found, and while doing what.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::bounds::{count, texts};
use crate::{DISKS_MAX, JobId, TooMuch};

/// Faults that a report names, at most; those beyond are counted.
pub const FAULTS_MAX: usize = 64;
/// The longest test, in seconds: a week.
pub const TEST_SECONDS_MAX: u64 = 7 * 86_400;

/// What of a server is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Every core computes, and every result is checked.
    Cpu,
    /// Memory is filled with patterns and read back.
    Memory,
    /// Disks are read, and never written.
    Disk,
    /// Bytes are fetched from the controller.
    Network,
}

impl Part {
    /// All of them, in the order in which they are tested.
    pub const ALL: [Part; 4] = [Part::Cpu, Part::Memory, Part::Disk, Part::Network];

    /// As it is told.
    pub fn word(self) -> &'static str {
        match self {
            Part::Cpu => "cpu",
            Part::Memory => "memory",
            Part::Disk => "disk",
            Part::Network => "network",
        }
    }
}

impl std::str::FromStr for Part {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Part::ALL.into_iter().find(|part| part.word() == word).ok_or("it is cpu, memory, disk or network")
    }
}

/// A test of a server, and nothing left to decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestJob {
    /// The job.
    pub job: JobId,
    /// What is tested; not empty.
    pub parts: BTreeSet<Part>,
    /// How long all of them take together, about.
    pub seconds: u64,
    /// What random patterns and places are drawn from.
    pub seed: u64,
}

/// What is found and measured so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestReport {
    /// The job.
    pub job: JobId,
    /// What is tested now.
    pub part: Option<Part>,
    /// Since it began, by the node's clock.
    pub milliseconds: u64,
    /// All parts are done: nothing more comes.
    pub over: bool,
    /// Every error that was counted.
    pub faults: Vec<Fault>,
    /// Faults that there was no room for.
    #[serde(default)]
    pub more_faults: u64,
    /// What is no error, and worth a look: a core that was throttled, a drive that has used up its life.
    #[serde(default)]
    pub remarks: Vec<Fault>,
    /// What was measured.
    pub figures: Figures,
    /// Why it can't go on, when it can't: of the agent, not of the hardware.
    #[serde(default)]
    pub unable: Option<String>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// With what.
    pub part: Part,
    /// Which core, which byte, which sector, and what is wrong with it.
    pub what: String,
    /// How often.
    pub count: u64,
}

/// What was measured. What is absent was not measured, or can't be known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// Processors.
    #[serde(default)]
    pub cpu: Option<CpuFigures>,
    /// Memory.
    #[serde(default)]
    pub memory: Option<MemoryFigures>,
    /// Every disk that was read.
    #[serde(default)]
    pub disks: Vec<DiskFigures>,
    /// The way to the controller.
    #[serde(default)]
    pub network: Option<NetworkFigures>,
    /// The hottest that any sensor was, in degrees Celsius.
    #[serde(default)]
    pub celsius_max: Option<i32>,
}

/// What processors can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CpuFigures {
    /// Threads that computed.
    pub cores: u32,
    /// Rounds that were computed and checked, by all.
    pub rounds: u64,
    /// Rounds in a thousand seconds, of the core in the middle.
    pub median: u64,
    /// The same of the slowest one.
    pub slowest: u64,
    /// Which that is.
    pub slowest_core: u32,
    /// How often a core was slowed down because of heat; none: the kernel does not count that here.
    pub throttled: Option<u64>,
    /// Machine checks; none: the kernel does not count them here.
    pub machine_checks: Option<u64>,
}

/// What memory can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryFigures {
    /// Bytes that were tested; the rest was in use.
    pub tested_bytes: u64,
    /// Bytes that the server has.
    pub total_bytes: u64,
    /// Patterns that were written to all of that, and read back.
    pub patterns: u64,
    /// Bytes written and read in a second, by all cores together.
    pub rate: u64,
    /// Errors that the hardware has corrected; none: nobody counts (EDAC).
    pub corrected: Option<u64>,
    /// Errors that it could not correct.
    pub uncorrected: Option<u64>,
}

/// What a disk can do, read only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskFigures {
    /// By WWN or serial; of one that has neither, the kernel's name.
    pub disk: String,
    /// Its model.
    pub model: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Bytes that were read.
    pub read_bytes: u64,
    /// Bytes a second where it starts, reading one after the other.
    pub start: Option<u64>,
    /// In its middle.
    pub middle: Option<u64>,
    /// At its end.
    pub end: Option<u64>,
    /// Blocks of 4 KiB that were read at random places.
    pub random_reads: u64,
    /// How long half of them took at most, in microseconds.
    pub median_micros: Option<u64>,
    /// 99 of 100.
    pub p99_micros: Option<u64>,
    /// All of them.
    pub max_micros: Option<u64>,
    /// Reads that failed.
    pub errors: u64,
    /// What the drive says of itself.
    pub health: Health,
}

/// What a drive says of itself; what is absent it does not say, or nobody can ask.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Whether it says that it is well.
    pub well: Option<bool>,
    /// Percent of its life that are used up; may be more than 100.
    pub used_percent: Option<u32>,
    /// Errors of its medium in its life.
    pub media_errors: Option<u64>,
    /// Hours that it ran.
    pub hours: Option<u64>,
    /// Degrees Celsius.
    pub celsius: Option<i32>,
    /// Why nothing is known, when nothing is.
    pub unknown: Option<String>,
}

/// What the network between node and controller can do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkFigures {
    /// The interface, by the kernel's name.
    pub interface: String,
    /// Bytes that were fetched.
    pub bytes: u64,
    /// Bytes a second; none: nothing could be fetched.
    pub rate: Option<u64>,
    /// Megabits a second that the link says it has.
    pub link_mbit: Option<u64>,
    /// Whether it sends and receives at once.
    pub full_duplex: Option<bool>,
    /// Why there is no rate, when there is none.
    pub unknown: Option<String>,
}

impl TestReport {
    /// Nothing is found yet.
    pub fn begin(job: JobId) -> Self {
        Self {
            job,
            part: None,
            milliseconds: 0,
            over: false,
            faults: Vec::new(),
            more_faults: 0,
            remarks: Vec::new(),
            figures: Figures::default(),
            unable: None,
        }
    }

    /// Whether every list and every text stays within bounds.
    ///
    /// # Errors
    /// The first thing that does not.
    pub fn check(&self) -> Result<(), TooMuch> {
        count("faults", self.faults.len(), FAULTS_MAX)?;
        count("remarks", self.remarks.len(), FAULTS_MAX)?;
        count("disks", self.figures.disks.len(), DISKS_MAX)?;
        texts("a fault", self.faults.iter().chain(&self.remarks).map(|fault| &fault.what))?;
        let disks = &self.figures.disks;
        texts("a text of a disk", disks.iter().flat_map(|disk| [&disk.disk, &disk.model]))?;
        texts("what a disk says", disks.iter().filter_map(|disk| disk.health.unknown.as_ref()))?;
        let network = self.figures.network.as_ref();
        texts("a text of a NIC", network.map(|network| &network.interface))?;
        texts("what the network says", network.and_then(|network| network.unknown.as_ref()))?;
        texts("why a test can't go on", self.unable.as_ref())
    }

    /// Notes a fault; of one that was named already, that it was seen again.
    pub fn fault(&mut self, part: Part, what: &str, count: u64) {
        match note(&mut self.faults, part, what, count) {
            true => {}
            false => self.more_faults = self.more_faults.saturating_add(count),
        }
    }

    /// Notes what is no error.
    pub fn remark(&mut self, part: Part, what: &str, count: u64) {
        note(&mut self.remarks, part, what, count);
    }

    /// How many faults there are, named or not.
    pub fn fault_count(&self) -> u64 {
        self.faults.iter().map(|fault| fault.count).fold(self.more_faults, u64::saturating_add)
    }
}

/// Whether there was room for it.
fn note(list: &mut Vec<Fault>, part: Part, what: &str, count: u64) -> bool {
    if let Some(same) = list.iter_mut().find(|fault| fault.part == part && fault.what == what) {
        same.count = same.count.saturating_add(count);
        return true;
    }
    let has_room = list.len() < FAULTS_MAX;
    if has_room {
        list.push(Fault { part, what: what.to_owned(), count });
    }
    has_room
}

#[cfg(test)]
mod tests {
    use super::{DiskFigures, FAULTS_MAX, Fault, Figures, NetworkFigures, Part, TestReport};
    use crate::{DISKS_MAX, JobId, TEXT_BYTES_MAX, TooMuch};

    fn nothing() -> TestReport {
        TestReport::begin(JobId([5; 8]))
    }

    #[test]
    fn faults_are_named_once_and_counted_beyond_the_room() {
        let mut report = nothing();
        for at in 0..FAULTS_MAX + 2 {
            report.fault(Part::Memory, &format!("byte {at}"), 1);
            report.fault(Part::Memory, "byte 0", 1);
        }
        assert_eq!((report.faults.len(), report.more_faults), (FAULTS_MAX, 2));
        assert_eq!(report.faults[0].count, 1 + 66);
        assert_eq!(report.fault_count(), 2 * (FAULTS_MAX as u64 + 2));
        report.check().unwrap();
    }

    #[test]
    fn what_a_node_tells_of_a_test_is_bounded() {
        let long = || "x".repeat(TEXT_BYTES_MAX + 1);
        let fault = |what: String| Fault { part: Part::Cpu, what, count: 1 };
        let figures = |disks, network| Figures { disks, network, ..Figures::default() };
        let disk = DiskFigures::default();
        let network = NetworkFigures { interface: long(), ..NetworkFigures::default() };
        let table = [
            TestReport { faults: vec![fault(String::new()); FAULTS_MAX + 1], ..nothing() },
            TestReport { remarks: vec![fault(String::new()); FAULTS_MAX + 1], ..nothing() },
            TestReport { faults: vec![fault(long())], ..nothing() },
            TestReport { remarks: vec![fault(long())], ..nothing() },
            TestReport { unable: Some(long()), ..nothing() },
            TestReport { figures: figures(vec![disk.clone(); DISKS_MAX + 1], None), ..nothing() },
            TestReport { figures: figures(vec![DiskFigures { model: long(), ..disk }], None), ..nothing() },
            TestReport { figures: figures(Vec::new(), Some(network)), ..nothing() },
        ];
        for (at, report) in table.iter().enumerate() {
            let told = report.check();
            assert!(matches!(told, Err(TooMuch::Count { .. } | TooMuch::Text { .. })), "{at}: {told:?}");
        }
        let most = TestReport {
            faults: vec![fault(String::new()); FAULTS_MAX],
            figures: figures(vec![DiskFigures::default(); DISKS_MAX], None),
            ..nothing()
        };
        most.check().unwrap();
        assert!(serde_json::to_vec(&most).unwrap().len() < 128 << 10, "it fits in a request");
    }

    /// What an older controller has kept, and what an older agent says.
    #[test]
    fn what_was_not_there_yet_is_absent() {
        let text = r#"{"job":"0505050505050505","part":"memory","milliseconds":7,"over":false,"faults":[],"figures":{}}"#;
        let report = serde_json::from_str::<TestReport>(text).unwrap();
        assert_eq!((report.part, report.milliseconds), (Some(Part::Memory), 7));
        assert!(report.figures.cpu.is_none() && report.unable.is_none());
        serde_json::from_str::<TestReport>(&text.replace("\"over\"", "\"other\"")).unwrap_err();
    }
}
