//! A thread that hears a transmission: it puts symbols where they belong, makes up for lost ones, checks what is complete, and says
//! what is lacking.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cast::Micros;
use cast::code::Decoder;
use cast::gather::{Counters, Gather, Heard, Limits};
use cast::groups::{Group, Groups};
use cast::wire::{self, Data, SYMBOL_BYTES};
use pack::Manifest;
use protocol::{Hearing, Seat};
use tokio::sync::mpsc;

use super::socket::Socket;
use crate::deploy::imaging::ranges::{Range, Ranges};

/// After so long without a packet the group is joined again: a sender who has nothing to say says so more often.
const UNHEARD: Duration = Duration::from_millis(400);

/// A group that is complete.
#[derive(Debug)]
pub(in crate::deploy::imaging) enum Came {
    /// Its pieces are right.
    Whole {
        /// Which.
        group: u32,
        /// The stored bytes of each piece, by window.
        pieces: Vec<(u32, Bytes)>,
    },
    /// They are not what the manifest says.
    Spoilt(u32),
}

/// What the thread is told.
#[derive(Debug)]
pub(super) enum Word {
    /// These are needed.
    Need(Vec<u32>),
    /// These are not, or not any more.
    Drop(Vec<u32>),
}

/// The image, as it is transmitted.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) manifest: Arc<Manifest>,
    pub(super) groups: Arc<Groups>,
    /// Bytes of groups that are not complete.
    pub(super) open_bytes: u64,
    pub(super) memory: Ranges,
}

/// The thread. It leaves the group when this is dropped, a moment later.
#[derive(Debug)]
pub(super) struct Listener {
    words: Sender<Word>,
    heard: Arc<Mutex<Ear>>,
}

/// What it has heard so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ear {
    counters: Counters,
    /// Packets that were none.
    malformed: u64,
    /// Stored bytes of groups that were right.
    bytes: u64,
    /// When anything of the transmission last came.
    pub(super) last: Option<Instant>,
}

impl Ear {
    /// The same in the protocol's words.
    pub(super) fn hearing(&self) -> Hearing {
        let Counters { kept, unneeded, repeated, no_room, foreign, spoilt, .. } = self.counters;
        let useless = unneeded + repeated + no_room;
        Hearing {
            received: kept + useless,
            useless,
            refused: foreign + self.malformed,
            spoilt,
            bytes: self.bytes,
            ..Hearing::default()
        }
    }
}

impl Listener {
    /// Begins to listen.
    ///
    /// # Errors
    /// The kernel's: no such network, no thread to be had.
    pub(super) fn begin(
        seat: &Seat,
        local: Ipv4Addr,
        subject: Subject,
        tell: mpsc::Sender<Came>,
    ) -> io::Result<Self> {
        let socket = Socket::open(seat, local)?;
        let (words, told) = channel();
        let heard = Arc::new(Mutex::new(Ear::default()));
        let limits = Limits { open_bytes: subject.open_bytes };
        let run = Run {
            gather: Gather::new(&subject.groups, seat.session, seat.slot, limits),
            key: seat.key.0,
            subject,
            open: BTreeMap::new(),
            decoder: Decoder::new(),
            told,
            tell,
            begun: Instant::now(),
            heard: Arc::clone(&heard),
            ear: Ear::default(),
        };
        std::thread::Builder::new().name("cast".to_owned()).spawn(move || run.run(socket))?;
        Ok(Self { words, heard })
    }

    /// Tells the thread.
    pub(super) fn say(&self, word: Word) {
        // A thread that is gone hears nothing either: that is noticed.
        let _gone = self.words.send(word);
    }

    /// What it has heard so far.
    pub(super) fn ear(&self) -> Ear {
        *lock(&self.heard)
    }
}

/// A group that is being collected.
#[derive(Debug)]
struct Open {
    data: Range,
    repairs: BTreeMap<u16, Box<[u8; SYMBOL_BYTES]>>,
}

/// What the thread has.
struct Run {
    gather: Gather,
    key: [u8; 32],
    subject: Subject,
    open: BTreeMap<u32, Open>,
    decoder: Decoder,
    told: Receiver<Word>,
    tell: mpsc::Sender<Came>,
    begun: Instant,
    heard: Arc<Mutex<Ear>>,
    ear: Ear,
}

impl Run {
    fn run(mut self, mut socket: Socket) {
        let mut joined = self.begun;
        while self.listen() {
            let heard = self.ear.last.unwrap_or(self.begun).max(joined);
            if heard.elapsed() >= UNHEARD {
                socket.join_again();
                joined = Instant::now();
            }
            let Ok(packets) = socket.receive() else { return };
            let mut complete = Vec::new();
            self.gather.tick(self.now());
            for packet in packets {
                self.hear(packet, &mut complete);
            }
            // Before the lost symbols are made up for: the sender waits for this.
            while let Some(report) = self.gather.report(self.now()) {
                socket.send(&report.packet(&self.key));
            }
            for (group, missing) in complete {
                // Nobody takes it any more: the job has ended.
                if self.complete(group, &missing).is_some_and(|came| self.tell.blocking_send(came).is_err()) {
                    return;
                }
            }
            self.ear.counters = self.gather.counters();
            *lock(&self.heard) = self.ear;
        }
    }

    fn now(&self) -> Micros {
        Micros(u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Takes what was said; false when it is over.
    fn listen(&mut self) -> bool {
        loop {
            match self.told.try_recv() {
                Ok(Word::Need(groups)) => groups.into_iter().for_each(|group| self.gather.need(group)),
                Ok(Word::Drop(groups)) => {
                    for group in groups {
                        self.gather.drop_need(group);
                        self.open.remove(&group);
                    }
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn hear(&mut self, packet: &[u8], complete: &mut Vec<(u32, Vec<u16>)>) {
        match wire::hear(packet) {
            Ok(wire::Heard::Data(data, symbol)) => self.data(&data, symbol, complete),
            Ok(wire::Heard::Beat(beat)) => {
                if self.gather.beat(&beat) {
                    self.ear.last = Some(Instant::now());
                }
            }
            Err(_) => self.ear.malformed += 1,
        }
    }

    /// `complete`: groups that are, and which symbols of theirs were lost.
    fn data(&mut self, data: &Data, symbol: &[u8; SYMBOL_BYTES], complete: &mut Vec<(u32, Vec<u16>)>) {
        match self.gather.data(data) {
            Heard::Foreign => return,
            Heard::Useless => {}
            Heard::Kept => self.keep(data, symbol),
            Heard::Complete(missing) => {
                self.keep(data, symbol);
                complete.push((data.group, missing));
            }
        }
        self.ear.last = Some(Instant::now());
    }

    fn keep(&mut self, data: &Data, symbol: &[u8; SYMBOL_BYTES]) {
        let memory = &self.subject.memory;
        let open = self.open.entry(data.group).or_insert_with(|| Open {
            data: memory.take(usize::from(data.symbols) * SYMBOL_BYTES),
            repairs: BTreeMap::new(),
        });
        match data.symbol.checked_sub(data.symbols) {
            None => {
                let at = usize::from(data.symbol) * SYMBOL_BYTES;
                if let Some(place) = open.data.get_mut(at..at + SYMBOL_BYTES) {
                    place.copy_from_slice(symbol);
                }
            }
            Some(repair) => drop(open.repairs.insert(repair, Box::new(*symbol))),
        }
    }

    /// Makes up for what is lost, and compares each piece with its digest.
    fn complete(&mut self, number: u32, missing: &[u16]) -> Option<Came> {
        let Open { mut data, repairs } = self.open.remove(&number)?;
        let group = self.subject.groups.get(number)?;
        let repairs = repairs.iter().map(|(symbol, bytes)| (*symbol, &bytes[..]));
        let decoded = missing.is_empty() || self.decoder.decode(&mut data, missing, repairs).is_ok();
        let pieces = if decoded { pieces(&self.subject.manifest, group, data) } else { None };
        let Some(pieces) = pieces else {
            self.gather.spoilt(number);
            return Some(Came::Spoilt(number));
        };
        self.ear.bytes += u64::from(group.bytes);
        Some(Came::Whole { group: number, pieces })
    }
}

/// The pieces of a group; none when one of them is not what the manifest says.
fn pieces(manifest: &Manifest, group: &Group, data: Range) -> Option<Vec<(u32, Bytes)>> {
    let data = Bytes::from_owner(data);
    let chunks = manifest.chunks().get(group.pieces.clone())?;
    let stored = chunks.iter().filter(|chunk| chunk.stored > 0);
    let cut = stored.map(|chunk| {
        let at = usize::try_from(chunk.offset.checked_sub(group.offset)?).ok()?;
        let end = at.checked_add(usize::try_from(chunk.stored).ok()?)?;
        chunk.check_stored(data.get(at..end)?).ok()?;
        Some((chunk.window, data.slice(at..end)))
    });
    cut.collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
