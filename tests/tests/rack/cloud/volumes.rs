//! A storage node: an emulated machine with a kernel of its own, for device-mapper and iSCSI. It computes too, so that a volume can be
//! attached to an instance, and keeps objects beside the volumes.

use std::thread;
use std::time::{Duration, Instant};

use xtask::rack::bed::{OBJECTS, OF_CLOUD};
use xtask::rack::controller::CONFIG;

use super::bed::{Bed, Member};
use super::client::Client;
use super::{comes_up, works};
use crate::lab::Site;

/// Until a volume has changed, on an emulated processor.
const CHANGE: Duration = Duration::from_secs(10 * 60);

#[test]
#[ignore = "takes half an hour: cargo xtask test --long"]
fn a_cloud_with_a_storage_node_keeps_volumes_and_objects() {
    let Some(site) = Site::up(&format!("{CONFIG}{OF_CLOUD}{OBJECTS}")) else { return };
    let members = [
        Member { number: 1, roles: &["control", "network"] },
        Member { number: 2, roles: &["compute", "storage"] },
    ];
    let bed = Bed::up(&site, &members);
    comes_up(&site);
    let client = Client::on(&site, bed.node(0));
    // It takes orders; cinder calls it up when it has said so itself, which takes a while on an emulated processor.
    until("cinder-volume is up", || {
        let services = client.says("volume service list -f value -c Binary -c Host -c State");
        services.contains("cinder-volume n2@lvm up")
    });
    client.says("volume create --size 1 kept");
    until("kept is available", || client.says("volume show kept -f value -c status").trim() == "available");
    client.says("volume delete kept");
    until("kept is gone", || client.says("volume list -f value -c Name").trim().is_empty());
    keeps_objects(&client);
    // Here the volume is attached, written and read in an instance.
    works(&site);
    drop(bed);
    site.passed();
}

/// What is put comes back, byte for byte, and is gone when it is deleted.
fn keeps_objects(client: &Client<'_>) {
    client.says("container create kept");
    client.says("object create kept /usr/bin/ovs-vsctl --name tool");
    client.says("object save kept tool --file /root/tool");
    client.runs("cmp /usr/bin/ovs-vsctl /root/tool");
    assert_eq!(client.says("object list kept -f value").trim(), "tool");
    client.says("container delete --recursive kept");
    assert_eq!(client.says("container list -f value").trim(), "");
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < CHANGE, "{CHANGE:?}, and not yet: {what}");
        thread::sleep(Duration::from_secs(2));
    }
}
