//! What is to be reported: the state of everything as of now, and the news that must not be lost before the
//! controller has it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::{Answer, Drift, Facts, Hypervisor, Report, TaskReport, UnitReport};
use tokio::sync::Notify;

/// News kept for a controller that is away; the oldest go first.
const DRIFT_MOST: usize = 100;
const ANSWERS_MOST: usize = 16;

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
    drift: VecDeque<(u64, Drift)>,
    answers: VecDeque<(u64, Answer)>,
    done_order: u64,
    hypervisor: Option<Hypervisor>,
    /// Number of the last entry of drift and answers.
    entries: u64,
    /// Everything up to this entry, and this order, was received.
    received: (u64, u64),
}

/// A report, and how much of the ledger it covers.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) report: Report,
    entries: u64,
}

impl Ledger {
    pub(super) fn new(generation: u64, done_order: u64) -> Self {
        let book = Book { generation, done_order, ..Book::default() };
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
    pub(super) fn applying(&self, generation: u64, units: Vec<String>) {
        self.write(|book| {
            book.applying = (generation != book.generation).then_some(generation);
            book.units.retain(|name, _| units.contains(name));
            book.complaints.retain(|name, _| units.contains(name));
            book.order = units;
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
        let report = Report {
            generation: book.generation,
            applying: book.applying,
            boot_id: boot_id.to_owned(),
            units: units.map(|unit| book.with_complaint(unit)).collect(),
            tasks: book.tasks.clone(),
            drift: book.drift.iter().map(|(_, drift)| drift.clone()).collect(),
            answers: book.answers.iter().map(|(_, answer)| answer.clone()).collect(),
            done_order: book.done_order,
            facts,
        };
        Page { report, entries: book.entries }
    }

    /// The page was received.
    pub(super) fn received(&self, page: &Page) {
        let mut book = self.book();
        book.drift.retain(|(entry, _)| *entry > page.entries);
        book.answers.retain(|(entry, _)| *entry > page.entries);
        book.received = (page.entries, page.report.done_order);
        drop(book);
        self.acknowledged.notify_waiters();
    }

    /// Returns when the controller knows that an order was carried out.
    pub(super) async fn until_received(&self, order: u64) {
        loop {
            let told = self.acknowledged.notified();
            if self.book().received.1 >= order {
                return;
            }
            told.await;
        }
    }
}

impl Book {
    /// A unit that is not up carries what our attempt failed with, where systemd's journal may have nothing to say.
    fn with_complaint(&self, unit: &UnitReport) -> UnitReport {
        let mut unit = unit.clone();
        if let Some(complaint) = self.complaints.get(&unit.name)
            && unit.log.is_empty()
        {
            unit.log.clone_from(complaint);
        }
        unit
    }
}
