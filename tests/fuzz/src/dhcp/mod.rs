//! DHCP: one message, and a whole conversation.

pub(crate) mod exchange;
mod law;
pub(crate) mod request;
mod wire;
