//! A cloud in one server, and in two: imaged from the network like any other, then booted natively from the disks that were written, because
//! OpenStack on an emulated processor takes a quarter of an hour to start. The daemon and its agents do everything; the openstack
//! client, which is not ours, is the judge.

mod bed;
mod client;
mod trouble;
mod volumes;

use std::time::Duration;

use xtask::rack::bed::{OF_CLOUD, OUTSIDE};
use xtask::rack::controller::CONFIG;
use xtask::say;

use crate::lab::{Site, fail};
use bed::{Bed, Member};
use client::Client;

/// Until all services are well, once their nodes are active.
const RISE: Duration = Duration::from_secs(20 * 60);

#[test]
#[ignore = "takes a quarter of an hour: cargo xtask test --long"]
fn a_cloud_comes_up_in_one_server_and_runs_an_instance() {
    let Some(site) = Site::up(&format!("{CONFIG}{OF_CLOUD}")) else { return };
    let bed = Bed::up(&site, &[Member { number: 1, roles: &["control", "network", "compute"] }]);
    comes_up(&site);
    let client = Client::on(&site, bed.node(0));
    client.finds_all_up();
    client.runs_an_instance();
    drop(bed);
    site.passed();
}

#[test]
#[ignore = "takes half an hour: cargo xtask test --long"]
fn a_cloud_of_two_servers_is_reached_from_outside_and_survives_what_befalls_it() {
    let Some(site) = Site::up(&format!("{CONFIG}{OF_CLOUD}{OUTSIDE}")) else { return };
    let world = ["ip", "address", "add", "10.88.0.1/24", "dev", "prov1"];
    site.controller.run(&world).unwrap_or_else(|error| fail(&error));
    let members = [
        Member { number: 1, roles: &["control", "network", "compute"] },
        Member { number: 2, roles: &["compute"] },
    ];
    let mut bed = Bed::up(&site, &members);
    say::step("all services come up, while the daemon is killed 30 times", || {
        trouble::killed_while_it_rises(&site, &bed);
        Ok::<_, std::convert::Infallible>(())
    })
    .unwrap_or_else(|never| match never {});
    comes_up(&site);
    Client::on(&site, bed.node(0)).finds_all_up();
    trouble::nothing_else_runs_on_a_compute_node(&bed);
    works(&site);
    trouble::every_service_is_killed(&site, &bed);
    works(&site);
    trouble::a_compute_node_is_written_anew(&site, &mut bed);
    runs_instances(&site, "n2");
    trouble::all_power_is_gone(&site, &mut bed);
    comes_up(&site);
    works(&site);
    drop(bed);
    site.passed();
}

/// Waits until all services are well.
fn comes_up(site: &Site) {
    let up = say::step("all services of the cloud are well", || {
        site.controller.run_for(&["rackwright", "cloud", "status", "--wait"], RISE)
    });
    say::line(&up.unwrap_or_else(|error| fail(&error)));
}

/// What an operator asks it by.
fn works(site: &Site) {
    smoke(site, &[]);
}

/// What `node rebuild` proves a compute node by.
fn runs_instances(site: &Site, node: &str) {
    smoke(site, &["--node", node]);
}

fn smoke(site: &Site, options: &[&str]) {
    let argv = [&["rackwright", "cloud", "smoke"], options].concat();
    let said = site.controller.run_for(&argv, RISE);
    say::line(&said.unwrap_or_else(|error| fail(&error)));
}
