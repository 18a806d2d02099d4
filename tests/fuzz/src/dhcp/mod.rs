//! DHCP: one message, and a whole conversation.

pub(crate) mod exchange;
pub(crate) mod heard;
mod law;
pub(crate) mod request;
mod wire;
