//! Image delivery as state machines: which piece to compare, fetch, write and read back next, and when a disk may
//! become bootable.
//!
//! Knows pieces by number, byte ranges and time; refuses to know what an image is, where it comes from, what a
//! digest is or how a disk is written. The shell carries out [`Order`]s in any order and as many at once as it is
//! given, and answers each by its [`Ticket`]:
//!
//! ```text
//! let mut receiver = Receiver::new(pieces, Start { seed, begun }, limits)?;
//! loop {
//!     for order in receiver.poll(now) { start it }
//!     match receiver.verdict() { Working => {}, Done(..) | Failed(..) => break }
//!     wait for an answer, at most until receiver.wake();
//!     receiver.on(ticket, outcome, now);
//! }
//! ```
//!
//! A receiver holds nothing that must outlive it: after a crash a new one, given the same pieces, compares what is
//! on the disk and fetches what is not there.

pub mod code;
pub mod gather;
pub mod groups;
mod order;
pub mod plan;
mod pool;
mod progress;
pub mod querier;
mod rate;
mod receiver;
mod retry;
mod scan;
pub mod sender;
mod shares;
mod time;
pub mod wire;

pub use order::{Action, Feed, Heard, Limits, Millis, Offer, Order, Outcome, Piece, Ticket};
pub use progress::{Failure, Left, Phase, Progress, Receipt, Verdict};
pub use rate::Rate;
pub use receiver::{JobError, Receiver, Start};
pub use sender::Sender;
pub use shares::Shares;
pub use time::Micros;
