//! xtask library: the virtual rack.
