//! The controller's clock jumps while it runs: no certificate is issued until it is right again, or a person says that it is, and everything
//! else goes on.

use crate::alone::{alone, block_on};
use crate::clock::HOUR;
use crate::node::Node;
use crate::ramdisk;
use crate::site::{Site, until};

#[test]
fn a_controller_whose_clock_jumps_issues_nothing_says_so_and_goes_on() {
    if !alone("doubting::a_controller_whose_clock_jumps_issues_nothing_says_so_and_goes_on") {
        return;
    }
    block_on(async {
        settled().await;
        let mut site = Site::start().await;
        let mut node = Node::active(&site, 1).await;
        site.clock.set(365 * 24 * HOUR);
        doubted(&site, true).await;
        let status = site.says("status").await;
        assert!(status.contains("ATTENTION") && status.contains("clock has jumped"), "{status}");
        assert!(status.contains("rackwright clock accept"), "{status}");
        assert!(site.says("metrics show").await.contains("rackwright_clock_doubted 1"));

        // A server that was just let in waits, and both screens say for what.
        let waits = ramdisk::waits(&site, 2).await;
        assert!(waits.contains("clock has jumped"), "{waits}");
        let why = site.says("node why n2").await;
        assert!(why.contains("its certificate: the controller's clock"), "{why}");
        let rotate = site.rackwright("key ca rotate").await;
        assert!(rotate.code == Some(4) && rotate.err.contains("clock has jumped"), "{rotate:?}");

        // A node that is due asks, is told, and is heard as before with what it has.
        let before = node.certificate();
        node.clock.set(17 * HOUR);
        node.says("clock has jumped", 1).await;
        assert_eq!(node.certificate(), before);
        let heard = site.node("n1").await["heard"].clone();
        node.clock.advance(60);
        until("n1 reports all the same", async || site.node("n1").await["heard"] != heard).await;
        assert!(site.is_active("n1").await);

        // The jump is undone: it goes on by itself.
        site.clock.set(0);
        doubted(&site, false).await;
        node.clock.advance(120);
        node.renews(&before).await;
        assert!(site.says("status").await.contains("clock is right again"));

        // It was right to jump: a person says so, also to a controller that was started again meanwhile.
        site.clock.set(2 * HOUR);
        doubted(&site, true).await;
        site.off();
        site.on().await;
        doubted(&site, true).await;
        let accepted = site.says("clock accept").await;
        assert!(accepted.contains("certificates are issued again"), "{accepted}");
        doubted(&site, false).await;
        let twice = site.rackwright("clock accept").await;
        assert!(twice.code == Some(4) && twice.err.contains("nothing to accept"), "{twice:?}");
        let third = Node::active(&site, 3).await;
        drop(third);
    });
}

/// What is thought of the clock is looked at every few seconds.
async fn doubted(site: &Site, wanted: bool) {
    until(&format!("the clock is doubted: {wanted}"), async || {
        site.get("/v1/status").await["clock"].is_string() == wanted
    })
    .await;
}

/// Soon after a boot network time sets clocks, and a jump is none.
async fn settled() {
    let up = || {
        let text = std::fs::read_to_string("/proc/uptime").unwrap();
        text.split('.').next().unwrap().parse::<u64>().unwrap()
    };
    while up() < 605 {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}
