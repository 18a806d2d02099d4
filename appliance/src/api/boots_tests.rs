//! How a machine booted, from the packets it sent to what the local API says of it.

use std::net::{Ipv4Addr, SocketAddr};

use fleet::Event;
use fleet::network::{Noticed, Sighting};
use pxe::files::{StoreFile, Transport};
use pxe::trace::{By, End, Fetch, What};
use serde_json::Value;

use super::super::tests::{api, get};
use super::super::{Api, Query};
use crate::boot::tests::fill;
use crate::listen::ListenerState;
use crate::listen::dhcp::{DhcpAnswer, DhcpIn, DhcpService};
use crate::listen::files::{Asker, FileService, Script, Served};
use crate::netboot::Netboot;
use crate::writer::Packet;
use crate::writer::tests::{MAC, OURS, State, ip, mac, packet, state};

const UUID: [u8; 17] =
    [0, 0x44, 0x45, 0x4c, 0x4c, 0x42, 0, 0x10, 0x35, 0x80, 0x52, 0xb4, 0xc0, 0x4f, 0x4a, 0x31, 0x32];
const STRANGER: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// A server that boots from this state.
struct Machine {
    netboot: Netboot,
    mac: [u8; 6],
    address: Ipv4Addr,
}

impl Machine {
    fn new(state: &State, mac: [u8; 6]) -> Machine {
        Machine {
            netboot: Netboot::new(
                state.core.clone(),
                crate::join::Joining { boot: "boot".into(), http_port: 80, agents_port: 8443 },
            ),
            mac,
            address: Ipv4Addr::UNSPECIFIED,
        }
    }

    /// A DHCP message with these options, through what the listener calls.
    async fn dhcp(&self, state: &State, kind: u8, options: &[(u8, &[u8])]) -> DhcpAnswer {
        let Packet { interface, bytes, arrival } = packet(self.mac, kind, options);
        let packet = DhcpIn { interface, address: OURS, arrival, bytes };
        let (_, question) = self.netboot.read(packet).unwrap();
        let (answers, mut answered) = tokio::sync::mpsc::unbounded_channel();
        state.core.ask(vec![question], &answers).await;
        self.netboot.say(answered.recv().await.unwrap().pop().unwrap())
    }

    /// DISCOVER and REQUEST of UEFI firmware.
    async fn firmware(&mut self, state: &State) {
        let pxe: [(u8, &[u8]); 3] = [(60, b"PXEClient:Arch:00007:UNDI:003000"), (93, &[0, 7]), (97, &UUID)];
        let DhcpAnswer::Send { packet, .. } = self.dhcp(state, 1, &pxe).await else { panic!("no offer") };
        self.address = Ipv4Addr::from(<[u8; 4]>::try_from(&packet[16..20]).unwrap());
        let (wish, server) = (self.address.octets(), OURS.octets());
        let taken = [&pxe[..], &[(50, &wish), (54, &server)]].concat();
        let DhcpAnswer::Send { .. } = self.dhcp(state, 3, &taken).await else { panic!("no acknowledgement") };
    }

    fn asks(&self, fetch: Fetch, what: Option<Served>) {
        let peer = SocketAddr::from((self.address, 2000));
        let asker = Asker { peer, interface: "rw0".into(), address: OURS, transport: Transport::Http };
        self.netboot.asked(fetch, what, &asker);
    }

    fn fetches(&self, file: StoreFile) {
        let whole = End::Whole { bytes: 9 };
        self.asks(Fetch::http(file.client_name(), By::Grub, whole), Some(Served::File(file)));
    }

    fn script(&self) {
        let script = Script::NodeGrub(mac(self.mac));
        let name = format!("/boot/{}/grub.cfg", mac(self.mac));
        self.asks(
            Fetch::http(name.as_str(), By::Grub, End::Whole { bytes: 9 }),
            Some(Served::Script(script)),
        );
    }
}

fn rules(view: &Value) -> Vec<&str> {
    view["findings"].as_array().unwrap().iter().map(|finding| finding["rule"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_boot_is_told_from_the_first_question_to_the_agents_hello() {
    let state = state();
    let mut machine = Machine::new(&state, MAC);
    machine.firmware(&state).await;
    machine.asks(Fetch::tftp("sb/shimx64.efi", End::Whole { bytes: 9 }), Some(Served::File(StoreFile::Shim)));
    machine.script();
    machine.fetches(StoreFile::Kernel);
    machine.fetches(StoreFile::Ramdisk);
    let api = api(&state);
    let view = get(&api, "v1/network/trace/52-54-00-77-00-01").await["item"].clone();
    assert_eq!((&view["mac"], &view["node"]), (&"52:54:00:77:00:01".into(), &Value::Null));
    let attempt = &view["attempts"][0];
    assert_eq!(
        (attempt["reached"].as_str(), attempt["steps"].as_array().unwrap().len()),
        (Some("ramdisk"), 6)
    );
    let told = |number: usize| {
        let step = &attempt["steps"][number];
        format!(
            "{}: {} -> {}",
            step["stage"].as_str().unwrap(),
            step["arrived"].as_str().unwrap(),
            step["answered"].as_str().unwrap()
        )
    };
    assert_eq!(told(0), "asked: DISCOVER (UEFI, arch 7) -> OFFER 10.77.0.100, boot sb/shimx64.efi");
    assert_eq!(told(1), "address: REQUEST (UEFI, arch 7) -> ACK 10.77.0.100, boot sb/shimx64.efi");
    assert_eq!(told(3), "script: GET /boot/52:54:00:77:00:01/grub.cfg (GRUB) -> told to start the agent");
    assert_eq!(attempt["steps"][0]["what"]["uuid"], "4c4c4544-0042-3510-8052-b4c04f4a3132");
    assert_eq!(rules(&view), [""; 0]);
    // Then its agent says hello, and it is a node.
    state.hello(1, MAC).await.unwrap();
    state.core.boots.hello(&state.core.world(), mac(MAC), None);
    let why = get(&api, "v1/nodes/n1/why").await["item"]["boot"].clone();
    assert_eq!((why["node"].as_str(), why["attempts"][0]["reached"].as_str()), (Some("n1"), Some("agent")));
    assert_eq!(rules(&why), [""; 0]);
}

#[tokio::test]
async fn a_break_is_named_to_whoever_asks() {
    let state = state();
    let mut machine = Machine::new(&state, STRANGER);
    machine.firmware(&state).await;
    machine.asks(Fetch::tftp("pxelinux.0", End::NotFound), None);
    let api = api(&state);
    let rows = get(&api, "v1/network/trace").await["items"].clone();
    assert_eq!((rows.as_array().unwrap().len(), &rows[0]["mac"]), (1, &"02:00:00:00:00:01".into()));
    assert_eq!(rules(&rows[0]), ["file-not-there"]);
    let finding = &rows[0]["findings"][0];
    assert_eq!(finding["certainty"], "certain");
    assert!(finding["what"].as_str().unwrap().contains("pxelinux.0"), "{finding}");
    let missing =
        api.look(&["v1", "network", "trace", "02:00:00:00:00:02"], &Query::default()).await.unwrap();
    assert_eq!(missing.unwrap_err().codes().1, 3);
    let nonsense = api.look(&["v1", "network", "trace", "n1"], &Query::default()).await.unwrap();
    assert_eq!(nonsense.unwrap_err().codes().1, 2);
}

#[tokio::test]
async fn machines_that_never_booted_from_here_are_not_kept() {
    let state = state();
    let machine = Machine::new(&state, STRANGER);
    for _ in 0..3 {
        machine.dhcp(&state, 1, &[(12, b"phone")]).await;
    }
    assert_eq!(get(&api(&state), "v1/network/trace").await["items"], Value::Array(vec![]));
}

fn check<'a>(doctor: &'a Value, name: &str) -> &'a Value {
    let checks = doctor["checks"].as_array().unwrap();
    checks.iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("no {name}: {doctor}"))
}

async fn doctor(api: &Api) -> Value {
    get(api, "v1/doctor").await["item"].clone()
}

#[tokio::test]
async fn doctor_looks_at_everything() {
    let state = state();
    let mut api = api(&state);
    let folder = state.folder.path().join("boot");
    std::fs::create_dir(&folder).unwrap();
    let before = doctor(&api).await;
    assert_eq!(
        (&before["health"], &check(&before, "boot-store")["result"]),
        (&"fail".into(), &"fail".into())
    );
    assert!(check(&before, "boot-store")["fix"].as_str().unwrap().starts_with("image-build ramdisk"));
    fill(&folder);
    let filled = doctor(&api).await;
    assert_eq!(check(&filled, "boot-store")["result"], "ok", "{filled}");
    assert_eq!(check(&filled, "dhcp")["what"], "10.77.0.0/24: everybody who asks is answered");
    assert_eq!(check(&filled, "pool")["what"], "10.77.0.0/24: 0 of 10 addresses are held");
    assert_eq!(filled["health"], "warn", "nobody has looked for other servers: {filled}");
    state.bring(Event::Looked { interface: "rw0".into() }).await.unwrap();
    assert_eq!(doctor(&api).await["health"], "ok");
    for last in 0..10 {
        assert_eq!(state.takes([2, 0, 0, 0, 1, last]).await, Some(ip(100 + last)));
    }
    let full = doctor(&api).await;
    assert_eq!((&full["health"], &check(&full, "pool")["result"]), (&"fail".into(), &"fail".into()));
    let deaf = ListenerState::new("tftp", "rw0");
    assert!(deaf.waiting("the interface is gone"));
    api.listeners.push(deaf);
    let told = doctor(&api).await;
    assert_eq!(check(&told, "listeners")["what"], "tftp on rw0: the interface is gone");
}

#[tokio::test]
async fn doctor_names_other_servers_and_what_is_done_beside_them() {
    let state = state();
    let api = api(&state);
    let sighting = Sighting { server: ip(254), noticed: Noticed::Answered, boots: false, site: None };
    state.bring(Event::Foreign { interface: "rw0".into(), sighting }).await.unwrap();
    let told = doctor(&api).await;
    let what = "rw0: beside DHCP server 10.77.0.254, as configured";
    assert_eq!(check(&told, "other-servers")["what"], what, "{told}");
}

#[tokio::test]
async fn doctor_lists_the_worst_machine_first() {
    let state = state();
    let api = api(&state);
    let mut placeholder = Machine::new(&state, MAC);
    placeholder.firmware(&state).await;
    state.core.boots.card(&state.core.world(), mac(MAC), What::Tls { why: "UnknownCA".into() });
    let mut typo = Machine::new(&state, STRANGER);
    typo.firmware(&state).await;
    typo.asks(Fetch::tftp("shimx64.efi", End::NotFound), None);
    let told = doctor(&api).await;
    let cards = told["cards"].as_array().unwrap();
    let listed = cards.iter().map(|card| (card["mac"].as_str().unwrap(), rules(card)[0])).collect::<Vec<_>>();
    let expected = [("02:00:00:00:00:01", "file-not-there"), ("52:54:00:77:00:01", "agent-tls")];
    assert_eq!((told["health"].as_str(), listed), (Some("fail"), expected.to_vec()));
}
