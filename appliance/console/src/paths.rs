//! Where the daemon's socket is.

use std::path::{Path, PathBuf};

use crate::cli::Global;

/// Below a root, or of the machine itself.
const SOCKET: &str = "run/rackwright/control.sock";

/// The root of the command line, else of `RACKWRIGHT_ROOT`, else none.
pub(crate) fn root(option: Option<PathBuf>) -> Option<PathBuf> {
    let variable = || std::env::var_os("RACKWRIGHT_ROOT").filter(|value| !value.is_empty());
    option.or_else(|| variable().map(PathBuf::from))
}

/// `--socket`, else the socket under the root.
pub(crate) fn socket(global: &Global) -> PathBuf {
    match &global.socket {
        Some(socket) => socket.clone(),
        None => root(global.root.clone()).unwrap_or_else(|| Path::new("/").to_owned()).join(SOCKET),
    }
}
