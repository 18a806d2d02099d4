//! The cloud: every service of it on every node, and the way in.

use protocol::ServiceReport;
use serde::{Deserialize, Serialize};

use crate::cloud::passwords;
use crate::cloud::release::{self, Condition, Providers};
use crate::{Catalog, Fleet, Node, Site, Time, converge};

/// One service on one node, as `rackwright cloud status` has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CloudRow {
    /// The node's name.
    pub node: String,
    /// The service.
    pub service: String,
    /// What it is, in a few words.
    pub summary: String,
    /// Its units.
    pub units: Vec<String>,
    /// `well`, `coming`, `held`, `ill` or `unknown`.
    pub state: String,
    /// What it waits for, or what is wrong with it.
    pub why: Option<String>,
    /// Since when, by the node's clock.
    pub since: Option<String>,
}

/// What a client of the cloud has to know. The password is the administrator's.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CloudAccess {
    /// Where keystone is.
    pub auth_url: String,
    /// The rack's name there.
    pub region: String,
    /// The user.
    pub username: String,
    /// The user's project.
    pub project: String,
    /// The domain of both.
    pub domain: String,
    /// The user's password.
    pub password: String,
}

impl std::fmt::Debug for CloudAccess {
    /// Never the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CloudAccess").field("auth_url", &self.auth_url).finish_non_exhaustive()
    }
}

/// Every service of the cloud on every node that has a system, the base ones with units beside them.
pub fn cloud_rows(fleet: &Fleet, site: &Site, catalog: &Catalog, now: Time) -> Vec<CloudRow> {
    let providers = Providers::of(fleet, site, catalog);
    let mut rows = Vec::new();
    for node in fleet.nodes.values().filter(|node| catalog.is_cloud() && node.has_system()) {
        let held = release::held(&providers, node);
        let silent = super::is_silent(node, now);
        for service in catalog.services_of(&node.roles) {
            if service.units.is_empty() && !catalog.is_of_cloud(&service.name) {
                continue;
            }
            let (state, why) = match (held.get(service.name.as_str()), release::condition(node, service)) {
                (Some(why), _) => ("held", Some(why.clone())),
                (None, Condition::Well | Condition::Coming(_)) if silent => {
                    ("unknown", Some("its node is silent".to_owned()))
                }
                (None, Condition::Well) => ("well", None),
                (None, Condition::Coming(what)) => ("coming", Some(what)),
                (None, Condition::Ill(why)) => ("ill", Some(why)),
                (None, Condition::Unknown) => ("unknown", None),
            };
            rows.push(CloudRow {
                node: node.name.to_string(),
                service: service.name.clone(),
                summary: service.summary.clone(),
                units: service.units.iter().map(|unit| unit.name.clone()).collect(),
                state: state.to_owned(),
                why,
                since: since(node, &service.name),
            });
        }
    }
    rows.sort_by(|a, b| a.node.cmp(&b.node));
    rows
}

fn since(node: &Node, service: &str) -> Option<String> {
    let services = node.report.iter().flat_map(|report| &report.services);
    let known = |told: &&ServiceReport| told.name == service && told.since_ms > 0;
    services.filter(known).map(|told| Time(told.since_ms).to_string()).next()
}

/// The way in; none: the rack is no cloud, or has no control node.
pub fn cloud_access(fleet: &Fleet, site: &Site) -> Option<CloudAccess> {
    let cloud = site.cloud.as_ref()?;
    let control = converge::control(fleet, site)?;
    Some(CloudAccess {
        auth_url: format!("http://{control}:5000/v3"),
        region: cloud.region.clone(),
        username: "admin".to_owned(),
        project: "admin".to_owned(),
        domain: "Default".to_owned(),
        password: cloud.key.password(passwords::wanted(fleet).salt, "keystone-admin"),
    })
}
