//! Addresses by DHCP: each NIC discovers and requests, by way of a relay, one after the other.

use std::error::Error;
use std::io::Write as _;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

use dhcproto::v4::{DhcpOption, Flags, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable as _, Decoder, Encodable as _, Encoder};

/// Both ports: a relay asks from where servers are asked (RFC 2131 §4.1).
const PORT: u16 = 67;
/// Nothing for so long: the question is asked again.
const PATIENCE: Duration = Duration::from_millis(500);
const TRIES: u32 = 60;

/// Who is where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    pub(crate) mac: [u8; 6],
    pub(crate) address: Ipv4Addr,
}

/// The relay's socket.
pub(crate) struct Relay {
    socket: UdpSocket,
    server: Ipv4Addr,
    own: Ipv4Addr,
}

impl Relay {
    pub(crate) fn open(server: Ipv4Addr, own: Ipv4Addr, patience: Duration) -> std::io::Result<Self> {
        let socket = UdpSocket::bind((own, PORT))?;
        socket.set_read_timeout(Some(patience))?;
        Ok(Self { socket, server, own })
    }

    /// Asks for this NIC.
    pub(crate) fn ask(
        &self,
        mac: [u8; 6],
        kind: MessageType,
        options: impl IntoIterator<Item = DhcpOption>,
    ) -> Result<(), Box<dyn Error>> {
        let none = Ipv4Addr::UNSPECIFIED;
        let mut message = Message::new(none, none, none, self.own, &mac);
        message.set_opcode(Opcode::BootRequest).set_xid(u32::from_be_bytes([mac[2], mac[3], mac[4], mac[5]]));
        message.set_flags(Flags::default());
        message.opts_mut().insert(DhcpOption::MessageType(kind));
        for option in options {
            message.opts_mut().insert(option);
        }
        let mut bytes = Vec::new();
        message.encode(&mut Encoder::new(&mut bytes))?;
        self.socket.send_to(&bytes, (self.server, PORT))?;
        Ok(())
    }

    /// The next answer, to whom: its kind and the address in it. None: nothing came.
    pub(crate) fn hear(&self) -> Option<([u8; 6], MessageType, Ipv4Addr, Ipv4Addr)> {
        let mut buffer = [0; 1500];
        let length = self.socket.recv(&mut buffer).ok()?;
        let message = Message::decode(&mut Decoder::new(buffer.get(..length)?)).ok()?;
        let Some(DhcpOption::MessageType(kind)) = message.opts().get(OptionCode::MessageType) else {
            return None;
        };
        let server = match message.opts().get(OptionCode::ServerIdentifier) {
            Some(DhcpOption::ServerIdentifier(server)) => *server,
            _ => self.server,
        };
        Some((message.chaddr().try_into().ok()?, *kind, message.yiaddr(), server))
    }

    /// Its address.
    fn lease(&self, mac: [u8; 6]) -> Result<Lease, Box<dyn Error>> {
        for _ in 0..TRIES {
            self.ask(mac, MessageType::Discover, [])?;
            let Some((_, _, offered, server)) = self.wait(mac, MessageType::Offer) else { continue };
            let options = [DhcpOption::RequestedIpAddress(offered), DhcpOption::ServerIdentifier(server)];
            self.ask(mac, MessageType::Request, options)?;
            if let Some((_, _, address, _)) = self.wait(mac, MessageType::Ack) {
                return Ok(Lease { mac, address });
            }
        }
        Err("a node was given no address".into())
    }

    fn wait(&self, mac: [u8; 6], wanted: MessageType) -> Option<([u8; 6], MessageType, Ipv4Addr, Ipv4Addr)> {
        loop {
            let answer = self.hear()?;
            if answer.0 == mac && answer.1 == wanted {
                return Some(answer);
            }
        }
    }
}

/// The `number`th NIC of the crowd.
pub(crate) fn mac(number: u16) -> [u8; 6] {
    let [high, low] = number.to_be_bytes();
    [0x52, 0x54, 0x00, 0xc0, high, low]
}

/// An address for each of so many.
pub(crate) fn all(server: Ipv4Addr, relay: Ipv4Addr, count: u16) -> Result<Vec<Lease>, Box<dyn Error>> {
    let relay = Relay::open(server, relay, PATIENCE)?;
    (1..=count).map(|number| relay.lease(mac(number))).collect()
}

/// Gives this machine all these addresses, so that each node calls from its own.
pub(crate) fn settle(interface: &str, leases: &[Lease]) -> Result<(), Box<dyn Error>> {
    let mut child = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().ok_or("ip takes no orders")?;
    for lease in leases {
        writeln!(input, "address replace {}/16 dev {interface}", lease.address)?;
    }
    drop(input);
    if child.wait()?.success() { Ok(()) } else { Err("ip could not set the addresses".into()) }
}
