//! What people see of networks, letter by letter.

use serde_json::{Value, json};

use super::PIPE;
use super::goldens::assert_golden;
use super::samples::{self, NOW, but, read};
use crate::network;

#[test]
fn network_leases() {
    let stranger = json!({"node": null, "state": "expired", "mac": "52:54:00:aa:00:01", "hostname": null});
    let alone = json!({"node": null, "state": "quarantine", "mac": null, "hostname": null});
    let rows = [
        but(samples::lease("10.77.0.10"), json!({"fixed": true})),
        but(samples::lease("10.77.0.104"), stranger),
        but(samples::lease("10.77.0.105"), alone),
    ];
    assert_golden(
        &network::render_leases(&rows.map(read), &PIPE),
        "
        ADDRESS      MAC                NODE  STATE         UNTIL
        10.77.0.10   52:54:00:12:34:56  n1    bound, fixed  2026-11-20 15:28:02 UTC
        10.77.0.104  52:54:00:aa:00:01  -     expired       2026-11-20 15:28:02 UTC
        10.77.0.105  -                  -     quarantine    2026-11-20 15:28:02 UTC
        ",
    );
}

#[test]
fn network_list() {
    let quiet = json!({"interface": "eno3", "subnets": ["10.80.0.0/16"], "dhcp": "known", "state": "serving",
        "looked": null, "others": [], "advice": null});
    let twin = json!({"address": "10.77.0.7", "site": "lab", "boots": true, "noticed": "answered a question of ours",
        "first": "2026-11-20T14:30:32.000Z", "last": "2026-11-20T14:30:52.000Z"});
    let both = but(samples::network("eno4.100"), json!({"subnets": ["10.81.0.0/24"], "others": [twin]}));
    let rows = [samples::network("eno2"), but(samples::network("eno3"), quiet), both];
    assert_golden(
        &network::render_networks(&rows.map(read), &PIPE, NOW),
        "
        INTERFACE  SUBNET        DHCP   STATE    LOOKED
        eno2       10.77.0.0/24  full   paused   10s ago
                   10.78.0.0/24
        eno3       10.80.0.0/16  known  serving  not yet
        eno4.100   10.81.0.0/24  full   paused   10s ago

        10.77.0.9 on eno2: a DHCP server
          answered a question of ours; first 3m ago, last 10s ago
          Nobody is answered and jobs wait.

        10.77.0.7 on eno4.100: another Rackwright controller, of site lab
          answered a question of ours; first 30s ago, last 10s ago
          Nobody is answered and jobs wait.
        ",
    );
}

#[test]
fn network_release() {
    let released = |from: Value| {
        let row = json!({"address": "10.77.0.104", "mac": "52:54:00:aa:00:01", "freeFrom": from});
        network::render_released(&read(row))
    };
    assert_golden(&released(Value::Null), "10.77.0.104 of 52:54:00:aa:00:01 is free");
    assert_golden(
        &released("2026-11-20T15:28:02.000Z".into()),
        "10.77.0.104 is no longer 52:54:00:aa:00:01's; free from 2026-11-20 15:28:02 UTC,
        when its lease is over",
    );
}
