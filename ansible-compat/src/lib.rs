//! What Ansible sees of the rack: the answer of an inventory script, and the groups of the OpenStack deployers.
//!
//! Knows Ansible's script inventory protocol (user guide, "Developing dynamic inventory") and which group of
//! kolla-ansible and openstack-ansible a role of ours is. Refuses to know where hosts come from, and the playbook
//! language: Ansible itself runs playbooks.
//!
//! Ansible evaluates `{{ … }}` in every inventory string, so a server that calls its board `{{ lookup('pipe', …) }}`
//! would run commands on the operator's machine. Every string that a server or a person wrote leaves here as
//! `{"__ansible_unsafe": …}`, which all supported versions (2.14 to 2.21) print and never evaluate.
#![forbid(unsafe_code)]

mod deployers;
mod host;
mod inventory;
mod untrusted;

pub use deployers::{KOLLA_GROUPS, kolla, kolla_groups, osa_groups};
pub use host::{Host, HostError};
pub use inventory::{BASE_ROLES, inventory};
