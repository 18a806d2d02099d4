//! Answers that cannot be, and machines that something is wrong with.

use std::collections::BTreeSet;

use setup::{Action, Code, Facts, Id, Message, Session, Stage, findings, update};

use crate::machines::{answer, begun, broken, crowded, enter, one, two, with};

/// What is complained of when this is answered; nothing when it is taken.
fn told(session: &Session, id: Id, text: &str) -> Option<Code> {
    setup::check(id, text, &session.context()).err().map(|problem| problem.code)
}

/// Answers that cannot be, on a machine and beside answers that are right.
const REFUSED: &[(Id, &str, Code)] = &[
    (Id::Language, "de", Code::NotAChoice),
    (Id::Site, "", Code::Needed),
    (Id::Site, "My Site", Code::BadSite),
    (Id::Site, "-lab", Code::BadSite),
    (Id::Site, "a23456789012345678901234567890123456789012", Code::BadSite),
    (Id::Site, "教室", Code::BadSite),
    (Id::Site, "lab\u{1b}[2J", Code::Unprintable),
    (Id::Site, "lab\u{202e}", Code::Unprintable),
    (Id::Topology, "full", Code::NotAChoice),
    (Id::UplinkInterface, "eno9", Code::InterfaceMissing),
    (Id::UplinkInterface, "eno*", Code::BadInterface),
    (Id::UplinkInterface, "../../etc", Code::BadInterface),
    (Id::UplinkInterface, "a-very-long-name", Code::BadInterface),
    (Id::UplinkAddress, "192.168.7.20", Code::NoPrefix),
    (Id::UplinkAddress, "192.168.7.0/24", Code::NobodysAddress),
    (Id::UplinkAddress, "192.168.7.255/24", Code::NobodysAddress),
    (Id::UplinkAddress, "127.0.0.1/8", Code::Nowhere),
    (Id::UplinkAddress, "224.0.0.5/24", Code::Nowhere),
    (Id::UplinkAddress, "0.1.2.3/8", Code::Nowhere),
    (Id::UplinkAddress, "255.1.2.3/24", Code::Nowhere),
    (Id::UplinkGateway, "192.168.8.1", Code::OutsideAddress),
    (Id::UplinkGateway, "192.168.7.20", Code::OwnAddress),
    (Id::UplinkGateway, "192.168.7.255", Code::NobodysAddress),
    (Id::UplinkGateway, "router", Code::NoAddress),
    (Id::ManagementVlan, "0", Code::BadVlan),
    (Id::ManagementVlan, "4095", Code::BadVlan),
    (Id::ManagementVlan, "7.5", Code::BadVlan),
    (Id::ManagementInterface, "none", Code::InterfaceMissing),
    (Id::ManagementAddress, "10.10.10.1/31", Code::BadPrefix),
    (Id::ManagementAddress, "10.10.10.1/7", Code::BadPrefix),
    (Id::ManagementAddress, "192.168.7.5/28", Code::Overlap),
    (Id::ManagementAddress, "192.168.0.1/16", Code::Overlap),
    (Id::ManagementPool, "10.10.10.100", Code::NoRange),
    (Id::ManagementPool, "10.10.10.9-10.10.10.2", Code::Backwards),
    (Id::ManagementPool, "10.10.11.2-10.10.11.9", Code::OutsideRange),
    (Id::ManagementPool, "10.10.10.250-10.10.11.9", Code::OutsideRange),
    (Id::ManagementPool, "10.10.10.0-10.10.10.9", Code::WholeNetwork),
    (Id::ManagementPool, "10.10.10.9-10.10.10.255", Code::WholeNetwork),
    (Id::ManagementPool, "10.10.10.1-10.10.10.9", Code::TakenInRange),
    (Id::TunnelNetwork, "10.20.20.1/24", Code::NotANetwork),
    (Id::TunnelNetwork, "10.10.0.0/16", Code::Overlap),
    (Id::TunnelNetwork, "192.168.7.0/25", Code::Overlap),
    (Id::TunnelVlan, "7", Code::SameVlan),
    (Id::TunnelVlan, "none", Code::BadVlan),
    (Id::ExternalNetwork, "10.20.20.0/25", Code::Overlap),
    (Id::ExternalPool, "192.168.7.1-192.168.7.9", Code::TakenInRange),
    (Id::ExternalPool, "192.168.7.10-192.168.7.29", Code::TakenInRange),
    (Id::TimeServers, "pool.ntp.org", Code::BadAddresses),
    (Id::TimeServers, "1.1.1.1,2.2.2.2,3.3.3.3,4.4.4.4,5.5.5.5", Code::BadAddresses),
];

#[test]
fn what_cannot_be_is_refused_with_its_code() {
    let session = with(
        two(),
        &[
            (Id::Topology, "full-1"),
            (Id::UplinkMethod, "static"),
            (Id::UplinkAddress, "192.168.7.20/24"),
            (Id::ManagementVlan, "7"),
        ],
    );
    for (id, text, code) in REFUSED {
        assert_eq!(told(&session, *id, text), Some(*code), "{id:?} {text:?}");
    }
    for (id, text) in [
        (Id::Site, "a"),
        (Id::UplinkInterface, "none"),
        (Id::ManagementVlan, "none"),
        (Id::ManagementInterface, "eno1"),
        (Id::ManagementAddress, "172.31.255.254/30"),
        (Id::ExternalNetwork, "192.168.7.0/24"),
        (Id::TimeServers, "1.1.1.1,2.2.2.2"),
    ] {
        assert_eq!(told(&session, id, text), None, "{id:?} {text:?}");
    }
}

#[test]
fn one_card_has_both_networks_only_with_a_vlan() {
    let session = with(two(), &[]);
    assert_eq!(told(&session, Id::ManagementInterface, "eno1"), Some(Code::SameInterface));
    let session = with(two(), &[(Id::ManagementVlan, "7")]);
    assert_eq!(told(&session, Id::ManagementInterface, "eno1"), None);
    assert_eq!(told(&session, Id::ManagementInterface, "enp129s0f1np12"), Some(Code::BadInterface));
}

#[test]
fn a_network_that_the_machine_is_in_already_is_not_the_servers() {
    let mut facts = two();
    facts.interfaces[0].addresses = vec!["10.10.10.77/24".parse().unwrap()];
    let mut session = begun(facts);
    for _ in 0..20 {
        if session.stage() == Stage::Asking(Id::ManagementAddress) {
            break;
        }
        answer(&mut session, "");
    }
    let actions = update(&mut session, Message::Answer(String::new()));
    assert!(matches!(&actions[..], [Action::Complain(problems)] if problems[0].code == Code::Overlap));
    answer(&mut session, "10.11.11.1/24");
    enter(&mut session);
}

#[test]
fn what_is_wrong_with_a_machine_is_told_and_stops_what_it_must() {
    let codes = |session: &Session| {
        findings(&session.context()).into_iter().map(|problem| problem.code).collect::<BTreeSet<_>>()
    };
    assert_eq!(codes(&with(two(), &[])), BTreeSet::new());
    let mut session = with(broken(), &[]);
    let all = [
        Code::NoLink,
        Code::DiskSmall,
        Code::MemoryLow,
        Code::GatewayDead,
        Code::ForeignDhcp,
        Code::ClockWrong,
    ];
    assert_eq!(codes(&session), BTreeSet::from(all));
    let actions = update(&mut session, Message::Confirm);
    let Some(Action::Complain(stops)) = actions.first() else { panic!("{actions:?}") };
    let stops: Vec<Code> = stops.iter().map(|problem| problem.code).collect();
    assert_eq!(stops, [Code::DiskSmall, Code::ClockWrong, Code::ForeignDhcp]);
    assert_eq!(session.stage(), Stage::Review, "nothing was written");
    // The causes are gone: the same answers are enough.
    update(&mut session, Message::Looked(two()));
    assert!(matches!(update(&mut session, Message::Confirm)[..], [Action::Write(_)]));
    let empty = Facts::default();
    assert_eq!(codes(&begun(empty)), BTreeSet::from([Code::NoCards]));
    let tight = Facts { disk: Some(5_000_000_000), ..one() };
    assert_eq!(codes(&with(tight, &[])), BTreeSet::from([Code::DiskTight]));
}

#[test]
fn beside_another_dhcp_server_one_is_asked_and_may_leave_addresses_to_it() {
    let mut session = begun(crowded());
    assert!(session.path().any(|id| id == Id::ManagementDhcp));
    enter(&mut session);
    assert!(matches!(update(&mut session, Message::Confirm)[..], [Action::Complain(_)]));
    update(&mut session, Message::Jump(Id::ManagementDhcp));
    answer(&mut session, "proxy");
    assert!(!session.applicable().any(|id| id == Id::ManagementPool));
    assert!(matches!(update(&mut session, Message::Confirm)[..], [Action::Write(_)]));
    // What was heard untagged says nothing of a VLAN.
    let mut session = with(crowded(), &[(Id::ManagementVlan, "9")]);
    assert!(matches!(update(&mut session, Message::Confirm)[..], [Action::Write(_)]));
}
