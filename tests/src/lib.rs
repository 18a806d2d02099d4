//! Checks of the workspace as a whole; nothing depends on this crate.
//!
//! [`arrows`](self): which crate may know which. Tidiness: what a reviewer should not have to look for. Dependencies:
//! how many, how often, under which licence. The tests against real parts are in `tests/rack.rs`.

#[cfg(test)]
mod arrows;
#[cfg(test)]
mod dependencies;
#[cfg(test)]
mod licence;
#[cfg(test)]
mod metadata;
#[cfg(test)]
mod tidy;
