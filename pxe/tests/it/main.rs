//! What the crate promises on the wire, from the outside.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic; that is how it fails")]

mod beside;
mod books;
mod clients;
mod corpus;
mod diagnoses;
mod firmware;
mod history;
mod hostile;
mod laws;
mod model;
mod names;
mod ndp;
mod networks;
mod packets;
mod probe;
mod relays;
mod scripts;
mod standing;
mod states;
mod tftp;
mod transfer;
mod wire;
