//! What is to be reported: the state of everything as of now, and the news that must not be lost before the
//! controller has it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::{
    Answer, Drift, Facts, Hypervisor, Report, ServiceHealth, ServiceReport, StateDocument, TaskReport,
    UnitReport,
};
use tokio::sync::Notify;
use units::UnitState;

use crate::clock;

/// News kept for a controller that is away; the oldest go first.
const DRIFT_MOST: usize = 100;
const ANSWERS_MOST: usize = 16;
/// Of what a unit or a task said.
pub(super) const LOG_BYTES: usize = 8 << 10;
/// Room for answers in one report; the controller takes a mebibyte in all.
const PAGE_BYTES: usize = 200 << 10;

/// The ledger. Every entry wakes the reporter.
#[derive(Debug)]
pub(super) struct Ledger {
    book: Mutex<Book>,
    bell: Notify,
    acknowledged: Notify,
}

#[derive(Debug, Default)]
struct Book {
    generation: u64,
    applying: Option<u64>,
    /// In the order of the document.
    order: Vec<String>,
    units: BTreeMap<String, UnitReport>,
    /// What the last attempt on a unit failed with, and what the unit itself said.
    complaints: BTreeMap<String, Vec<String>>,
    tasks: Vec<TaskReport>,
    /// In the order of the document.
    services: Vec<ServiceReport>,
    drift: VecDeque<(u64, Drift)>,
    answers: VecDeque<(u64, Answer)>,
    done_order: u64,
    hypervisor: Option<Hypervisor>,
    /// Number of the last entry of drift and answers.
    entries: u64,
    /// The controller knows that this order was carried out.
    received: u64,
}

/// A report, and how much of the ledger it covers.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) report: Report,
    drift: u64,
    answers: u64,
}

impl Ledger {
    /// An empty one: nothing is called true before it was looked at in this life of the agent.
    pub(super) fn new(done_order: u64) -> Self {
        let book = Book { done_order, received: done_order, ..Book::default() };
        Self { book: Mutex::new(book), bell: Notify::new(), acknowledged: Notify::new() }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, entry: impl FnOnce(&mut Book)) {
        entry(&mut self.book());
        self.bell.notify_one();
    }

    /// Returns when there is something new since the last call.
    pub(super) async fn news(&self) {
        self.bell.notified().await;
    }

    /// Wakes the reporter though nothing changed here: the last report was not received.
    pub(super) fn again(&self) {
        self.bell.notify_one();
    }

    /// A document begins to be made true.
    pub(super) fn applying(&self, document: &StateDocument) {
        let units = document.units.iter().map(|unit| unit.name.clone()).collect::<Vec<_>>();
        self.write(|book| {
            book.applying = (document.generation != book.generation).then_some(document.generation);
            book.units.retain(|name, _| units.contains(name));
            book.complaints.retain(|name, _| units.contains(name));
            book.order = units;
            let known = std::mem::take(&mut book.services);
            let known = |name: &str| known.iter().find(|known| known.name == name).cloned();
            book.services = document.services.iter().filter_map(|service| known(&service.name)).collect();
        });
    }

    /// A document has been gone through, tasks and all.
    pub(super) fn applied(&self, generation: u64, tasks: Vec<TaskReport>) {
        self.write(|book| {
            book.generation = generation;
            book.applying = None;
            book.tasks = tasks;
        });
    }

    /// One task of the document that is being made true.
    pub(super) fn task(&self, task: TaskReport) {
        self.write(|book| {
            book.tasks.retain(|known| known.name != task.name);
            book.tasks.push(task);
        });
    }

    /// One unit, as it is now.
    pub(super) fn unit(&self, unit: UnitReport) {
        self.write(|book| {
            if unit.active == "active" {
                book.complaints.remove(&unit.name);
            }
            book.units.insert(unit.name.clone(), unit);
        });
    }

    /// One unit, unless its state was told by the guard, who is never behind.
    pub(super) fn unit_unless_known(&self, state: &UnitState) {
        if !self.book().units.contains_key(state.name.as_str()) {
            self.unit(unit_report(state, Vec::new()));
        }
    }

    /// A unit that can't be one, because of its name.
    pub(super) fn unknown(&self, name: &str, why: String) {
        self.unit(UnitReport {
            name: name.to_owned(),
            load: "bad-name".to_owned(),
            active: "failed".to_owned(),
            sub: "bad-name".to_owned(),
            result: String::new(),
            since_ms: 0,
            log: vec![why],
        });
    }

    /// One service, as the conductor finds it.
    pub(super) fn service(&self, name: &str, health: ServiceHealth) {
        let mut book = self.book();
        let known = book.services.iter_mut().find(|known| known.name == name);
        match known {
            Some(known) if known.health == health => return,
            Some(known) => (known.health, known.since_ms) = (health, clock::now_ms()),
            None => {
                book.services.push(ServiceReport { name: name.to_owned(), health, since_ms: clock::now_ms() })
            }
        }
        drop(book);
        self.bell.notify_one();
    }

    /// One service, as a look at it in passing finds it, unless somebody else has told of it meanwhile.
    pub(super) fn seen(&self, name: &str, before: &ServiceHealth, now: ServiceHealth) {
        let mut book = self.book();
        let known = book.services.iter_mut().find(|known| known.name == name && known.health == *before);
        let Some(known) = known.filter(|known| known.health != now) else { return };
        (known.health, known.since_ms) = (now, clock::now_ms());
        drop(book);
        self.bell.notify_one();
    }

    /// How a service is, as far as it was looked at.
    pub(super) fn health(&self, name: &str) -> Option<ServiceHealth> {
        let book = self.book();
        book.services.iter().find(|known| known.name == name).map(|known| known.health.clone())
    }

    /// What an attempt on a unit failed with; `None` when it did not.
    pub(super) fn complaint(&self, unit: &str, complaint: Option<Vec<String>>) {
        self.write(|book| match complaint {
            Some(lines) => drop(book.complaints.insert(unit.to_owned(), lines)),
            None => drop(book.complaints.remove(unit)),
        });
    }

    /// Something that was changed behind our back.
    pub(super) fn drift(&self, drift: Drift) {
        self.write(|book| {
            book.entries += 1;
            book.drift.push_back((book.entries, drift));
            let surplus = book.drift.len().saturating_sub(DRIFT_MOST);
            book.drift.drain(..surplus);
        });
    }

    /// An order was carried out; its answer, where it has one.
    pub(super) fn order_done(&self, order: u64, answer: Option<Answer>) {
        self.write(|book| {
            book.done_order = book.done_order.max(order);
            if let Some(answer) = answer {
                book.entries += 1;
                book.answers.push_back((book.entries, answer));
                let surplus = book.answers.len().saturating_sub(ANSWERS_MOST);
                book.answers.drain(..surplus);
            }
        });
    }

    /// What libvirt says; told when it changed.
    #[cfg_attr(not(feature = "libvirt"), expect(dead_code, reason = "there is nobody to ask"))]
    pub(super) fn hypervisor(&self, hypervisor: Option<Hypervisor>) {
        if self.book().hypervisor != hypervisor {
            self.write(|book| book.hypervisor = hypervisor);
        }
    }

    /// Everything there is to tell; the facts are all but the hypervisor's.
    pub(super) fn page(&self, boot_id: &str, facts: Facts) -> Page {
        let book = self.book();
        let facts = Facts { hypervisor: book.hypervisor.clone(), ..facts };
        let units = book.order.iter().filter_map(|name| book.units.get(name));
        let answers = book.answers_of_a_page();
        let answered = answers.last().map_or(0, |(entry, _)| *entry);
        let report = Report {
            generation: book.generation,
            applying: book.applying,
            boot_id: boot_id.to_owned(),
            units: units.map(|unit| book.with_complaint(unit)).collect(),
            tasks: book.tasks.clone(),
            drift: book.drift.iter().map(|(_, drift)| drift.clone()).collect(),
            answers: answers.into_iter().map(|(_, answer)| answer.clone()).collect(),
            done_order: book.done_order,
            facts,
            services: book.services.clone(),
        };
        Page { report, drift: book.entries, answers: answered }
    }

    /// The page was received.
    pub(super) fn received(&self, page: &Page) {
        let mut book = self.book();
        book.drift.retain(|(entry, _)| *entry > page.drift);
        book.answers.retain(|(entry, _)| *entry > page.answers);
        book.received = page.report.done_order;
        let more = !book.answers.is_empty();
        drop(book);
        if more {
            self.again();
        }
        self.acknowledged.notify_waiters();
    }

    /// Returns when the controller knows that an order was carried out.
    pub(super) async fn until_received(&self, order: u64) {
        loop {
            let told = self.acknowledged.notified();
            if self.book().received >= order {
                return;
            }
            told.await;
        }
    }
}

impl Book {
    /// As many answers, oldest first, as a report has room for; at least one.
    fn answers_of_a_page(&self) -> Vec<&(u64, Answer)> {
        let mut room = PAGE_BYTES;
        let mut page = Vec::new();
        for entry in &self.answers {
            let bytes = entry.1.lines.iter().map(String::len).sum::<usize>();
            if !page.is_empty() && bytes > room {
                break;
            }
            room = room.saturating_sub(bytes);
            page.push(entry);
        }
        page
    }

    /// A unit that is not up carries what our attempt failed with, where systemd's journal may have nothing to say.
    fn with_complaint(&self, unit: &UnitReport) -> UnitReport {
        let mut unit = unit.clone();
        if let Some(complaint) = self.complaints.get(&unit.name)
            && unit.log.is_empty()
        {
            unit.log = last_bytes(complaint.clone(), LOG_BYTES);
        }
        unit
    }
}

/// What systemd says, as it is reported.
pub(super) fn unit_report(state: &UnitState, log: Vec<String>) -> UnitReport {
    UnitReport {
        name: state.name.to_string(),
        load: state.load.clone(),
        active: state.active.to_string(),
        sub: state.sub.clone(),
        result: state.result.clone(),
        since_ms: state.since_usec / 1000,
        log: last_bytes(log, LOG_BYTES),
    }
}

/// The last lines, as many as fit into so many bytes.
pub(super) fn last_bytes(mut lines: Vec<String>, most: usize) -> Vec<String> {
    let mut bytes = 0;
    let fits = lines.iter().rev().take_while(|line| {
        bytes += line.len() + 1;
        bytes <= most
    });
    let from = lines.len() - fits.count();
    lines.split_off(from)
}

#[cfg(test)]
mod tests {
    use protocol::{Answer, Drift, Facts, StateDocument, UnitReport, UnitWanted};

    use super::{ANSWERS_MOST, DRIFT_MOST, Ledger, PAGE_BYTES, last_bytes};

    fn unit(name: &str, active: &str) -> UnitReport {
        let word = String::new;
        UnitReport {
            name: name.into(),
            load: word(),
            active: active.into(),
            sub: word(),
            result: word(),
            since_ms: 0,
            log: Vec::new(),
        }
    }

    fn document(generation: u64, units: &[&str]) -> StateDocument {
        let wanted = |name: &&str| UnitWanted {
            name: (*name).into(),
            enabled: true,
            running: true,
            restarts: 0,
            packages: Vec::new(),
        };
        StateDocument { generation, units: units.iter().map(wanted).collect(), ..StateDocument::default() }
    }

    fn drift(what: &str) -> Drift {
        Drift { what: what.into(), found: String::new(), done: String::new() }
    }

    #[test]
    fn news_stay_until_they_are_received() {
        let ledger = Ledger::new(0);
        ledger.drift(drift("a"));
        let first = ledger.page("boot", Facts::default());
        ledger.drift(drift("b"));
        assert_eq!(first.report.drift, [drift("a")]);
        let second = ledger.page("boot", Facts::default());
        assert_eq!(second.report.drift, [drift("a"), drift("b")], "the first was lost on the way");
        ledger.drift(drift("c"));
        ledger.received(&second);
        assert_eq!(ledger.page("boot", Facts::default()).report.drift, [drift("c")]);
        for n in 0..=DRIFT_MOST {
            ledger.drift(drift(&n.to_string()));
        }
        let kept = ledger.page("boot", Facts::default()).report.drift;
        assert_eq!((kept.len(), kept[0].what.as_str()), (DRIFT_MOST, "1"), "the oldest go first");
    }

    #[test]
    fn answers_fill_a_report_and_wait_for_the_next() {
        let ledger = Ledger::new(0);
        let long = Answer { order: 0, lines: vec!["x".repeat(PAGE_BYTES * 3 / 4)], error: None };
        for order in 1..=3 {
            ledger.order_done(order, Some(Answer { order, ..long.clone() }));
        }
        for order in 1..=3 {
            let page = ledger.page("boot", Facts::default());
            let orders = page.report.answers.iter().map(|answer| answer.order).collect::<Vec<_>>();
            assert_eq!((orders, page.report.done_order), (vec![order], 3));
            ledger.received(&page);
        }
        assert!(ledger.page("boot", Facts::default()).report.answers.is_empty());
        for order in 4..100 {
            ledger.order_done(order, Some(Answer { order, lines: Vec::new(), error: None }));
        }
        assert_eq!(ledger.page("boot", Facts::default()).report.answers.len(), ANSWERS_MOST);
    }

    #[test]
    fn nothing_is_true_before_it_was_gone_through() {
        let ledger = Ledger::new(7);
        let page = || ledger.page("boot", Facts::default()).report;
        assert_eq!((page().generation, page().applying, page().done_order), (0, None, 7));
        ledger.applying(&document(3, &["b.service", "a.service"]));
        ledger.unit(unit("a.service", "active"));
        ledger.unit(unit("b.service", "inactive"));
        ledger.unit(unit("gone.service", "active"));
        ledger.complaint("b.service", Some(vec!["why".into()]));
        assert_eq!((page().generation, page().applying), (0, Some(3)));
        let names = page().units.iter().map(|unit| unit.name.clone()).collect::<Vec<_>>();
        assert_eq!(names, ["b.service", "a.service"], "in the order of the document");
        assert_eq!(page().units[0].log, ["why"]);
        ledger.applied(3, Vec::new());
        assert_eq!((page().generation, page().applying), (3, None));
        ledger.unit(unit("b.service", "active"));
        assert!(page().units[0].log.is_empty(), "it is up: nothing to complain about");
    }

    #[test]
    fn the_last_lines_that_fit() {
        let lines = || ["aa", "bb", "cc"].map(str::to_owned).to_vec();
        for (most, want) in [(0, 0), (2, 0), (3, 1), (5, 1), (6, 2), (9, 3), (99, 3)] {
            let kept = last_bytes(lines(), most);
            assert_eq!(kept, lines()[3 - want..], "{most}");
        }
        assert!(last_bytes(Vec::new(), 5).is_empty());
    }
}
