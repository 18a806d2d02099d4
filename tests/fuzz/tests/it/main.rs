//! Every parser and decision on inputs that need no search.

mod replay;
#[cfg(feature = "everything")]
mod wrong_disk;
