//! An image that a node takes of its disk, on its way into the store.

use std::sync::Arc;

use data_encoding::BASE64;
use pack::{Chunk, Layout, Packed, merkle};
use protocol::{
    CaptureJob, Envelope, Found, Holding, Missing, ProgressReply, Refusal, Seal, Task, Windows, routes,
};
use serde_json::json;

use crate::agent::Agent;
use crate::controller::Controller;
use crate::image::window;
use crate::{journey, operator};

const DISK: u64 = 8 << 30;

/// A server that somebody has installed by hand, and the job to take its image.
pub(crate) async fn capturing(
    controller: &Controller,
    number: u8,
    name: &str,
    how: &str,
) -> (Agent, CaptureJob) {
    let mut agent = journey::approved(controller, number, "control").await;
    agent.inventory.cpu.arch = "x86_64".to_owned();
    agent.inventory.disks[0].holds = vec![Holding { kind: "ext4".into(), ..Holding::default() }];
    let _: Envelope<Task> = agent.ask(routes::TASK, &agent.task_ask()).await.unwrap();
    let body = json!({"name": name, "identity": how, "roles": ["control"]});
    let job = operator::post(controller, &format!("/v1/nodes/n{number}/capture"), body).await.unwrap();
    assert_eq!((job["kind"].as_str(), job["state"].as_str()), (Some("capture"), Some("waiting")));
    let task: Envelope<Task> = agent.ask(routes::TASK, &agent.task_ask()).await.unwrap();
    let Task::Capture(job) = task.body else { panic!("{:?}", task.body) };
    (agent, *job)
}

/// Content `what` in window `at`.
pub(crate) fn packed(at: u32, what: u32) -> Packed {
    Packed { window: at, ..window(what) }
}

fn chunk(packed: &Packed) -> Chunk {
    let mut builder = pack::Builder::new(crate::image::about("x", &[], DISK));
    builder.push(packed).unwrap();
    builder.chunks()[0].clone()
}

pub(crate) fn windows(job: &CaptureJob, before: u64, packed: &[Packed]) -> Windows {
    let chunks = packed.iter().map(chunk).collect::<Vec<_>>();
    Windows { job: job.job, before, records: BASE64.encode(&Chunk::encode_all(&chunks)) }
}

pub(crate) async fn tell(agent: &Agent, windows: &Windows) -> Result<Missing, (u16, Refusal)> {
    let reply: Envelope<Missing> = agent.ask(routes::WINDOWS, windows).await?;
    Ok(reply.body)
}

pub(crate) async fn send(agent: &Agent, job: &CaptureJob, packed: &Packed) -> (u16, String) {
    let route = routes::stored(&job.job, packed.window);
    let (status, body) = agent.post(&route, packed.stored.clone()).await.unwrap();
    (status, String::from_utf8_lossy(&body).into_owned())
}

pub(crate) fn seal(job: &CaptureJob, packed: &[Packed]) -> Seal {
    let chunks = packed.iter().map(chunk).collect::<Vec<_>>();
    Seal {
        job: job.job,
        windows: u64::try_from(packed.len()).unwrap(),
        root: merkle::root(&chunks),
        layout: Layout::default(),
        seed: None,
        found: vec![Found {
            rule: "machine-id".into(),
            what: "the machine's id".into(),
            places: 1,
            kept: false,
        }],
        milliseconds: 5,
    }
}

/// Something that compresses.
fn disk_text(out: &mut [u8]) {
    out.iter_mut().enumerate().for_each(|(at, byte)| *byte = u8::try_from(at / 7 % 251).unwrap() | 1);
}

/// An image with this window, in the store.
async fn import_window(controller: &Controller, last: &Packed) {
    let about = crate::image::about("text", &["storage"], 7 << 20);
    let mut builder = pack::Builder::new(about);
    let first = packed(0, 3);
    builder.push(&first).unwrap();
    builder.push(last).unwrap();
    let mut bytes = crate::image::head(&builder.finish().unwrap(), &crate::image::key());
    bytes.extend(first.stored.iter().chain(&last.stored));
    operator::import(controller, bytes).await.unwrap();
}

/// Files of the store that are being written.
pub(crate) fn parts(controller: &Controller) -> usize {
    let names = std::fs::read_dir(controller.folder.join("images")).unwrap().flatten();
    names.filter(|entry| entry.path().extension().is_some_and(|kind| kind == "part")).count()
}

#[tokio::test]
async fn what_a_node_reads_is_in_the_store_and_only_what_was_missing_was_sent() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    journey::control_image(&controller).await;
    let (agent, job) = capturing(&controller, 1, "copy", "generalize").await;
    // The second has the bytes of an image that is here, the third their content in another packing, the fourth those of the first.
    let mut disk = [packed(0, 7), packed(5, 1), packed(6, 2), packed(8191, 7)];
    let all = pack::Extents::all(1 << 20);
    let mut text = vec![0; 1 << 20];
    disk_text(&mut text);
    let repack = |compression| {
        let map = pack::BlockMap::scan(&text, 0, &all);
        pack::pack_window(6, &text, map, compression).unwrap()
    };
    let (quick, small) = (repack(pack::Compression::Lz4), repack(pack::Compression::Zstd(19)));
    assert_ne!(quick.stored, small.stored);
    import_window(&controller, &small).await;
    disk[2] = quick;
    let told = windows(&job, 0, &disk[..3]);
    assert_eq!(tell(&agent, &told).await.unwrap().windows, [0]);
    assert_eq!(tell(&agent, &told).await.unwrap().windows, [0], "said twice");
    assert_eq!(send(&agent, &job, &disk[0]).await.0, 200);
    assert_eq!(send(&agent, &job, &disk[0]).await.0, 200, "sent twice");
    let last = tell(&agent, &windows(&job, 3, &disk[3..])).await.unwrap();
    assert_eq!((last.go_on, last.windows), (true, Vec::new()));
    let task: Envelope<Task> = agent.ask(routes::SEAL, &seal(&job, &disk)).await.unwrap();
    assert!(matches!(task.body, Task::Wait { .. }), "{:?}", task.body);
    // The answer was lost.
    let task: Envelope<Task> = agent.ask(routes::SEAL, &seal(&job, &disk)).await.unwrap();
    assert!(matches!(task.body, Task::Wait { .. }));
    let row = operator::get(&controller, &format!("/v1/jobs/{}", job.job)).await.unwrap();
    assert_eq!((row["state"].as_str(), row["nodeState"].as_str()), (Some("done"), Some("ready")));
    assert_eq!(row["found"][0]["rule"], "machine-id");
    let image = operator::get(&controller, "/v1/images/copy").await.unwrap();
    assert_eq!(image["diskBytes"], DISK);
    assert_eq!(parts(&controller), 0);
    // It can be put onto a server like any other, and is what was read.
    let plan = json!({"image": "copy"});
    let plan = operator::post(&controller, "/v1/nodes/n1/plan", plan).await.unwrap();
    let apply = format!("/v1/plans/{}/apply", plan["id"].as_str().unwrap());
    operator::post(&controller, &apply, json!({"confirm": "n1"})).await.unwrap();
    let job = journey::take(&agent).await;
    let (status, signed) = agent.get(&routes::manifest(&job.image)).await.unwrap();
    assert_eq!(status, 200);
    let signed: pack::Signed = serde_json::from_slice(&signed).unwrap();
    let (_, manifest) = signed.verify(&[job.signer]).unwrap();
    let (_, data) = agent.get(&routes::data(&job.image)).await.unwrap();
    for (chunk, packed) in manifest.chunks().iter().zip(&disk) {
        let at = usize::try_from(chunk.offset).unwrap();
        let stored = &data[at..at + chunk.stored as usize];
        let mut raw = vec![0; 1 << 20];
        chunk.unpack(stored, &mut raw).unwrap();
        assert_eq!((chunk.window, chunk.digest), (packed.window, packed.digest));
        assert_eq!(stored == packed.stored, chunk.window != 6, "as the store had it");
    }
    controller.stop().await;
}

#[tokio::test]
async fn a_controller_that_has_forgotten_a_capture_says_so_and_takes_it_anew() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let (mut agent, job) = capturing(&controller, 1, "copy", "as-is").await;
    let disk = [packed(0, 1), packed(5, 2), packed(8191, 3)];
    tell(&agent, &windows(&job, 0, &disk[..1])).await.unwrap();
    send(&agent, &job, &disk[0]).await;
    controller.stop().await;
    let controller = Controller::start(folder.path()).await;
    agent.finds(&controller);
    assert_eq!(parts(&controller), 0, "what was half-written is gone");
    for (status, text) in [
        tell(&agent, &windows(&job, 1, &disk[1..])).await.map_err(|(s, r)| (s, r.error)).unwrap_err(),
        send(&agent, &job, &disk[0]).await,
        agent
            .ask::<_, Envelope<Task>>(routes::SEAL, &seal(&job, &disk))
            .await
            .map_err(|(s, r)| (s, r.error))
            .unwrap_err(),
    ] {
        assert!(status == 409 && text.contains("begin again:"), "{status} {text}");
    }
    assert_eq!(tell(&agent, &windows(&job, 0, &disk)).await.unwrap().windows, [0, 5, 8191]);
    for window in &disk {
        assert_eq!(send(&agent, &job, window).await.0, 200);
    }
    let _: Envelope<Task> = agent.ask(routes::SEAL, &seal(&job, &disk)).await.unwrap();
    // The key that signed it is the same after another start.
    controller.stop().await;
    let controller = Controller::start(folder.path()).await;
    let image = operator::get(&controller, "/v1/images/copy").await.unwrap();
    assert!(image["damage"].is_null(), "{image}");
    controller.stop().await;
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let (agent, job) = capturing(&controller, 1, "copy", "generalize").await;
    let disk = [packed(0, 1), packed(5, 2), packed(8191, 3)];
    let refused = |told: Result<Missing, (u16, Refusal)>| told.unwrap_err().1.error;
    let records = "%".to_owned();
    assert!(
        refused(tell(&agent, &Windows { job: job.job, before: 0, records }).await).contains("not base64")
    );
    let records = BASE64.encode(&[0xff; 40]);
    let told = refused(tell(&agent, &Windows { job: job.job, before: 0, records }).await);
    assert!(told.contains("windows can't be read"), "{told}");
    let told = refused(tell(&agent, &windows(&job, 0, &[packed(5, 1), packed(5, 1)])).await);
    assert!(told.contains("already there"), "{told}");
    let many =
        (0..=u32::try_from(protocol::WINDOWS_MAX).unwrap()).map(|at| packed(at, 1)).collect::<Vec<_>>();
    assert!(refused(tell(&agent, &windows(&job, 0, &many)).await).contains("more than"));
    assert_eq!(tell(&agent, &windows(&job, 0, &disk)).await.unwrap().windows.len(), 3);
    // Other bytes than were told; bytes of a window that was not.
    let (status, text) = send(&agent, &job, &packed(0, 9)).await;
    assert!(status == 409 && text.contains("chunk 0"), "{status} {text}");
    let (status, text) = send(&agent, &job, &packed(6, 9)).await;
    assert!(status == 409 && text.contains("window 6 was not told"), "{status} {text}");
    // Another sum than the node's.
    let wrong = Seal { root: pack::Digest::of(b"other"), ..seal(&job, &disk) };
    let (status, told) = agent.ask::<_, Envelope<Task>>(routes::SEAL, &wrong).await.unwrap_err();
    assert!(status == 409 && told.error.contains("the node read others"), "{told:?}");
    // A node may not speak for another's job.
    let (other, own) = capturing(&controller, 2, "another", "as-is").await;
    assert!(!tell(&other, &windows(&job, 0, &disk)).await.unwrap().go_on);
    assert_eq!(send(&other, &job, &disk[0]).await.0, 404);
    assert_eq!(other.ask::<_, Envelope<Task>>(routes::SEAL, &seal(&job, &disk)).await.unwrap_err().0, 404);
    // Sealed before all of it came.
    tell(&other, &windows(&own, 0, &disk)).await.unwrap();
    let (status, told) = other.ask::<_, Envelope<Task>>(routes::SEAL, &seal(&own, &disk)).await.unwrap_err();
    assert!(status == 409 && told.error.contains("neither in the store"), "{told:?}");
    // The operator gives it up: the agent hears it, and nothing is left.
    send(&agent, &job, &disk[0]).await;
    operator::post(&controller, &format!("/v1/jobs/{}/cancel", job.job), json!({})).await.unwrap();
    let progress = journey::nothing_yet(job.job);
    let reply: Envelope<ProgressReply> = agent.ask(routes::PROGRESS, &progress).await.unwrap();
    assert!(!reply.body.go_on);
    assert!(!tell(&agent, &windows(&job, 3, &disk)).await.unwrap().go_on);
    assert_eq!(parts(&controller), 0);
    let images = operator::get(&controller, "/v1/images").await.unwrap();
    assert_eq!(images.as_array().unwrap().len(), 0, "{images}");
    controller.stop().await;
}

#[tokio::test]
async fn a_capture_that_is_cancelled_gives_its_room_back_while_the_node_is_off() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    journey::control_image(&controller).await;
    let disk = [packed(0, 7), packed(8191, 8)];
    let mut jobs = Vec::new();
    for number in [1, 2] {
        let (agent, job) = capturing(&controller, number, "copy", "generalize").await;
        tell(&agent, &windows(&job, 0, &disk)).await.unwrap();
        assert_eq!(send(&agent, &job, &disk[0]).await.0, 200);
        jobs.push((agent, job));
    }
    assert_eq!(parts(&controller), 2);
    operator::post(&controller, &format!("/v1/jobs/{}/cancel", jobs[0].1.job), json!({})).await.unwrap();
    controller.until(|controller| parts(controller) == 1).await;
    assert_eq!(tell(&jobs[1].0, &windows(&jobs[1].1, 0, &disk)).await.unwrap().windows, [8191]);
    operator::post(&controller, &format!("/v1/jobs/{}/cancel", jobs[1].1.job), json!({})).await.unwrap();
    controller.until(|controller| parts(controller) == 0).await;
    controller.stop().await;
}

#[tokio::test]
async fn an_image_of_a_node_that_an_older_state_does_not_know_is_left_alone_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    journey::control_image(&controller).await;
    controller.stop().await;
    let db = folder.path().join("state.db");
    let backup = std::fs::read(&db).unwrap();
    let controller = Controller::start(folder.path()).await;
    let (agent, job) = capturing(&controller, 1, "copy", "as-is").await;
    let disk = [packed(0, 7), packed(8191, 8)];
    tell(&agent, &windows(&job, 0, &disk)).await.unwrap();
    for packed in &disk {
        assert_eq!(send(&agent, &job, packed).await.0, 200);
    }
    let _: Envelope<Task> = agent.ask(routes::SEAL, &seal(&job, &disk)).await.unwrap();
    let status = operator::get(&controller, "/v1/status").await.unwrap();
    assert_eq!(status["images"]["problems"], json!([]));
    let digest = operator::get(&controller, "/v1/images/copy").await.unwrap()["digest"].clone();
    controller.stop().await;
    std::fs::write(&db, backup).unwrap();
    for log in ["state.db-wal", "state.db-shm"] {
        drop(std::fs::remove_file(folder.path().join(log)));
    }
    let controller = Controller::start(folder.path()).await;
    let key = appliance::ca::image_key(&folder.path().join("ca")).unwrap();
    let [images, keys] = ["images", "keys"].map(|name| folder.path().join(name));
    let images = Arc::new(appliance::images::Images::open(&images, &keys, key).unwrap());
    appliance::daemon::images::adopt(&controller.core, &images).await;
    let listed = operator::get(&controller, "/v1/images").await.unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 1, "the one that was imported: {listed}");
    let status = operator::get(&controller, "/v1/status").await.unwrap();
    assert_eq!(status["health"], "attention");
    let problem = status["images"]["problems"][0].as_str().unwrap();
    let manifest = format!("{}.manifest", digest.as_str().unwrap());
    for part in ["copy", "taken of a node", "image capture", &manifest] {
        assert!(problem.contains(part), "{problem}");
    }
    assert!(folder.path().join("images").join(manifest).exists());
    controller.stop().await;
}

#[tokio::test]
async fn the_command_line_wants_to_know_what_becomes_of_keys_and_asks_before_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    journey::control_image(&controller).await;
    let (mut agent, job) = journey::imaging(&controller, 1).await;
    journey::verified(&agent, &job).await;
    journey::enrolled(&controller, &mut agent).await;
    let report = journey::all_up(&journey::state(&agent).await);
    let _: serde_json::Value = agent.ask(routes::REPORT, &report).await.unwrap();
    for words in ["--name copy", "--generalize", "--name x --generalize --as-is", "--name x --as-is --keep y"]
    {
        let ran = operator::rackwright(&controller, &format!("image capture n1 {words}")).await;
        assert!(ran.code == Some(2) && ran.err.contains("Usage"), "{ran:?}");
    }
    let ran = operator::rackwright(&controller, "image capture n1 --name copy --as-is").await;
    assert!(ran.code == Some(5) && ran.err.contains("--confirm=n1"), "{ran:?}");
    let words = "image capture n1 --name copy --generalize --keep machine-id --confirm n1 --no-wait";
    let ran = operator::rackwright(&controller, words).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let row = operator::get(&controller, "/v1/nodes/n1").await.unwrap();
    assert_eq!(row["state"], "draining");
    let ran = operator::rackwright(&controller, &format!("job cancel {}", ran.out.trim())).await;
    assert!(ran.code == Some(0) && ran.out.contains("cancelled by the operator"), "{ran:?}");
    controller.stop().await;
}
