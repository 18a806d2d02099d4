//! Why a call had no answer, or an answer that says no.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Why a call did not succeed. [`CallError::is_refusal`] tells the controller's *no* from trouble on the way.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No TCP connection.
    #[error("connecting to {address}")]
    Connect {
        /// Who was called.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// No TLS session: above all, a server that is not our controller.
    #[error("agreeing on TLS with {address}")]
    Tls {
        /// Who was called.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The connection broke.
    #[error("calling {route}")]
    Http {
        /// What was asked.
        route: String,
        /// What broke.
        source: hyper::Error,
    },
    /// Took too long.
    #[error("calling {route}: no answer within {} s", .after.as_secs())]
    Deadline {
        /// What was asked.
        route: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The controller said no.
    #[error("{route} was refused ({status}): {why}")]
    Refused {
        /// What was asked.
        route: String,
        /// The HTTP status.
        status: u16,
        /// The controller's words.
        why: String,
        /// Whether asking again later may help.
        retry: bool,
        /// Whether a new certificate may.
        renew: bool,
    },
    /// More than is believed.
    #[error("the answer to {route} is longer than {most} bytes")]
    TooLong {
        /// What was asked.
        route: String,
        /// The limit.
        most: usize,
    },
    /// Fewer or other bytes than asked for.
    #[error("the answer to {route} has {got} bytes, {want} were asked for")]
    Short {
        /// What was asked.
        route: String,
        /// How many came.
        got: usize,
        /// How many were asked for.
        want: usize,
    },
    /// Not the JSON of an answer.
    #[error("reading the answer to {route}")]
    Decode {
        /// What was asked.
        route: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The question could not be put into words; never the network's fault.
    #[error("writing the request for {route}")]
    Encode {
        /// What was to be asked.
        route: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl CallError {
    /// The controller understood and said no, for good.
    pub fn is_refusal(&self) -> bool {
        matches!(self, CallError::Refused { retry: false, .. })
    }

    /// The certificate that was shown has ended, and is still good for a new one.
    pub fn wants_renewal(&self) -> bool {
        matches!(self, CallError::Refused { renew: true, .. })
    }

    /// The controller could not be reached, or is not ours: nothing was asked.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, CallError::Connect { .. } | CallError::Tls { .. })
    }

    /// Whether the connection is still in step after this.
    pub(crate) fn keeps_connection(&self) -> bool {
        matches!(self, CallError::Refused { .. } | CallError::Decode { .. })
    }
}
