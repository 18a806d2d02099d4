//! On a veth pair: hosts that nobody gave their addresses to, at the other end of the cable.

use std::time::Duration;

use tokio::sync::watch;

use super::run;
use crate::listen::Place;
use crate::net::tests::{Other, alone, runtime};
use crate::net::{Net, Until, watch as watch_interface};
use crate::writer::tests::{MAC, ip, state};

#[test]
fn an_address_that_somebody_uses_is_offered_to_nobody_and_no_machine_waits_for_that() {
    if !alone(
        "prober::tests::an_address_that_somebody_uses_is_offered_to_nobody_and_no_machine_waits_for_that",
    ) {
        return;
    }
    let other = Other::new();
    other.cable();
    for last in [100, 101, 103] {
        other.ip(&format!("addr add 10.77.0.{last}/24 dev rw1"));
    }
    runtime().block_on(async {
        let net = Net::open().unwrap();
        let address = "10.77.0.1/24".parse().unwrap();
        net.prepare("rw0", address, Duration::from_secs(10), |_| ()).await.unwrap();
        net.wait("rw0", Until::Carrier, Duration::from_secs(10), |_| ()).await.unwrap();
        let presence = watch_interface("rw0", address).await.unwrap();
        let place = Place { interface: "rw0".into(), address: address.addr(), presence };
        let state = state();
        let (_stopper, stop) = watch::channel(false);
        tokio::spawn(run(place, state.core.clone(), stop));
        let now = || pxe::Time(crate::writer::now().0);
        let mut world = state.core.watch();
        let all = |world: &std::sync::Arc<crate::writer::World>| {
            let policy = &world.networks[0].local;
            world.leases.to_probe(policy, 10, now()).is_empty()
        };
        tokio::time::timeout(Duration::from_secs(60), world.wait_for(all))
            .await
            .expect("never asked")
            .unwrap();
        let world = state.core.world();
        for last in 100..=109 {
            let used = [100, 101, 103].contains(&last);
            assert_eq!(world.leases.quarantine_of(ip(last), now()).is_some(), used, "{last}");
        }
        assert_eq!(state.takes(MAC).await, Some(ip(102)));
        assert_eq!(state.takes([2, 0, 0, 0, 0, 1]).await, Some(ip(104)));
        let lines = state.core.log.lines(0, 100, None).unwrap();
        let told = lines.iter().filter(|line| line.fact.kind == "address-in-use").count();
        assert_eq!(told, 3, "{lines:?}");
    });
}
