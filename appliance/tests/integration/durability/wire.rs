//! Clients of DHCP at the other end of the cable `rw1` – `rw0`: broadcasts, as firmware sends them.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, SystemTime};

use tokio::net::UdpSocket;
use tokio::time::timeout;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Nothing for so long: the next client asks.
const PATIENCE: Duration = Duration::from_millis(40);
const OFFER: u8 = 2;
const ACK: u8 = 5;

/// The clients' end.
pub(super) struct Wire {
    socket: UdpSocket,
    xid: u32,
}

impl Wire {
    /// Opens it, in a network namespace that has the cable.
    pub(super) fn new() -> Self {
        // The server is on this machine too: its packets have a source that is ours.
        for (file, value) in [("accept_local", "1"), ("rp_filter", "0")] {
            for interface in ["all", "rw1"] {
                std::fs::write(format!("/proc/sys/net/ipv4/conf/{interface}/{file}"), value).unwrap();
            }
        }
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        socket.set_broadcast(true).unwrap();
        socket.bind_device(Some(b"rw1")).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68).into()).unwrap();
        Self { socket: UdpSocket::from_std(socket.into()).unwrap(), xid: 0 }
    }

    /// Clients ask for an address, one after the other, and again, for ever; each answer is told with the millisecond since 1970 in which
    /// it came.
    pub(super) async fn leases(&mut self, clients: u8, mut told: impl FnMut(String, Ipv4Addr, u64)) {
        for client in (0..clients).cycle() {
            let Some(offered) = self.says(client, 1, None, OFFER).await else { continue };
            if let Some(address) = self.says(client, 3, Some(offered), ACK).await {
                let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
                told(
                    format!("52:54:00:d0:00:{client:02x}"),
                    address,
                    u64::try_from(since.as_millis()).unwrap(),
                );
            }
        }
    }

    async fn says(
        &mut self,
        client: u8,
        kind: u8,
        offered: Option<Ipv4Addr>,
        wanted: u8,
    ) -> Option<Ipv4Addr> {
        self.xid += 1;
        let question = question(self.xid, client, kind, offered);
        self.socket.send_to(&question, (Ipv4Addr::BROADCAST, 67)).await.ok()?;
        let answer = async {
            let mut buffer = [0; 1500];
            loop {
                let bytes = self.socket.recv(&mut buffer).await.ok()?;
                let answer = buffer.get(..bytes).filter(|answer| answer.len() > 243)?;
                if answer[4..8] == self.xid.to_be_bytes() {
                    let address = <[u8; 4]>::try_from(&answer[16..20]).unwrap().into();
                    // The type is the first option of every answer of ours.
                    return (answer[240..243] == [53, 1, wanted]).then_some(address);
                }
            }
        };
        timeout(PATIENCE, answer).await.ok().flatten()
    }
}

/// RFC 2131 §2: to be answered by broadcast.
fn question(xid: u32, client: u8, kind: u8, offered: Option<Ipv4Addr>) -> Vec<u8> {
    let mut bytes = vec![0; 236];
    bytes[..3].copy_from_slice(&[1, 1, 6]);
    bytes[4..8].copy_from_slice(&xid.to_be_bytes());
    bytes[10] = 0x80;
    bytes[28..34].copy_from_slice(&[0x52, 0x54, 0, 0xd0, 0, client]);
    bytes.extend([99, 130, 83, 99, 53, 1, kind]);
    if let Some(offered) = offered {
        for (code, value) in [(50, offered), (54, SERVER)] {
            bytes.extend([code, 4]);
            bytes.extend(value.octets());
        }
    }
    bytes.push(255);
    bytes.resize(300, 0);
    bytes
}
