//! The network between installed nodes is checked: by the program that ships, the daemon, and the agents that are called to it.

use serde_json::{Value, json};

use crate::alone::{alone, block_on};
use crate::node::Node;
use crate::ramdisk::address;
use crate::site::Site;

#[test]
fn installed_agents_are_called_to_a_check_and_find_what_is_cut_off() {
    if !alone("checking::installed_agents_are_called_to_a_check_and_find_what_is_cut_off") {
        return;
    }
    block_on(async {
        let site = Site::start().await;
        let nodes = [Node::active(&site, 1).await, Node::active(&site, 2).await];
        // How fast two are on a busy machine is nobody's promise: one may be told as slower than the other.
        let ran = site.rackwright("network check --transfer-seconds 1 --timeout 90s").await;
        assert!(ran.out.contains("2/2"), "both are reached: {ran:?}");
        let fine = site.get("/v1/network/check").await;
        assert_eq!(fine["state"], json!("done"), "{fine}");
        assert!(reach(&fine).is_empty(), "{fine}");
        assert!(fine["networks"][0]["medianBitsPerSecond"].as_u64().unwrap() > 1_000_000, "{fine}");

        // What n1 sends to n2 goes to a hardware address that nobody has, as behind a switch that mixes two up.
        let to = address(2);
        nodes[0].inside(&format!("ip neigh replace {to} lladdr 02:de:ad:00:00:01 dev eth0 nud permanent"));
        let cut = site.rackwright("network check --no-throughput --timeout 90s").await;
        assert_eq!(cut.code, Some(9), "{cut:?}");
        assert!(cut.out.contains("n1") && cut.out.contains("n2"), "{cut:?}");
        let found = site.get("/v1/network/check").await;
        assert_eq!(reach(&found), ["one-way"], "{found}");
        nodes[0].inside(&format!("ip neigh del {to} dev eth0"));
        let again = site.rackwright("network check --no-throughput --timeout 90s").await;
        assert!(again.out.contains("2/2"), "they are called again: {again:?}");
        let mended = site.get("/v1/network/check").await;
        assert!(reach(&mended).is_empty(), "{mended}");
    });
}

/// What is found of who reaches whom; how fast that is, is not for a machine that is busy with other things.
fn reach(check: &Value) -> Vec<String> {
    let findings = check["findings"].as_array().unwrap().iter();
    let codes = findings.map(|one| one["code"].as_str().unwrap().to_owned());
    codes.filter(|code| ["unreachable", "one-way", "mtu", "duplicate"].contains(&code.as_str())).collect()
}
