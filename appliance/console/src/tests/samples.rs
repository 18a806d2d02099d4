//! Views as the daemon writes them, in JSON: reading them also checks the keys of the contract.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// `2026-11-20T14:31:02Z`
pub(crate) const NOW: u64 = 1_795_185_062;

pub(crate) fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// With these fields replaced.
pub(crate) fn but(mut value: Value, changes: Value) -> Value {
    let changes = changes.as_object().unwrap().clone();
    value.as_object_mut().unwrap().extend(changes);
    value
}

pub(crate) fn node(name: &str) -> Value {
    json!({
        "name": name, "id": "00112233445566778899aabbccddeeff", "state": "active",
        "since": "2026-11-20T14:28:02.000Z", "address": "10.77.0.10", "mac": "52:54:00:12:34:56",
        "roles": ["compute", "network"], "code": null, "evidence": "code", "waiting": null, "health": "ok",
        "unitsUp": 4, "units": 4, "percent": null, "hardware": "2 thr, 2048 MiB, 10G"
    })
}

pub(crate) fn node_view(name: &str) -> Value {
    but(
        node(name),
        json!({
            "tpm": {"tpm": null, "proven": null, "lacks": "there is no TPM 2.0 (no /dev/tpmrm0)"},
            "discovered": "2026-11-20T12:31:02.000Z", "heard": "2026-11-20T14:31:00.000Z",
            "bootPath": "uefi-pxe", "loader": "shim and GRUB", "product": "QEMU Standard PC", "serial": "", "cpu": "QEMU Virtual CPU",
            "threads": 2, "memoryBytes": 2_147_483_648u64, "firmware": "uefi", "bmc": false,
            "nics": [{"name": "enp0s2", "mac": "52:54:00:12:34:56", "speed_mbps": null, "carrier": true,
                      "driver": "virtio_net"}],
            "addresses": {"52:54:00:12:34:56": "10.77.0.10"},
            "disks": [disk("serial:QM1", "QEMU HARDDISK", 10_737_418_240), disk("wwn:0x5000", "DATA", 480_103_981_056)],
            "image": "base", "systemDisk": "serial:QM1", "generation": 4, "applied": 3,
            "receipt": receipt(),
            "units": [{"name": "chrony.service", "load": "loaded", "active": "failed", "sub": "failed",
                       "result": "exit-code", "since_ms": 0, "log": ["cannot bind", "giving up"]}],
            "tasks": [{"name": "vg", "result": {"result": "failed", "why": "exit status 5"}, "log": []}],
            "facts": {"hostname": name, "kernel": "6.12.9", "root_bytes": 10_737_418_240u64,
                      "root_free_bytes": 8_589_934_592u64, "memory_bytes": 2_147_483_648u64,
                      "uptime_seconds": 7500, "hypervisor": null}
        }),
    )
}

fn receipt() -> Value {
    json!({
        "job": "0102030405060708", "at": "2026-11-20T14:00:02.000Z", "image": "1".repeat(64), "disk": "serial:QM1",
        "totalBytes": 2_147_483_648u64, "writtenBytes": 1_073_741_824u64, "sameBytes": 1_073_741_824u64,
        "fetchedBytes": 500_000_000u64, "milliseconds": 9000,
        "proof": {"root": "2".repeat(64), "serial": "QM1", "wwn": "", "durableBytes": 2_147_483_648u64,
                  "signedBy": "3".repeat(64), "signature": "4".repeat(128), "statement": "rackwright receipt 1\n"}
    })
}

fn disk(id: &str, model: &str, bytes: u64) -> Value {
    json!({
        "disk": id, "name": "vda", "model": model, "serial": "QM1", "wwn": "", "bytes": bytes, "sector_bytes": 512,
        "bus": "virtio", "removable": false, "rotational": false, "read_only": false,
        "holds": [{"kind": "gpt", "partition": 0, "label": "", "bytes": null},
                  {"kind": "ext4", "partition": 1, "label": "data", "bytes": 9_000_000_000u64}],
        "content": null
    })
}

pub(crate) fn plan() -> Value {
    json!({
        "id": "p-8f31", "node": "n1", "kind": "install", "state": "open", "image": "base",
        "imageDigest": "3f9a1c0d5e6b7a8899aabbccddeeff00", "imageBytes": 1_288_490_188u64,
        "roles": ["compute", "network"], "disk": "serial:QM1", "diskModel": "QEMU HARDDISK",
        "diskSerial": "QM1", "diskBytes": 10_737_418_240u64,
        "erases": [{"kind": "gpt", "partition": 0, "label": "", "bytes": null},
                   {"kind": "ext4", "partition": 1, "label": "data", "bytes": 9_000_000_000u64}],
        "keeps": [{"disk": "wwn:0x5000", "model": "DATA", "serial": "S4X1", "bytes": 480_103_981_056u64}],
        "data": null, "made": "2026-11-20T14:30:02.000Z", "note": null
    })
}

pub(crate) fn job() -> Value {
    json!({
        "id": "5f3a2b1c9d8e7f60", "kind": "image", "node": "n1", "nodeState": "imaging", "plan": "p-8f31", "image": "base",
        "disk": "serial:QM1", "state": "running", "phase": "write", "doneBytes": 536_870_912, "sameBytes": 0,
        "readBackBytes": 0, "totalBytes": 1_073_741_824, "fetchedBytes": 100_000_000, "percent": 25, "takes": 1,
        "created": "2026-11-20T14:28:02.000Z", "started": "2026-11-20T14:28:05.000Z", "ended": null, "why": null
    })
}

/// A test that has found something.
pub(crate) fn test() -> Value {
    json!({
        "job": "5f3a2b1c9d8e7f60", "node": "n1", "nodeId": "00112233445566778899aabbccddeeff", "verdict": "faulty",
        "parts": ["cpu", "memory", "disk", "network"], "seconds": 600, "part": "network", "elapsedSeconds": 603, "percent": 99,
        "created": "2026-11-20T14:20:02.000Z", "started": "2026-11-20T14:20:05.000Z", "ended": "2026-11-20T14:30:08.000Z",
        "why": "its test has found errors: memory: P1_DIMM_A1",
        "faults": [{"part": "memory", "what": "physical address 0x1a2b3c40: wrong bits 0x0000000000000400", "count": 1},
                   {"part": "memory", "what": "P1_DIMM_A1: memory errors that were corrected", "count": 12}],
        "moreFaults": 3,
        "remarks": [{"part": "cpu", "what": "cores were slowed down because of heat", "count": 40}],
        "outliers": [{"part": "disk", "what": "serial:QM2: reading at its start", "value": 120_000_000, "median": 510_000_000,
                      "unit": "bytesPerSecond", "peers": 11}],
        "figures": figures()
    })
}

fn figures() -> Value {
    json!({
        "cpu": {"cores": 64, "rounds": 123_456, "median": 812_345, "slowest": 790_000, "slowest_core": 17, "throttled": 40,
                "machine_checks": 0},
        "memory": {"tested_bytes": 515_396_075_520u64, "total_bytes": 549_755_813_888u64, "patterns": 7,
                   "rate": 42_949_672_960u64, "corrected": 12, "uncorrected": null},
        "disks": [
            {"disk": "wwn:eui.0025385b71b0aaaa", "model": "NVMe", "bytes": 9, "read_bytes": 9, "start": 3_100_000_000u64,
             "middle": 3_100_000_000u64, "end": 3_000_000_000u64, "random_reads": 9, "median_micros": 85, "p99_micros": 140,
             "max_micros": 900, "errors": 0,
             "health": {"well": true, "used_percent": 3, "media_errors": 0, "hours": 12_345, "celsius": 41}},
            {"disk": "serial:QM2", "model": "SATA", "bytes": 9, "read_bytes": 9, "start": 120_000_000, "middle": null,
             "end": null, "random_reads": 0, "median_micros": null, "p99_micros": null, "max_micros": null, "errors": 16,
             "health": {"unknown": "only NVMe and SATA drives are asked"}}],
        "network": {"interface": "eth0", "bytes": 9, "rate": 1_181_116_007, "link_mbit": 10_000, "full_duplex": true},
        "celsius_max": 88
    })
}

/// A capture that has ended.
pub(crate) fn captured() -> Value {
    let found = json!([
        {"rule": "machine-id", "what": "the machine's id", "places": 1, "kept": false},
        {"rule": "ssh-host-key", "what": "SSH host key", "places": 6, "kept": true}
    ]);
    but(
        job(),
        json!({
            "kind": "capture", "plan": null, "image": "lab-2", "state": "done", "nodeState": "active",
            "imageDigest": "3f9a1c0d5e6b7a8899aabbccddeeff00", "identity": "generalize", "phase": "capture", "percent": 100, "ended": "2026-11-20T14:30:02.000Z", "found": found
        }),
    )
}

/// The same image, as one that was taken of a node as it was.
pub(crate) fn personal(image: Value) -> Value {
    but(image, json!({"name": "n1-1", "onlyFor": "n1", "roles": [], "nodes": []}))
}

pub(crate) fn image() -> Value {
    json!({
        "name": "base", "digest": "3f9a1c0d5e6b7a8899aabbccddeeff00", "roles": ["compute", "network"],
        "arch": "x86_64", "diskBytes": 4_000_000_000u64, "leastBytes": 4_000_000_000u64,
        "contentBytes": 1_288_490_188u64, "storedBytes": 536_870_912, "signer": "ab12", "imported": "2026-11-20T13:31:02.000Z", "nodes": ["n1"]
    })
}

/// An image in full: a boot partition, a root that is mostly free, and swap.
pub(crate) fn image_view() -> Value {
    let cell = |at: u32| match at {
        0..4 => json!({"data": 90, "zero": 0}),
        4..20 => json!({"data": 66, "zero": 10}),
        20..30 => json!({"data": 19, "zero": 0}),
        30..36 => json!({"data": 0, "zero": 1}),
        _ => json!({"data": 0, "zero": 0}),
    };
    let partition = |number: u32, name: &str, offset: u64, bytes: u64| {
        json!({"number": number, "type": "0fc63daf-8483-4772-8e79-3d69d8477de4", "name": name,
               "uuid": format!("77e0b2f4-aa61-4a27-9c53-00000000000{number}"), "offset": offset, "bytes": bytes})
    };
    let volume = |kind: &str, label: &str, offset: u64, bytes: u64, used: u64| {
        json!({"kind": kind, "label": label, "uuid": "5b8c6a0e-1f7d-4b52-8c35-111111111111", "offset": offset,
               "bytes": bytes, "usedBytes": used})
    };
    let content = json!({
        "root": "9d1c0d5e6b7a8899aabbccddeeff0011", "sectorBytes": 512, "chunks": 1200, "dataBytes": 1_200_000_000u64,
        "zeroBytes": 88_490_188, "sharedBytes": 500_000_000, "table": "gpt",
        "partitions": [partition(1, "boot", 1 << 20, 250 << 20), partition(2, "root", 251 << 20, 3 << 30)],
        "volumes": [volume("vfat", "", 1 << 20, 250 << 20, 9 << 20), volume("ext4", "root", 251 << 20, 3 << 30, 1 << 30)],
        "cells": (0..64).map(cell).collect::<Vec<_>>()
    });
    but(image(), json!({"content": content, "damagedWindows": [], "checked": "2026-11-20T14:00:00.000Z"}))
}

pub(crate) fn diff() -> Value {
    let amount = |chunks: u64| json!({"chunks": chunks, "bytes": chunks << 20});
    let row = |same, changed, from, to| {
        json!({"same": amount(same), "changed": amount(changed), "onlyFrom": amount(from), "onlyTo": amount(to),
               "fetchBytes": (changed + to) << 19})
    };
    let place = |name: &str, row: Value| but(row, json!({"where": name, "offset": 1_048_576}));
    let volumes = [place("outside", row(2, 0, 0, 0)), place("ext4 root", row(1100, 12, 3, 5))];
    but(
        row(1102, 12, 3, 5),
        json!({"from": "base", "fromDigest": "3f9a1c0d5e6b7a8899aabbccddeeff00", "to": "base",
        "toDigest": "77e0b2f4aa614a279c53aabbccddeeff", "volumes": volumes, "obstacle": null}),
    )
}

pub(crate) fn scrub(bad: &[u32]) -> Value {
    json!({"running": false, "image": null, "doneBytes": 1024, "totalBytes": 1024,
           "found": [{"image": "base", "digest": "3f9a1c0d5e6b7a8899aabbccddeeff00", "bytes": 1024, "bad": bad}],
           "begun": "2026-11-20T14:00:00.000Z", "ended": "2026-11-20T14:01:00.000Z"})
}

pub(crate) fn prune(done: bool) -> Value {
    json!({"images": [{"name": "base", "digest": "3f9a1c0d5e6b7a8899aabbccddeeff00",
                       "imported": "2026-11-20T13:31:02.000Z", "bytes": 104_857_600}],
           "bytes": 104_857_600, "done": done, "rewritten": 0})
}

pub(crate) fn service() -> Value {
    json!({
        "node": "n1", "unit": "chrony.service", "wanted": "running", "active": "failed", "sub": "failed",
        "log": "giving up"
    })
}

pub(crate) fn lease(address: &str) -> Value {
    json!({
        "address": address, "mac": "52:54:00:12:34:56", "node": "n1", "state": "bound", "fixed": false,
        "until": "2026-11-20T15:28:02.000Z", "hostname": "n1"
    })
}

pub(crate) fn reservation() -> Value {
    json!({
        "mac": "52:54:00:12:34:56", "address": "10.77.0.21", "node": "n1", "made": "2026-11-20T14:28:02.000Z"
    })
}

pub(crate) fn network(interface: &str) -> Value {
    json!({
        "interface": interface, "address": "10.77.0.1", "subnets": ["10.77.0.0/24", "10.78.0.0/24"],
        "dhcp": "full", "state": "paused", "looked": "2026-11-20T14:30:52.000Z",
        "others": [{"address": "10.77.0.9", "site": null, "boots": false, "noticed": "answered a question of ours",
                    "first": "2026-11-20T14:28:02.000Z", "last": "2026-11-20T14:30:52.000Z"}],
        "advice": "Nobody is answered and jobs wait."
    })
}

/// A check of three nodes, one of which reaches nobody.
pub(crate) fn check(state: &str) -> Value {
    json!({
        "id": "c-8f310a2c", "state": state, "stage": null, "round": 0, "rounds": 0,
        "begun": "2026-11-20T14:30:02.000Z", "ended": "2026-11-20T14:30:36.000Z", "transferSeconds": 1,
        "healthy": false, "nodes": [{"node": "n1", "why": null}, {"node": "n2", "why": null}, {"node": "n3", "why": null}],
        "absent": [{"node": "n4", "why": "is imaging"}],
        "networks": [{"subnet": "10.77.0.0/24", "nodes": 3, "ways": 6, "arrived": 2, "transfers": 2,
                      "medianBitsPerSecond": 941_000_000_u64}],
        "findings": [{"severity": "fail", "code": "unreachable", "nodes": ["n3"], "network": "10.77.0.0/24",
                      "text": "n3 reaches nobody on 10.77.0.0/24, and nobody reaches it",
                      "next": "look at its cable"}],
        "pairs": [{"from": "n1", "to": "n2", "network": "10.77.0.0/24", "arrived": true, "largestBytes": 1500,
                   "rttUs": 180, "bitsPerSecond": 941_000_000_u64}],
        "provision": []
    })
}

pub(crate) fn map_row() -> Value {
    json!({
        "node": "n1", "link": "eno1", "mac": "18:66:da:10:20:30", "carrier": true, "speedMbps": 10000, "mtu": 1500,
        "addresses": ["10.77.0.101/24"], "switch": "sw-1", "chassis": "02:00:00:00:00:0a", "port": "ge-0/0/1",
        "portDescription": "機櫃 1", "vlan": 100
    })
}

pub(crate) fn event(seq: u64) -> Value {
    json!({
        "seq": seq, "time": format!("2026-11-20T14:30:{:02}.000Z", seq % 60), "node": "n1", "kind": "approved",
        "text": "let in by the operator"
    })
}

pub(crate) fn why() -> Value {
    json!({
        "node": but(node("n1"), json!({"state": "booting", "health": "", "unitsUp": null, "units": null})),
        "waiting": "its first boot to enrol", "until": "2026-11-20T14:53:02.000Z", "facts": [event(1), event(2)]
    })
}

pub(crate) fn finding() -> Value {
    json!({
        "rule": "stranger-not-answered", "certainty": "certain", "time": "2026-11-20T14:28:00.000Z",
        "what": "it asks to boot, and nobody has made it known",
        "why": "On this network only servers that an operator has made known are answered.",
        "fix": "if it is one of yours: rackwright network reserve 18:66:da:10:20:30"
    })
}

fn step(after_ms: u64, stage: Option<&str>, arrived: &str, answered: &str) -> Value {
    json!({
        "time": format!("2026-11-20T14:{:02}:{:02}.{:03}Z", 28 + after_ms / 60_000, after_ms / 1000 % 60, after_ms % 1000),
        "afterMs": after_ms, "until": null, "times": 1, "stage": stage, "arrived": arrived, "answered": answered,
        "what": {"kind": "router"}
    })
}

pub(crate) fn boot() -> Value {
    let silence = "silence: 18:66:da:10:20:30 is not a known machine, and only those are answered";
    let attempt = |began: &str, steps: Vec<Value>| json!({"began": began, "reached": "asked", "leftOut": 0, "steps": steps});
    json!({
        "mac": "18:66:da:10:20:30", "node": null,
        "attempts": [
            attempt("2026-11-20T14:20:00.000Z", vec![step(0, Some("asked"), "DISCOVER (BIOS)", "OFFER 10.77.0.101")]),
            attempt("2026-11-20T14:28:00.000Z", vec![
                step(0, Some("asked"), "DISCOVER (UEFI, arch 7)", silence),
                but(step(3_900, Some("asked"), "DISCOVER (UEFI, arch 7), after 4 s", silence), json!({"times": 3})),
                step(31_000, Some("loader"), "TFTP pxelinux.0", "no such file"),
            ])
        ],
        "around": [step(5_000, None, "another DHCP server on eno2: 192.168.1.1", "")],
        "findings": [finding()]
    })
}

pub(crate) fn boot_row() -> Value {
    json!({
        "mac": "18:66:da:10:20:30", "node": null, "heard": "2026-11-20T14:28:31.000Z", "reached": "asked",
        "findings": [finding()]
    })
}

pub(crate) fn doctor() -> Value {
    let check = |check: &str, result: &str, what: &str, fix: Option<&str>| json!({"check": check, "result": result, "what": what, "fix": fix});
    json!({
        "health": "fail", "time": "2026-11-20T14:31:02.000Z",
        "checks": [
            check("listeners", "ok", "7 listeners listen", None),
            check("boot-store", "fail", "the boot store has no usable initrd.img (No such file or directory)",
                Some("image-build ramdisk --out /var/lib/rackwright/boot")),
            check("dhcp", "ok", "10.77.0.0/24: only servers that were made known are answered", None),
            check("pool", "warn", "10.77.0.0/24: 95 of 100 addresses are held",
                Some("release what is not needed (rackwright network leases), or make the pool larger")),
        ],
        "cards": [boot_row()]
    })
}

pub(crate) fn status() -> Value {
    json!({
        "site": "school", "health": "busy", "time": "2026-11-20T14:31:02.000Z", "version": "0.1.0",
        "listeners": [
            {"name": "dhcp", "address": "10.77.0.1:67", "answered": 12, "problem": null},
            {"name": "tftp", "address": "10.77.0.1:69", "answered": 3, "problem": "refused ../etc/passwd"}
        ],
        "nodes": [node("n1")], "jobs": [job()], "events": [event(1), event(2)],
        "storage": {"path": "/var/lib/rackwright", "totalBytes": 64_000_000_000u64,
                    "freeBytes": 9_000_000_000u64, "problem": null},
        "next": "compare the code of n2 with its screen: rackwright node approve n2"
    })
}

/// A node's power: one request is done, and its controller was tested.
pub(super) fn power() -> Value {
    json!({
        "node": "n1", "kind": "redfish", "address": "10.0.9.11", "user": "ops", "password": true,
        "fingerprint": "ab12", "locked": "it does not take this password", "state": "on",
        "stateAt": "2026-11-20T14:31:02.000Z", "trouble": "it answers 503", "heard": "2026-11-20T14:31:02.000Z",
        "looking": false, "tested": "2026-11-20T14:31:02.000Z", "find": "n1 (Dell R640, NIC 52:54:00:12:34:56)",
        "requests": [{
            "id": "5f3a2b1c9d8e7f60", "wish": "power on", "way": "controller", "state": "done", "text": "heard",
            "asked": "2026-11-20T14:31:02.000Z", "ended": "2026-11-20T14:31:02.000Z",
        }],
        "findings": [{"check": "cipher0", "ok": false, "text": "open"}, {"check": "login", "ok": null, "text": "x"}],
    })
}

pub(crate) fn rollout(state: &str) -> Value {
    let step = |node: &str, canary: bool| {
        json!({"node": node, "canary": canary, "plan": format!("p-{node}"), "image": "compute",
            "disk": format!("serial:{node}"), "diskBytes": 10_737_418_240u64, "state": "waiting", "job": null, "note": null})
    };
    json!({
        "id": "r-8f310a2c", "state": state, "note": null, "group": "compute", "confirm": "3 compute",
        "maxUnavailable": 1, "stopAfter": 2, "made": "2026-11-20T14:30:02.000Z", "ended": null,
        "steps": [step("n3", true), step("n1", false), step("n2", false)],
        "skips": [{"node": "n4", "why": "n4 is held: its fan"}]
    })
}
