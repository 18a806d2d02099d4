use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cast::wire::door::{ANSWER_BYTES, ASK_BYTES, Answer, Ask};
use pack::Digest;
use protocol::{CastReply, ReportKey, Source};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;
use crate::deploy::imaging::door::Door;
use crate::deploy::imaging::fixture::{Image, USED};
use crate::deploy::imaging::listen::Urge;
use crate::deploy::imaging::shelf::Shelf;

const IMAGE: Digest = Digest([3; 32]);
impl Image {
    fn put(&self, shelf: &Shelf, id: u32, stored: &Bytes) {
        shelf.put(self.manifest.chunk(id).unwrap().offset, stored);
    }

    /// A shelf with these pieces.
    fn shelf(&self, ids: impl IntoIterator<Item = u32>) -> Arc<Shelf> {
        let shelf = Arc::new(Shelf::new(1 << 30));
        ids.into_iter().for_each(|id| self.put(&shelf, id, &self.stored(id)));
        shelf
    }

    /// Sources of it, with an origin that counts.
    fn sources(&self, others: Vec<Source>) -> (Sources<Store>, Arc<Peers>) {
        let reply = CastReply { seat: None, sources: others };
        let (_say, replies) = watch::channel(Some(reply));
        let peers = Arc::new(Peers::new(&IMAGE, replies, Arc::new(Urge::default())));
        let store = Store { data: self.data.clone(), asked: Mutex::default() };
        (Sources::new(store, Arc::clone(&self.manifest)).with(Arc::clone(&peers)), peers)
    }

    /// Every piece that was wanted has come, each once and right.
    fn assert_all(&self, supply: &Supply, ids: &[u32], what: &str) {
        assert!(supply.spoilt.is_empty() && supply.missing.is_none(), "{what}: {supply:?}");
        let mut got: Vec<u32> = supply.right.iter().map(|(id, _)| *id).collect();
        got.sort_unstable();
        assert_eq!(got, ids, "{what}");
        assert!(supply.right.iter().all(|(id, stored)| *stored == self.stored(*id)), "{what}");
    }
}

/// The controller.
#[derive(Debug)]
struct Store {
    data: Bytes,
    asked: Mutex<Vec<(u64, usize)>>,
}

impl Origin for Store {
    async fn range(&self, offset: u64, bytes: usize) -> Result<Bytes, NoRange> {
        self.asked.lock().unwrap().push((offset, bytes));
        let at = usize::try_from(offset).unwrap();
        Ok(self.data.slice(at..at + bytes))
    }
}

impl Store {
    fn asked_bytes(&self) -> usize {
        self.asked.lock().unwrap().iter().map(|(_, bytes)| bytes).sum()
    }
}

async fn open(image: &Digest, shelf: Arc<Shelf>) -> (Door, Source) {
    let door = Door::open(Ipv4Addr::LOCALHOST, image, shelf).await.unwrap();
    let protocol::Door { port, key } = door.told();
    (door, Source { address: (Ipv4Addr::LOCALHOST, port).into(), key })
}

/// Somebody at a door who, whatever is asked, does this. How many have come is counted.
async fn stranger<F>(act: impl Fn(TcpStream, Ask) -> F + Send + 'static) -> (Source, watch::Receiver<usize>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let (count, counted) = watch::channel(0);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            count.send_modify(|count| *count += 1);
            let mut packet = [0; ASK_BYTES];
            if stream.read_exact(&mut packet).await.is_ok() {
                tokio::spawn(act(stream, Ask::read(&packet, &[1; 32]).unwrap()));
            }
        }
    });
    (Source { address, key: ReportKey([1; 32]) }, counted)
}

fn follows(ask: Ask) -> [u8; ANSWER_BYTES] {
    Answer::Follows(ask.bytes).packet()
}

async fn send(mut stream: TcpStream, answer: &[u8], zeros: usize) {
    let _gone = stream.write_all(answer).await;
    let _gone = stream.write_all(&vec![0; zeros]).await;
}

#[tokio::test]
async fn what_another_node_has_is_not_asked_of_the_controller() {
    let image = Image::new(12);
    let (_door, source) = open(&IMAGE, image.shelf(0..12)).await;
    let (sources, peers) = image.sources(vec![source]);
    let ids: Vec<u32> = (1..11).collect();
    image.assert_all(&sources.fetch(ids.clone()).await, &ids, "all at once");
    let some = vec![2, 3, 7, 9];
    image.assert_all(&sources.fetch(some.clone()).await, &some, "with gaps");
    assert_eq!(sources.origin().asked_bytes(), 0);
    assert_eq!(peers.bytes(), 14 * USED as u64);
    for table in [0, 11] {
        image.assert_all(&sources.fetch(vec![table]).await, &[table], "a table");
    }
    assert_eq!(sources.origin().asked_bytes(), 2 * USED, "tables come from the controller");
}

#[tokio::test]
async fn a_liar_is_found_out_and_asked_no_more() {
    let image = Image::new(12);
    let lying = image.shelf([1, 2, 3, 5, 6]);
    let mut wrong = image.stored(4).to_vec();
    wrong[100] ^= 1;
    image.put(&lying, 4, &wrong.into());
    let (_liars, liar) = open(&IMAGE, lying).await;
    let (_honests, honest) = open(&IMAGE, image.shelf(4..12)).await;
    let (sources, peers) = image.sources(vec![liar.clone(), honest.clone()]);
    let ids: Vec<u32> = (1..7).collect();
    image.assert_all(&sources.fetch(ids.clone()).await, &ids, "the wrong piece comes from the next");
    assert_eq!(peers.shunned(), [liar.address]);
    assert_eq!(sources.origin().asked_bytes(), 0);
    assert_eq!(peers.in_turn(), [honest]);
    // The honest one does not have this: the liar would.
    image.assert_all(&sources.fetch(vec![1]).await, &[1], "from the controller");
    assert_eq!(sources.origin().asked_bytes(), USED);
    assert_eq!(peers.bytes(), 6 * USED as u64, "what was right counts");
}

#[tokio::test]
async fn a_liar_alone_costs_only_what_it_lied_about() {
    let image = Image::new(6);
    let lying = image.shelf([1, 3, 4]);
    image.put(&lying, 2, &Bytes::from(vec![0; USED]));
    let (_door, liar) = open(&IMAGE, lying).await;
    let (sources, peers) = image.sources(vec![liar]);
    image.assert_all(&sources.fetch(vec![1, 2, 3, 4]).await, &[1, 2, 3, 4], "from both");
    assert_eq!((sources.origin().asked_bytes(), peers.shunned().len()), (USED, 1));
}

#[tokio::test]
async fn whatever_is_wrong_with_a_source_the_pieces_come() {
    let image = Image::new(8);
    let (_other, other) = open(&Digest([4; 32]), image.shelf(0..8)).await;
    let (_keyed, keyed) = open(&IMAGE, image.shelf(0..8)).await;
    let (_empty, empty) = open(&IMAGE, image.shelf([])).await;
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    let half = |stream, ask: Ask| async move { send(stream, &follows(ask), ask.bytes as usize / 2).await };
    let fewer = |stream, ask: Ask| async move {
        send(stream, &Answer::Follows(ask.bytes - 1).packet(), ask.bytes as usize).await;
    };
    let cases = [
        ("hangs up at once", stranger(|_, _| async {}).await.0),
        ("hangs up in the middle", stranger(half).await.0),
        ("gives fewer than asked for", stranger(fewer).await.0),
        ("talks", stranger(|stream, _| send(stream, b"HTTP/1.1 400 Bad Request\r\n\r\n", 0)).await.0),
        ("gives zeros for an answer", stranger(|stream, _| send(stream, &[0; 8], 1 << 20)).await.0),
        ("has another image", other),
        ("has another key", Source { key: ReportKey([0; 32]), ..keyed }),
        ("has nothing", empty),
        ("is not there", Source { address: nobody, key: ReportKey([0; 32]) }),
    ];
    for (what, source) in cases {
        let (sources, peers) = image.sources(vec![source]);
        image.assert_all(&sources.fetch(vec![1, 2, 3]).await, &[1, 2, 3], what);
        assert_eq!(sources.origin().asked_bytes(), 3 * USED, "{what}");
        assert_eq!((peers.shunned().len(), peers.bytes()), (0, 0), "{what}: that is no lie");
    }
    let zeros = |stream, ask: Ask| async move { send(stream, &follows(ask), ask.bytes as usize).await };
    let (sources, peers) = image.sources(vec![stranger(zeros).await.0]);
    image.assert_all(&sources.fetch(vec![1, 2, 3]).await, &[1, 2, 3], "zeros are a lie");
    assert_eq!(peers.shunned().len(), 1);
}

#[tokio::test]
async fn a_silent_source_is_left_alone_after_the_first_time() {
    let image = Image::new(8);
    let (silent, count) = stranger(|stream, _| async move {
        tokio::time::sleep(Duration::from_secs(600)).await;
        drop(stream);
    })
    .await;
    let (sources, peers) = image.sources(vec![silent]);
    for id in 1..7 {
        image.assert_all(&sources.fetch(vec![id]).await, &[id], "silence");
    }
    assert_eq!((*count.borrow(), peers.shunned().len()), (1, 0));
}

#[tokio::test]
async fn a_source_that_never_has_anything_is_left_alone() {
    let image = Image::new(20);
    let (count, _keep) = watch::channel(0_usize);
    let count = Arc::new(count);
    let counted = Arc::clone(&count);
    let (empty, _) = stranger(move |mut stream, _| {
        let counted = Arc::clone(&counted);
        async move {
            let mut packet = [0; ASK_BYTES];
            loop {
                counted.send_modify(|count| *count += 1);
                let told = stream.write_all(&Answer::NotHere.packet()).await;
                if told.is_err() || stream.read_exact(&mut packet).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    let (sources, _peers) = image.sources(vec![empty]);
    for id in 1..19 {
        image.assert_all(&sources.fetch(vec![id]).await, &[id], "nothing there");
    }
    assert_eq!(*count.borrow(), 4);
}

/// Longer than a door waits: the one before is slow, and yet ahead.
#[tokio::test]
async fn a_source_that_gives_bytes_is_waited_for() {
    let image = Arc::new(Image::new(8));
    let shelf = image.shelf([1]);
    let (_door, source) = open(&IMAGE, Arc::clone(&shelf)).await;
    let (sources, _peers) = image.sources(vec![source]);
    image.assert_all(&sources.fetch(vec![1]).await, &[1], "at once");
    let putting = tokio::spawn({
        let image = Arc::clone(&image);
        async move {
            tokio::time::sleep(Duration::from_millis(800)).await;
            image.put(&shelf, 2, &image.stored(2));
        }
    });
    image.assert_all(&sources.fetch(vec![2]).await, &[2], "later");
    putting.await.unwrap();
    assert_eq!(sources.origin().asked_bytes(), 0);
}

/// Far down a chain, a source waits longer for its first bytes than its door does.
#[tokio::test]
async fn a_source_that_waits_for_its_own_first_bytes_is_waited_for() {
    let image = Arc::new(Image::new(8));
    let shelf = image.shelf([]);
    let (_door, source) = open(&IMAGE, Arc::clone(&shelf)).await;
    let (sources, _peers) = image.sources(vec![source]);
    let putting = tokio::spawn({
        let image = Arc::clone(&image);
        async move {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            image.put(&shelf, 1, &image.stored(1));
        }
    });
    image.assert_all(&sources.fetch(vec![1]).await, &[1], "at last");
    putting.await.unwrap();
    assert_eq!(sources.origin().asked_bytes(), 0);
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_opened_again() {
    let image = Image::new(8);
    // One answer for each connection.
    let data = image.data.clone();
    let (source, count) = stranger(move |mut stream, ask| {
        let data = data.clone();
        async move {
            let at = usize::try_from(ask.offset).unwrap();
            let body = data.slice(at..at + ask.bytes as usize);
            stream.write_all(&Answer::Follows(ask.bytes).packet()).await.unwrap();
            stream.write_all(&body).await.unwrap();
        }
    })
    .await;
    let (sources, _peers) = image.sources(vec![source]);
    for id in 1..7 {
        image.assert_all(&sources.fetch(vec![id]).await, &[id], "again");
    }
    assert_eq!((*count.borrow(), sources.origin().asked_bytes()), (6, 0));
}

/// The first one gets its pieces while it serves them, and so does the second: the third needs no controller.
#[tokio::test]
async fn a_chain_passes_on_what_it_is_getting() {
    const WINDOWS: u32 = 64;
    let image = Arc::new(Image::new(WINDOWS));
    let first = image.shelf([]);
    let second = image.shelf([]);
    let (_door1, source1) = open(&IMAGE, Arc::clone(&first)).await;
    let (_door2, source2) = open(&IMAGE, Arc::clone(&second)).await;
    let feeding = tokio::spawn({
        let image = Arc::clone(&image);
        async move {
            for id in 0..WINDOWS {
                image.put(&first, id, &image.stored(id));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
    let orders: Vec<Vec<u32>> = (1..WINDOWS - 1).collect::<Vec<_>>().chunks(4).map(<[u32]>::to_vec).collect();
    let follow = |source: Source, shelf: Option<Arc<Shelf>>| {
        let (image, orders) = (Arc::clone(&image), orders.clone());
        tokio::spawn(async move {
            let (sources, _peers) = image.sources(vec![source]);
            for ids in orders {
                let supply = sources.fetch(ids.clone()).await;
                image.assert_all(&supply, &ids, "in a chain");
                for (id, stored) in &supply.right {
                    shelf.iter().for_each(|shelf| image.put(shelf, *id, stored));
                }
            }
            sources.origin().asked_bytes()
        })
    };
    let (middle, last) = (follow(source1, Some(second)), follow(source2, None));
    feeding.await.unwrap();
    assert_eq!((middle.await.unwrap(), last.await.unwrap()), (0, 0));
}

/// The last in a chain loses its source and goes on without.
#[tokio::test]
async fn a_source_that_dies_in_the_middle_is_passed_over() {
    let image = Image::new(40);
    let (dying, source) = open(&IMAGE, image.shelf(0..40)).await;
    let (sources, _peers) = image.sources(vec![source]);
    let mut dying = Some(dying);
    let begun = Instant::now();
    for id in 1..39 {
        if id == 20 {
            dying = None;
        }
        image.assert_all(&sources.fetch(vec![id]).await, &[id], "until the end");
    }
    assert!(dying.is_none() && sources.origin().asked_bytes() == 19 * USED, "{:?}", begun.elapsed());
}

#[test]
fn neighbours_are_asked_for_together_and_never_more_than_may_be() {
    let image = Image::new(2);
    let chunk = |window: u32, offset: u64, stored: u32| Chunk {
        window,
        offset,
        stored,
        ..image.manifest.chunks()[0].clone()
    };
    let mib = 1 << 20;
    let mut chunks = vec![chunk(1, 0, 5), chunk(2, 5, 7), chunk(3, 13, 1), chunk(4, 14, 1)];
    chunks.extend((0..20).map(|at| chunk(10 + at, (1 << 30) + u64::from(at) * u64::from(mib), mib)));
    let joined = stretches(chunks.iter());
    let told: Vec<_> = joined.iter().map(|one| (one.offset, one.bytes, one.ids.len())).collect();
    assert_eq!(
        told,
        [
            (0, 12, 2),
            (13, 2, 2),
            (1 << 30, RANGE_BYTES_MAX, 16),
            ((1 << 30) + u64::from(RANGE_BYTES_MAX), 4 * mib, 4)
        ]
    );
}
