//! The steps of a proof: their order, what each needs, and what to do when one fails.

use super::fault::Fault;

/// One thing that is proven, or done for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Token,
    Services,
    Leftovers,
    Image,
    Flavor,
    KeyPair,
    Network,
    Router,
    SecurityGroup,
    Instance,
    Address,
    Metadata,
    Tunnel,
    FloatingAddress,
    Ping,
    Volume,
    Objects,
    Removed,
}

impl Step {
    /// In the order in which they are done; the removal comes after these, whatever became of them.
    pub(super) const ALL: [Step; 17] = [
        Step::Token,
        Step::Services,
        Step::Leftovers,
        Step::Image,
        Step::Flavor,
        Step::KeyPair,
        Step::Network,
        Step::Router,
        Step::SecurityGroup,
        Step::Instance,
        Step::Address,
        Step::Metadata,
        Step::Tunnel,
        Step::FloatingAddress,
        Step::Ping,
        Step::Volume,
        Step::Objects,
    ];

    pub(super) fn word(self) -> &'static str {
        match self {
            Step::Token => "token",
            Step::Services => "services",
            Step::Leftovers => "leftovers",
            Step::Image => "image",
            Step::Flavor => "flavor",
            Step::KeyPair => "key-pair",
            Step::Network => "network",
            Step::Router => "router",
            Step::SecurityGroup => "security-group",
            Step::Instance => "instance",
            Step::Address => "address",
            Step::Metadata => "metadata",
            Step::Tunnel => "tunnel",
            Step::FloatingAddress => "floating-address",
            Step::Ping => "ping",
            Step::Volume => "volume",
            Step::Objects => "objects",
            Step::Removed => "removed",
        }
    }

    /// What must be ok before there is any sense in it.
    fn needs(self) -> &'static [Step] {
        match self {
            Step::Token | Step::Removed => &[],
            Step::Services | Step::Leftovers => &[Step::Token],
            Step::Image
            | Step::Flavor
            | Step::KeyPair
            | Step::Network
            | Step::SecurityGroup
            | Step::Objects => &[Step::Leftovers],
            Step::Router => &[Step::Network],
            Step::Instance => &[Step::Image, Step::Flavor, Step::KeyPair, Step::Network, Step::SecurityGroup],
            Step::Address => &[Step::Instance],
            // What the guest is to do comes to it with its metadata.
            Step::Metadata => &[Step::Address],
            Step::Tunnel | Step::Volume => &[Step::Metadata],
            Step::FloatingAddress => &[Step::Router, Step::Address],
            Step::Ping => &[Step::FloatingAddress],
        }
    }

    /// Where to look when it fails and it says nothing better itself.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Step::Token => "rackwright cloud status; rackwright service logs NODE keystone.service",
            Step::Services => "rackwright cloud status; rackwright service logs NODE UNIT",
            Step::Leftovers | Step::Removed => {
                "rackwright cloud status; when it is mended, rackwright cloud smoke removes them at its start"
            }
            Step::Image => "rackwright service logs NODE glance-api.service",
            Step::Flavor | Step::KeyPair => "rackwright service logs NODE nova-api.service",
            Step::Network | Step::Router | Step::SecurityGroup | Step::FloatingAddress => {
                "rackwright service logs NODE neutron-api.service"
            }
            Step::Instance => {
                "rackwright service logs NODE nova-compute.service; with --keep the instance stays to be looked at"
            }
            Step::Address => "rackwright service logs NODE ovn-controller.service",
            Step::Metadata => {
                "rackwright service logs NODE neutron-ovn-metadata-agent.service, nova-api-metadata.service"
            }
            Step::Tunnel => "rackwright network check: the nodes reach each other, also with large packets",
            Step::Ping => {
                "ip route get ADDRESS: does this machine reach the external network's own addresses?"
            }
            Step::Volume => {
                "rackwright service logs NODE cinder-volume.service, tgt.service, nova-compute.service"
            }
            Step::Objects => {
                "rackwright cloud status; rackwright service logs NODE swift-proxy.service, swift-object.service"
            }
        }
    }
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was done; what is worth knowing of it.
    Ok(String),
    /// It was not tried, and why.
    Skipped(String),
    Failed(Fault),
}

impl Outcome {
    pub(super) fn word(&self) -> &'static str {
        match self {
            Outcome::Ok(_) => "ok",
            Outcome::Skipped(_) => "skipped",
            Outcome::Failed(_) => "failed",
        }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Outcome::Ok(text) | Outcome::Skipped(text) => text,
            Outcome::Failed(fault) => &fault.why,
        }
    }
}

/// A step that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) step: Step,
    pub(super) outcome: Outcome,
    pub(super) milliseconds: u64,
}

impl Row {
    /// What to do about it, where it failed.
    pub(super) fn next(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Failed(fault) => Some(fault.next.as_deref().unwrap_or(self.step.advice())),
            Outcome::Ok(_) | Outcome::Skipped(_) => None,
        }
    }
}

/// Why a step is not even tried after these.
pub(super) fn blocked(step: Step, rows: &[Row]) -> Option<String> {
    step.needs().iter().find_map(|need| {
        let row = rows.iter().find(|row| row.step == *need);
        match row.map(|row| &row.outcome) {
            Some(Outcome::Ok(_)) => None,
            Some(Outcome::Failed(_)) => Some(format!("{} failed", need.word())),
            Some(Outcome::Skipped(_)) => Some(format!("{} was skipped", need.word())),
            None => Some(format!("{} was not done", need.word())),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(failed: Step) -> Vec<Row> {
        let mut rows = Vec::new();
        for step in Step::ALL {
            let outcome = match blocked(step, &rows) {
                Some(why) => Outcome::Skipped(why),
                None if step == failed => Outcome::Failed(Fault::new("no")),
                None => Outcome::Ok(String::new()),
            };
            rows.push(Row { step, outcome, milliseconds: 0 });
        }
        rows
    }

    fn skipped(failed: Step) -> Vec<&'static str> {
        let rows = rows(failed).into_iter();
        rows.filter(|row| row.outcome.word() == "skipped").map(|row| row.step.word()).collect()
    }

    #[test]
    fn what_a_failure_makes_senseless_is_not_tried_and_all_else_is() {
        assert_eq!(skipped(Step::Removed), [] as [&str; 0], "needs come before what needs them");
        assert_eq!(skipped(Step::Token).len(), 16);
        assert_eq!(skipped(Step::Services), [] as [&str; 0], "the rest of a cloud may work");
        assert_eq!(skipped(Step::Leftovers).len(), 14);
        assert_eq!(skipped(Step::Router), ["floating-address", "ping"]);
        assert_eq!(skipped(Step::Metadata), ["tunnel", "volume"]);
        let image = ["instance", "address", "metadata", "tunnel", "floating-address", "ping", "volume"];
        assert_eq!(skipped(Step::Image), image);
        let why = rows(Step::Image).into_iter().find(|row| row.step == Step::Metadata).unwrap();
        assert_eq!(why.outcome, Outcome::Skipped("address was skipped".to_owned()));
    }

    #[test]
    fn whoever_is_told_of_a_failure_is_told_what_to_do() {
        for step in Step::ALL.into_iter().chain([Step::Removed]) {
            let row = Row { step, outcome: Outcome::Failed(Fault::new("no")), milliseconds: 0 };
            assert_eq!(row.next(), Some(step.advice()));
            let fault = Fault::new("no").advise("do this");
            let row = Row { step, outcome: Outcome::Failed(fault), milliseconds: 0 };
            assert_eq!(row.next(), Some("do this"));
        }
    }
}
