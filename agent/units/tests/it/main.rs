//! The adapter against a bus: `cases` speak to a fake systemd on a private message bus, `container` boots a real
//! one in a container and runs `inside` in it.

// The attribute tells clippy that helpers in these files are tests too.
#[cfg(test)]
mod cases;
#[cfg(test)]
mod container;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod following;
#[cfg(test)]
mod inside;
