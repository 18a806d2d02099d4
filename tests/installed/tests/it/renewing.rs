//! Certificates of a day, renewed by the agent that ships: when a clock says so, when so much time has passed, when the old one is refused;
//! and what becomes of nodes that were off for weeks.

use crate::alone::{alone, block_on};
use crate::clock::{DAY, HOUR};
use crate::node::Node;
use crate::site::{Site, until};

/// What the agent says when it has another certificate.
const RENEWED: &str = "certificate renewed";

#[test]
fn certificates_are_renewed_by_the_clock_when_refused_and_after_weeks_without_power() {
    if !alone("renewing::certificates_are_renewed_by_the_clock_when_refused_and_after_weeks_without_power") {
        return;
    }
    block_on(async {
        let mut site = Site::start().await;
        let mut steady = Node::active(&site, 1).await;
        let mut late = Node::active(&site, 2).await;
        let mut too_late = Node::active(&site, 3).await;
        late.off();
        too_late.off();
        by_the_clock_on_the_wall(&mut steady).await;

        let before = steady.certificate();
        site.time_passes(20 * DAY).await;
        refused_it_renews_at_once(&mut steady, &before).await;
        off_for_three_weeks(&site, &mut late).await;

        site.time_passes(12 * DAY).await;
        off_for_too_long(&site, &mut too_late).await;
    });
}

#[test]
fn certificates_are_renewed_when_time_has_passed_whatever_the_clock_says() {
    if !alone("renewing::certificates_are_renewed_when_time_has_passed_whatever_the_clock_says") {
        return;
    }
    block_on(async {
        let mut site = Site::start().await;
        let mut node = Node::active(&site, 1).await;
        let before = node.certificate();
        site.time_passes(2 * DAY).await;
        refused_it_renews_at_once(&mut node, &before).await;
        by_the_time_that_has_passed(&mut site, &mut node).await;
    });
}

/// It has just been started: nothing but its clock can tell it that a renewal is due.
async fn by_the_clock_on_the_wall(node: &mut Node) {
    node.off();
    node.on();
    let before = node.certificate();
    // Nobody's certificate is due before half of its day.
    node.clock.set(11 * HOUR);
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(node.certificate(), before, "renewed too early");
    node.clock.set(17 * HOUR);
    node.renews(&before).await;
    node.says(RENEWED, 1).await;
    assert!(!node.log().contains("was refused"), "long before its end: {}", node.log());
}

/// The certificate of a node that runs has ended, by the controller's clock; its own says nothing. `before` is that certificate: the new
/// one may be there as soon as the controller is.
async fn refused_it_renews_at_once(node: &mut Node, before: &str) {
    // It waits for a minute after it was refused just after a renewal.
    node.clock.advance(2 * HOUR);
    node.renews(before).await;
    assert!(node.log().contains("expired"), "it was refused: {}", node.log());
}

async fn off_for_three_weeks(site: &Site, node: &mut Node) {
    let before = node.certificate();
    node.clock.set(20 * DAY);
    node.on();
    node.renews(&before).await;
    node.says(RENEWED, 1).await;
    let since = site.clock.now_ms();
    until("n2 reports again", async || {
        let heard = site.node("n2").await["heard"].as_str().map(str::to_owned).unwrap_or_default();
        !heard.is_empty() && heard >= time(since)
    })
    .await;
    assert!(site.is_active("n2").await, "and is what it was, without anybody's word");
}

async fn off_for_too_long(site: &Site, node: &mut Node) {
    let before = node.certificate();
    node.clock.set(32 * DAY);
    node.on();
    node.says("rackwright node retry n3", 1).await;
    assert_eq!(node.certificate(), before);
    let why = site.says("node why n3").await;
    assert!(why.contains("rackwright node retry n3"), "{why}");
    let doctor = site.rackwright("doctor --area pxe").await;
    assert!(doctor.out.contains("rackwright node retry n3"), "{doctor:?}");
    site.says("node retry n3").await;
    // It asks again after a minute.
    node.clock.advance(120);
    node.renews(&before).await;
    let since = site.clock.now_ms();
    until("n3 reports again", async || {
        site.node("n3").await["heard"].as_str().is_some_and(|heard| heard >= time(since).as_str())
    })
    .await;
}

/// Its clock is years behind the controller's: that so much time has passed since it was issued is all that tells it.
async fn by_the_time_that_has_passed(site: &mut Site, node: &mut Node) {
    let before = node.certificate();
    site.off();
    site.clock.advance(700 * DAY);
    site.on().await;
    // It was away so long, as far as anybody knows: the old certificate is good for a new one, whose date is far ahead.
    refused_it_renews_at_once(node, &before).await;
    let (before, refusals) = (node.certificate(), node.log().matches("was refused").count());
    node.clock.advance(11 * HOUR);
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(node.certificate(), before, "renewed too early");
    node.clock.advance(6 * HOUR);
    node.renews(&before).await;
    assert_eq!(node.log().matches("was refused").count(), refusals, "by itself: {}", node.log());
}

/// As the controller prints it.
fn time(ms: i64) -> String {
    fleet::Time(u64::try_from(ms).unwrap()).to_string()
}
