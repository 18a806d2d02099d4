//! What one delivery gives to other nodes, and takes from them.

use std::sync::Arc;

use pack::Digest;
use protocol::{CastAsk, Hearing};

use crate::deploy::imaging::door::Door;
use crate::deploy::imaging::listen::Live;
use crate::deploy::imaging::shelf::Shelf;
use crate::deploy::imaging::sources::Peers;

/// The shelf, the door to it, and the others. The door is shut when this is dropped.
#[derive(Debug)]
pub(crate) struct Sharing {
    shelf: Arc<Shelf>,
    peers: Arc<Peers>,
    _door: Option<Door>,
}

/// What the controller is told of it.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    shelf: Arc<Shelf>,
    peers: Arc<Peers>,
}

impl Sharing {
    /// Opens a door to an empty shelf for so many bytes, and has it told. Without one, which the kernel may refuse, others have to fetch
    /// elsewhere.
    pub(crate) async fn begin(live: &Live, image: &Digest, shelf_bytes: u64) -> Self {
        let shelf = Arc::new(Shelf::new(shelf_bytes));
        let door = Door::open(live.local, image, Arc::clone(&shelf)).await.ok();
        live.asks.send_modify(|ask| ask.door = door.as_ref().map(Door::told));
        live.urge.now();
        let peers = Arc::new(Peers::new(image, live.replies.clone(), Arc::clone(&live.urge)));
        Self { shelf, peers, _door: door }
    }

    /// Where verified pieces are put.
    pub(super) fn shelf(&self) -> Arc<Shelf> {
        Arc::clone(&self.shelf)
    }

    /// Who is asked before the controller.
    pub(super) fn peers(&self) -> Arc<Peers> {
        Arc::clone(&self.peers)
    }

    /// For who tells the controller.
    pub(super) fn shared(&self) -> Shared {
        Shared { shelf: self.shelf(), peers: self.peers() }
    }
}

impl Shared {
    /// Puts what is known now into the next question.
    pub(super) fn tell(&self, ask: &mut CastAsk) {
        ask.had_bytes = self.shelf.had_bytes();
        ask.shunned = self.peers.shunned();
        ask.hearing = Hearing { peer_bytes: self.peers.bytes(), ..ask.hearing };
    }
}
