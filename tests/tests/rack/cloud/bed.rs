//! The harness's servers of a cloud, for a story: what goes wrong ends it.

use xtask::operator::Node;
use xtask::rack::bed::{self, Ground};
use xtask::rack::container::Container;

pub(super) use xtask::rack::bed::Member;

use crate::lab::{Site, fail};

pub(super) struct Bed<'a>(bed::Bed<'a>);

impl<'a> Bed<'a> {
    /// Servers get their image by the usual way; then their disks are booted, and the nodes are active.
    pub(super) fn up(site: &'a Site, members: &[Member]) -> Self {
        let Site { controller, rack, artifacts, .. } = site;
        let mut bed = well(bed::Bed::make(Ground { rack, controller, artifacts }, members));
        well(bed.imaged());
        well(bed.booted());
        Self(bed)
    }

    /// Does what an operator does until all nodes satisfy `arrived`.
    pub(super) fn until(&self, goal: &str, arrived: impl Fn(&Node) -> bool) {
        well(self.0.until(goal, arrived));
    }

    /// Boots the disk of a server.
    pub(super) fn boot(&mut self, at: usize) {
        well(self.0.boot(at));
    }

    /// Its power is gone.
    pub(super) fn cut(&mut self, at: usize) {
        well(self.0.cut(at));
    }

    /// A node that an operator has had rebuilt, after the event `since`: written anew from the network, and booted.
    pub(super) fn rebuilt(&mut self, at: usize, since: u64) {
        well(self.0.rebuilt(at, since));
    }

    pub(super) fn node(&self, at: usize) -> &Container {
        well(self.0.node(at))
    }

    /// The image that all of them have.
    pub(super) fn image(&self) -> &str {
        self.0.image()
    }

    /// The names of the servers, in their order.
    pub(super) fn names(&self) -> Vec<&str> {
        self.0.names()
    }
}

fn well<T>(result: Result<T, bed::BedError>) -> T {
    result.unwrap_or_else(|error| fail(&error))
}
