//! The controller, as the agent sees it: one address, one pinned CA, calls that carry JSON.
//!
//! Knows TLS 1.3 and HTTP/1.1, how long a call may take and how big an answer may be. Refuses to know what is said.
//!
//! ```text
//! Controller (who, and with which certificate) -> Line (one connection, opened when needed, reused) -> call / get / put
//! ```

mod connection;
mod error;
mod line;
mod pin;
mod tls;

pub use connection::{Connection, REPLY_BYTES_MAX};
pub use error::CallError;
pub use line::Line;
pub use pin::{Dates, Pinned};
pub use tls::{Controller, Identity, TlsError, holds};
