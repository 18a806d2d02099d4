//! The table of targets.

use std::path::{Path, PathBuf};

#[cfg(feature = "volumes")]
use crate::volume;
#[cfg(feature = "everything")]
use crate::{
    ansible, choice, chunk, configuration, disk, document, exchange, hardware, http, identity, image,
    journal, message, power, recipe, recovery, row, screen, setup_answers, slots, ssh_key, store, terminal,
    tpm, wiring,
};
use crate::{dhcp, loader, script, trace, transfer};
#[cfg(feature = "delivery")]
use crate::{multicast, receiver};

/// How far an input came. A target whose seeds never get past the first check tests nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    /// It was refused.
    Refusal,
    /// It was parsed, or decided about.
    Inside,
}

impl Reached {
    /// [`Reached::Inside`] when something was accepted.
    pub(crate) fn when(accepted: bool) -> Reached {
        if accepted { Reached::Inside } else { Reached::Refusal }
    }
}

/// One parser or decision, and inputs to begin with.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: on the command line and as a folder's.
    pub name: &'static str,
    /// Runs it on any bytes; panics when something does not hold that must.
    pub run: fn(&[u8]) -> Reached,
    /// Small inputs that are well-formed, or nearly so.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

impl Target {
    /// The target of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Target> {
        targets().find(|target| target.name == name)
    }

    /// The folder of inputs that were bugs once; there is none while there were none.
    #[must_use]
    pub fn regressions(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions").join(self.name)
    }
}

macro_rules! targets {
    ($($name:literal: $run:path, $seeds:path;)*) => {
        &[$(Target { name: $name, run: $run, seeds: $seeds }),*]
    };
}

/// All targets.
pub fn targets() -> impl Iterator<Item = &'static Target> {
    [BOOT, VOLUMES, DELIVERY, OTHERS].into_iter().flatten()
}

/// Network boot, before anybody is known.
const BOOT: &[Target] = targets! {
    "dhcp-request": dhcp::request::run, dhcp::request::seeds;
    "dhcp-exchange": dhcp::exchange::run, dhcp::exchange::seeds;
    "dhcp-heard": dhcp::heard::run, dhcp::heard::seeds;
    "tftp-request": loader::tftp, loader::tftp_seeds;
    "tftp-transfer": transfer::run, transfer::seeds;
    "boot-name": loader::name, loader::name_seeds;
    "boot-script": script::run, script::seeds;
    "trace-diagnose": trace::run, trace::seeds;
};

/// What is on a disk that an image is made of.
#[cfg(feature = "volumes")]
const VOLUMES: &[Target] = targets! {
    "volume-ext": volume::ext, volume::ext_seeds;
    "volume-xfs": volume::xfs, volume::xfs_seeds;
    "volume-btrfs": volume::btrfs, volume::btrfs_seeds;
    "volume-fat": volume::fat, volume::fat_seeds;
    "volume-exfat": volume::exfat, volume::exfat_seeds;
    "volume-ntfs": volume::ntfs, volume::ntfs_seeds;
    "volume-swap": volume::swap, volume::swap_seeds;
    "volume-lvm": volume::lvm, volume::lvm_seeds;
    "volume-md": volume::md, volume::md_seeds;
    "partition-table": volume::partitions, volume::partitions_seeds;
    "disk-file": volume::qcow2, volume::qcow2_seeds;
};
#[cfg(not(feature = "volumes"))]
const VOLUMES: &[Target] = &[];

/// An image on its way to a disk.
#[cfg(feature = "delivery")]
const DELIVERY: &[Target] = targets! {
    "image-receiver": receiver::run, receiver::seeds;
    "cast-packet": multicast::packet, multicast::packet_seeds;
    "cast-door": multicast::door, multicast::door_seeds;
    "cast-gather": multicast::gather, multicast::gather_seeds;
};
#[cfg(not(feature = "delivery"))]
const DELIVERY: &[Target] = &[];

/// Everything else.
#[cfg(feature = "everything")]
const OTHERS: &[Target] = targets! {
    // What anybody may ask by HTTP.
    "http-path": http::path, http::path_seeds;
    "http-range": http::range, http::range_seeds;
    // Images.
    "image-header": image::header, image::header_seeds;
    "image-manifest": image::manifest, image::manifest_seeds;
    "image-records": image::records, image::records_seeds;
    "image-signed": image::signed, image::signed_seeds;
    "image-chunk": chunk::run, chunk::seeds;
    "image-pack-index": store::pack_index, store::pack_index_seeds;
    // What a server says of itself, and what is found on it.
    "kernel-command-line": hardware::command_line, hardware::command_line_seeds;
    "hardware-text": hardware::texts, hardware::texts_seeds;
    "drive-health": hardware::health, hardware::health_seeds;
    "boot-entry": hardware::boot_entry, hardware::boot_entry_seeds;
    "disk-signatures": disk::signatures, disk::signatures_seeds;
    "disk-gpt": disk::gpt, disk::gpt_seeds;
    "disk-mbr": disk::mbr, disk::mbr_seeds;
    "disk-choice": choice::run, choice::seeds;
    "tpm-answer": tpm::answer, tpm::answer_seeds;
    "tpm-quote": tpm::quote, tpm::quote_seeds;
    "server-screen": screen::run, screen::seeds;
    // Messages between node and controller.
    "message-hello": message::hello, message::hello_seeds;
    "message-enrol": message::enrol, message::enrol_seeds;
    "message-job": message::job, message::job_seeds;
    "message-state": message::state, message::state_seeds;
    "message-report": message::report, message::report_seeds;
    "seed-partition": message::seed, message::seed_seeds;
    "identity": identity::run, identity::seeds;
    "ssh-key": ssh_key::run, ssh_key::seeds;
    "fleet-exchange": exchange::run, exchange::seeds;
    // The network between nodes.
    "lldp": wiring::lldp, wiring::lldp_seeds;
    "arp": wiring::arp, wiring::arp_seeds;
    "probe-packet": wiring::probe, wiring::probe_seeds;
    "message-network": wiring::message, wiring::message_seeds;
    // Management controllers.
    "redfish-answer": power::redfish, power::redfish_seeds;
    "ipmi-answer": power::ipmi, power::ipmi_seeds;
    "console-end": power::console, power::console_seeds;
    "console-frames": power::frames, power::frames_seeds;
    "controller-address": power::address, power::address_seeds;
    // On the installed node.
    "unit-name": document::unit_name, document::unit_name_seeds;
    "document-path": document::path, document::path_seeds;
    "host-name": document::host_name, document::host_name_seeds;
    "journal": journal::run, journal::seeds;
    // On the controller.
    "api-query": http::query, http::query_seeds;
    "stored-row": row::run, row::seeds;
    "backup-file": recovery::file, recovery::file_seeds;
    "backup-parts": recovery::parts, recovery::parts_seeds;
    "recovery-kit": recovery::typed, recovery::typed_seeds;
    "journal-heads": recovery::heads, recovery::heads_seeds;
    "ca-file": configuration::ca_file, configuration::ca_file_seeds;
    "configuration": configuration::run, configuration::seeds;
    "setup-answers": setup_answers::answers, setup_answers::answers_seeds;
    "setup-record": setup_answers::recorded, setup_answers::recorded_seeds;
    "slots": slots::environment, slots::environment_seeds;
    "catalog": configuration::catalog, configuration::catalog_seeds;
    "catalog-template": configuration::template, configuration::template_seeds;
    // What people and other programs read.
    "terminal-text": terminal::run, terminal::seeds;
    "ansible-inventory": ansible::run, ansible::seeds;
    // Building images.
    "recipe": recipe::recipe, recipe::recipe_seeds;
    "ramdisk-archive": recipe::ramdisk, recipe::ramdisk_seeds;
    "tar-archive": recipe::tar, recipe::tar_seeds;
    "program-file": recipe::program, recipe::program_seeds;
    "package-lists": recipe::packages, recipe::packages_seeds;
};
#[cfg(not(feature = "everything"))]
const OTHERS: &[Target] = &[];
