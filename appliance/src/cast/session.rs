//! One transmission: a thread that carries out what [`cast::Sender`] decides.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::net::SocketAddrV4;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cast::sender::{Burst, Step};
use cast::wire::{Beat, Data, REPORT_BYTES_MAX, Report};
use cast::{Micros, Sender as Decider};

use super::content::Content;
use super::socket::Socket;
use super::tally::Counter;
use super::view::{Listener, Told, View};

/// How long the thread sleeps at most: so soon it hears of a newcomer.
const LONGEST_WAIT: Duration = Duration::from_millis(20);
/// How often what it does is shown.
const SHOW_EVERY: Duration = Duration::from_millis(250);
/// Reports that are read before anything is sent again.
const REPORTS_AT_ONCE: usize = 256;
/// Between packets while somebody looks whether what is sent to all comes to it unasked.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(20);
/// So long somebody may look who was told to: it looks for less than half a second, and may not begin at once.
const LOOKED_AT: Duration = Duration::from_secs(2);

/// What the thread is told.
#[derive(Debug)]
enum Word {
    Join { slot: u32, key: [u8; 32] },
    Leave(u32),
    Rate(u64),
    Look,
}

/// A transmission under way; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Session {
    /// Its number.
    pub(super) number: u64,
    /// Where it is sent from, and reports to.
    pub(super) source: SocketAddrV4,
    words: Option<Sender<Word>>,
    shown: Arc<Mutex<View>>,
    thread: Option<JoinHandle<()>>,
}

impl Session {
    /// Begins; nothing is sent before somebody joins and lacks something.
    ///
    /// # Errors
    /// The kernel's: there is no such interface, or no thread to be had.
    pub(super) fn begin(
        number: u64,
        socket: Socket,
        sender: Decider,
        (content, counter): (Content, Counter),
    ) -> std::io::Result<Self> {
        let source = socket.address()?;
        let (words, told) = channel();
        let shown = Arc::new(Mutex::new(View::default()));
        let run = Run {
            socket,
            sender,
            content,
            counter,
            session: number,
            told,
            keys: BTreeMap::new(),
            begun: Instant::now(),
            shown: Arc::clone(&shown),
            told_refused: 0,
            next: 0,
            sent: Instant::now(),
            looked_at_until: None,
            may_hear: true,
        };
        let thread = std::thread::Builder::new().name("cast".to_owned()).spawn(move || run.run())?;
        Ok(Self { number, source, words: Some(words), shown, thread: Some(thread) })
    }

    /// Somebody listens from now on, and signs reports with this key.
    pub(super) fn join(&self, slot: u32, key: [u8; 32]) {
        self.say(Word::Join { slot, key });
    }

    /// Somebody does not listen any more.
    pub(super) fn leave(&self, slot: u32) {
        self.say(Word::Leave(slot));
    }

    /// From now on at most so many bytes a second go onto the wire.
    pub(super) fn limit(&self, rate: u64) {
        self.say(Word::Rate(rate));
    }

    /// Somebody looks for a while whether what is sent comes to it unasked: something is sent.
    pub(super) fn look(&self) {
        self.say(Word::Look);
    }

    /// Sends no more. Dropping it waits until that is so.
    pub(super) fn stop(&mut self) {
        self.words = None;
    }

    /// Whether nobody lacks anything, for the moment.
    pub(super) fn rests(&self) -> bool {
        lock(&self.shown).rests
    }

    /// Why it has ended, if it has.
    pub(super) fn broken(&self) -> Option<String> {
        lock(&self.shown).broken.clone()
    }

    /// Bytes of data that were sent, as of late.
    pub(super) fn sent_bytes(&self) -> u64 {
        lock(&self.shown).sent_bytes
    }

    /// How somebody listens.
    pub(super) fn listener(&self, slot: u32) -> Option<Listener> {
        lock(&self.shown).listeners.get(&slot).copied()
    }

    fn say(&self, word: Word) {
        if let Some(words) = &self.words {
            // A thread that is gone has said why.
            let _gone = words.send(word);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.words = None;
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// What the thread has.
struct Run {
    socket: Socket,
    sender: Decider,
    content: Content,
    counter: Counter,
    session: u64,
    told: Receiver<Word>,
    keys: BTreeMap<u32, [u8; 32]>,
    begun: Instant,
    shown: Arc<Mutex<View>>,
    told_refused: u64,
    /// The sequence number of the next data packet, when something was sent last, and until when something has to be all the time.
    next: u32,
    sent: Instant,
    looked_at_until: Option<Instant>,
    /// Not when nothing had come a moment ago.
    may_hear: bool,
}

impl Run {
    fn run(mut self) {
        let mut show = Instant::now();
        loop {
            if !self.listen() {
                return;
            }
            self.hear();
            if show.elapsed() >= SHOW_EVERY {
                show = Instant::now();
                self.show(None);
            }
            if let Err(why) = self.go_on() {
                tracing::warn!(session = self.session, why, "a transmission has ended: its listeners fetch");
                return self.show(Some(why));
            }
        }
    }

    fn now(&self) -> Micros {
        Micros(u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Takes what was said; false when it is over.
    fn listen(&mut self) -> bool {
        loop {
            match self.told.try_recv() {
                Ok(Word::Join { slot, key }) => {
                    self.keys.insert(slot, key);
                    let now = self.now();
                    self.sender.join(slot, now);
                }
                Ok(Word::Leave(slot)) => {
                    self.keys.remove(&slot);
                    self.sender.leave(slot);
                }
                Ok(Word::Rate(rate)) => self.sender.limit(rate),
                Ok(Word::Look) => self.looked_at_until = Some(Instant::now() + LOOKED_AT),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Takes the reports that have come, if it was seen or may be that some have.
    fn hear(&mut self) {
        if !std::mem::replace(&mut self.may_hear, true) {
            return;
        }
        let mut buffer = [0; REPORT_BYTES_MAX + 1];
        for _ in 0..REPORTS_AT_ONCE {
            let Some(packet) = self.socket.receive(&mut buffer) else { return };
            let key =
                |session, slot| if session == self.session { self.keys.get(&slot).copied() } else { None };
            let now = self.now();
            match Report::read(packet, key) {
                // One that is ignored is counted by the sender.
                Ok(report) => drop(self.sender.report(&report, now)),
                Err(_) => self.told_refused += 1,
            }
        }
    }

    fn go_on(&mut self) -> Result<(), String> {
        let now = self.now();
        match self.sender.poll(now) {
            Step::Send(burst) => self.send(&burst),
            Step::Beat(beat) => self.put(&beat.packet()),
            Step::Wait(until) => {
                let wait = until.map_or(LONGEST_WAIT, |until| Duration::from_micros(until.since(now).0));
                self.wait(wait.min(LONGEST_WAIT))
            }
        }
    }

    /// Waits for a report; while somebody looks, not without a word for long.
    fn wait(&mut self, most: Duration) -> Result<(), String> {
        let now = Instant::now();
        if self.looked_at_until.is_none_or(|until| until < now) {
            return self.wait_for_packet(most);
        }
        let left = LOOKED_AT_EVERY.saturating_sub(now.saturating_duration_since(self.sent));
        if left.is_zero() {
            // Nobody is to answer: it says nothing new.
            return self.put(&Beat { session: self.session, next: self.next, asks: false }.packet());
        }
        self.wait_for_packet(most.min(left))
    }

    fn wait_for_packet(&mut self, most: Duration) -> Result<(), String> {
        self.may_hear = self.socket.wait_for_packet(most).map_err(|error| error.to_string())?;
        Ok(())
    }

    fn put(&mut self, packet: &[u8]) -> Result<(), String> {
        self.sent = Instant::now();
        self.socket.send_one(&[IoSlice::new(packet)]).map_err(|error| error.to_string())?;
        self.count(packet.len());
        Ok(())
    }

    fn send(&mut self, burst: &Burst) -> Result<(), String> {
        let first = Data {
            session: self.session,
            group: burst.group,
            symbols: burst.of,
            symbol: burst.symbols.start,
            sequence: burst.sequence,
            asks: burst.asks,
        };
        let packets = self.content.packets(first, burst.symbols.clone());
        let packets = packets.map_err(|error| crate::chain(&error))?;
        self.sent = Instant::now();
        self.next = burst.sequence.wrapping_add(u32::from(burst.symbols.end - burst.symbols.start));
        let bytes = packets.iter().map(|part| part.len()).sum();
        self.socket.send(&packets).map_err(|error| error.to_string())?;
        self.count(bytes);
        Ok(())
    }

    fn count(&self, bytes: usize) {
        self.counter.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn show(&self, broken: Option<String>) {
        *lock(&self.shown) = View::of(&self.sender, Told { refused: self.told_refused, broken });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
