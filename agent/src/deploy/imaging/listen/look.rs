//! Whether packets to a group come here though nobody here has joined it: then the switch sends them to everybody.
//!
//! Looked at before joining, because then they have to come. A switch that has learned who listens keeps them from a port where nobody does.

use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use protocol::Seat;

use crate::deploy::overhear::{Head, Overhearing};

/// How long is looked. While somebody does, something is sent every 20 ms.
const LOOK: Duration = Duration::from_millis(400);

/// A look, on a thread of its own.
#[derive(Debug)]
pub(super) struct Look {
    found: Arc<OnceLock<Option<bool>>>,
}

impl Look {
    /// Begins to look on the network of our address there.
    pub(super) fn begin(seat: &Seat, local: Ipv4Addr) -> Self {
        let found = Arc::new(OnceLock::new());
        let (tell, seat) = (Arc::clone(&found), seat.clone());
        let look = move || {
            // Only root may look. Who can't joins without.
            let _once = tell.set(floods(&seat, local).ok());
        };
        if std::thread::Builder::new().name("look".to_owned()).spawn(look).is_err() {
            let _once = found.set(None);
        }
        Self { found }
    }

    /// What it has found, once it is over: whether the packets come; none when it could not be seen.
    pub(super) fn found(&self) -> Option<Option<bool>> {
        self.found.get().copied()
    }
}

fn floods(seat: &Seat, local: Ipv4Addr) -> io::Result<bool> {
    let mut overhearing = Overhearing::begin(local)?;
    let begun = Instant::now();
    let wanted = Head { source: *seat.source.ip(), group: seat.group, port: seat.port };
    loop {
        let rest = LOOK.saturating_sub(begun.elapsed());
        if rest.is_zero() {
            return Ok(false);
        }
        if overhearing.next(rest)? == Some(wanted) {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddrV4, UdpSocket};
    use std::sync::atomic::{AtomicBool, Ordering};

    use protocol::ReportKey;

    use super::*;

    fn seat(group: Ipv4Addr) -> Seat {
        Seat {
            session: 1,
            group,
            port: 8444,
            source: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1000),
            slot: 0,
            key: ReportKey([0; 32]),
            looks_first: true,
        }
    }

    /// Needs a packet socket, as root has; for everybody else there is nothing to be seen.
    #[test]
    fn what_was_not_joined_is_seen_where_it_comes() {
        let end = Arc::new(AtomicBool::new(false));
        let sent = Ipv4Addr::new(239, 192, 7, 1);
        let ended = Arc::clone(&end);
        let sender = std::thread::spawn(move || {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
            socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
            socket.bind(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            let socket = UdpSocket::from(socket);
            while !ended.load(Ordering::Relaxed) {
                socket.send_to(b"beat", (sent, 8444)).unwrap();
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let seen = floods(&seat(sent), Ipv4Addr::LOCALHOST);
        let of_another = Seat { source: SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 1000), ..seat(sent) };
        let others = [seat(Ipv4Addr::new(239, 192, 7, 2)), Seat { port: 8445, ..seat(sent) }, of_another];
        let others = others.map(|seat| floods(&seat, Ipv4Addr::LOCALHOST).ok());
        end.store(true, Ordering::Relaxed);
        sender.join().unwrap();
        match seen {
            Ok(floods) => assert_eq!((floods, others), (true, [Some(false); 3])),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
        }
        assert!(floods(&seat(sent), Ipv4Addr::new(192, 0, 2, 1)).is_err(), "an address that is not ours");
    }
}
