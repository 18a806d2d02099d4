//! Who holds which address.
//!
//! The first address a machine is given is its for good: it is given to no other until the operator releases it,
//! whether the lease ran out or not. Three exceptions. An address that was offered and never taken may go to another
//! machine, but only when no other is left. When even then there is none, the shell may take back the lease that ran
//! out longest ago ([`Leases::reclaim`]); it says which machines keep theirs all the same. And an address that its
//! client found in use by somebody else (DECLINE) is in quarantine for a day, and the machine is given another, unless a
//! person fixed it.
//!
//! An offer promises nothing and needs no row ([`Leases::is_passing`]); in one process it still is given to one machine
//! only.
//!
//! `by_ip` is the inverse of `by_mac` at all times; that is the proof that no two machines share an address.
//!
//! The tables share their structure with their copies: a copy costs nothing, and a change to it a few nodes of a tree.
//! So the shell can decide a thousand requests on a copy, and forget it when they can't be saved.

use std::net::Ipv4Addr;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use serde::{Deserialize, Serialize};

use super::client::{Arch, Hostname};
use super::policy::Policy;
use super::taken::{Ends, Taken};
use crate::{BootPath, Mac, Time};

/// How long an address that a client declined is given to nobody.
pub const QUARANTINE_SECONDS: u64 = 86_400;

/// How far the client has come with its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeaseState {
    /// Offered, or set by the operator; the client has not taken it yet.
    Offered,
    /// The client has it.
    Bound,
    /// The client gave it back. It is still kept for it.
    Released,
}

/// One machine's address, and what it said of itself when it last took it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The address.
    pub ip: Ipv4Addr,
    /// How far the client has come.
    pub state: LeaseState,
    /// Set by the operator: kept even when a client says that it is in use.
    pub pinned: bool,
    /// When the machine was first given this address.
    pub since: Time,
    /// When the client must have asked again, or the offer is off.
    pub expires: Time,
    /// Option 61 of the last REQUEST that had one; for the record.
    pub client_id: Option<Vec<u8>>,
    /// Option 12, likewise.
    pub hostname: Option<Hostname>,
    /// Option 93, likewise.
    pub arch: Option<Arch>,
    /// The path of its last network boot.
    pub path: Option<BootPath>,
    /// The address that the client still has, while it has not taken the one that the operator has set since.
    #[serde(default)]
    pub leaving: Option<Ipv4Addr>,
}

/// What must be durable before a reply leaves. Rows of three kinds, to be changed in one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseChange {
    /// Whose lease.
    pub mac: Mac,
    /// The lease it has from now on; None when it has none.
    pub lease: Option<Lease>,
    /// A machine that loses its lease: it was offered the address and never took it.
    pub evicts: Option<Mac>,
    /// An address that is given to nobody until then.
    pub quarantine: Option<(Ipv4Addr, Time)>,
}

/// Every lease, and the addresses in quarantine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases {
    by_mac: RedBlackTreeMapSync<Mac, Lease>,
    by_ip: RedBlackTreeMapSync<Ipv4Addr, Mac>,
    quarantined: RedBlackTreeMapSync<Ipv4Addr, Time>,
    /// The keys of `by_ip` again, as ranges.
    pub(super) taken: Taken,
    /// Everything in `by_mac` that no person fixed, by the end of the lease.
    pub(super) ends: Ends,
    /// Machines of which nothing is durable: all they have is an offer of this process.
    passing: RedBlackTreeSetSync<Mac>,
    /// When free addresses were found to be used by nobody; see [`Leases::probed`].
    pub(super) probed: RedBlackTreeMapSync<Ipv4Addr, Time>,
}

/// Stored or late changes that contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{ip} is held by {holder} and cannot be {other}'s too")]
pub struct BadLeases {
    /// The address.
    pub ip: Ipv4Addr,
    /// Who holds it.
    pub holder: Mac,
    /// Who should have it as well.
    pub other: Mac,
}

/// Why the operator cannot set an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not in a provisioning subnet.
    #[error("{0} is in no provisioning subnet")]
    Outside(Ipv4Addr),
    /// The network's, the broadcast, the controller's or the router's address.
    #[error("{0} is the address of the network, its broadcast, the controller or the router")]
    NotForClients(Ipv4Addr),
    /// Another machine holds it.
    #[error("{ip} is held by {by}")]
    Held {
        /// The address.
        ip: Ipv4Addr,
        /// Who holds it.
        by: Mac,
    },
    /// A client found somebody else using it, or its last holder may still be.
    #[error("{0} is in quarantine: another host was found using it, or the last holder's lease still runs")]
    InUse(Ipv4Addr),
}

impl Leases {
    /// The leases of a store.
    ///
    /// # Errors
    /// [`BadLeases`] when two rows have one address.
    pub fn from_rows(
        leases: impl IntoIterator<Item = (Mac, Lease)>,
        quarantined: impl IntoIterator<Item = (Ipv4Addr, Time)>,
    ) -> Result<Leases, BadLeases> {
        let mut all = Leases { quarantined: quarantined.into_iter().collect(), ..Leases::default() };
        for (mac, lease) in leases {
            all.put(mac, lease)?;
        }
        Ok(all)
    }

    /// The lease of a machine.
    #[must_use]
    pub fn get(&self, mac: Mac) -> Option<&Lease> {
        self.by_mac.get(&mac)
    }

    /// Who holds an address.
    #[must_use]
    pub fn holder(&self, ip: Ipv4Addr) -> Option<Mac> {
        self.by_ip.get(&ip).copied()
    }

    /// Every lease, by MAC.
    pub fn iter(&self) -> impl Iterator<Item = (Mac, &Lease)> {
        self.by_mac.iter().map(|(mac, lease)| (*mac, lease))
    }

    /// The addresses given to nobody now, each with the end of its quarantine.
    pub fn quarantined(&self, now: Time) -> impl Iterator<Item = (Ipv4Addr, Time)> {
        self.quarantined.iter().map(|(ip, until)| (*ip, *until)).filter(move |(_, until)| *until > now)
    }

    /// The end of the quarantine that an address is in now.
    #[must_use]
    pub fn quarantine_of(&self, ip: Ipv4Addr, now: Time) -> Option<Time> {
        self.quarantined.get(&ip).copied().filter(|until| *until > now)
    }

    /// Whether a change is an offer that needs no row: an offer promises nothing, so when its machine has no row, and
    /// the one it evicts has none either, nothing durable changes. After a restart the address is free again, and a
    /// client that asks for it then gets it.
    #[must_use]
    pub fn is_passing(&self, change: &LeaseChange) -> bool {
        let offer = |lease: &Lease| lease.state == LeaseState::Offered && !lease.pinned;
        let unwritten = |mac: Mac| self.get(mac).is_none() || self.passing.contains(&mac);
        change.quarantine.is_none()
            && change.lease.as_ref().is_some_and(offer)
            && unwritten(change.mac)
            && change.evicts.is_none_or(unwritten)
    }

    /// Makes a change that [`Leases::is_passing`], for as long as this process lives.
    ///
    /// # Errors
    /// As [`Leases::apply`].
    pub fn offer(&mut self, change: &LeaseChange) -> Result<(), BadLeases> {
        self.apply(change)?;
        self.passing.insert_mut(change.mac);
        Ok(())
    }

    /// Makes a change that is durable now.
    ///
    /// # Errors
    /// [`BadLeases`], and nothing is changed, when another machine has taken the address since the change was
    /// decided. A shell that decides and commits one request at a time never sees it.
    pub fn apply(&mut self, change: &LeaseChange) -> Result<(), BadLeases> {
        if let Some(lease) = &change.lease
            && let Some(holder) = self.holder(lease.ip)
            && holder != change.mac
            && !(Some(holder) == change.evicts && self.is_offered(holder))
        {
            return Err(BadLeases { ip: lease.ip, holder, other: change.mac });
        }
        if let Some(evicted) = change.evicts.filter(|evicted| self.is_offered(*evicted)) {
            self.remove(evicted);
        }
        self.remove(change.mac);
        if let Some((ip, until)) = change.quarantine {
            self.quarantined.insert_mut(ip, until);
        }
        match &change.lease {
            Some(lease) => self.put(change.mac, lease.clone()),
            None => Ok(()),
        }
    }

    /// The change that sets a machine's address, for the operator's `node set-address`. The machine learns of it the
    /// next time it asks; the address it leaves is given to nobody before its lease has run out.
    ///
    /// # Errors
    /// [`AddressError`] when the address cannot be this machine's.
    pub fn set_address(
        &self,
        policy: &Policy,
        mac: Mac,
        ip: Ipv4Addr,
        now: Time,
    ) -> Result<LeaseChange, AddressError> {
        if !policy.subnet.contains(&ip) {
            return Err(AddressError::Outside(ip));
        }
        if !policy.is_for_clients(ip) {
            return Err(AddressError::NotForClients(ip));
        }
        let evicts = match self.holder(ip).filter(|holder| *holder != mac) {
            Some(by) if !self.was_never_taken(by, now) => return Err(AddressError::Held { ip, by }),
            other => other,
        };
        if self.get(mac).and_then(|held| held.leaving) == Some(ip) && evicts.is_none() {
            // Back to the address it still has: nobody else can be using it, and the wait for it is over.
            let back = self.get(mac).map(|held| Lease {
                ip,
                state: LeaseState::Bound,
                pinned: true,
                leaving: None,
                ..held.clone()
            });
            return Ok(LeaseChange { mac, lease: back, evicts, quarantine: Some((ip, now)) });
        }
        if self.quarantine_of(ip, now).is_some() {
            return Err(AddressError::InUse(ip));
        }
        let lease = match self.get(mac) {
            Some(held) if held.ip == ip => Lease { pinned: true, ..held.clone() },
            held => Lease { pinned: true, ..Lease::new(ip, held, now) },
        };
        Ok(LeaseChange { mac, quarantine: self.left_behind(mac, Some(ip), now), lease: Some(lease), evicts })
    }

    /// The change that gives a machine's address back, for the operator. None when it holds none. An address whose
    /// client may still be using it is given to nobody before the lease has run out.
    #[must_use]
    pub fn release(&self, mac: Mac, now: Time) -> Option<LeaseChange> {
        self.get(mac)?;
        Some(LeaseChange { mac, lease: None, evicts: None, quarantine: self.left_behind(mac, None, now) })
    }

    /// The change that takes an address back when the pools are empty: the lease that ran out longest ago, if there is
    /// one. Never one that a person set, never one of a machine that is `kept`.
    #[must_use]
    pub fn reclaim(&self, policy: &Policy, kept: impl Fn(Mac) -> bool, now: Time) -> Option<LeaseChange> {
        let ours = |mac: &Mac| self.get(*mac).is_some_and(|lease| policy.is_pooled(lease.ip)) && !kept(*mac);
        let mac = self.ends.until(now).find(ours)?;
        self.release(mac, now)
    }

    /// The change that takes back what the operator fixed. A machine that has used its address keeps it as its own;
    /// one that never came gives it back. None when nothing was fixed for it.
    #[must_use]
    pub fn unpin(&self, mac: Mac) -> Option<LeaseChange> {
        let held = self.get(mac).filter(|lease| lease.pinned)?;
        let gone = LeaseChange { mac, lease: None, evicts: None, quarantine: None };
        let (ip, state) = match held.state {
            // It has not taken the address yet, and goes on with the one it was to leave.
            LeaseState::Offered => {
                match held.leaving.filter(|ip| self.holder(*ip).is_none_or(|by| by == mac)) {
                    None => return Some(gone),
                    Some(ip) => (ip, LeaseState::Bound),
                }
            }
            state @ (LeaseState::Bound | LeaseState::Released) => (held.ip, state),
        };
        let lease = Some(Lease { ip, state, pinned: false, leaving: None, ..held.clone() });
        Some(LeaseChange { lease, ..gone })
    }

    pub(super) fn is_offered(&self, mac: Mac) -> bool {
        self.get(mac).is_some_and(|lease| lease.state == LeaseState::Offered && !lease.pinned)
    }

    /// Offered, and the offer is off.
    pub(super) fn was_never_taken(&self, mac: Mac, now: Time) -> bool {
        self.is_offered(mac) && self.get(mac).is_some_and(|lease| lease.expires <= now)
    }

    /// The quarantine for the address a machine leaves when it gets `next`: its client may use it until the lease
    /// runs out.
    pub(super) fn left_behind(
        &self,
        mac: Mac,
        next: Option<Ipv4Addr>,
        now: Time,
    ) -> Option<(Ipv4Addr, Time)> {
        let held = self.get(mac)?;
        let in_use = held.state == LeaseState::Bound && held.expires > now && Some(held.ip) != next;
        in_use.then_some((held.ip, held.expires))
    }

    fn remove(&mut self, mac: Mac) {
        let Some(lease) = self.by_mac.get(&mac) else { return };
        let (ip, expires, pinned, offered) = (lease.ip, lease.expires, lease.pinned, self.is_offered(mac));
        self.by_mac.remove_mut(&mac);
        self.by_ip.remove_mut(&ip);
        self.taken.remove(ip);
        self.passing.remove_mut(&mac);
        if !pinned {
            self.ends.remove(mac, expires, offered);
        }
    }

    fn put(&mut self, mac: Mac, lease: Lease) -> Result<(), BadLeases> {
        match self.by_ip.get(&lease.ip).copied() {
            Some(holder) if holder != mac => Err(BadLeases { ip: lease.ip, holder, other: mac }),
            _ => {
                self.remove(mac);
                self.by_ip.insert_mut(lease.ip, mac);
                self.taken.insert(lease.ip);
                self.probed.remove_mut(&lease.ip);
                if !lease.pinned {
                    self.ends.insert(mac, lease.expires, lease.state == LeaseState::Offered);
                }
                self.by_mac.insert_mut(mac, lease);
                Ok(())
            }
        }
    }
}

impl Lease {
    /// The address the machine can be reached at: the one it leaves, until it has taken the other.
    #[must_use]
    pub fn in_use(&self) -> Ipv4Addr {
        self.leaving.unwrap_or(self.ip)
    }

    /// A lease that no client has taken, with what is known of the machine from the lease before.
    pub(super) fn new(ip: Ipv4Addr, before: Option<&Lease>, now: Time) -> Lease {
        let leaving = before.and_then(|lease| match lease.state {
            LeaseState::Bound => Some(lease.ip),
            LeaseState::Offered => lease.leaving,
            LeaseState::Released => None,
        });
        Lease {
            leaving: leaving.filter(|leaving| *leaving != ip),
            ip,
            state: LeaseState::Offered,
            pinned: false,
            since: now,
            expires: now,
            client_id: before.and_then(|lease| lease.client_id.clone()),
            hostname: before.and_then(|lease| lease.hostname.clone()),
            arch: before.and_then(|lease| lease.arch),
            path: before.and_then(|lease| lease.path),
        }
    }
}
