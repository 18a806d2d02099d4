//! The table of questions, in the order in which they are asked.

pub(crate) mod cloud;
pub(crate) mod management;
pub(crate) mod start;
pub(crate) mod uplink;

use crate::answers::Context;
use crate::question::Question;

/// Every question there is.
pub static QUESTIONS: [&Question; 17] = [
    &start::LANGUAGE,
    &start::SITE,
    &start::TOPOLOGY,
    &uplink::INTERFACE,
    &uplink::METHOD,
    &uplink::ADDRESS,
    &uplink::GATEWAY,
    &management::VLAN,
    &management::INTERFACE,
    &management::ADDRESS,
    &management::DHCP,
    &management::POOL,
    &cloud::TUNNEL_NETWORK,
    &cloud::TUNNEL_VLAN,
    &cloud::EXTERNAL_NETWORK,
    &cloud::EXTERNAL_POOL,
    &cloud::TIME_SERVERS,
];

fn always(_: &Context<'_>) -> bool {
    true
}

fn never(_: &Context<'_>) -> bool {
    false
}
