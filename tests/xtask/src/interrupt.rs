//! Ctrl-C and SIGTERM as a flag.
//!
//! Knows that somebody asked us to stop. Refuses to know what is running: everything that waits asks
//! [`requested`], returns an error, and the ordinary unwinding tears the rack down.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Somebody asked the harness to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted: stopping and cleaning up")]
pub struct Interrupted;

fn flag() -> &'static Arc<AtomicBool> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    FLAG.get_or_init(Arc::default)
}

/// From here on SIGINT, SIGTERM and SIGHUP only set the flag; a second one of the same kind ends the
/// process at once with exit code 130 (children die with it, the next start sweeps the rest).
pub fn watch() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // Order matters: the shutdown looks at the flag before the second action sets it.
            let hard = signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(flag()));
            let soft = signal_hook::flag::register(signal, Arc::clone(flag()));
            if hard.and(soft).is_err() {
                eprintln!("warning: signal {signal} can't be caught; an interrupt may leave a rack for the next start");
            }
        }
    });
}

/// True once a stop was asked for.
#[must_use]
pub fn requested() -> bool {
    flag().load(Ordering::Relaxed)
}

/// For loops that wait: `interrupt::check()?`.
///
/// # Errors
/// [`Interrupted`] once a stop was asked for.
pub fn check() -> Result<(), Interrupted> {
    if requested() { Err(Interrupted) } else { Ok(()) }
}
