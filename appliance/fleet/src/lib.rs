//! The rules of the fleet: who a server is, where it is in its life, what may happen next and what it shall become.
//!
//! Everything here is a function of its arguments. The daemon's writer feeds [`step()`] one [`Event`] at a time, saves the
//! [`Change`]s in one transaction and lets the [`Effect`]s out after the commit. Nothing else changes a node.
//!
//! Where is what: [`node`] the states, [`mod@step`] the transitions, [`mod@enroll`] hello and approval, [`tpm`] whose TPM spoke for it, [`mod@plan`] what may
//! destroy data, [`adopt`] servers that keep their disks, [`retire`] a node's end, [`burn_in`] hardware under load, [`rescue`] and [`service`] a node in its operator's hands, [`mod@rollout`] many nodes a few at a time, [`hold`] hands off, [`drain`] what would be killed with a node, [`data_disk`] where roles keep theirs, [`power`] on, off and by whom, [`preflight`] the network between nodes, [`clock`] whether the controller knows what time it is, [`sizing`] how many servers a cloud needs,
//! [`mod@converge`] the state document, [`patience`] deadlines and reasons, [`view`] what people see.
#![forbid(unsafe_code)]

pub mod adopt;
pub mod attendance;
pub mod burn_in;
pub mod capture;
pub mod catalog;
pub mod certificate;
pub mod clock;
pub mod cloud;
pub mod converge;
pub mod data_disk;
pub mod drain;
pub mod enroll;
pub mod entropy;
pub mod event;
pub mod hold;
pub mod hours;
pub mod image;
pub mod job;
pub mod journal;
pub mod limits;
pub mod name;
pub mod network;
pub mod node;
pub mod notice;
pub mod patience;
pub mod plan;
pub mod power;
pub mod preflight;
pub mod rescue;
pub mod retire;
pub mod rollout;
pub mod service;
pub mod sizing;
pub mod step;
pub mod time;
pub mod tpm;
pub mod trust;
pub mod view;

mod boot;
mod cluster;
mod identity;
mod imaging;
mod nodes;
mod replace;
mod returning;
mod running;

pub use boot::boot_task;
pub use catalog::Catalog;
pub use cluster::{Change, Fleet, Site, Subnet};
pub use converge::converge;
pub use enroll::enroll;
pub use event::{Denied, Effect, Event, Fact, Outcome, Reply};
pub use name::Name;
pub use node::{Node, State};
pub use nodes::Nodes;
pub use plan::plan;
pub use step::step;
pub use time::Time;
