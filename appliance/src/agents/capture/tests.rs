//! A seal whose caller goes away.

use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use data_encoding::BASE64;
use fleet::capture::Wish;
use fleet::{Event, Reply};
use pack::{BlockMap, Builder, Chunk, Compression, Extents, Layout, Packed, merkle, pack_window};
use protocol::{Identity, JobId, Seal, Task, Windows};

use crate::agents::Agents;
use crate::agents::tests::{agents, authed};
use crate::writer::tests::{MAC, State, hello, state};

/// A window of bytes that are all the same but for its own number.
fn packed(window: u32) -> Packed {
    let mut raw = vec![1; 1 << 20];
    raw[..4].copy_from_slice(&(window + 1).to_be_bytes());
    let map = BlockMap::scan(&raw, 0, &Extents::all(1 << 20));
    pack_window(window, &raw, map, Compression::Zstd(1)).unwrap()
}

/// Everything of a capture is told and sent; this is its seal.
async fn told(state: &State, agents: &Agents) -> (fleet::certificate::Authed, Seal) {
    let node = state.hello(1, MAC).await.unwrap();
    let roles = Some(["control".to_owned()].into());
    state.bring(Event::Approve { node, name: None, roles, moved: false }).await.unwrap();
    let mut inventory = Box::new(hello(1, MAC).inventory);
    inventory.cpu.arch = "x86_64".to_owned();
    state.bring(Event::Hello { hello: Box::new(hello(1, MAC)), proven: true, answered: None }).await.unwrap();
    let disk = inventory.disks[0].id();
    state.bring(Event::Asked { node, certificate: String::new(), inventory }).await.unwrap();
    let name = "copy".to_owned();
    let wish = Wish { name, identity: Identity::AsIs, disk, roles: None, confirmed: None, force: false };
    let reply = state.bring(Event::Capture { node, wish: Box::new(wish) }).await.unwrap().reply;
    let Reply::Job(job) = reply else { panic!("{reply:?}") };
    let who = authed(state, node);
    let packed = [packed(0), packed(8191)];
    let about = state.core.world().fleet.captures[&job].about(Layout::default(), None);
    let mut builder = Builder::new(about);
    for one in &packed {
        builder.push(one).unwrap();
    }
    let chunks = builder.chunks().to_vec();
    let windows = Windows { job, before: 0, records: BASE64.encode(&Chunk::encode_all(&chunks)) };
    assert_eq!(agents.windows(who.clone(), windows).await.unwrap().body.windows, [0, 8191]);
    for one in packed {
        agents.stored(who.clone(), (job, one.window), one.stored).await.unwrap();
    }
    let (root, layout) = (merkle::root(&chunks), Layout::default());
    let seal = Seal { job, windows: 2, root, layout, seed: None, found: Vec::new(), milliseconds: 1 };
    (who, seal)
}

fn has_pack(folder: &Path) -> bool {
    let mut files = std::fs::read_dir(folder).unwrap().flatten();
    files.any(|file| file.path().extension().is_some_and(|kind| kind == "pack"))
}

#[tokio::test]
async fn a_seal_goes_on_when_its_caller_goes_away_and_is_the_same_for_all_who_ask() {
    let state = state();
    let agents = agents(&state);
    let (who, seal) = told(&state, &agents).await;
    {
        let mut first = pin!(agents.seal(who.clone(), seal.clone()));
        // The caller is heard of no more when the store has begun to take the image.
        while !has_pack(&state.folder.path().join("images")) {
            let polled = tokio::time::timeout(Duration::ZERO, &mut first).await;
            assert!(polled.is_err(), "it was too quick for this test: {polled:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let (second, third) =
        tokio::join!(agents.seal(who.clone(), seal.clone()), agents.seal(who.clone(), seal.clone()));
    for answer in [second, third] {
        let task = answer.unwrap().body;
        assert!(matches!(task, Task::Wait { .. }), "{task:?}");
    }
    let world = state.core.world();
    assert_eq!(
        world.fleet.captures[&seal.job].image.as_ref(),
        agents.images.all().first().map(|one| &one.digest)
    );
    assert_eq!(agents.images.all().len(), 1);
}

#[tokio::test]
async fn a_seal_that_fails_lets_the_next_one_try() {
    let state = state();
    let agents = agents(&state);
    let (who, seal) = told(&state, &agents).await;
    let wrong = Seal { root: pack::Digest::of(b"other"), ..seal.clone() };
    let why = agents.seal(who.clone(), wrong).await.unwrap_err();
    assert_eq!(why.status(), (409, false), "{why}");
    let other = Seal { job: JobId([9; 8]), ..seal.clone() };
    assert_eq!(agents.seal(who.clone(), other).await.unwrap_err().status(), (404, false));
    assert!(matches!(agents.seal(who, seal).await.unwrap().body, Task::Wait { .. }));
}
