//! What comes after what.

use std::collections::{BTreeMap, BTreeSet};

use super::Service;

/// The services, each after those of them that it needs, and else in the order that they are in.
pub(super) fn by_need(mut left: Vec<&Service>) -> Vec<&Service> {
    let mut ordered = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let waits =
            |service: &Service| left.iter().any(|other| comes_after(service).any(|name| *name == other.name));
        // The catalog has no circles: there always is one.
        let first = left.iter().position(|service| !waits(service)).unwrap_or_default();
        ordered.push(left.remove(first));
    }
    ordered
}

/// The name of a service that needs itself, directly or by way of others.
pub(super) fn circle(services: &BTreeMap<String, Service>) -> Option<&str> {
    let mut free = BTreeSet::new();
    loop {
        let is_ready = |service: &&Service| comes_after(service).all(|need| free.contains(need.as_str()));
        let ready =
            services.values().filter(is_ready).map(|service| service.name.as_str()).collect::<Vec<_>>();
        if ready.len() == free.len() {
            return services.keys().map(String::as_str).find(|name| !free.contains(name));
        }
        free.extend(ready);
    }
}

/// All that comes before it, where it is there.
fn comes_after(service: &Service) -> impl Iterator<Item = &String> {
    service.needs.iter().chain(&service.after)
}
