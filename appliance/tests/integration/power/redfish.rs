//! Redfish against `sushy-tools`, and every fault before it.

use std::time::{Duration, Instant};

use appliance::power::Reach;
use appliance::power::redfish::{Own, Redfish};
use fleet::power::{Account, Act, Device, Fault, Kind, Observed, Word};
use hyper::Method;

use super::emulators::{PASSWORD, SYSTEM, Sushy, USER};
use super::front::{Front, Trouble};
use super::{account, secret};

async fn ask_as(account: Account, password: &str, act: Act) -> Result<Word, Fault> {
    Redfish::new(account, secret(Kind::Redfish, password), Own::default()).ask(act).await
}

async fn ask(front: &Front, act: Act) -> Result<Word, Fault> {
    ask_as(account(Kind::Redfish, front.address.port(), USER), PASSWORD, act).await
}

async fn until(front: &Front, state: Observed) {
    let begun = Instant::now();
    while ask(front, Act::Status).await.unwrap().state != state {
        assert!(begun.elapsed() < Duration::from_secs(60), "never {state:?}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn power_is_asked_and_done() {
    let sushy = Sushy::start();
    let front = Front::before(sushy.port).await;
    let first = ask(&front, Act::Status).await.unwrap();
    assert_eq!((first.state, first.pin.as_ref().map(String::len)), (Observed::Off, Some(64)));
    ask(&front, Act::On).await.unwrap();
    until(&front, Observed::On).await;
    ask(&front, Act::Cycle).await.unwrap();
    ask(&front, Act::Boot { device: Device::Pxe }).await.unwrap();
    ask(&front, Act::HardOff).await.unwrap();
    until(&front, Observed::Off).await;
    let refused = ask(&front, Act::Boot { device: Device::Bios }).await.unwrap_err();
    assert!(matches!(refused, Fault::Refused(_)), "it does not offer that: {refused:?}");
    assert!(front.came().iter().any(|came| came.method == Method::PATCH && came.path == SYSTEM));
    // Nothing was shown before it was asked for.
    assert!(front.came().iter().all(|came| (came.path == "/redfish/v1/") == came.pass.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_opened_and_given_back_also_after_a_failure() {
    let sushy = Sushy::start();
    let front = Front::before(sushy.port).await;
    front.sessions(1, 0);
    for _ in 0..3 {
        ask(&front, Act::Status).await.unwrap();
    }
    assert!(
        front.came().iter().all(|came| came.pass != "basic"),
        "the password went along with every request"
    );
    front.has(Trouble::SaysToActions(503));
    assert!(matches!(ask(&front, Act::On).await, Err(Fault::Busy(_))));
    assert_eq!(front.open_sessions(), 0);
    front.has(Trouble::Nothing);
    // All are taken by others.
    front.sessions(1, 1);
    let fault = ask(&front, Act::Status).await.unwrap_err();
    assert!(matches!(&fault, Fault::Busy(why) if why.contains("no session left")), "{fault:?}");
    front.sessions(1, 0);
    let wrong = account(Kind::Redfish, front.address.port(), USER);
    assert!(matches!(ask_as(wrong, "wrong", Act::Status).await, Err(Fault::Login(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_is_told_from_the_others() {
    let sushy = Sushy::start();
    let front = Front::before(sushy.port).await;
    // The emulator's own refusal.
    let wrong = account(Kind::Redfish, front.address.port(), USER);
    assert!(matches!(ask_as(wrong, "wrong", Act::On).await, Err(Fault::Login(_))));
    type Is = fn(&Result<Word, Fault>) -> bool;
    let busy: Is = |said| matches!(said, Err(Fault::Busy(_)));
    let refused: Is = |said| matches!(said, Err(Fault::Refused(_)));
    let table: [(Trouble, Act, Is); 9] = [
        (Trouble::Says(401), Act::Status, |said| matches!(said, Err(Fault::Login(_)))),
        (Trouble::Says(503), Act::Status, busy),
        (Trouble::SaysToActions(503), Act::On, busy),
        (Trouble::SaysToActions(409), Act::Cycle, refused),
        (Trouble::Lies("On"), Act::Status, |said| said.as_ref().is_ok_and(|word| word.state == Observed::On)),
        (Trouble::Lies("Reset"), Act::Status, |said| {
            said.as_ref().is_ok_and(|word| word.state == Observed::Unknown)
        }),
        (Trouble::LinksTo("https://127.0.0.2/redfish/v1/Systems"), Act::On, refused),
        (Trouble::Floods(2 << 20), Act::Status, |said| {
            matches!(said, Err(Fault::Unreachable(_) | Fault::Lost(_)))
        }),
        (Trouble::WantsEtag, Act::Boot { device: Device::Pxe }, Result::is_ok),
    ];
    for (trouble, act, is) in table {
        front.has(trouble.clone());
        let said = ask(&front, act).await;
        assert!(is(&said), "{trouble:?}: {said:?}");
    }
    front.has(Trouble::DropsEverySecond);
    assert_eq!(ask(&front, Act::Status).await.unwrap().state, Observed::Off);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_hangs_ends_in_time_and_what_was_sent_counts_as_perhaps_done() {
    let sushy = Sushy::start();
    let front = Front::before(sushy.port).await;
    front.has(Trouble::Hangs);
    let hurried = account(Kind::Redfish, front.address.port(), USER);
    let hurried = Redfish::new(hurried, secret(Kind::Redfish, PASSWORD), Own::default());
    let fault = hurried.waiting(Duration::from_secs(1)).ask(Act::Cycle).await.unwrap_err();
    // It never came to the action: nothing has happened. Reading is tried twice, and no more.
    assert!(matches!(&fault, Fault::Unreachable(why) if why == "no answer within 1 s"), "{fault:?}");
    assert_eq!(front.came().len(), 2);
    front.has(Trouble::DropsEverySecond);
    let mut faults = Vec::new();
    for _ in 0..2 {
        // The one or the other time it is the action whose answer is lost.
        faults.push(ask(&front, Act::Cycle).await.err());
        front.has(Trouble::DropsEverySecond);
        ask(&front, Act::Status).await.unwrap();
        front.has(Trouble::DropsEverySecond);
    }
    assert!(faults.iter().flatten().all(|fault| matches!(fault, Fault::Lost(_))), "{faults:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_goes_to_one_host_with_one_certificate() {
    let sushy = Sushy::start();
    let front = Front::before(sushy.port).await;
    let other = Front::before(sushy.port).await;
    let pin = ask(&front, Act::Status).await.unwrap().pin;
    // Elsewhere, by a redirect of any answer: not followed, from the first request to the last.
    front.has(Trouble::Redirects(format!("https://{}/redfish/v1/", other.address)));
    let fault = ask(&front, Act::On).await.unwrap_err();
    assert!(matches!(&fault, Fault::Refused(why) if why.contains("not followed")), "{fault:?}");
    assert!(other.came().is_empty() && front.came().iter().all(|came| came.pass.is_empty()));
    // Another board under the same address.
    front.has(Trouble::SaysToActions(503));
    let busy = account(Kind::Redfish, front.address.port(), USER);
    let busy = Redfish::new(busy, secret(Kind::Redfish, PASSWORD), Own::default());
    assert!(matches!(busy.ask(Act::On).await, Err(Fault::Busy(_))));
    assert_eq!(busy.shown(), pin, "the password was sent, and nobody remembers to whom");
    front.has(Trouble::Nothing);
    let pinned = Account { pin, ..account(Kind::Redfish, front.address.port(), USER) };
    ask_as(pinned.clone(), PASSWORD, Act::Status).await.unwrap();
    front.changes_certificate();
    let fault = ask_as(pinned, PASSWORD, Act::Status).await.unwrap_err();
    assert!(matches!(fault, Fault::Stranger(_)), "{fault:?}");
    assert!(front.came().is_empty(), "something was said to a stranger: {:?}", front.came());
}
