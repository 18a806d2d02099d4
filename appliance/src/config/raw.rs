//! What the file may say: its keys and their types, nothing about their sense.

use std::net::Ipv4Addr;

use serde::Deserialize;
use toml::Spanned;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) site: Spanned<String>,
    pub(super) provision: Vec<Provision>,
    #[serde(default)]
    pub(super) http: Http,
    #[serde(default)]
    pub(super) agents: Agents,
    #[serde(default)]
    pub(super) trust: Trust,
    #[serde(default)]
    pub(super) images: Images,
    #[serde(default)]
    pub(super) cast: Cast,
    #[serde(default)]
    pub(super) backup: Backup,
    #[serde(default)]
    pub(super) operators: Operators,
    #[serde(default)]
    pub(super) enrol: Enrol,
    #[serde(default)]
    pub(super) limits: Limits,
    #[serde(default)]
    pub(super) metrics: Metrics,
    #[serde(default)]
    pub(super) notify: Notify,
    pub(super) cloud: Option<Cloud>,
}

/// `[cloud]`: the rack is one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cloud {
    pub(super) region: Option<Spanned<String>>,
    pub(super) datapath: Option<Spanned<String>>,
    pub(super) optional: Option<Vec<Spanned<String>>>,
    pub(super) objects: Option<Spanned<String>>,
    pub(super) external: Option<External>,
    pub(super) tunnel: Option<Tunnel>,
}

/// `[cloud.tunnel]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tunnel {
    pub(super) subnet: Spanned<String>,
    pub(super) ports: Option<Spanned<Vec<String>>>,
}

/// `[cloud.external]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct External {
    pub(super) subnet: Spanned<String>,
    pub(super) gateway: Spanned<String>,
    pub(super) pool: Spanned<String>,
    pub(super) vlan: Option<Spanned<i64>>,
    pub(super) ports: Option<Spanned<Vec<String>>>,
}

/// `[backup]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Backup {
    pub(super) copy: Option<Spanned<String>>,
}

/// `[[provision]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Provision {
    pub(super) interface: Spanned<String>,
    pub(super) vlan: Option<Spanned<i64>>,
    pub(super) address: Spanned<String>,
    pub(super) pool: Option<Spanned<String>>,
    pub(super) dhcp: Option<Spanned<String>>,
    pub(super) foreign: Option<Spanned<String>>,
    pub(super) router: Option<Spanned<String>>,
    pub(super) dns: Option<Spanned<Vec<Ipv4Addr>>>,
    #[serde(default)]
    pub(super) relayed: Vec<Relayed>,
    pub(super) answer_ipv6: Option<bool>,
}

/// `[[provision.relayed]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Relayed {
    pub(super) subnet: Spanned<String>,
    pub(super) pool: Option<Spanned<String>>,
    pub(super) relay: Spanned<String>,
    pub(super) router: Option<Spanned<String>>,
    pub(super) via: Option<Spanned<String>>,
}

/// `[http]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Http {
    pub(super) port: Option<Spanned<i64>>,
}

/// `[agents]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Agents {
    pub(super) port: Option<Spanned<i64>>,
}

/// `[images]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Images {
    pub(super) scrub_days: Option<Spanned<i64>>,
}

/// `[cast]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cast {
    pub(super) limit_mbit: Option<Spanned<i64>>,
    pub(super) flooding: Option<Spanned<String>>,
    pub(super) querier: Option<bool>,
    pub(super) yields: Option<bool>,
    #[serde(default)]
    pub(super) hours: Vec<Hours>,
}

/// `[[cast.hours]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hours {
    pub(super) from: Spanned<String>,
    pub(super) to: Spanned<String>,
    pub(super) days: Option<Spanned<Days>>,
    pub(super) limit_mbit: Spanned<i64>,
}

/// One word, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Days {
    One(String),
    Several(Vec<String>),
}

/// `[operators]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Operators {
    pub(super) admin: Option<Vec<Spanned<String>>>,
    pub(super) operator: Option<Vec<Spanned<String>>>,
    pub(super) viewer: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) second_person: bool,
}

/// `[metrics]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metrics {
    pub(super) listen: Option<Spanned<String>>,
}

/// `[notify]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Notify {
    pub(super) webhook: Option<Spanned<String>>,
    pub(super) secret_file: Option<Spanned<String>>,
    pub(super) messages_per_hour: Option<Spanned<i64>>,
    pub(super) mail: Option<Mail>,
}

/// `[notify.mail]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mail {
    pub(super) to: Vec<Spanned<String>>,
    pub(super) from: Spanned<String>,
    pub(super) server: Spanned<String>,
    pub(super) tls: Option<Spanned<String>>,
    pub(super) user: Option<Spanned<String>>,
    pub(super) password_file: Option<Spanned<String>>,
    pub(super) ca_file: Option<Spanned<String>>,
}

/// `[enrol]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Enrol {
    pub(super) test: Option<Spanned<String>>,
    pub(super) expected_tpms: Option<Vec<Spanned<String>>>,
}

/// `[limits]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) rebuilds_per_hour: Option<Spanned<i64>>,
}

/// `[trust]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trust {
    pub(super) image_keys: Option<Spanned<String>>,
}
