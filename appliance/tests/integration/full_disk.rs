//! A full controller disk: nothing is promised, nothing is lost, and it goes on by itself when there is room again.
//!
//! The state is on a small file system of its own, in a mount namespace of its own.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use appliance::space::{RESERVE, Room};
use appliance::store::Store;
use fleet::Event;
use pack::Builder;
use protocol::{Progress, routes};
use serde_json::{Value, json};

use crate::capturing::{capturing, packed, parts, send, tell, windows};
use crate::controller::{Controller, LEASE_SECONDS};
use crate::image::{about, head, key, small};
use crate::journey::{control_image, imaging, nothing_yet, progress, take};
use crate::operator::{self, announce, import, rackwright};
use crate::witness::{self, everything};
use crate::{agent, dhcp};

/// The size of the file system: what images leave free, the images of these tests, the data base.
const BYTES: u64 = 100 << 20;

/// Runs the named test again in a mount namespace of its own; true in that run, in which the second value is an empty
/// file system of [`BYTES`] bytes.
fn alone(test: &str) -> Option<PathBuf> {
    const INSIDE: &str = "RACKWRIGHT_TEST_SMALL_DISK";
    if let Some(folder) = std::env::var_os(INSIDE) {
        let folder = PathBuf::from(folder);
        let size = format!("size={BYTES},mode=0700");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "small"]).arg(&folder).status();
        assert!(done.unwrap().success(), "mounting a small file system");
        return Some(folder);
    }
    let folder = tempfile::tempdir().unwrap();
    let root = rustix::process::geteuid().is_root();
    let status = Command::new("unshare")
        .arg(if root { "-m" } else { "-rm" })
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, folder.path())
        .status()
        .expect("unshare of util-linux");
    assert!(status.success(), "{test} failed on its small file system");
    None
}

/// A runtime for the run inside.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build();
    runtime.unwrap().block_on(test);
}

/// Writes until there is not a byte left; the file that takes the room.
fn fill(folder: &Path) -> PathBuf {
    let path = folder.join("filler");
    let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
    for piece in [1 << 20, 4096, 1] {
        let piece = vec![7; piece];
        while file.write(&piece).is_ok_and(|written| written > 0) {}
    }
    assert_eq!(appliance::space::Room::of(folder).unwrap().free, 0);
    path
}

/// Leaves so many bytes free.
fn leave(folder: &Path, free: u64) {
    let path = fill(folder);
    let file = File::options().write(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length - free).unwrap();
}

/// Events until one can't be saved: the log that SQLite keeps beside the data base may have some room in itself. Each
/// writes a line, however often the same was said.
async fn until_refused(controller: &Controller) -> String {
    let node = controller.core.world().fleet.nodes.keys().next().copied().expect("a node");
    for _ in 0..4096 {
        let event = Event::Escrowed { node, files: 0 };
        if let Err(refused) = controller.core.bring(event).await {
            return refused.to_string();
        }
    }
    panic!("a full disk takes everything");
}

#[test]
fn a_full_disk_refuses_promises_nothing_and_goes_on_by_itself() {
    let Some(folder) = alone("full_disk::a_full_disk_refuses_promises_nothing_and_goes_on_by_itself") else {
        return;
    };
    run(async move {
        let controller = Controller::start(&folder).await;
        control_image(&controller).await;
        let (agent, job) = imaging(&controller, 1).await;
        let old = dhcp::boot(&controller, 1).await.unwrap();
        fill(&folder);
        let why = until_refused(&controller).await;
        assert!(why.contains("nothing was changed") && why.contains("disk is full"), "{why}");
        let before = everything(&controller.folder);

        refuses(&controller, &agent).await;
        promises_nothing_new(&controller, old).await;
        tells(&controller).await;
        assert_eq!(everything(&controller.folder), before, "nothing of it happened");
        assert_eq!(witness::integrity(&controller.folder), "ok");

        let counted = controller.core.space.trouble().unwrap().refused;
        controller.core.bring(Event::Tick).await.unwrap_err();
        let trouble = controller.core.space.trouble().unwrap();
        assert_eq!(trouble.refused, counted, "nobody asked for the clock");
        std::fs::remove_file(folder.join("filler")).unwrap();
        controller.core.bring(Event::Tick).await.expect("the clock finds out by itself");
        let ran = rackwright(&controller, "status --check").await;
        assert!(ran.code == Some(0) && !ran.out.contains("nothing can be saved"), "{ran:?}");
        let log = rackwright(&controller, "event list").await.out;
        assert!(
            log.contains("the state can be saved again") && log.contains("requests were refused"),
            "{log}"
        );
        assert!(progress(&agent, &job, 1 << 20).await, "the job goes on");
        assert_eq!(take(&agent).await.job, job.job);
        let again = dhcp::renew(&controller, 1, old.address).await.unwrap();
        assert_eq!(again.seconds, LEASE_SECONDS);
        dhcp::boot(&controller, 2).await.expect("a new server is answered again");
        import(&controller, small("compute", &["compute"]).1).await.unwrap();
        assert_eq!(witness::integrity(&controller.folder), "ok");
        controller.stop().await;
        let controller = Controller::start(&folder).await;
        assert_eq!(controller.core.world().fleet.images.len(), 2);
        controller.stop().await;
    });
}

/// Whoever would change something hears why it was not done, and that asking again may help.
async fn refuses(controller: &Controller, agent: &agent::Agent) {
    let hello = agent::Agent::new(controller, 3);
    let (status, refusal) =
        hello.ask::<_, Value>(routes::HELLO, &hello.hello(None)).await.expect_err("a node that is not saved");
    assert!(status == 503 && refusal.retry && refusal.error.contains("disk is full"), "{refusal:?}");
    let report = json!({"roles": ["compute"]});
    let refused = operator::post(controller, "/v1/nodes/n1/roles", report).await.unwrap_err();
    assert_eq!((refused.status, refused.exit), (503, 1), "{refused:?}");
    for part in ["nothing was changed", "disk is full", "free space", "rackwright status"] {
        assert!(refused.error.contains(part), "what, why, what next: {refused:?}");
    }
    let ran = rackwright(controller, "node rename n1 db1").await;
    assert!(ran.code == Some(1) && ran.err.contains("disk is full"), "{ran:?}");
    let (status, _) = agent.ask::<_, Value>(routes::TASK, &agent.task_ask()).await.unwrap_err();
    assert_eq!(status, 503);
    let refused = import(controller, small("compute", &["compute"]).1).await.unwrap_err();
    assert_eq!((refused.status, refused.exit), (507, 1), "{refused:?}");
    assert!(refused.error.contains(" 0 free") && refused.error.contains("67108864"), "{refused:?}");
    assert!(controller.core.world().fleet.nodes.len() == 1);
}

/// A lease that runs is given to its end; what would need a row is not given.
async fn promises_nothing_new(controller: &Controller, old: dhcp::Given) {
    let silence = dhcp::discover(controller, 2).await.expect_err("a new address can't be kept");
    assert!(silence.contains("disk is full"), "{silence}");
    let renewed = dhcp::renew(controller, 1, old.address).await.expect("its lease still runs");
    assert_eq!(renewed.address, old.address);
    assert!(renewed.seconds <= old.seconds && renewed.seconds > 0, "{renewed:?} of {old:?}");
    let durable = witness::only(&controller.folder, "lease")[1]["expires"].as_u64().unwrap();
    let promised = appliance::writer::now().0 + u64::from(renewed.seconds) * 1000;
    // The answer is a moment old by now; it must not have promised more than is on the disk.
    assert!(promised <= durable + 5000, "promised until {promised}, durable until {durable}");
    let rebooted = dhcp::boot(controller, 1).await.expect("the same server from the start");
    assert_eq!(rebooted.address, old.address);
}

/// Readers still answer, and `status` says what is wrong, why, and what to do.
async fn tells(controller: &Controller) {
    for path in ["/v1/nodes", "/v1/nodes/n1", "/v1/nodes/n1/why", "/v1/jobs", "/v1/events", "/v1/images"] {
        operator::get(controller, path).await.unwrap_or_else(|refused| panic!("{path}: {refused:?}"));
    }
    let status = operator::get(controller, "/v1/status").await.unwrap();
    assert_eq!(status["health"], "attention");
    let storage = &status["storage"];
    assert_eq!((&storage["totalBytes"], &storage["freeBytes"]), (&json!(BYTES), &json!(0)));
    assert_eq!(storage["path"], json!(controller.folder));
    let problem = storage["problem"].as_str().unwrap();
    assert!(problem.contains("nothing can be saved since") && problem.contains("disk is full"), "{problem}");
    assert!(status["next"].as_str().unwrap().starts_with("free space"), "{status}");
    let ran = rackwright(controller, "status --check").await;
    assert_eq!(ran.code, Some(9), "{ran:?}");
    assert!(ran.out.contains("nothing can be saved since") && ran.out.contains("du -xh"), "{ran:?}");
}

#[test]
fn an_image_leaves_room_for_the_data_base_and_is_refused_before_it_is_sent() {
    let Some(folder) =
        alone("full_disk::an_image_leaves_room_for_the_data_base_and_is_refused_before_it_is_sent")
    else {
        return;
    };
    run(async move {
        let controller = Controller::start(&folder).await;
        // 100 GB that are announced, with the head of an image that says so too.
        let refused = announce(&controller, 100_000_000_000, &small("control", &["control"]).1[..4096]).await;
        assert_eq!((refused.status, refused.exit), (507, 1), "{refused:?}");
        assert!(refused.error.contains("needs 100000000000 bytes"), "{refused:?}");
        // There is room for the image itself, but not for it and what must stay free.
        leave(&folder, (64 << 20) + (2 << 20));
        let refused = import(&controller, small("control", &["control"]).1).await.unwrap_err();
        assert!(refused.exit == 1 && refused.error.contains("67108864 are kept"), "{refused:?}");
        let status = operator::get(&controller, "/v1/status").await.unwrap();
        assert_eq!(status["storage"]["problem"], Value::Null, "that is not a problem yet: {status}");
        leave(&folder, 1 << 20);
        let status = operator::get(&controller, "/v1/status").await.unwrap();
        let problem = status["storage"]["problem"].as_str().unwrap();
        assert!(problem.contains("only ") && problem.contains("no image is taken in"), "{problem}");
        assert_eq!(std::fs::read_dir(folder.join("images")).unwrap().count(), 0);
        controller.core.bring(Event::Tick).await.unwrap();
        controller.stop().await;
    });
}

#[test]
fn room_that_goes_while_an_image_comes_in_leaves_nothing_of_it() {
    let Some(folder) = alone("full_disk::room_that_goes_while_an_image_comes_in_leaves_nothing_of_it") else {
        return;
    };
    run(async move {
        let controller = Controller::start(&folder).await;
        let (_, bytes) = small("control", &["control"]);
        let images = appliance::images::Images::open(
            &folder.join("images"),
            &folder.join("keys"),
            appliance::ca::image_key(&folder.join("ca")).unwrap(),
        )
        .unwrap();
        let mut coming = images.import(u64::try_from(bytes.len()).unwrap()).unwrap();
        coming.push(&bytes[..1 << 20]).unwrap();
        fill(&folder);
        let failed = coming.push(&bytes[1 << 20..]).expect_err("there is no room");
        let failed = appliance::chain(&failed);
        assert!(failed.contains("the controller's disk has 0 free"), "{failed}");
        drop(coming);
        assert_eq!(std::fs::read_dir(folder.join("images")).unwrap().count(), 0, "its part is gone");
        controller.stop().await;
    });
}

#[test]
fn an_image_that_can_not_be_recorded_is_not_kept() {
    let Some(folder) = alone("full_disk::an_image_that_can_not_be_recorded_is_not_kept") else { return };
    run(async move {
        let controller = Controller::start(&folder).await;
        let mut other = Builder::new(about("other", &["control"], 3 << 20));
        let mut data = Vec::new();
        for packed in [packed(0, 7), packed(1, 1), packed(2, 2)] {
            other.push(&packed).unwrap();
            data.extend(packed.stored);
        }
        import(&controller, [head(&other.finish().unwrap(), &key()), data].concat()).await.unwrap();
        let names = || std::fs::read_dir(folder.join("images")).unwrap().count();
        let before = names();
        let (_, bytes) = small("control", &["control"]);
        let length = bytes.len();
        // All of it but the last byte, and then the room goes: the store has the last chunk, its row can't be written.
        let socket = controller.socket();
        let mut stream = tokio::net::UnixStream::connect(socket).await.unwrap();
        let head = format!(
            "POST /v1/images HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&bytes[..length - 1]).await.unwrap();
        // Its first chunk is written: whether there is room was looked at.
        let written = || {
            let names = std::fs::read_dir(folder.join("images")).unwrap().map(Result::unwrap);
            let mut parts = names.filter(|name| name.path().extension().is_some_and(|kind| kind == "part"));
            parts.any(|part| part.metadata().unwrap().len() == 1 << 20)
        };
        controller.until(|_| written()).await;
        leave(&folder, 8192);
        stream.write_all(&bytes[length - 1..]).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("disk is full"), "{answer}");
        assert_eq!(names(), before, "a file that nobody knows of");
        assert_eq!(controller.core.world().fleet.images.len(), 1);
        controller.stop().await;
    });
}

#[test]
fn a_capture_leaves_room_for_the_data_base_whatever_was_told_of_it() {
    let Some(folder) = alone("full_disk::a_capture_leaves_room_for_the_data_base_whatever_was_told_of_it")
    else {
        return;
    };
    run(async move {
        let controller = Controller::start(&folder).await;
        let (agent, job) = capturing(&controller, 1, "copy", "generalize").await;
        leave(&folder, RESERVE + (6 << 20));
        let disk = (0..8).map(|at| packed(at, at)).collect::<Vec<_>>();
        // There is room for either half, and for both there is none.
        for (before, half) in [(0, &disk[..4]), (4, &disk[4..])] {
            let missing = tell(&agent, &windows(&job, before, half)).await.unwrap().windows;
            assert_eq!(missing.len(), 4);
        }
        let mut answers = Vec::new();
        for packed in &disk {
            answers.push(send(&agent, &job, packed).await);
        }
        let free = Room::of(&folder).unwrap().free;
        assert!(free + (1 << 20) > RESERVE, "{free} bytes are left");
        let taken = answers.iter().filter(|(status, _)| *status == 200).count();
        assert!((3..7).contains(&taken), "{answers:?}");
        let (status, text) = answers.last().unwrap();
        assert!(*status == 409 && text.contains("67108864 are kept for the data"), "{status} {text}");
        // The agent gives up, and what came of it gives its room back.
        let failed = Progress { failed: Some("no room".to_owned()), ..nothing_yet(job.job) };
        let _: serde_json::Value = agent.ask(routes::PROGRESS, &failed).await.unwrap();
        // Whoever looks for what has ended may be at it already, and nobody waits for him.
        let is_back = || parts(&controller) == 0 && Room::of(&folder).unwrap().free > RESERVE + (4 << 20);
        for _ in 0..100 {
            if is_back() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(is_back(), "{} bytes are free", Room::of(&folder).unwrap().free);
        controller.stop().await;
    });
}

#[test]
fn a_start_on_a_full_disk_says_so() {
    let Some(folder) = alone("full_disk::a_start_on_a_full_disk_says_so") else { return };
    let db = folder.join("state.db");
    drop(Store::open(&db).unwrap());
    fill(&folder);
    let refused = appliance::chain(&Store::open(&db).unwrap_err());
    assert!(refused.contains("disk is full") || refused.contains("disk fails"), "{refused}");
    std::fs::remove_file(folder.join("filler")).unwrap();
    Store::open(&db).expect("as soon as there is room");
}
