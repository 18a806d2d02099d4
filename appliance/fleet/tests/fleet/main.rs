//! The lifecycle, told as stories: every event goes through `step`, every change through `put`.

// Clippy's leave for tests covers functions marked as tests, not what they call.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::wildcard_enum_match_arm)]

mod adopting;
mod burning_in;
mod capturing;
mod checking;
mod clock;
mod cloud;
mod consoles;
mod data_disks;
mod documents;
mod draining;
mod enrolment;
mod erasing;
mod images;
mod imaging;
mod laws;
mod model;
mod networks;
mod objects;
mod optional;
mod owning;
mod passwords;
mod planning;
mod powering;
mod powering_histories;
mod rack;
mod renewing;
mod replacing;
mod rescuing;
mod retiring;
mod rings;
mod rolling;
mod rolling_histories;
mod rotating;
mod running;
mod servicing;
mod sizing;
mod sizing_histories;
mod tpms;
mod upgrading;
