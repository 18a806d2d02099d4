//! Images on their way in: nothing is there before all of it was checked.

use std::path::Path;

use serde_json::json;

use crate::controller::Controller;
use crate::image::{about, claiming, head, key, small, with};
use crate::journey::{approved, imaging};
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
    assert_eq!(stored(folder.path()), [format!("{}.rwimage", manifest.digest())]);
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_was_damaged_in_the_store_is_found_by_verify_and_mended_by_importing_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let (manifest, good) = small("control", &["control"]);
    let end = good.len() - 1;
    import(&controller, good.clone()).await.unwrap();
    let (agent, _job) = imaging(&controller, 1).await;
    let data = protocol::routes::data(&manifest.digest());
    let sent = agent.get(&data).await.unwrap().1;
    assert!(good.ends_with(&sent) && sent.len() == 3 << 20, "the agent gets what was imported");
    let clean = rackwright(&controller, "image verify control").await;
    assert!(clean.code == Some(0) && clean.out.contains("all right"), "{clean:?}");
    let mut bad = good.clone();
    bad[end] ^= 1;
    std::fs::write(folder.path().join(format!("images/{}.rwimage", manifest.digest())), bad).unwrap();
    let ran = rackwright(&controller, "image verify control").await;
    assert!(ran.code == Some(1) && ran.out.contains("1 chunks are damaged:\n  2\n"), "{ran:?}");
    assert!(ran.err.contains("next: import it again"), "{ran:?}");
    assert!(agent.get(&data).await.unwrap().1 != sent, "an agent would be sent the damage");
    import(&controller, good).await.unwrap();
    assert_eq!(rackwright(&controller, "image verify control").await.code, Some(0));
    assert!(
        agent.get(&data).await.unwrap().1 == sent,
        "the file that was open before is not served any more"
    );
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
    assert!(refused.error.contains("the image needs 107374182400"), "{refused:?}");
    assert_eq!(everything(&controller.folder), before);
    controller.stop().await;
}
