//! What is played: an image, a network, its nodes and what happens to them. A seed is one story.

use cast::Micros;
use cast::Piece;
use cast::groups::Groups;

use crate::dice::Dice;
use crate::network::{Loss, WIRE_BYTES};

/// A second.
pub const SECOND: Micros = Micros(1_000_000);
/// A million bits a second, in bytes a second.
pub const MBIT: u64 = 125_000;

/// What happens to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is gone for good.
    Die,
    /// It stands still for so long; its socket's buffer fills meanwhile.
    Pause(Micros),
    /// Its cable is out for so long.
    Down(Micros),
    /// It starts anew after so long, and has what it had.
    Reboot(Micros),
}

/// One node.
#[derive(Debug, Clone, PartialEq)]
pub struct Host {
    /// Bytes a second from the switch to it.
    pub link: u64,
    /// Bytes that the switch holds for it.
    pub queue: u64,
    /// From the controller to it, and back.
    pub latency: Micros,
    /// What is lost on the way to it …
    pub loss: Loss,
    /// … and back, of a million.
    pub reports_lost: u32,
    /// Bytes a second that its disk writes.
    pub disk: u64,
    /// Bytes of groups that it holds while they are not written.
    pub spool: u64,
    /// Bytes of groups that it holds while they are not complete.
    pub open: u64,
    /// When it comes.
    pub joins: Micros,
    /// Nothing that is sent to all arrives there.
    pub is_deaf: bool,
    /// Of a million groups, how many it has before it comes.
    pub has: u32,
    /// Of a million groups, how many come out spoilt.
    pub spoilt: u32,
    /// Of a million groups that others fetch from it, how many are wrong.
    pub lies: u32,
    /// What happens to it, and when.
    pub faults: Vec<(Micros, Fault)>,
}

impl Host {
    /// One that nothing is wrong with, at so many bytes a second.
    #[must_use]
    pub fn good(link: u64) -> Host {
        Host {
            link,
            queue: 512 << 10,
            latency: Micros(100),
            loss: Loss::Independent(0),
            reports_lost: 0,
            disk: 4_000_000_000,
            spool: 1 << 40,
            open: 64 << 20,
            joins: Micros(0),
            is_deaf: false,
            has: 0,
            spoilt: 0,
            lies: 0,
            faults: Vec::new(),
        }
    }
}

/// All of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Story {
    /// What chance is made of.
    pub seed: u64,
    /// Bytes of the image.
    pub image: u64,
    /// Bytes of one of its pieces.
    pub piece: u32,
    /// Bytes a second that the sender is allowed.
    pub rate: u64,
    /// Bytes a second that leave the controller at most.
    pub uplink: u64,
    /// Bytes a second that can be fetched, by all together.
    pub lane: u64,
    /// Nodes on one switch; those of each switch share a link of the uplink's rate to it.
    pub per_switch: usize,
    /// The nodes.
    pub hosts: Vec<Host>,
    /// When the controller ends, and for how long.
    pub restarts: Vec<(Micros, Micros)>,
    /// Whether everything is checked that can be, at a cost for each symbol.
    pub is_checked: bool,
}

impl Story {
    /// An image for such nodes, at their common rate, and nothing goes wrong.
    #[must_use]
    pub fn new(image: u64, rate: u64, hosts: Vec<Host>) -> Story {
        Story {
            seed: 1,
            image,
            piece: 360_000,
            rate,
            uplink: rate.saturating_mul(10),
            lane: rate / 4,
            per_switch: hosts.len().max(1),
            hosts,
            restarts: Vec::new(),
            is_checked: true,
        }
    }

    /// The image's groups.
    #[must_use]
    pub fn groups(&self) -> Groups {
        let (mut pieces, mut offset) = (Vec::new(), 0);
        while offset < self.image {
            let stored = u32::try_from(self.image - offset).unwrap_or(u32::MAX).min(self.piece.max(1));
            let id = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
            pieces.push(Piece { id, offset, stored, bytes: stored });
            offset += u64::from(stored);
        }
        Groups::of(&pieces)
    }

    /// Seconds that the image takes on the wire.
    #[must_use]
    pub fn limit(&self) -> f64 {
        let symbols: u64 = self.groups().iter().map(|(_, group)| u64::from(group.symbols)).sum();
        (symbols * WIRE_BYTES) as f64 / self.rate as f64
    }

    /// A story of which everything is chance.
    #[must_use]
    pub fn random(seed: u64) -> Story {
        let mut dice = Dice::new(seed, 0);
        let rate = MBIT * [10, 20, 40, 80].get(index(&mut dice, 4)).copied().unwrap_or(10);
        let image = 1_000_000 + dice.below(7_000_000);
        let span = Micros((image * 1_100_000) / rate);
        let nodes = 1 + dice.below(12);
        let weather = dice.below(4);
        let hosts = (0..nodes).map(|_| random_host(&mut dice, rate, weather, span)).collect();
        let piece = [3_000, 100_000, 360_000, 1_048_576].get(index(&mut dice, 4)).copied().unwrap_or(1);
        let mut story = Story { seed, piece, ..Story::new(image, rate, hosts) };
        story.per_switch = usize::try_from(1 + dice.below(nodes)).unwrap_or(1);
        story.lane = rate / (1 + dice.below(8));
        if dice.below(5) == 0 {
            story.uplink = rate;
        }
        if dice.below(4) == 0 {
            story.restarts.push((sometime(&mut dice, span), Micros(dice.below(5_000_000))));
        }
        story
    }
}

fn random_host(dice: &mut Dice, rate: u64, weather: u64, span: Micros) -> Host {
    let mut host = Host::good(rate);
    host.latency = Micros(50 + dice.below(2_000));
    host.queue = 20_000 + dice.below(1 << 19);
    let small = |dice: &mut Dice, most: u64| u32::try_from(dice.below(most)).unwrap_or(0);
    host.loss = match weather {
        0 => Loss::Independent(0),
        1 => Loss::Independent(small(dice, 20_000)),
        _ => Loss::Independent(small(dice, 120_000)),
    };
    if dice.below(6) == 0 {
        let (good, bad, lost) =
            (500 + small(dice, 20_000), 1 + small(dice, 300), 200_000 + small(dice, 800_000));
        host.loss = Loss::Bursts { good, bad, lost };
    }
    host.reports_lost = if weather == 3 { small(dice, 300_000) } else { small(dice, 10_000) };
    if dice.below(8) == 0 {
        host.link = rate / (2 + dice.below(10));
    }
    if dice.below(6) == 0 {
        host.disk = rate / (1 + dice.below(10));
        host.spool = (3 << 20) + dice.below(8 << 20);
    }
    if dice.below(6) == 0 {
        host.open = dice.below(4 << 20);
    }
    if dice.below(3) == 0 {
        host.joins = sometime(dice, span);
    }
    host.is_deaf = dice.below(25) == 0;
    host.has = if dice.below(5) == 0 { small(dice, 1_100_000) } else { 0 };
    host.spoilt = if dice.below(6) == 0 { small(dice, 200_000) } else { 0 };
    for _ in 0..dice.below(3).saturating_sub(dice.below(2)) {
        let lasts = Micros(dice.below(6_000_000));
        let fault = match dice.below(4) {
            0 => Fault::Die,
            1 => Fault::Pause(lasts),
            2 => Fault::Down(lasts),
            _ => Fault::Reboot(lasts),
        };
        host.faults.push((sometime(dice, span), fault));
    }
    host.lies = match dice.below(12) {
        0 => 1_000_000,
        1 => small(dice, 500_000),
        _ => 0,
    };
    host
}

fn index(dice: &mut Dice, of: u64) -> usize {
    usize::try_from(dice.below(of)).unwrap_or(0)
}

fn sometime(dice: &mut Dice, span: Micros) -> Micros {
    Micros(dice.below(span.0 * 5 / 4))
}
