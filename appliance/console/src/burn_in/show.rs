//! What the tests of a server have found, for a person.

use fleet::view::{DiskFigures, Fault, Figures, Health, OutlierRow, TestView};

use crate::show::Page;
use crate::table::{Cell, Table};
use crate::terminal::Look;
use crate::text::{ago, bytes, date_and_clock, duration, or_dash};

/// The newest test in full, and when the others were.
pub(crate) fn render_tests(node: &str, tests: &[TestView], look: &Look, now: u64) -> String {
    let mut page = Page::default();
    let Some((newest, older)) = tests.split_first() else {
        page.line(&format!("{node} was never tested."));
        page.next(Some(format!("rackwright node test {node}")));
        return page.into_text();
    };
    page.line(&format!("the test of {} {}", newest.node, verdict(newest)));
    page.pairs(&course(newest, now));
    faults(&mut page, "Errors", &newest.faults, newest.more_faults);
    faults(&mut page, "Worth a look", &newest.remarks, 0);
    if !newest.outliers.is_empty() {
        page.heading("Worse than its like");
        page.table(&outliers(&newest.outliers), look);
    }
    page.heading("Measured");
    page.pairs(&measured(&newest.figures));
    if !newest.figures.disks.is_empty() {
        page.heading("Disks (MB/s at start, middle, end; 4 KiB at random: 50 %, 99 %, all, in us)");
        page.table(&disks(&newest.figures.disks), look);
    }
    if !older.is_empty() {
        page.heading("Before");
        page.table(&before(older, now), look);
    }
    page.next(next(newest));
    page.into_text()
}

/// One line, as in `node show`.
pub(crate) fn summary(test: &TestView, now: u64) -> Vec<(&'static str, String)> {
    let when = test.ended.as_ref().map_or_else(String::new, |at| format!(" ({} ago)", ago(at, now)));
    let mut pairs = vec![("result", format!("{}{when}", test.verdict))];
    pairs.extend(test.why.as_ref().map(|why| ("why", why.clone())));
    pairs.push(("in full", format!("rackwright node test show {}", test.node)));
    pairs
}

fn verdict(test: &TestView) -> String {
    match test.verdict.as_str() {
        "waiting" => "has not begun".to_owned(),
        "running" => {
            format!("runs: {}, {} %", or_dash(test.part.as_deref().unwrap_or_default()), test.percent)
        }
        "passed" => "passed: no error was counted".to_owned(),
        "suspicious" => "passed, and is worth a look: no error was counted".to_owned(),
        "faulty" => "failed: errors were counted".to_owned(),
        "died" => "failed: the server died".to_owned(),
        "stopped" => "was stopped".to_owned(),
        "unable" => "could not be carried out".to_owned(),
        other => other.to_owned(),
    }
}

fn course(test: &TestView, now: u64) -> Vec<(&'static str, String)> {
    let mut pairs = vec![
        ("job", test.job.clone()),
        ("tests", test.parts.join(", ")),
        ("time", format!("{} of {}", duration(test.elapsed_seconds), duration(test.seconds))),
    ];
    let when = |at: &String| format!("{} ({} ago)", date_and_clock(at), ago(at, now));
    pairs.extend(test.started.as_ref().map(|at| ("began", when(at))));
    pairs.extend(test.ended.as_ref().map(|at| ("ended", when(at))));
    pairs.extend(test.why.as_ref().map(|why| ("why", why.clone())));
    pairs
}

fn faults(page: &mut Page, title: &str, faults: &[Fault], more: u64) {
    if faults.is_empty() {
        return;
    }
    page.heading(title);
    for Fault { part, what, count } in faults {
        let times = if *count > 1 { format!(" ({count}x)") } else { String::new() };
        page.line(&format!("  {:<7}  {what}{times}", part.word()));
    }
    if more > 0 {
        page.line(&format!("  and {more} more"));
    }
}

fn outliers(rows: &[OutlierRow]) -> Table {
    let mut table = Table::new(&["PART", "THIS", "MEDIAN", "OF", "WHAT"]);
    for row in rows {
        table.row([
            row.part.clone().into(),
            amount(row.value, &row.unit).into(),
            amount(row.median, &row.unit).into(),
            row.peers.to_string().into(),
            row.what.clone().into(),
        ]);
    }
    table
}

fn amount(value: u64, unit: &str) -> String {
    match unit {
        "bytesPerSecond" => format!("{}/s", bytes(value)),
        "microseconds" => format!("{value} us"),
        "roundsPer1000Seconds" => rounds(value),
        other => format!("{value} {other}"),
    }
}

/// Rounds a second, from rounds in a thousand.
fn rounds(value: u64) -> String {
    format!("{}.{} rounds/s", value / 1000, value % 1000 / 100)
}

fn counted(count: Option<u64>) -> String {
    count.map_or_else(|| "unknown".to_owned(), |count| count.to_string())
}

fn measured(figures: &Figures) -> Vec<(&'static str, String)> {
    let mut pairs = Vec::new();
    if let Some(cpu) = &figures.cpu {
        let (middle, slowest, core) = (rounds(cpu.median), rounds(cpu.slowest), cpu.slowest_core);
        pairs.push(("cores", format!("{}, {middle} in the middle, {slowest} on core {core}", cpu.cores)));
        pairs.push(("computed", format!("{} rounds, each checked", cpu.rounds)));
        pairs.push(("slowed down", format!("{} times because of heat", counted(cpu.throttled))));
        pairs.push(("machine checks", counted(cpu.machine_checks)));
    }
    if let Some(memory) = &figures.memory {
        let (tested, total) = (bytes(memory.tested_bytes), bytes(memory.total_bytes));
        pairs.push(("memory", format!("{tested} of {total}, {} patterns", memory.patterns)));
        pairs.push(("memory rate", format!("{}/s written and read", bytes(memory.rate))));
        let (corrected, uncorrected) = (counted(memory.corrected), counted(memory.uncorrected));
        pairs.push(("memory errors", format!("{corrected} corrected, {uncorrected} not (EDAC)")));
    }
    if let Some(network) = &figures.network {
        let link = network.link_mbit.map_or_else(|| "unknown".to_owned(), |mbit| format!("{mbit} Mb/s"));
        let rate = network.rate.map_or_else(|| "unknown".to_owned(), |rate| format!("{}/s", bytes(rate)));
        pairs.push(("network", format!("{rate} from the controller; link {link}")));
    }
    let celsius = figures.celsius_max.map_or_else(|| "unknown".to_owned(), |hot| format!("{hot} C"));
    pairs.push(("hottest", celsius));
    pairs
}

fn disks(disks: &[DiskFigures]) -> Table {
    let mut table = Table::new(&["DISK", "MB/S", "US", "ERRORS", "HEALTH"]);
    let mega = |rate: Option<u64>| rate.map_or_else(|| "-".to_owned(), |rate| (rate / 1_000_000).to_string());
    let micros = |time: Option<u64>| time.map_or_else(|| "-".to_owned(), |micros| micros.to_string());
    for disk in disks {
        let rates = [disk.start, disk.middle, disk.end].map(mega).join("/");
        let times = [disk.median_micros, disk.p99_micros, disk.max_micros].map(micros).join("/");
        table.row([
            disk.disk.clone().into(),
            rates.into(),
            times.into(),
            disk.errors.to_string().into(),
            health(&disk.health).into(),
        ]);
    }
    table
}

fn health(health: &Health) -> String {
    let Some(well) = health.well else {
        return format!("unknown: {}", or_dash(health.unknown.as_deref().unwrap_or_default()));
    };
    let used = health.used_percent.map(|used| format!(", {used} % used")).unwrap_or_default();
    let hours = health.hours.map(|hours| format!(", {hours} h")).unwrap_or_default();
    format!("{}{used}{hours}", if well { "well" } else { "NOT WELL" })
}

fn before(tests: &[TestView], now: u64) -> Table {
    let mut table = Table::new(&["JOB", "RESULT", "TOOK", "AGE", "TESTS"]);
    for test in tests {
        table.row([
            test.job.clone().into(),
            Cell::state(&test.verdict),
            duration(test.elapsed_seconds).into(),
            ago(&test.created, now).into(),
            test.parts.join(", ").into(),
        ]);
    }
    table
}

fn next(test: &TestView) -> Option<String> {
    let node = &test.node;
    match test.verdict.as_str() {
        "waiting" | "running" => Some(format!("rackwright job watch {}", test.job)),
        "faulty" | "died" => Some(format!("replace what is broken, then: rackwright node test {node}")),
        "unable" | "stopped" => Some(format!("rackwright node test {node}")),
        _ => None,
    }
}
