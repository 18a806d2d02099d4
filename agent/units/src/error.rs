//! How a call can end badly, and the one place where an error of the transport becomes one of ours. Knows the error
//! names systemd and the bus use; refuses to let their types out: the cause is kept, as text to print.

use thiserror::Error;

use crate::{JobOutcome, UnitState};

/// What lies below an error of ours; for logs and `{:#}`-like chains, not for matching.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a call did not do what was asked. `doing` says what that was, e.g. `starting nova-api.service`.
#[derive(Debug, Error)]
pub enum UnitError {
    /// systemd could not be reached, or went away during the call. Whether the request took effect is not known:
    /// read the state, never assume. The next call connects again.
    #[error("{doing}: no connection to systemd")]
    BusLost {
        /// What was being done.
        doing: String,
        /// What the transport said.
        source: Cause,
    },
    /// systemd is there and did not answer in time (two minutes). Whether the request took effect is not known.
    #[error("{doing}: systemd does not answer")]
    NoAnswer {
        /// What was being done.
        doing: String,
    },
    /// There is no such unit on this machine.
    #[error("{doing}: no such unit: {reason}")]
    NoSuchUnit {
        /// What was being done.
        doing: String,
        /// systemd's explanation.
        reason: String,
    },
    /// The unit is masked: somebody decided that it must not start.
    #[error("{doing}: the unit is masked")]
    Masked {
        /// What was being done.
        doing: String,
    },
    /// We are not allowed to. A process that is not root needs a polkit rule for this unit.
    #[error("{doing}: not permitted: {reason}")]
    Denied {
        /// What was being done.
        doing: String,
        /// systemd's explanation.
        reason: String,
    },
    /// systemd said no for any other reason.
    #[error("{doing}: systemd refused ({code}): {reason}")]
    Refused {
        /// What was being done.
        doing: String,
        /// systemd's error name.
        code: String,
        /// systemd's explanation.
        reason: String,
    },
    /// systemd answered something we can't read.
    #[error("{doing}: reading systemd's answer")]
    Unreadable {
        /// What was being done.
        doing: String,
        /// What did not fit.
        source: Cause,
    },
    /// The job ran and did not succeed.
    #[error("{doing}: the job ended as {outcome}, the unit is {}/{} ({})", state.active, state.sub, state.result)]
    Job {
        /// What was being done.
        doing: String,
        /// How the job ended.
        outcome: JobOutcome,
        /// The unit after it.
        state: Box<UnitState>,
    },
    /// The start succeeded for systemd, and yet the unit is not up: it ended at once, or its condition was not met.
    #[error("{doing}: systemd reports success, yet the unit is {}/{} ({})", state.active, state.sub, state.result)]
    NotUp {
        /// What was being done.
        doing: String,
        /// The unit after the settling time.
        state: Box<UnitState>,
    },
    /// The task of that name is still running; wait for it, or stop its unit.
    #[error("{doing}: it is already running")]
    TaskRunning {
        /// What was being done.
        doing: String,
    },
    /// A task must name its program by absolute path.
    #[error("{doing}: the program {program:?} is not an absolute path")]
    TaskProgram {
        /// What was being done.
        doing: String,
        /// What was given.
        program: String,
    },
    /// The journal could not be read.
    #[error("{doing}: running journalctl")]
    Journal {
        /// What was being done.
        doing: String,
        /// What went wrong.
        source: Cause,
    },
}

impl UnitError {
    /// Whether the request may have taken effect although the call failed; then the state must be read again.
    pub fn is_uncertain(&self) -> bool {
        matches!(self, UnitError::BusLost { .. } | UnitError::NoAnswer { .. })
    }

    pub(crate) fn lost(doing: &str, source: impl Into<Cause>) -> Self {
        UnitError::BusLost { doing: doing.to_owned(), source: source.into() }
    }

    pub(crate) fn unreadable(doing: &str, source: impl Into<Cause>) -> Self {
        UnitError::Unreadable { doing: doing.to_owned(), source: source.into() }
    }

    /// Sorts an error of the transport: an answer of systemd, silence, or a broken wire.
    pub(crate) fn from_wire(doing: &str, error: zbus::Error) -> Self {
        if let zbus::Error::MethodError(code, reason, _) = &error {
            return answered(doing, code.as_str(), reason.as_deref().unwrap_or(""));
        }
        if let zbus::Error::InputOutput(source) = &error
            && source.kind() == std::io::ErrorKind::TimedOut
        {
            return UnitError::NoAnswer { doing: doing.to_owned() };
        }
        if matches!(
            error,
            zbus::Error::InputOutput(_) | zbus::Error::Connection(..) | zbus::Error::Handshake(_)
        ) {
            return UnitError::lost(doing, error);
        }
        UnitError::unreadable(doing, error)
    }
}

/// Error names: sd-bus(3) and systemd's bus-common-errors.h.
fn answered(doing: &str, code: &str, reason: &str) -> UnitError {
    let (doing, reason) = (doing.to_owned(), reason.to_owned());
    match code {
        "org.freedesktop.systemd1.NoSuchUnit" | "org.freedesktop.DBus.Error.FileNotFound" => {
            UnitError::NoSuchUnit { doing, reason }
        }
        "org.freedesktop.systemd1.UnitMasked" => UnitError::Masked { doing },
        "org.freedesktop.DBus.Error.AccessDenied"
        | "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired" => {
            UnitError::Denied { doing, reason }
        }
        // systemd fell off the bus, or the bus dropped the call: not an answer of systemd at all.
        "org.freedesktop.DBus.Error.NoReply"
        | "org.freedesktop.DBus.Error.Disconnected"
        | "org.freedesktop.DBus.Error.ServiceUnknown"
        | "org.freedesktop.DBus.Error.NameHasNoOwner" => {
            UnitError::BusLost { doing, source: format!("{code}: {reason}").into() }
        }
        _ => UnitError::Refused { doing, code: code.to_owned(), reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_names_are_sorted() {
        let kind = |code| {
            let error = format!("{:?}", answered("x", code, "why"));
            match error.split(' ').next() {
                Some("NoSuchUnit") => "none",
                Some("Masked") => "masked",
                Some("Denied") => "denied",
                Some("BusLost") => "lost",
                Some("Refused") => "refused",
                _ => panic!("{error}"),
            }
        };
        assert_eq!(kind("org.freedesktop.systemd1.NoSuchUnit"), "none");
        assert_eq!(kind("org.freedesktop.systemd1.UnitMasked"), "masked");
        assert_eq!(kind("org.freedesktop.DBus.Error.AccessDenied"), "denied");
        assert_eq!(kind("org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"), "denied");
        assert_eq!(kind("org.freedesktop.DBus.Error.NoReply"), "lost");
        assert_eq!(kind("org.freedesktop.systemd1.JobTypeNotApplicable"), "refused");
        assert_eq!(kind(""), "refused");
    }
}
