//! How long an image takes to many nodes, by each lane.
//!
//! A model of the wire: headers, what is lost, what is passed on. Where nothing is known of a disk or of a processor, they count as
//! fast enough. The factors were compared with measurements of other programs, and with sums of the exact distributions.

/// Of what is on a wire of frames of 1500 bytes, the part that is an image's: 1408 of 1498 bytes.
const USE: f64 = 0.94;
/// Seconds that the last repairs of a transmission take.
const TAIL: f64 = 0.5;
/// Data symbols of a usual group.
const SYMBOLS: f64 = 720.0;
/// What is passed on at once in a chain, in bytes, and how long it takes to be asked for, in seconds.
const GRAIN: f64 = 256_000.0;
const HOP: f64 = 0.0001;
/// Parts of a million.
const WHOLE: f64 = 1_000_000.0;

/// What is to come to whom, over what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Bytes of the image as it travels.
    pub stored_bytes: u64,
    /// Bytes that it is on a disk.
    pub used_bytes: u64,
    /// To how many nodes.
    pub nodes: u32,
    /// Bytes a second that the controller's link takes.
    pub controller: u64,
    /// Bytes a second that a node's link takes.
    pub node: u64,
    /// Bytes a second that a node's disk takes.
    pub disk: Option<u64>,
    /// Bytes a second that a node can inflate.
    pub inflate: Option<u64>,
    /// Packets of a million that don't arrive.
    pub loss_ppm: u32,
}

impl Load {
    /// Seconds that one node takes alone: nobody takes less.
    #[must_use]
    pub fn least(&self) -> f64 {
        self.wire(self.controller.min(self.node)).max(self.own())
    }

    /// Seconds, when the controller sends to each of them.
    #[must_use]
    pub fn unicast(&self) -> f64 {
        (f64::from(self.nodes) * self.wire(self.controller)).max(self.least())
    }

    /// Seconds, when it is sent to all at once: what is lost is repaired for all, which costs as much as the unluckiest needs.
    #[must_use]
    pub fn multicast(&self) -> f64 {
        let lost = (f64::from(self.loss_ppm) / WHOLE).clamp(0.0, 0.9);
        let unluckiest = (2.0 * f64::from(self.nodes.max(1)).ln()).sqrt() * (lost / SYMBOLS).sqrt();
        let sent = (1.0 + unluckiest) / (1.0 - lost);
        (sent * self.wire(self.controller.min(self.node))).max(self.own()) + TAIL
    }

    /// Seconds, when one gives it to the next. Nobody dies, and nobody is slow.
    #[must_use]
    pub fn chain(&self) -> f64 {
        let hops = f64::from(self.nodes.saturating_sub(1));
        self.least() + hops * (GRAIN / rate(self.node) + HOP)
    }

    fn wire(&self, link: u64) -> f64 {
        bytes(self.stored_bytes) / (USE * rate(link))
    }

    /// What a node takes however it comes.
    fn own(&self) -> f64 {
        let at = |speed: Option<u64>| speed.map_or(0.0, |speed| bytes(self.used_bytes) / rate(speed));
        at(self.disk).max(at(self.inflate))
    }
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn bytes(count: u64) -> f64 {
    count as f64
}

/// A link that takes nothing would be asked how long nothing takes.
fn rate(link: u64) -> f64 {
    bytes(link.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GBIT: u64 = 125_000_000;

    /// 12 GB on the disk that travel as 4.14.
    fn load(node: u64, controller: u64, disk: u64, nodes: u32) -> Load {
        Load {
            stored_bytes: 4_140_000_000,
            used_bytes: 12_000_000_000,
            nodes,
            controller: controller * GBIT,
            node: node * GBIT,
            disk: Some(disk * 1_000_000),
            inflate: Some(8_800_000_000),
            loss_ppm: 1000,
        }
    }

    /// What was predicted for fabrics before there was a line of code: a row of unicast, multicast and chain for so many nodes.
    #[test]
    fn the_model_gives_the_table_that_it_was_made_with() {
        type Row = (u64, u64, u64, u32, f64, f64, f64);
        let table: [Row; 11] = [
            (1, 10, 500, 32, 113.0, 36.1, 35.5),
            (1, 10, 500, 128, 453.0, 36.1, 35.7),
            (1, 10, 500, 1_000, 3_538.0, 36.2, 37.5),
            (1, 10, 500, 10_000, 35_385.0, 36.2, 56.9),
            (10, 10, 1500, 32, 113.0, 8.5, 8.0),
            (10, 10, 1500, 128, 453.0, 8.5, 8.0),
            (10, 10, 1500, 1_000, 3_538.0, 8.5, 8.3),
            (10, 10, 1500, 10_000, 35_385.0, 8.5, 11.0),
            (25, 100, 2000, 128, 45.0, 6.5, 6.0),
            (25, 100, 2000, 1_000, 354.0, 6.5, 6.2),
            (25, 100, 2000, 10_000, 3_538.0, 6.5, 7.8),
        ];
        for (node, controller, disk, nodes, unicast, multicast, chain) in table {
            let load = load(node, controller, disk, nodes);
            for (lane, predicted, told) in [
                ("unicast", load.unicast(), unicast),
                ("multicast", load.multicast(), multicast),
                ("chain", load.chain(), chain),
            ] {
                // The table is rounded to three digits, and an image's table of contents was counted.
                assert!((predicted - told).abs() < 0.01 * told, "{nodes} by {lane}: {predicted}, not {told}");
            }
        }
        for (row, told) in
            [(load(1, 10, 500, 1), 35.4), (load(10, 10, 1500, 1), 8.0), (load(25, 100, 2000, 1), 6.0)]
        {
            assert!((row.least() - told).abs() < 0.01 * told, "{}", row.least());
        }
    }

    #[test]
    fn loss_costs_what_the_unluckiest_of_all_needs() {
        let at = |loss_ppm, nodes| Load { loss_ppm, disk: None, inflate: None, ..load(1, 1, 1, nodes) };
        let factor = |loss_ppm, nodes| {
            let load = at(loss_ppm, nodes);
            (load.multicast() - TAIL) / load.least()
        };
        for (loss_ppm, nodes, exact) in [
            (1_000, 32, 1.004),
            (1_000, 10_000, 1.008),
            (10_000, 8, 1.016),
            (10_000, 1_000, 1.024),
            (50_000, 8, 1.065),
            (50_000, 10_000, 1.090),
        ] {
            let factor = factor(loss_ppm, nodes);
            assert!((factor - exact).abs() < 0.008, "{nodes} at {loss_ppm}: {factor}, not {exact}");
        }
    }

    #[test]
    fn nothing_known_and_nothing_there_are_numbers_too() {
        let none = Load {
            nodes: 0,
            controller: 0,
            node: 0,
            stored_bytes: u64::MAX,
            loss_ppm: u32::MAX,
            ..load(1, 1, 1, 0)
        };
        for seconds in [none.least(), none.unicast(), none.multicast(), none.chain()] {
            assert!(seconds.is_finite() && seconds > 0.0, "{seconds}");
        }
    }
}
