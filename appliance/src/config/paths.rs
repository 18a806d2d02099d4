//! Where the daemon's files lie.

use std::path::{Component, Path, PathBuf};

/// Every place the daemon and its client agree on, all under one root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// What everything is under: `/`, or the directory of `--root`.
    pub root: PathBuf,
    /// The configuration file.
    pub config: PathBuf,
    /// The state directory; everything below is in it, but the socket.
    pub state: PathBuf,
    /// The data base.
    pub state_db: PathBuf,
    /// The image store.
    pub images: PathBuf,
    /// The boot store, made by `image-build ramdisk`.
    pub boot: PathBuf,
    /// The site CA.
    pub ca: PathBuf,
    /// The journal.
    pub journal: PathBuf,
    /// The daemon's local socket.
    pub socket: PathBuf,
}

impl Paths {
    /// The places under this root; `None` is the machine itself.
    pub fn under(root: Option<&Path>) -> Self {
        let root = root.unwrap_or(Path::new("/"));
        let state = root.join("var/lib/rackwright");
        Self {
            root: root.into(),
            config: root.join("etc/rackwright/rackwright.toml"),
            state_db: state.join("state.db"),
            images: state.join("images"),
            boot: state.join("boot"),
            ca: state.join("ca"),
            journal: state.join("journal"),
            state,
            socket: root.join("run/rackwright/control.sock"),
        }
    }

    /// The places under the root of the command line (`--root`), else of `RACKWRIGHT_ROOT`, else the machine's own.
    /// An empty value is none.
    pub fn chosen(option: Option<&Path>) -> Self {
        let variable = std::env::var_os("RACKWRIGHT_ROOT").filter(|v| !v.is_empty()).map(PathBuf::from);
        Self::under(option.or(variable.as_deref()))
    }

    /// A path as the configuration says it, under this root.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        let inner = path.components().filter(|c| matches!(c, Component::Normal(_)));
        self.root.join(inner.collect::<PathBuf>())
    }
}
