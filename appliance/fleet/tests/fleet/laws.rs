//! What holds whatever arrives, in whatever order.

use fleet::{Event, State};
use proptest::prelude::*;
use protocol::{Key, NodeId, Phase, Progress};

use crate::rack::{MAC, OTHER_MAC, Rack, progress};

/// One of the things that can arrive, from small numbers.
fn event(rack: &Rack, kind: u8, pick: u8) -> Option<Event> {
    let nodes = rack.fleet.nodes.keys().copied().collect::<Vec<NodeId>>();
    let node = nodes.get(usize::from(pick) % nodes.len().max(1)).copied();
    let mac = if pick.is_multiple_of(2) { MAC } else { OTHER_MAC };
    let job = || rack.fleet.jobs.keys().next().copied();
    let captures = || rack.fleet.captures.keys().copied().skip(usize::from(pick) % 3);
    Some(match kind % 15 {
        0 => {
            let mut hello = crate::rack::hello(pick % 3, mac);
            hello.tpm = crate::tpms::tpm(pick / 16 % 4);
            let asked =
                fleet::tpm::questions(&rack.fleet, &hello.key).next().map(|(_, _, asked)| asked.secret);
            let answered = asked.filter(|_| pick.is_multiple_of(5));
            Event::Hello { hello: Box::new(hello), proven: pick > 64, answered }
        }
        1 => Event::Approve {
            node: node?,
            name: None,
            roles: Some(["control".to_owned()].into()),
            moved: pick.is_multiple_of(3),
        },
        2 => Event::Asked {
            node: node?,
            certificate: rack.deploy_certificate(),
            inventory: Box::new(rack.fleet.nodes[&node?].inventory.clone()),
        },
        3 => Event::Plan {
            node: node?,
            image: None,
            disk: None,
            data: None,
            roles: None,
            erase: Vec::new(),
            verify: protocol::Verify::Readback,
        },
        4 => Event::Apply { plan: rack.fleet.plans.keys().next()?.clone(), force: false },
        5 => Event::Progressed { node: node?, progress: progress(job()?, Phase::Write, u64::from(pick)) },
        6 => return None,
        7 => Event::Enrolled {
            node: node?,
            certificate: rack.deploy_certificate(),
            key: Key([pick % 3; 32]),
            uptime_seconds: 1,
        },
        8 => Event::Ticketed { node: node?, key: Key([pick % 3; 32]) },
        9 => Event::Reject { node: node?, why: "no".to_owned() },
        10 => Event::Retry { node: node? },
        11 => crate::capturing::capture(rack, node?, "copy", pick.is_multiple_of(2)),
        12 => Event::Cancel { job: captures().next()? },
        13 => Event::Progressed {
            node: node?,
            progress: Progress {
                failed: pick.is_multiple_of(5).then(|| "unreadable".to_owned()),
                ..progress(captures().next()?, Phase::Capture, u64::from(pick))
            },
        },
        _ => Event::Tick,
    })
}

proptest! {
    #[test]
    fn whatever_arrives(steps in proptest::collection::vec((any::<u8>(), any::<u8>()), 1..60)) {
        let mut rack = Rack::new();
        rack.import("control", &["control"]);
        for (kind, pick) in steps {
            if kind % 15 == 6 {
                let job = rack.fleet.jobs.values().next().map(|job| (job.node, job.id));
                if let Some((node, job)) = job {
                    drop(rack.verified(node, job));
                }
            } else if let Some(event) = event(&rack, kind, pick) {
                drop(rack.bring(event));
            }
            for node in rack.fleet.nodes.values() {
                let grown = node.installed.is_some()
                    || !matches!(node.state, State::Booting { .. } | State::Enrolling { .. } | State::Active);
                prop_assert!(grown, "{:?} without a verified disk", node.state);
                let job = node.state.job();
                prop_assert!(job.is_none_or(|id| fleet::job::Work::of(&rack.fleet, id).is_some()), "a job that is not there");
                // A capture never costs a node the certificate of the system it has.
                let taken = job.is_some_and(|id| rack.fleet.captures.get(&id).is_some_and(|taken| taken.runs));
                prop_assert!(!taken || node.run.is_some(), "{:?} without its own system", node.state);
                // Every state says what it waits for, or waits for nothing.
                let waits = fleet::patience::wait(&rack.fleet, node);
                prop_assert!(waits.is_none_or(|wait| !wait.reason.is_empty()));
            }
            let names = rack.fleet.nodes.values().map(|node| &node.name).collect::<std::collections::BTreeSet<_>>();
            prop_assert_eq!(names.len(), rack.fleet.nodes.len());
        }
    }
}
