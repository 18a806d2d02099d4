//! Every core computes the same, again and again, and what it should come to is known: a core that computes wrong is named.
//!
//! Three kinds of work, because cores fail in parts: vectors (BLAKE3), floating point (matrices), integers (products, quotients,
//! rotations). All of it is exact on every machine (IEEE 754, no fused operations), so that the answers can stand here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use protocol::{CpuFigures, Part};
use rustix::thread::CpuSet;

use super::course::{Course, Until, mixed};

/// Different rounds that there are.
const ROUNDS: u64 = 16;
/// [`fingerprint`] of all rounds, as it is on a machine that computes right.
const KNOWN: u64 = 0xe628_1334_a4c4_d720;
/// A table that is wrong is computed again so often: the core that did it may be the broken one.
const TRIES: usize = 3;
const SIDE: usize = 40;
const STEPS: u64 = 20_000;
const BYTES: usize = 32 << 10;

/// What one round comes to, by kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Results {
    /// BLAKE3 of many bytes.
    pub vectors: u64,
    /// A product of matrices.
    pub floating: u64,
    /// A chain of integers.
    pub integers: u64,
}

/// Something that computes rounds.
pub trait Arithmetic: Sync {
    /// This round, on this core.
    fn compute(&self, core: usize, round: u64) -> Results;
}

/// The processor itself.
#[derive(Clone, Copy, Debug)]
pub struct Silicon;

impl Arithmetic for Silicon {
    fn compute(&self, _core: usize, round: u64) -> Results {
        let round = std::hint::black_box(round);
        Results { vectors: vectors(round), floating: floating(round), integers: integers(round) }
    }
}

fn vectors(round: u64) -> u64 {
    let words = (0..BYTES as u64 / 8).flat_map(|at| mixed(round << 32 | at).to_le_bytes());
    let hash = blake3::hash(&words.collect::<Vec<_>>());
    hash.as_bytes()
        .chunks_exact(8)
        .fold(0, |sum, part| sum ^ u64::from_le_bytes(part.try_into().unwrap_or_default()))
}

fn floating(round: u64) -> u64 {
    let cell = |which: u64, at: usize| {
        let word = mixed(round << 40 | which << 32 | at as u64);
        f64::from(u32::try_from(word >> 32).unwrap_or_default()) / 4_294_967_296.0
    };
    let left = (0..SIDE * SIDE).map(|at| cell(1, at)).collect::<Vec<_>>();
    // By columns: both are walked in order.
    let right = (0..SIDE * SIDE).map(|at| cell(2, at)).collect::<Vec<_>>();
    let mut sum = 0_u64;
    for row in left.chunks_exact(SIDE) {
        for column in right.chunks_exact(SIDE) {
            let dot = row.iter().zip(column).fold(0.0, |sum, (a, b)| sum + a * b);
            let value = (dot / (1.0 + dot)).sqrt() - 0.25;
            sum = sum.rotate_left(7) ^ value.to_bits();
        }
    }
    sum
}

fn integers(round: u64) -> u64 {
    let mut value = mixed(round) | 1;
    for step in 1..=STEPS {
        let wide = u128::from(value) * u128::from(mixed(step));
        let high = u64::try_from(wide >> 64).unwrap_or_default();
        let low = value.wrapping_mul(mixed(step));
        value = (high ^ low).rotate_left(u32::try_from(value & 63).unwrap_or_default());
        value = value.wrapping_add(low / (high | 1)) ^ (low % (step | 1));
    }
    value
}

fn table(arithmetic: &impl Arithmetic, core: usize) -> Vec<Results> {
    (0..ROUNDS).map(|round| arithmetic.compute(core, round)).collect()
}

fn fingerprint(table: &[Results]) -> u64 {
    table.iter().fold(0, |sum, results| {
        let Results { vectors, floating, integers } = results;
        [*vectors, *floating, *integers].iter().fold(sum, |sum, word| mixed(sum ^ word))
    })
}

/// What one core has done.
#[derive(Debug, Default)]
struct Tally {
    rounds: AtomicU64,
    /// Rounds in a thousand seconds, when it was done.
    pace: AtomicU64,
}

/// Keeps every core busy for so long, and checks each result.
pub fn run(course: &Course, arithmetic: &impl Arithmetic, time: Duration) {
    let until = course.until(time);
    let cores = cores();
    let Some(table) = reference(course, arithmetic, &cores) else { return };
    let tallies = cores.iter().map(|core| (*core, Tally::default())).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        for (core, tally) in &tallies {
            let table = &table;
            scope.spawn(move || {
                settle_on(*core);
                burn(course, arithmetic, (*core, tally), table, until);
            });
        }
    });
    course.with(|report| report.figures.cpu = Some(figures(&tallies)));
}

/// The processors that this may run on; the first is there always.
pub(super) fn cores() -> Vec<usize> {
    let allowed = rustix::thread::sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
    let cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect::<Vec<_>>();
    if cores.is_empty() { vec![0] } else { cores }
}

/// This thread runs on that core alone, and after whoever has something to tell.
pub(super) fn settle_on(core: usize) {
    let mut only = CpuSet::new();
    only.set(core);
    // A thread that is somewhere else is load all the same.
    let _anywhere = rustix::thread::sched_setaffinity(None, &only);
    let _as_before = rustix::process::nice(5);
}

/// What is right: one of the cores comes to the known answers. None: not one does, and that is the finding.
fn reference(course: &Course, arithmetic: &impl Arithmetic, cores: &[usize]) -> Option<Vec<Results>> {
    for core in cores.iter().cycle().take(TRIES.max(cores.len())) {
        let found = std::thread::scope(|scope| {
            let computed = scope.spawn(|| {
                settle_on(*core);
                table(arithmetic, *core)
            });
            computed.join().unwrap_or_default()
        });
        if fingerprint(&found) == KNOWN {
            return Some(found);
        }
        course.fault(Part::Cpu, &format!("core {core} computes wrong before it is under load"), 1);
    }
    None
}

fn burn(
    course: &Course,
    arithmetic: &impl Arithmetic,
    (core, tally): (usize, &Tally),
    table: &[Results],
    until: Until<'_>,
) {
    let began = Instant::now();
    let mut done = 0_u64;
    for (round, right) in (0..).zip(table).cycle() {
        let found = arithmetic.compute(core, round);
        done += 1;
        tally.rounds.store(done, Ordering::Relaxed);
        if found != *right {
            course.fault(Part::Cpu, &format!("core {core} computes wrong: {}", kinds(found, *right)), 1);
        }
        if !until.goes_on() {
            break;
        }
    }
    let micros = began.elapsed().as_micros().max(1);
    let pace = u128::from(done) * 1_000_000_000 / micros;
    tally.pace.store(u64::try_from(pace).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// In which kinds of work two results differ.
fn kinds(found: Results, right: Results) -> String {
    let kinds = [
        (found.vectors != right.vectors, "vectors"),
        (found.floating != right.floating, "floating point"),
        (found.integers != right.integers, "integers"),
    ];
    kinds.iter().filter(|(differs, _)| *differs).map(|(_, kind)| *kind).collect::<Vec<_>>().join(", ")
}

fn figures(tallies: &[(usize, Tally)]) -> CpuFigures {
    let mut paces =
        tallies.iter().map(|(core, tally)| (tally.pace.load(Ordering::Relaxed), *core)).collect::<Vec<_>>();
    paces.sort_unstable();
    let (slowest, core) = paces.first().copied().unwrap_or_default();
    CpuFigures {
        cores: u32::try_from(tallies.len()).unwrap_or(u32::MAX),
        rounds: tallies.iter().map(|(_, tally)| tally.rounds.load(Ordering::Relaxed)).sum(),
        median: paces.get(paces.len() / 2).map(|(pace, _)| *pace).unwrap_or_default(),
        slowest,
        slowest_core: u32::try_from(core).unwrap_or(u32::MAX),
        throttled: None,
        machine_checks: None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Arithmetic, KNOWN, Results, Silicon, cores, fingerprint, run, table};
    use crate::deploy::burn_in::course::Course;
    use protocol::{JobId, Part, TestJob};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    fn course() -> Course {
        Course::begin(&TestJob { job: JobId([1; 8]), parts: [Part::Cpu].into(), seconds: 1, seed: 7 })
    }

    /// This machine computes right: the answers in the source are those of any machine.
    #[test]
    fn the_known_answers() {
        assert_eq!(fingerprint(&table(&Silicon, 0)), KNOWN, "{:#x}", fingerprint(&table(&Silicon, 0)));
    }

    #[test]
    fn a_machine_that_computes_right_has_no_fault_and_a_figure_for_every_core() {
        let course = course();
        run(&course, &Silicon, Duration::from_millis(300));
        let report = course.so_far();
        assert_eq!(report.faults, []);
        let figures = report.figures.cpu.unwrap();
        assert_eq!(figures.cores as usize, cores().len());
        assert!(
            figures.rounds > 0 && figures.slowest > 0 && figures.median >= figures.slowest,
            "{figures:?}"
        );
    }

    /// One core whose floating point is wrong now and then.
    struct Bent<'a> {
        course: &'a Course,
        core: usize,
        computed: AtomicU64,
        every: u64,
    }

    impl Arithmetic for Bent<'_> {
        fn compute(&self, core: usize, round: u64) -> Results {
            let mut results = Silicon.compute(core, round);
            let turn = if core == self.core { self.computed.fetch_add(1, Ordering::Relaxed) + 1 } else { 1 };
            if turn.is_multiple_of(self.every) {
                results.floating ^= 1 << 33;
                // That was it: nothing here waits for a clock.
                self.course.stop();
            }
            results
        }
    }

    #[test]
    fn a_core_that_computes_wrong_once_in_a_while_is_named() {
        let (course, last) = (course(), *cores().last().unwrap());
        // Not within the rounds of the table.
        let bent = Bent { course: &course, core: last, computed: AtomicU64::new(0), every: 18 };
        run(&course, &bent, Duration::from_secs(120));
        let report = course.so_far();
        let [fault] = report.faults.as_slice() else { panic!("{:?}", report.faults) };
        assert_eq!(
            (fault.part, fault.what.as_str()),
            (Part::Cpu, &*format!("core {last} computes wrong: floating point"))
        );
        assert!(fault.count >= 1);
    }

    #[test]
    fn where_no_core_knows_the_answer_that_is_the_finding() {
        struct Broken;
        impl Arithmetic for Broken {
            fn compute(&self, core: usize, round: u64) -> Results {
                Results { integers: 0, ..Silicon.compute(core, round) }
            }
        }
        let course = course();
        run(&course, &Broken, Duration::from_secs(60));
        let report = course.so_far();
        assert!(report.fault_count() >= 3 && report.figures.cpu.is_none(), "{report:?}");
    }

    #[test]
    fn it_ends_when_it_is_told_to() {
        let course = course();
        course.stop();
        let began = std::time::Instant::now();
        run(&course, &Silicon, Duration::from_secs(600));
        assert!(began.elapsed() < Duration::from_secs(60));
    }
}
