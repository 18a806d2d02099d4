//! Several servers that write the same image give it to each other.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use agent::restore::{Desk, NoRange, NoReply, Origin, Seating, run_live};
use bytes::Bytes;
use pack::{Header, Parsed};
use protocol::{CastAsk, CastReply, JobId, Source};

use super::*;

/// The controller: it knows all doors, and has everybody fetch from the one before.
#[derive(Default)]
struct Controller {
    told: Mutex<BTreeMap<usize, CastAsk>>,
}

/// One node's line to it.
struct Line {
    node: usize,
    controller: Arc<Controller>,
}

impl Desk for Line {
    async fn ask(&mut self, ask: &CastAsk) -> Result<CastReply, NoReply> {
        let mut told = self.controller.told.lock().unwrap();
        told.insert(self.node, ask.clone());
        let before = self.node.checked_sub(1).and_then(|before| told.get(&before));
        let source = before.and_then(|before| before.door.clone()).map(|door| Source {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, door.port)),
            key: door.key,
        });
        Ok(CastReply { seat: None, sources: source.into_iter().collect() })
    }
}

/// The image where the controller has it, slow enough for all to be there from the beginning.
#[derive(Debug)]
struct Store {
    file: fs::File,
    begin: u64,
    given: Arc<AtomicU64>,
}

impl Origin for Store {
    async fn range(&self, offset: u64, bytes: usize) -> Result<Bytes, NoRange> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.given.fetch_add(bytes as u64, Ordering::Relaxed);
        let mut body = vec![0; bytes];
        self.file.read_exact_at(&mut body, self.begin + offset).unwrap();
        Ok(body.into())
    }
}

/// Restores to as many machines, with so much memory each. What each asked of the controller, and what it told last.
fn restore_all(image: &ImageFile, machines: &[Machine], memory: &[u64]) -> Vec<(u64, CastAsk)> {
    let controller = Arc::new(Controller::default());
    let Parsed::Whole(header) = Header::parse(&fs::read(&image.path).unwrap()).unwrap() else {
        panic!("the file is cut off");
    };
    std::thread::scope(|scope| {
        let run = |(node, (machine, memory)): (usize, (&Machine, &u64))| {
            let (options, memory) = (options(machine, image), *memory);
            let (given, controller) = (Arc::new(AtomicU64::new(0)), Arc::clone(&controller));
            let (file, begin) = (fs::File::open(&image.path).unwrap(), header.data_begin());
            let store = Store { file, begin, given: Arc::clone(&given) };
            scope.spawn(move || {
                // Each has a door before the next one asks for it.
                let has_door = |ask: &&CastAsk| ask.door.is_some();
                while controller.told.lock().unwrap().values().filter(has_door).count() < node {
                    sleep(Duration::from_millis(1));
                }
                let runtime = tokio::runtime::Builder::new_multi_thread();
                let runtime = { runtime }.worker_threads(1).enable_all().build().unwrap();
                let line = Line { node, controller };
                let seating = runtime.block_on(async { Seating::begin(line, JobId([1; 8])) });
                let live = seating.live(Ipv4Addr::LOCALHOST);
                let asks = live.asks.clone();
                run_live(&options, store, live, memory).unwrap();
                let told = asks.borrow().clone();
                (given.load(Ordering::Relaxed), told)
            })
        };
        let threads: Vec<_> = machines.iter().zip(memory).enumerate().map(run).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn a_chain_of_servers_asks_the_controller_once() {
    if !is_root() {
        return;
    }
    let place = TempDir::new().unwrap();
    let slices = Slices::new(800);
    let image = slices.file(&place.path().join("one.rwimage"), 1);
    let data = image.manifest.data_bytes();
    // The third has room for a part of the image only.
    let memory = [data, data, data / 2];
    let machines: Vec<_> = memory.iter().map(|_| machine(slices.bytes())).collect();
    let done = restore_all(&image, &machines, &memory);
    for machine in &machines {
        image.assert_on(&machine.disks[0].file);
    }
    let tables = [image.manifest.chunks().first(), image.manifest.chunks().last()];
    let tables: u64 = tables.into_iter().flatten().map(|chunk| u64::from(chunk.stored)).sum();
    let (first, told) = &done[0];
    assert_eq!((*first, told.hearing.peer_bytes), (data, 0));
    for (given, told) in &done[1..] {
        // The first range may have been asked of the controller before it had said who is before.
        assert!(*given < data / 2, "{given} of {data} bytes came from the controller");
        assert!(told.hearing.peer_bytes + given >= data, "{told:?}");
        assert!(*given >= tables && told.shunned.is_empty());
    }
}
