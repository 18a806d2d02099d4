//! Whom the agent talks to.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use agent::controller::{CallError, Controller as Called, Dates, Line};
use agent::keys::KeyPair;
use protocol::{Inventory, TaskAsk, routes};

use super::controller::Controller;
use super::run;
use super::site::Site;

const SOON: Duration = Duration::from_secs(10);

/// A call that needs no certificate to be refused for want of one.
async fn call(site: &Site, controller: &Controller, dates: Dates) -> Result<(), CallError> {
    let called = Called::new(controller.address, site.pin(), dates, None).unwrap();
    let ask = TaskAsk { inventory: Inventory::default(), wait_seconds: 0, reach: None };
    match Line::new(called).call::<_, serde_json::Value>(routes::TASK, &ask, SOON).await {
        Err(CallError::Refused { status: 401, why, retry: false, .. }) => {
            assert_eq!(why, "no certificate");
            Ok(())
        }
        Err(error) => Err(error),
        Ok(answer) => panic!("{answer}"),
    }
}

#[test]
fn only_the_pinned_ca_is_believed() {
    run(async {
        let (ours, foreign) = (Arc::new(Site::new()), Arc::new(Site::new()));
        let right = Controller::start(&ours).await;
        call(&ours, &right, Dates::Strict).await.unwrap();
        let wrong = Controller::start(&foreign).await;
        for dates in [Dates::Strict, Dates::Lenient] {
            let error = call(&ours, &wrong, dates).await.unwrap_err();
            let text = agent::chain::Chain(&error).to_string();
            assert!(text.contains("does not hold the site CA"), "{text}");
        }
        assert_eq!(wrong.with(|s| s.certified_calls + s.hellos.len()), 0);
    });
}

#[test]
fn a_certificate_for_another_address_is_refused() {
    run(async {
        let site = Arc::new(Site::new());
        let config = site.server(Ipv4Addr::new(127, 0, 0, 2), 2020..2050);
        let controller = Controller::start_as(&site, config).await;
        for dates in [Dates::Strict, Dates::Lenient] {
            assert!(matches!(call(&site, &controller, dates).await, Err(CallError::Tls { .. })));
        }
    });
}

#[test]
fn a_clock_that_is_years_off_still_says_hello_and_no_more() {
    run(async {
        let site = Arc::new(Site::new());
        // To this machine's clock, one is long over and the other has not begun: a battery that is empty.
        for years in [1995..2011, 2090..2099] {
            let config = site.server(Ipv4Addr::LOCALHOST, years.clone());
            let controller = Controller::start_as(&site, config).await;
            call(&site, &controller, Dates::Lenient).await.unwrap();
            let strict = call(&site, &controller, Dates::Strict).await;
            assert!(matches!(strict, Err(CallError::Tls { .. })), "{years:?}: {strict:?}");
        }
    });
}

#[test]
fn a_lenient_clock_forgives_no_foreign_signature() {
    run(async {
        let (ours, foreign) = (Arc::new(Site::new()), Arc::new(Site::new()));
        // A chain that shows our CA but whose leaf somebody else signed, and which is out of date as well.
        let config = foreign.server_showing(&ours, Ipv4Addr::LOCALHOST, 1995..2011);
        let controller = Controller::start_as(&foreign, config).await;
        assert!(matches!(call(&ours, &controller, Dates::Lenient).await, Err(CallError::Tls { .. })));
    });
}

#[test]
fn a_key_signs_in_with_the_certificate_that_was_issued_for_it() {
    run(async {
        let site = Arc::new(Site::new());
        let controller = Controller::start(&site).await;
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let pem = site.client(key.public());
        let identity = |key| agent::controller::Identity::new(&pem, key).unwrap();
        let of = |key| Called::new(controller.address, site.pin(), Dates::Strict, Some(identity(key)));
        of(&other).unwrap_err();
        let mut line = Line::new(of(&key).unwrap());
        let ask = TaskAsk { inventory: Inventory::default(), wait_seconds: 0, reach: None };
        for _ in 0..3 {
            line.call::<_, serde_json::Value>(routes::TASK, &ask, SOON).await.unwrap();
        }
        assert_eq!(controller.with(|s| s.asks.len()), 3);
    });
}
