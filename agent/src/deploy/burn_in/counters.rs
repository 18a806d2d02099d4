//! What the kernel counts of its hardware, before a part of the test and after it: machine checks, corrected and uncorrected
//! memory errors (EDAC), cores that were slowed down because of heat, errors of network cards, temperatures.
//!
//! What is not there is not known, which is another thing than none.

use std::collections::BTreeMap;
use std::path::Path;

use protocol::Part;

use super::course::Course;
use crate::inventory;
use crate::inventory::read;

/// What network cards count that says cable, plug or card; what is dropped because nobody was fast enough is none of it.
const NIC_ERRORS: [&str; 5] =
    ["rx_crc_errors", "rx_frame_errors", "rx_length_errors", "tx_carrier_errors", "tx_heartbeat_errors"];
/// How a change of a card's link is told.
const LINK: &str = "its link went away or came back";
/// Sensors that say so are broken.
const CELSIUS: std::ops::RangeInclusive<i64> = -40..=150;
/// From here on it is worth a look, in degrees Celsius.
const HOT: i32 = 95;

/// What was counted so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Machine checks, of all cores.
    machine_checks: Option<u64>,
    /// Times that a core or package was slowed down.
    throttled: Option<u64>,
    /// Corrected and uncorrected errors of each part of memory that EDAC knows.
    memory: BTreeMap<String, (u64, u64)>,
    /// Errors by card and kind.
    cards: BTreeMap<String, u64>,
}

impl Counters {
    /// Reads them all. `root` is `/`, or a test's tree.
    pub fn read(root: &Path) -> Self {
        Self {
            machine_checks: interrupts(&read::text(root, "proc/interrupts"), "MCE"),
            throttled: throttled(root),
            memory: memory(root),
            cards: cards(root),
        }
    }

    /// Reads them again, after a part: what has grown is told, and counts from here on.
    pub fn compare(&mut self, root: &Path, part: Part, course: &Course) {
        let now = Self::read(root);
        let grown = |after: Option<u64>, before: Option<u64>| {
            after.map(|after| after.saturating_sub(before.unwrap_or(0)))
        };
        let checks = grown(now.machine_checks, self.machine_checks);
        let throttled = grown(now.throttled, self.throttled);
        if let Some(checks) = checks.filter(|count| *count > 0) {
            course.fault(part, "machine checks: the processor reports errors of the hardware", checks);
        }
        if let Some(times) = throttled.filter(|count| *count > 0) {
            course.remark(part, "cores were slowed down because of heat", times);
        }
        for (card, errors) in &now.cards {
            let more = errors.saturating_sub(self.cards.get(card).copied().unwrap_or(*errors));
            if more > 0 && card.ends_with(LINK) {
                // Somebody may have pulled a cable.
                course.remark(part, card, more);
            } else if more > 0 {
                course.fault(part, card, more);
            }
        }
        let more = self.more_of_memory(&now, part, course);
        let celsius = celsius(root);
        if celsius.is_some_and(|celsius| celsius >= HOT) {
            course.remark(part, &format!("a sensor says {} degrees Celsius", celsius.unwrap_or(0)), 1);
        }
        course.with(|report| {
            let figures = &mut report.figures;
            figures.celsius_max = figures.celsius_max.max(celsius);
            if let Some(cpu) = figures.cpu.as_mut() {
                cpu.throttled = sum(cpu.throttled, throttled);
                cpu.machine_checks = sum(cpu.machine_checks, checks);
            }
            if let (Some(memory), Some((corrected, uncorrected))) = (figures.memory.as_mut(), more) {
                memory.corrected = sum(memory.corrected, Some(corrected));
                memory.uncorrected = sum(memory.uncorrected, Some(uncorrected));
            }
        });
        *self = now;
    }

    /// What EDAC has counted since, all together; none where it counts nothing.
    fn more_of_memory(&self, now: &Self, part: Part, course: &Course) -> Option<(u64, u64)> {
        let mut all = (!now.memory.is_empty()).then_some((0, 0));
        for (label, (corrected, uncorrected)) in &now.memory {
            let before = self.memory.get(label).copied().unwrap_or((*corrected, *uncorrected));
            let more = (corrected.saturating_sub(before.0), uncorrected.saturating_sub(before.1));
            if more.0 > 0 {
                course.fault(part, &format!("{label}: memory errors that were corrected"), more.0);
            }
            if more.1 > 0 {
                course.fault(part, &format!("{label}: memory errors that could not be corrected"), more.1);
            }
            all = all.map(|all| (all.0 + more.0, all.1 + more.1));
        }
        all
    }
}

fn sum(so_far: Option<u64>, more: Option<u64>) -> Option<u64> {
    match (so_far, more) {
        (Some(a), Some(b)) => Some(a.saturating_add(b)),
        (a, b) => a.or(b),
    }
}

/// The sum of a line of `/proc/interrupts`, over all cores; none when there is no such line.
pub fn interrupts(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(':'))?;
    let counts = line.split_ascii_whitespace().map_while(|word| word.parse::<u64>().ok());
    Some(counts.fold(0, u64::saturating_add))
}

fn throttled(root: &Path) -> Option<u64> {
    let cores = "sys/devices/system/cpu";
    let is_core = |name: &&String| name.strip_prefix("cpu").is_some_and(|rest| rest.parse::<u32>().is_ok());
    let names = read::names(root, cores);
    // All cores of a package count its throttling: the cores' own counts are enough.
    let at = |core: &String| format!("{cores}/{core}/thermal_throttle/core_throttle_count");
    let counts = names.iter().filter(is_core).filter_map(|core| read::number::<u64>(root, &at(core)));
    counts.reduce(u64::saturating_add)
}

fn memory(root: &Path) -> BTreeMap<String, (u64, u64)> {
    let all = "sys/devices/system/edac/mc";
    let mut found = BTreeMap::new();
    for controller in read::names(root, all).iter().filter(|name| name.starts_with("mc")) {
        let within = format!("{all}/{controller}");
        let dimms = read::names(root, &within);
        for dimm in dimms.iter().filter(|name| name.starts_with("dimm") || name.starts_with("rank")) {
            let number = |file: &str| read::number::<u64>(root, &format!("{within}/{dimm}/{file}"));
            let label = read::name(root, &format!("{within}/{dimm}/dimm_label"));
            // Boards exist that call all their modules the same.
            let place = format!("{controller} {dimm}");
            let label = if label.is_empty() { place } else { format!("{label} ({place})") };
            if let (Some(corrected), Some(uncorrected)) = (number("dimm_ce_count"), number("dimm_ue_count")) {
                found.insert(label, (corrected, uncorrected));
            }
        }
        let number = |file: &str| read::number::<u64>(root, &format!("{within}/{file}"));
        // What can't be given to a module.
        if let (Some(corrected), Some(uncorrected)) = (number("ce_noinfo_count"), number("ue_noinfo_count")) {
            found.insert(format!("memory controller {controller}"), (corrected, uncorrected));
        }
    }
    found
}

fn cards(root: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for nic in inventory::nics(root) {
        let at = |file: &str| format!("sys/class/net/{}/{file}", nic.name);
        for kind in NIC_ERRORS {
            if let Some(errors) = read::number::<u64>(root, &at(&format!("statistics/{kind}"))) {
                found.insert(format!("{}: {kind}", nic.name), errors);
            }
        }
        if let Some(changes) = read::number::<u64>(root, &at("carrier_changes")) {
            found.insert(format!("{}: {LINK}", nic.name), changes);
        }
    }
    found
}

/// The hottest sensor, in degrees Celsius.
fn celsius(root: &Path) -> Option<i32> {
    let mut hottest = None;
    for chip in read::names(root, "sys/class/hwmon") {
        let within = format!("sys/class/hwmon/{chip}");
        let inputs = read::names(root, &within);
        let inputs = inputs.iter().filter(|name| name.starts_with("temp") && name.ends_with("_input"));
        let all = inputs.filter_map(|file| read::number::<i64>(root, &format!("{within}/{file}")));
        let sane = all.map(|milli| milli / 1000).filter(|celsius| CELSIUS.contains(celsius));
        hottest = hottest.max(sane.filter_map(|celsius| i32::try_from(celsius).ok()).max());
    }
    hottest
}

#[cfg(test)]
mod tests {
    use super::{Counters, interrupts};
    use crate::deploy::burn_in::course::Course;
    use protocol::{CpuFigures, JobId, MemoryFigures, Part, TestJob};
    use std::path::Path;

    const MC: &str = "sys/devices/system/edac/mc/mc0";

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn machine() -> tempfile::TempDir {
        let root = tempfile::TempDir::new().unwrap();
        let put = |path: &str, text: &str| put(root.path(), path, text);
        put("proc/interrupts", "    CPU0 CPU1\n MCE:  1  2   Machine check exceptions\n MCP: 9 9 polls\n");
        put(&format!("{MC}/dimm0/dimm_label"), "P1_DIMM_A1\n");
        put(&format!("{MC}/dimm0/dimm_ce_count"), "7\n");
        put(&format!("{MC}/dimm0/dimm_ue_count"), "0\n");
        put("sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "5\n");
        put("sys/devices/system/cpu/cpufreq/x", "");
        put("sys/class/hwmon/hwmon0/temp1_input", "41000\n");
        put("sys/class/hwmon/hwmon0/temp2_input", "99999999\n");
        put("sys/class/net/eth0/type", "1\n");
        put("sys/class/net/eth0/address", "52:54:00:00:00:01\n");
        put("sys/class/net/eth0/device/x", "");
        put("sys/class/net/eth0/statistics/rx_crc_errors", "3\n");
        put("sys/class/net/eth0/carrier_changes", "2\n");
        root
    }

    fn course() -> Course {
        Course::begin(&TestJob { job: JobId([1; 8]), parts: [Part::Memory].into(), seconds: 1, seed: 7 })
    }

    #[test]
    fn what_was_counted_before_is_no_fault_and_what_has_grown_is() {
        let (root, course) = (machine(), course());
        let mut counters = Counters::read(root.path());
        course.with(|report| {
            report.figures.cpu = Some(CpuFigures::default());
            report.figures.memory = Some(MemoryFigures::default());
        });
        counters.compare(root.path(), Part::Cpu, &course);
        let report = course.so_far();
        assert_eq!((report.faults.len(), report.remarks.len()), (0, 0), "{report:?}");
        assert_eq!(report.figures.celsius_max, Some(41));
        assert_eq!(report.figures.cpu.unwrap().machine_checks, Some(0), "counted, and none");
        assert_eq!(report.figures.memory.unwrap().corrected, Some(0));

        put(root.path(), &format!("{MC}/dimm0/dimm_ce_count"), "9\n");
        put(root.path(), "sys/class/net/eth0/statistics/rx_crc_errors", "4\n");
        put(root.path(), "sys/class/net/eth0/carrier_changes", "4\n");
        put(root.path(), "proc/interrupts", " MCE:  1  5   Machine check exceptions\n");
        put(root.path(), "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "8\n");
        put(root.path(), "sys/class/hwmon/hwmon0/temp1_input", "97000\n");
        counters.compare(root.path(), Part::Memory, &course);
        let report = course.so_far();
        let told = report.faults.iter().map(|fault| (fault.what.as_str(), fault.count)).collect::<Vec<_>>();
        assert_eq!(
            told,
            [
                ("machine checks: the processor reports errors of the hardware", 3),
                ("eth0: rx_crc_errors", 1),
                ("P1_DIMM_A1 (mc0 dimm0): memory errors that were corrected", 2),
            ]
        );
        assert_eq!(report.remarks.len(), 3, "{:?}", report.remarks);
        assert_eq!(report.figures.memory.unwrap().corrected, Some(2));
        // And once only.
        counters.compare(root.path(), Part::Memory, &course);
        assert_eq!(course.so_far().fault_count(), 6);
    }

    #[test]
    fn where_nothing_is_counted_nothing_is_known() {
        let (root, course) = (tempfile::TempDir::new().unwrap(), course());
        course.with(|report| {
            report.figures.cpu = Some(CpuFigures::default());
            report.figures.memory = Some(MemoryFigures::default());
        });
        let mut counters = Counters::read(root.path());
        counters.compare(root.path(), Part::Cpu, &course);
        let figures = course.so_far().figures;
        assert_eq!((figures.cpu.unwrap().machine_checks, figures.cpu.unwrap().throttled), (None, None));
        assert_eq!((figures.memory.unwrap().corrected, figures.celsius_max), (None, None));
    }

    #[test]
    fn interrupts_of_any_text() {
        let table = [
            (" MCE:  1  2  Machine check exceptions 7\n", Some(3)),
            ("MCE:\n", Some(0)),
            ("MCE: 18446744073709551615 5 x\n", Some(u64::MAX)),
            ("MCE: -1\n", Some(0)),
            ("MCEX: 1\nXMCE: 1\n", None),
            ("", None),
        ];
        for (text, want) in table {
            assert_eq!(interrupts(text, "MCE"), want, "{text:?}");
        }
    }
}
