//! The network between nodes, tried while a server waits for work.

use std::net::Ipv4Addr;
use std::sync::Arc;

use agent::deploy;
use protocol::{Aim, Endpoint, Epoch, NetworkStep, Peer, ReportKey, StepDone};

use super::controller::Controller;
use super::machine::Machine;
use super::site::Site;
use super::{run, until};

/// It asks itself: a member like any other.
fn step(number: u32) -> NetworkStep {
    let address = Ipv4Addr::new(127, 84, 48, 1);
    NetworkStep {
        check: 5,
        number,
        key: ReportKey([3; 32]),
        me: 0,
        over: false,
        endpoints: vec![Endpoint { network: 0, address }],
        peers: vec![Peer { number: 0, network: 0, address }],
        targets: vec![Aim { to: 0, network: 0, address, sizes: vec![576, 1500] }],
        claims: Vec::new(),
        send: None,
        hear: None,
    }
}

#[test]
fn a_server_that_waits_tells_of_its_links_and_does_what_is_to_be_tried() {
    run(async {
        let site = Arc::new(Site::new());
        let controller = Controller::start(&site).await;
        let machine = Machine::new();
        let (mut server, _console) = machine.boot(controller.address, site.pin());
        let done = |number: u32| {
            let is_it = |done: &StepDone| (done.check, done.number) == (5, number);
            controller.with(|s| s.networks.iter().filter_map(|ask| ask.done.clone()).rfind(is_it))
        };
        let tries = async {
            until("its links", || controller.with(|s| !s.networks.is_empty())).await;
            let links = controller.with(|s| s.networks[0].links.clone());
            let eth0 = links.iter().find(|link| link.name == "eth0").unwrap();
            assert_eq!(
                (eth0.mac.as_str(), eth0.mtu, eth0.speed_mbps),
                ("52:54:00:00:00:01", 1500, Some(1000))
            );
            controller.with(|s| s.step = Some(step(2)));
            until("what came of it", || done(2).is_some()).await;
            let came = done(2).unwrap();
            assert_eq!((came.error, came.answered[0].largest), (None, 1500));
            assert_eq!((came.heard[0].from, came.heard[0].largest), (0, 1500));
            // From a controller whose reign is over nothing is taken.
            controller.with(|s| (s.step, s.task_epoch) = (Some(step(9)), Some(Epoch(2))));
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
            assert_eq!(done(9), None);
        };
        tokio::select! {
            ended = deploy::follow(&mut server) => panic!("{ended:?}"),
            () = tries => {}
        }
    });
}
