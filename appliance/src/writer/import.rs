//! A list of reservations: all of them, or none.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use fleet::Denied;
use pxe::Mac;

use super::Refused;
use super::draft::Draft;

/// More conflicts than these are not told: whoever mends ten has learnt how.
const TOLD: usize = 10;

impl Draft<'_> {
    /// Reserves for every row. With one that cannot be, none is, and all that cannot be are told.
    pub(super) fn import(&mut self, rows: &[(Mac, Option<Ipv4Addr>)], dry_run: bool) -> Result<(), Refused> {
        let before = self.checkpoint();
        let mut seen = BTreeSet::new();
        let mut conflicts = Vec::new();
        for (number, (mac, address)) in (1..).zip(rows) {
            let twice = || Denied::Conflict("it is in the list twice".to_owned());
            let one = if seen.insert(*mac) { self.reserve(*mac, *address) } else { Err(twice().into()) };
            if let Err(why) = one {
                conflicts.push(format!("server {number}, {mac}: {why}"));
            }
        }
        if conflicts.is_empty() && !dry_run {
            return Ok(());
        }
        self.go_back(before);
        match conflicts.len() {
            0 => Ok(()),
            more if more > TOLD => {
                conflicts.truncate(TOLD);
                conflicts.push(format!("and {} more", more - TOLD));
                Err(Denied::Conflict(told(&conflicts)).into())
            }
            _ => Err(Denied::Conflict(told(&conflicts)).into()),
        }
    }
}

fn told(conflicts: &[String]) -> String {
    format!("nothing was reserved\n{}", conflicts.join("\n"))
}
