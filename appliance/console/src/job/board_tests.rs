//! The screen, as it is at two in the morning.

use fleet::view::JobRow;
use serde_json::{Value, json};

use super::batch::Batch;
use super::board::{Room, change, screen, whole};
use crate::tests::samples::{self, but, read};
use crate::text::width;

const ROOM: Room = Room { columns: 80, rows: 24, header: true, colour: false };
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn lane(lane: &str, changes: Value) -> Value {
    let row = json!({"lane": lane, "multicastBytes": 0, "lostPpm": null, "why": null, "hadBytes": 0, "peerBytes": 0, "imageBytes": 4 * GIB});
    but(row, changes)
}

fn row(node: &str, changes: Value) -> JobRow {
    let own = json!({"id": format!("id-{node}"), "node": node, "totalBytes": 8 * GIB, "silentSeconds": 1});
    read(but(but(samples::job(), own), changes))
}

/// A node that writes so many MiB a second, for ten seconds, and has written so much before.
fn writing(node: &str, seconds: u64, rate: u64, before: u64, lane: &Value) -> JobRow {
    let done = before + seconds * rate;
    let percent = done * 50 / (8 * 1024);
    row(node, json!({"doneBytes": done * MIB, "percent": percent, "lane": lane}))
}

fn looked(look: impl Fn(u64) -> Vec<JobRow>) -> Batch {
    let mut batch = Batch::default();
    (0..=10).for_each(|second| batch.look(&look(second), |_| true, second * 1000));
    batch
}

#[test]
fn every_node_has_its_line_and_a_laggard_its_reason() {
    let listens = lane("multicast", json!({"lostPpm": 4_000}));
    let lossy = lane("multicast", json!({"lostPpm": 124_000}));
    let slow = lane("multicast", json!({"lostPpm": 0, "hadBytes": 4 * GIB}));
    let sent_away = lane("others", json!({"why": "it loses too much"}));
    let batch = looked(|second| {
        vec![
            writing("n1", second, 95, 3000, &listens),
            writing("n2", second, 95, 3000, &listens),
            writing("n3", second, 100, 3000, &lane("controller", json!({}))),
            writing("lossy", second, 20, 3000, &lossy),
            writing("slow-disk", second, 12, 100, &slow),
            writing("a-name-that-is-rather-long", second, 30, 200, &sent_away),
            row("silent", json!({"silentSeconds": 14, "lane": listens, "doneBytes": GIB, "percent": 6})),
            row(
                "waits",
                json!({"state": "waiting", "nodeState": "draining", "phase": null, "totalBytes": 0, "percent": 0}),
            ),
            row(
                "reads",
                json!({"phase": "read_back", "readBackBytes": second * 300 * MIB, "lane": listens, "percent": 68}),
            ),
            row("done", json!({"state": "done", "nodeState": "active", "percent": 100})),
            row("broken", json!({"state": "failed", "why": "the disk is gone"})),
        ]
    });
    let shown = screen(&batch, ROOM, 10_000).join("\n") + "\n";
    let wanted = "\
NODE         STAGE                   DONE       RATE   LEFT COMES BY     LOST
a-name-th... imaging   [----------]   6 %   30 MiB/s  4m17s others
             ^ fetches from other nodes: it loses too much
broken       failed    the disk is gone
done         done      [##########] 100 %  watched for 0s
lossy        imaging   [###-------]  39 %   20 MiB/s  4m10s multicast    12 %
             ^ 12 of 100 packets are lost
n1           imaging   [####------]  48 %   95 MiB/s    45s multicast   0.4 %
n2           imaging   [####------]  48 %   95 MiB/s    45s multicast   0.4 %
n3           imaging   [####------]  48 %  100 MiB/s    42s controller
reads        verifying [###-------]  36 %  300 MiB/s    18s
silent       imaging   [#---------]  12 %      0 B/s        multicast   0.4 %
             ^ not heard of for 14 s
slow-disk    imaging   [----------]   2 %   12 MiB/s  11m5s multicast   0.0 %
             ^ its disk is slower than the network
waits        waiting   restarts into the ramdisk  10s
[##--------]  29 %  1 of 11 done  352 MiB/s  11m5s left  1 failed  4 slow
";
    assert_eq!(shown, wanted, "\n{shown}");
    assert!(shown.lines().all(|line| width(line) <= 79), "{shown}");
}

#[test]
fn where_there_are_more_nodes_than_lines_the_slowest_are_shown() {
    let listens = lane("multicast", json!({"lostPpm": 0}));
    let batch = looked(|second| {
        let node = |number: u64| match number {
            40 => writing("n40", second, 10, 100, &listens),
            number => writing(&format!("n{number}"), second, 100 + number, 4000, &listens),
        };
        (0..64).map(node).collect()
    });
    for (columns, rows) in [(80, 24), (80, 10), (40, 24), (20, 3), (1, 1), (200, 50)] {
        let lines = screen(&batch, Room { columns, rows, ..ROOM }, 10_000);
        assert!(lines.len() < rows.max(4), "{} lines of {rows}", lines.len());
        assert!(lines.iter().all(|line| width(line) < columns.max(2)), "{columns}: {lines:?}");
    }
    let lines = screen(&batch, ROOM, 10_000);
    assert_eq!(lines.len(), 23);
    assert!(lines[1].starts_with("n40 ") && lines[2].contains("^ slower than the others"), "{lines:?}");
    assert!(lines[3].starts_with("n0 "), "the next slowest: {lines:?}");
    assert!(lines[21].starts_with("and 45 others, "), "{}", lines[21]);
    assert!(lines[22].contains("0 of 64 done") && lines[22].contains("1 slow"), "{}", lines[22]);
    assert_eq!(screen(&batch, Room { rows: 100, ..ROOM }, 10_000).len(), 64 + 1 + 2, "all of them");
}

#[test]
fn colours_take_no_room_and_say_nothing_alone() {
    let batch = looked(|_| {
        let silent = row("n1", json!({"silentSeconds": 99}));
        vec![silent, row("n2", json!({"state": "failed", "why": "the disk is gone ".repeat(20)}))]
    });
    let plain = screen(&batch, ROOM, 10_000);
    let coloured = screen(&batch, Room { colour: true, ..ROOM }, 10_000);
    assert!(plain[2].contains("^ not heard of for 99 s") && coloured[2].contains(&plain[2]), "{coloured:?}");
    assert!(coloured[2].starts_with("\u{1b}[33m") && coloured[3].starts_with("\u{1b}[31m"), "{coloured:?}");
    assert!(coloured[3].contains(&plain[3]) && plain[3].ends_with("..."), "{coloured:?}");
}

#[test]
fn a_line_tells_all_that_a_screen_does() {
    let sent_away = lane("others", json!({"lostPpm": 31_000, "why": "x"}));
    let batch = looked(|second| {
        vec![
            writing("n1", second, 100, 4000, &lane("multicast", json!({"lostPpm": 1_000}))),
            writing("n2", second, 10, 4000, &sent_away),
        ]
    });
    let lines = batch.by_name().into_iter().map(change).collect::<Vec<_>>();
    assert_eq!(
        lines,
        [
            "n1  imaging  61 %  100 MiB/s  32s left  multicast  0.1 % lost",
            "n2  imaging  50 %  10 MiB/s  6m50s left  others  3.1 % lost  slow: 3 of 100 packets are lost",
        ]
    );
    assert_eq!(whole(&batch.whole()), "[##--------]  27 %  0 of 2 done  110 MiB/s  6m50s left  1 slow");
}

#[test]
fn who_begins_again_is_measured_again() {
    let listens = lane("multicast", json!({}));
    let batch = looked(|second| match second {
        0..5 => vec![writing("n1", second, 1000, 0, &listens)],
        _ => vec![writing("n1", second - 5, 10, 0, &listens)],
    });
    let [member] = batch.by_name()[..] else { panic!("one") };
    assert_eq!(member.rate(), Some(10 * MIB));
    assert!(!batch.is_over() && batch.bad_end().is_none());
}
