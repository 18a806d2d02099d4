//! Images on their way in: nothing is there before all of it was checked.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use appliance::daemon::images::adopt;
use appliance::images::Images;
use fleet::hours::Cap;
use serde_json::json;

use crate::controller::Controller;
use crate::image::{about, claiming, head, key, small, with};
use crate::journey::{approved, imaging, progress};
use crate::operator::{self, announce, get, import, rackwright};
use crate::witness::everything;

/// Names in the image folder.
fn stored(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("images")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_with_one_flipped_byte_is_refused_wherever_the_byte_is() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let (manifest, good) = small("control", &["control"]);
    let before = everything(&controller.folder);
    let data = good.len() - usize::try_from(manifest.data_bytes()).unwrap();
    let table = [
        (0, "does not begin like one"),
        (20, "is refused"),
        (60, "is refused"),
        (200, "is refused"),
        (data, "chunk 0 of the image is damaged"),
        (data + (1 << 20) + 77, "chunk 1 of the image is damaged"),
        (good.len() - 1, "chunk 2 of the image is damaged"),
    ];
    for (at, why) in table {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let refused = import(&controller, bad).await.unwrap_err();
        assert_eq!((refused.status, refused.exit), (409, 4), "byte {at}: {refused:?}");
        assert!(refused.error.contains(why), "byte {at}: {refused:?}");
    }
    assert_eq!(everything(&controller.folder), before);
    assert_eq!(stored(folder.path()), [] as [&str; 0], "nothing is left of them");
    import(&controller, good).await.unwrap();
    let names = ["0000000000000000.pack".to_owned(), format!("{}.manifest", manifest.digest())];
    let mut found = stored(folder.path());
    found.sort();
    assert_eq!(found.len(), 2);
    assert!(names.iter().all(|name| found.contains(name)), "{found:?}");
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_was_damaged_in_the_store_is_found_not_sent_and_mended_by_importing_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let (manifest, good) = small("control", &["control"]);
    import(&controller, good.clone()).await.unwrap();
    let (agent, _job) = imaging(&controller, 1).await;
    let data = protocol::routes::data(&manifest.digest());
    let sent = agent.get(&data).await.unwrap().1;
    assert!(good.ends_with(&sent) && sent.len() == 3 << 20, "the agent gets what was imported");
    let clean = rackwright(&controller, "image scrub control").await;
    assert!(clean.code == Some(0) && clean.out.contains("all right"), "{clean:?}");
    assert_eq!(rackwright(&controller, "status --check").await.code, Some(0));
    flip(&folder.path().join("images/0000000000000000.pack"), (2 << 20) + 5);
    let ran = rackwright(&controller, "image scrub --all").await;
    assert!(ran.code == Some(1) && ran.out.contains("1 chunks are damaged, at MiB 2\n"), "{ran:?}");
    assert!(ran.err.contains("next: import it again"), "{ran:?}");
    let refused = agent.get(&data).await.unwrap();
    assert!(refused.0 == 503, "what is damaged is not sent: {}", refused.0);
    assert!(String::from_utf8_lossy(&refused.1).contains("1 chunks of image control are damaged"));
    let status = rackwright(&controller, "status --check").await;
    assert!(status.code == Some(9) && status.out.contains("import it again"), "{status:?}");
    let doctor = rackwright(&controller, "doctor").await;
    assert!(
        doctor.out.contains("[fail]") && doctor.out.contains("1 of its chunks are damaged"),
        "{doctor:?}"
    );
    let shown = rackwright(&controller, "image show control").await;
    assert!(shown.out.contains("DAMAGED: 1 of its chunks are damaged"), "{shown:?}");
    import(&controller, good).await.unwrap();
    assert_eq!(rackwright(&controller, "image scrub control").await.code, Some(0));
    assert_eq!(rackwright(&controller, "status --check").await.code, Some(0));
    assert!(agent.get(&data).await.unwrap().1 == sent, "the copy from before is not sent any more");
    controller.stop().await;
}

/// Turns over one bit of a file.
fn flip(path: &Path, at: u64) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// Two versions of one image: what both have is stored once and sent to whoever needs either.
#[tokio::test(flavor = "multi_thread")]
async fn versions_of_an_image_share_chunks_differ_and_are_pruned() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let (first, one) = small("control", &["control"]);
    import(&controller, one).await.unwrap();
    let (agent, _job) = imaging(&controller, 1).await;
    let (second, two) = with(about("control", &["control"], 4 << 20), &[0, 1, 2, 3], &key());
    import(&controller, two).await.unwrap();
    let sizes = || {
        let entries = std::fs::read_dir(folder.path().join("images")).unwrap().map(Result::unwrap);
        entries.map(|entry| entry.metadata().unwrap().len()).sum::<u64>()
    };
    assert!(sizes() < (4 << 20) + (64 << 10), "{}", sizes());

    let (from, to) = (first.digest().short(), second.digest().short());
    let ran = rackwright(&controller, &format!("image diff {from} {to} -o json")).await;
    let diff: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&diff["item"]["same"]["chunks"], &diff["item"]["onlyTo"]["chunks"]), (&json!(3), &json!(1)));
    assert_eq!(diff["item"]["fetchBytes"], json!(1 << 20));
    let ran = rackwright(&controller, &format!("image show {to} -o json")).await;
    let shown: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(shown["item"]["content"]["sharedBytes"], json!(3 << 20));
    assert_eq!(shown["item"]["content"]["root"], json!(second.root().to_string()));

    // A job writes the older one: it stays, whoever asks.
    let refused = rackwright(&controller, &format!("image delete {from} --confirm control")).await;
    assert!(refused.code == Some(4) && refused.err.contains("stays: job"), "{refused:?}");
    let none = rackwright(&controller, "image prune --yes").await;
    assert!(none.code == Some(0) && none.out.contains("no image"), "{none:?}");
    let whole = agent.get(&protocol::routes::data(&first.digest())).await.unwrap().1;
    assert_eq!(whole.len(), 3 << 20);

    let (third, three) = with(about("control", &["control"], 8 << 20), &[0, 5, 6, 7], &key());
    import(&controller, three).await.unwrap();
    let shown = rackwright(&controller, "image prune --dry-run -o json").await;
    let shown: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(shown["item"]["images"].as_array().unwrap().len(), 1);
    assert_eq!(shown["item"]["images"][0]["digest"], json!(second.digest().to_string()));
    assert_eq!(rackwright(&controller, "image prune").await.code, Some(5), "nobody said yes");
    assert_eq!(rackwright(&controller, "image prune --yes").await.code, Some(0));
    assert!(
        controller
            .core
            .world()
            .fleet
            .images
            .keys()
            .eq([first.digest(), third.digest()].iter().collect::<std::collections::BTreeSet<_>>())
    );
    let again = agent.get(&protocol::routes::data(&first.digest())).await.unwrap().1;
    assert!(again == whole, "what others needed is still there");
    let deleted =
        rackwright(&controller, &format!("image delete {} --confirm control", third.digest())).await;
    assert_eq!(deleted.code, Some(0), "{deleted:?}");
    assert!(agent.get(&protocol::routes::data(&first.digest())).await.unwrap().1 == whole);
    assert!(sizes() < (3 << 20) + (64 << 10), "{}", sizes());
    controller.stop().await;
}

/// What a node fetches waits for its turn below the cap, and how its image comes is shown by its job.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_fetched_counts_against_the_cap_and_the_lane_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let (image, file) = small("control", &["control"]);
    import(&controller, file).await.unwrap();
    let (agent, job) = imaging(&controller, 1).await;
    assert!(progress(&agent, &job, 1 << 20).await);
    let data = protocol::routes::data(&image.digest());
    let free = agent.get(&data).await.unwrap().1;
    let turns = controller.casts.turns(Ipv4Addr::LOCALHOST);
    assert_eq!(turns.given(), 0, "without a cap nothing is counted");
    controller.casts.set_limit(Cap { mbit: Some(400), spares: false });
    let capped = agent.get(&data).await.unwrap().1;
    assert!(free == capped && turns.given() == 3 << 20, "{} bytes, {} given", capped.len(), turns.given());

    let show = async || {
        let ran = rackwright(&controller, &format!("job show {} -o json", job.job)).await;
        serde_json::from_str::<serde_json::Value>(&ran.out).unwrap()["item"].take()
    };
    assert_eq!(show().await.get("lane"), None, "it has not said anything yet");
    let ask = protocol::CastAsk { had_bytes: 1 << 20, ..protocol::CastAsk::new(job.job) };
    let told: protocol::Envelope<protocol::CastReply> =
        agent.ask(protocol::routes::CAST, &ask).await.unwrap();
    assert_eq!(told.body.seat, None, "it is alone");
    let shown = show().await;
    let (lane, silent) = (&shown["lane"], shown["silentSeconds"].as_u64());
    assert_eq!((&lane["lane"], &lane["hadBytes"]), (&json!("controller"), &json!(1 << 20)), "{shown}");
    assert!(lane["imageBytes"].as_u64() > Some(0) && silent.is_some_and(|silent| silent < 10), "{shown}");
    controller.stop().await;
}

/// The power went between the image's last sync and the line in the data base.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_whole_in_the_store_and_in_no_list_is_put_there_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let (manifest, bytes) = small("control", &["control"]);
    let images = Images::open(
        &folder.path().join("images"),
        &folder.path().join("keys"),
        appliance::ca::image_key(&folder.path().join("ca")).unwrap(),
    )
    .unwrap();
    let mut coming = images.import(u64::try_from(bytes.len()).unwrap()).unwrap();
    coming.push(&bytes).unwrap();
    coming.finish().unwrap();
    std::fs::write(folder.path().join(format!("images/{}.manifest", pack::Digest::of(b""))), b"RWIM")
        .unwrap();
    let images = Arc::new(
        Images::open(
            &folder.path().join("images"),
            &folder.path().join("keys"),
            appliance::ca::image_key(&folder.path().join("ca")).unwrap(),
        )
        .unwrap(),
    );
    adopt(&controller.core, &images).await;
    assert!(controller.core.world().fleet.images.keys().eq([&manifest.digest()]));
    assert_eq!(stored(folder.path()).len(), 2, "the damaged one is gone: {:?}", stored(folder.path()));
    adopt(&controller.core, &images).await;
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_an_unknown_key_is_refused_before_its_data_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let stranger = pack::SigningKey::from_seed(&[7; 32]).unwrap();
    let (_, bytes) = with(about("control", &["control"], 3 << 20), &[0, 1, 2], &stranger);
    let claims = u64::try_from(bytes.len()).unwrap();
    let refused = announce(&controller, claims, &bytes[..8192]).await;
    assert!(refused.exit == 4 && refused.error.contains(&stranger.public().to_string()), "{refused:?}");
    assert_eq!(stored(folder.path()), [] as [&str; 0]);
    controller.stop().await;
}

/// A file that claims more than there is, in each of the places where it can.
#[tokio::test(flavor = "multi_thread")]
async fn claims_that_a_file_does_not_keep_are_refused_by_their_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let before = everything(&controller.folder);
    // The length of the manifest.
    let mut long = small("control", &["control"]).1;
    long[8..16].copy_from_slice(&100_000_000_000u64.to_le_bytes());
    let refused = import(&controller, long).await.unwrap_err();
    assert!(refused.exit == 4 && refused.error.contains("a manifest of 100000000000 bytes"), "{refused:?}");
    // The length of the data: signed and valid, but the file has none of it.
    let manifest = claiming(2000);
    let bytes = head(&manifest, &key());
    let wanted = u64::try_from(bytes.len()).unwrap() + manifest.data_bytes();
    let refused = import(&controller, bytes).await.unwrap_err();
    assert!(refused.exit == 4 && refused.error.contains(&format!("says {wanted}")), "{refused:?}");
    // The length of the upload: more than any disk has.
    let refused = announce(&controller, 1 << 60, b"RWIMAGE1").await;
    assert_eq!((refused.status, refused.exit), (507, 1), "{refused:?}");
    assert!(refused.error.contains("needs 1152921504606846976 bytes"), "{refused:?}");
    // An upload that ends early.
    let short = small("control", &["control"]).1;
    let ran = announce_and_hang_up(&controller, &short).await;
    assert!(ran, "the controller goes on");
    assert_eq!(everything(&controller.folder), before);
    controller.until(|controller| stored(&controller.folder).is_empty()).await;
    controller.stop().await;
}

/// Sends half an image and goes away; whether the controller still answers.
async fn announce_and_hang_up(controller: &Controller, bytes: &[u8]) -> bool {
    use tokio::io::AsyncWriteExt;
    let mut stream = tokio::net::UnixStream::connect(controller.socket()).await.unwrap();
    let head = format!("POST /v1/images HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", bytes.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&bytes[..bytes.len() / 2]).await.unwrap();
    drop(stream);
    get(controller, "/v1/images").await.is_ok()
}

/// A manifest may well say 100 GB: of the disk it wants. Then no plan is made for a server whose disk is smaller.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_for_a_disk_of_100_gb_is_planned_for_no_smaller_one() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let last = u32::try_from(((100u64 << 30) >> 20) - 1).unwrap();
    let (_, bytes) = with(about("vast", &["control"], 100 << 30), &[0, last], &key());
    import(&controller, bytes).await.unwrap();
    let agent = approved(&controller, 1, "control").await;
    let _: protocol::Envelope<protocol::Task> =
        agent.ask(protocol::routes::TASK, &agent.task_ask()).await.unwrap();
    let before = everything(&controller.folder);
    let refused = operator::post(&controller, "/v1/nodes/n1/plan", json!({})).await.unwrap_err();
    assert_eq!((refused.status, refused.exit), (409, 4), "{refused:?}");
    assert!(refused.error.contains("serial:SYS1: it has 8589934592 bytes"), "{refused:?}");
    assert!(refused.error.contains("the image needs at least 107374182400"), "{refused:?}");
    assert_eq!(everything(&controller.folder), before);
    controller.stop().await;
}
