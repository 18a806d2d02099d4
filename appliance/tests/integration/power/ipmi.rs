//! IPMI against `ipmi_sim`.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use appliance::power::Reach;
use appliance::power::ipmi::Ipmi;
use fleet::power::{Act, Device, Fault, Kind, Observed};

use super::emulators::{IPMI_PASSWORD, IpmiSim, USER};
use super::{account, secret};

fn controller(port: u16, user: &str, password: &str) -> Ipmi {
    Ipmi::new(account(Kind::Ipmi, port, user), secret(Kind::Ipmi, password), false)
}

#[tokio::test(flavor = "multi_thread")]
async fn power_is_asked_and_done() {
    let sim = IpmiSim::start();
    let bmc = controller(sim.port, USER, IPMI_PASSWORD);
    assert_eq!(bmc.ask(Act::Status).await.unwrap().state, Observed::Off);
    bmc.ask(Act::On).await.unwrap();
    assert_eq!(sim.power(), "1");
    assert_eq!(bmc.ask(Act::Status).await.unwrap().state, Observed::On);
    bmc.ask(Act::Boot { device: Device::Pxe }).await.unwrap();
    assert!(sim.calls().contains("set boot pxe"), "{}", sim.calls());
    bmc.ask(Act::SoftOff).await.unwrap();
    assert!(sim.calls().contains("set shutdown 1"), "{}", sim.calls());
    bmc.ask(Act::Cycle).await.unwrap();
    bmc.ask(Act::HardOff).await.unwrap();
    assert_eq!(sim.power(), "0");
    // It says on, though it is off: that is what it said, and nobody takes it for more.
    sim.lies("1");
    assert_eq!(bmc.ask(Act::Status).await.unwrap().state, Observed::On);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_a_wrong_user_are_known_as_such() {
    let sim = IpmiSim::start();
    for (user, password) in [(USER, "wrong"), ("nobody", IPMI_PASSWORD)] {
        let fault = controller(sim.port, user, password).ask(Act::On).await.unwrap_err();
        assert!(matches!(fault, Fault::Login(_)), "{fault:?}");
        assert!(!fault.why().contains("canary"), "{fault:?}");
    }
    assert_eq!(sim.power(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_hangs_or_is_not_there_ends_in_time() {
    let sim = IpmiSim::start();
    sim.freeze();
    let begun = Instant::now();
    let fault = controller(sim.port, USER, IPMI_PASSWORD).ask(Act::Cycle).await.unwrap_err();
    assert!(matches!(fault, Fault::Unreachable(_) | Fault::Lost(_)), "{fault:?}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    let missing = controller(sim.port, USER, IPMI_PASSWORD).by("/nonexistent/ipmi-raw".as_ref());
    let fault = missing.ask(Act::Status).await.unwrap_err();
    assert!(fault.why().contains("apt-get install freeipmi-tools"), "{fault:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_second_packet_may_be_lost() {
    let sim = IpmiSim::start();
    let relay = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = relay.local_addr().unwrap().port();
    relay.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let (to, until) = (sim.port, Instant::now() + Duration::from_secs(45));
    let passing = std::thread::spawn(move || {
        let (mut client, mut count, mut bytes) = (None, 0, [0; 2048]);
        while Instant::now() < until {
            let Ok((length, from)) = relay.recv_from(&mut bytes) else { continue };
            if from.port() == to {
                let _ = client.map(|client| relay.send_to(&bytes[..length], client));
                continue;
            }
            client = Some(from);
            count += 1;
            if count % 2 == 0 {
                let _ = relay.send_to(&bytes[..length], ("127.0.0.1", to));
            }
            if count > 400 {
                return;
            }
        }
    });
    let bmc = controller(port, USER, IPMI_PASSWORD);
    let mut said = bmc.ask(Act::Status).await;
    for _ in 0..2 {
        // The queue would try again, later.
        if !matches!(said, Ok(_) | Err(Fault::Login(_))) {
            said = bmc.ask(Act::Status).await;
        }
    }
    assert_eq!(said.unwrap().state, Observed::Off);
    drop(passing);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_to_everybody_is_told() {
    let sim = IpmiSim::start();
    let found = controller(sim.port, USER, IPMI_PASSWORD).ask(Act::Test).await.unwrap().findings;
    let is = |check: &str| found.iter().find(|finding| finding.check == check).unwrap().ok;
    assert_eq!(
        (is("reachable"), is("login"), is("power"), is("password")),
        (Some(true), Some(true), Some(true), Some(true))
    );
    // The emulator has cipher suite 0 open, as many controllers have.
    assert_eq!(is("cipher0"), Some(false));
}
