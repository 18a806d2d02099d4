//! The site CA is changed under installed agents that run, and under some that do not.

use std::time::{Duration, Instant};

use crate::alone::{alone, block_on};
use crate::node::Node;
use crate::site::{Site, until};

/// Waits until nobody but these depends on the other CA. An agent is told at once; one that has just renewed waits for another minute, which
/// is made to pass, and again when it was not enough: each time after a longer wait, for a machine that is busy.
async fn waits_for(site: &Site, nodes: &mut [&mut Node], names: &[&str]) {
    for wait in [2, 5, 10, 20, 40] {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(wait) {
            if site.waiting().await == names {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        nodes.iter_mut().for_each(|node| node.clock.advance(61));
    }
    panic!("not only {names:?} are waited for: {:?}", site.waiting().await);
}

#[test]
fn every_agent_moves_to_the_new_ca_without_a_stop_and_whoever_was_off_comes_back() {
    if !alone("rotating::every_agent_moves_to_the_new_ca_without_a_stop_and_whoever_was_off_comes_back") {
        return;
    }
    block_on(async {
        let site = Site::start().await;
        let first = site.ca().await;
        let mut one = Node::active(&site, 1).await;
        let mut two = Node::active(&site, 2).await;
        let mut away = Node::active(&site, 3).await;
        let mut gone = Node::active(&site, 4).await;
        let pids = [one.pid(), two.pid()];
        away.off();
        gone.off();

        // Turned back: who moved moves back, and who was away notices nothing.
        site.says("key ca rotate").await;
        let second = site.ca().await;
        assert_ne!(second, first);
        waits_for(&site, &mut [&mut one, &mut two], &["n3", "n4"]).await;
        assert_eq!((one.ca(), two.ca()), (second.clone(), second.clone()));
        site.says("key ca rotate --abort").await;
        waits_for(&site, &mut [&mut one, &mut two], &[]).await;
        assert_eq!((one.ca(), two.ca()), (first.clone(), first.clone()));
        away.on();
        still_at_work(&site, &mut [&mut away], &first).await;
        site.says("key ca rotate --finish --confirm lab").await;
        assert_eq!(site.ca().await, first);
        away.off();

        // And now in earnest.
        site.says("key ca rotate").await;
        let third = site.ca().await;
        waits_for(&site, &mut [&mut one, &mut two], &["n3", "n4"]).await;
        let early = site.rackwright("key ca rotate --finish --confirm lab").await;
        assert!(early.code == Some(4) && early.err.contains("n3") && early.err.contains("n4"), "{early:?}");
        assert!(site.says("metrics show").await.contains("rackwright_ca_nodes_waiting 2"));
        // Off since before it was begun, back while both are trusted.
        away.on();
        waits_for(&site, &mut [&mut away], &["n4"]).await;
        assert_eq!(away.ca(), third);
        site.says("key ca rotate --finish --force n4 --confirm lab").await;
        still_at_work(&site, &mut [&mut one, &mut two, &mut away], &third).await;
        assert_eq!([one.pid(), two.pid()], pids);

        // Left behind: it says which CA it believes in, and to nobody's controller who it is.
        gone.on();
        gone.says(&first, 1).await;
        assert_eq!(gone.ca(), first);
    });
}

/// All of them report, in the same life of their agents, under the CA that is left.
async fn still_at_work(site: &Site, nodes: &mut [&mut Node], ca: &str) {
    let since = fleet::Time(u64::try_from(site.clock.now_ms()).unwrap()).to_string();
    for node in nodes {
        // A sign of life comes every half minute.
        node.clock.advance(60);
        let name = node.name.clone();
        until(&format!("{name} reports"), async || {
            site.node(&name).await["heard"].as_str().is_some_and(|heard| heard > since.as_str())
        })
        .await;
        assert_eq!(node.ca(), ca);
        assert!(site.is_active(&name).await);
    }
}
