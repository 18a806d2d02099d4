//! How many servers a cloud needs: sums that can be done by hand, and numbers that nobody should write.

use fleet::sizing::{
    Check, Duties, Estimate, GIB, Instances, Member, Nodes, Resource, Server, Terms, Topology, Unsizable,
    binary_bytes, check, estimate, gib, host,
};
use fleet::view::{capacity_rows, sizing_view};

use crate::rack::Rack;

pub(crate) const INSTANCES: Instances = Instances {
    count: 200,
    vcpus: 2,
    memory_bytes: 4 * GIB,
    disk_bytes: 40 * GIB,
    volume_bytes: 0,
    mbps: 100,
};

pub(crate) fn server(text: &str) -> Server {
    text.parse().unwrap()
}

fn sized(instances: &Instances, kind: &str, topology: Topology) -> Estimate {
    estimate(instances, &server(kind), &Terms::default(), topology)
}

fn nodes(control: u64, network: u64, compute: u64, storage: u64) -> Option<Nodes> {
    Some(Nodes { control, network, compute, storage, servers: control + network + compute + storage })
}

fn text(estimate: &Estimate, of: &str) -> String {
    estimate.sums.iter().find(|sum| sum.of == of).unwrap_or_else(|| panic!("{estimate:?}")).text.clone()
}

#[test]
fn two_hundred_instances_by_hand() {
    let kind = "16c32t,128G,2x960G,2x10G";
    let basic = sized(&INSTANCES, kind, Topology::Basic);
    assert_eq!(
        (basic.nodes, basic.limit, basic.carries),
        (nodes(1, 0, 11, 0), Some(Resource::Disk), Some(21))
    );
    assert_eq!(text(&basic, "cpu"), "32 threads x 4.00 = 128 vCPU, 8 on a core; 128 / 2 = 64");
    assert_eq!(text(&basic, "memory"), "128 GiB - 4 GiB = 124 GiB; / 4 GiB = 31");
    assert_eq!(text(&basic, "disk"), "894 GiB - 20 GiB = 874 GiB; / 40 GiB = 21");
    assert_eq!(text(&basic, "network"), "10000 Mb/s x 80 % (a shared NIC) = 8000 Mb/s; / 100 Mb/s = 80");
    assert_eq!(text(&basic, "compute nodes"), "200 instances / 21 = 10, and 1 that may fail = 11");

    // 20 Gb/s go outside: 3 network nodes with 8000 Mb/s or 9500 Mb/s, and no control node passes that on.
    assert_eq!(sized(&INSTANCES, kind, Topology::Full1).nodes, nodes(1, 3, 11, 0));
    let wide = "16c32t,128G,2x960G,3x10G";
    assert_eq!(sized(&INSTANCES, wide, Topology::Full2).nodes, nodes(1, 3, 11, 0));
    let advanced = sized(&INSTANCES, wide, Topology::Advanced2);
    assert_eq!(advanced.why.as_deref(), Some("20000 Mb/s go outside, and the control node passes on 9500"));
    assert_eq!(
        sized(&Instances { mbps: 40, ..INSTANCES }, wide, Topology::Advanced2).nodes,
        nodes(1, 0, 11, 0)
    );
}

#[test]
fn each_resource_decides_where_there_is_least_of_it() {
    let table = [
        ("2c4t,128G,960G,10G", Resource::Cpu, 8),
        ("16c32t,24G,960G,10G", Resource::Memory, 5),
        ("16c32t,128G,300G,10G", Resource::Disk, 6),
        ("16c32t,128G,960G,1G", Resource::Network, 8),
        // Two are alike: the first.
        ("1c,12G,960G,10G", Resource::Cpu, 2),
    ];
    for (kind, limit, carries) in table {
        let estimate = sized(&INSTANCES, kind, Topology::Basic);
        assert_eq!((estimate.limit, estimate.carries), (Some(limit), Some(carries)), "{kind}");
    }
}

#[test]
fn what_can_not_be_built_says_why() {
    let large = Instances { memory_bytes: 200 * GIB, ..INSTANCES };
    let volumes = Instances { volume_bytes: 10 * GIB, ..INSTANCES };
    let few = Instances { count: 2, volume_bytes: 1024 * GIB, ..INSTANCES };
    let table = [
        (
            INSTANCES,
            "16c32t,128G,960G,10G",
            Topology::Advanced1,
            "a compute node needs 2 NICs, and the server has 1",
        ),
        (
            INSTANCES,
            "16c32t,128G,960G,2x10G",
            Topology::Full2,
            "a network node needs 3 NICs, and the server has 2",
        ),
        (INSTANCES, "16c32t,10G,960G,10G", Topology::Basic, "a control node needs 12 GiB of memory"),
        (large, "16c32t,128G,960G,10G", Topology::Basic, "memory: 128 GiB - 4 GiB = 124 GiB; / 200 GiB = 0"),
        (
            volumes,
            "16c32t,128G,960G,10G",
            Topology::Basic,
            "a disk for volumes beside the one with its system",
        ),
        (INSTANCES, "16c32t,128G,960G,10G", Topology::AllInOne, "one server carries 21 of 200 instances"),
        (
            few,
            "16c32t,128G,2x960G,10G",
            Topology::AllInOne,
            "volumes need 2048 GiB, and the server's disk for them has 894 GiB",
        ),
    ];
    for (instances, kind, topology, wanted) in table {
        let estimate = sized(&instances, kind, topology);
        let why = estimate.why.unwrap_or_else(|| panic!("{kind} {topology}"));
        assert!(why.contains(wanted) && estimate.nodes.is_none(), "{kind} {topology}: {why}");
    }
}

#[test]
fn one_server_for_all_and_storage_nodes() {
    let few = Instances { count: 20, mbps: 10, ..INSTANCES };
    let one = sized(&few, "16c32t,128G,960G,10G", Topology::AllInOne);
    assert_eq!(one.nodes, Some(Nodes { control: 1, servers: 1, ..Nodes::default() }));
    assert_eq!(
        text(&one, "memory"),
        "128 GiB - 12 GiB = 116 GiB; / 4 GiB = 29",
        "its services need their own"
    );
    let volumes = Instances { volume_bytes: 100 * GIB, mbps: 0, ..INSTANCES };
    let estimate = sized(&volumes, "16c32t,128G,480G+4T,10G", Topology::Basic);
    assert_eq!(estimate.nodes, nodes(1, 0, 8, 6));
    assert_eq!(text(&estimate, "volumes"), "200 x 100 GiB = 20000 GiB");
    assert_eq!(text(&estimate, "storage nodes"), "20000 GiB / 3725 GiB = 6");
}

#[test]
fn what_is_not_known_is_not_counted_and_said() {
    let unknown = Server { nics_mbps: vec![0, 0], cores: 0, ..server("16c32t,128G,2x960G,2x10G") };
    for topology in [Topology::Basic, Topology::Advanced1, Topology::Full1] {
        let estimate = estimate(&INSTANCES, &unknown, &Terms::default(), topology);
        assert_eq!(estimate.limit, Some(Resource::Disk));
        assert!(text(&estimate, "network").contains("is not known"), "{estimate:?}");
        assert!(estimate.nodes.is_some(), "{estimate:?}");
    }
    let rack = Rack::active("control").0;
    let rows = capacity_rows(&rack.fleet);
    assert_eq!(
        (rows.len(), rows[0].state.as_str(), rows[0].roles.as_slice()),
        (1, "active", &["control".to_owned()][..])
    );
}

const MOST: u64 = u64::MAX;

fn hostile_instances() -> Vec<Instances> {
    let all = Instances {
        count: MOST,
        vcpus: MOST,
        memory_bytes: MOST,
        disk_bytes: MOST,
        volume_bytes: MOST,
        mbps: MOST,
    };
    vec![
        Instances { count: 0, ..INSTANCES },
        Instances { vcpus: 0, ..INSTANCES },
        Instances { memory_bytes: 0, ..INSTANCES },
        Instances { count: MOST, ..INSTANCES },
        Instances { vcpus: MOST, ..INSTANCES },
        Instances { memory_bytes: MOST, ..INSTANCES },
        Instances { disk_bytes: MOST, ..INSTANCES },
        Instances { volume_bytes: MOST, ..INSTANCES },
        Instances { mbps: MOST, ..INSTANCES },
        Instances { count: MOST, vcpus: 1, memory_bytes: 1, disk_bytes: 1, volume_bytes: 1, mbps: 1 },
        all,
    ]
}

fn hostile_servers() -> Vec<Server> {
    let usual = server("16c32t,128G,2x960G,3x10G");
    let endless = Server {
        cores: 1,
        threads: MOST,
        memory_bytes: MOST,
        disks_bytes: vec![MOST; 3],
        nics_mbps: vec![MOST; 3],
    };
    vec![
        usual.clone(),
        Server::default(),
        endless,
        Server { disks_bytes: vec![0, 0], ..usual.clone() },
        Server { nics_mbps: vec![1, 1, 1], ..usual },
    ]
}

fn hostile_terms() -> Vec<Terms> {
    vec![
        Terms::default(),
        Terms { cpu_percent: 0, ..Terms::default() },
        Terms { cpu_percent: MOST, reserve_bytes: MOST, spare: MOST, outside_percent: MOST },
        Terms { spare: MOST, ..Terms::default() },
    ]
}

/// Whatever is asked, there is an answer: nodes or why not, a check or a refusal.
fn is_answered(instances: &Instances, server: &Server, terms: &Terms) {
    let member = Member {
        node: "n1".to_owned(),
        state: "active".to_owned(),
        roles: ["control", "network", "compute", "storage"].map(str::to_owned).to_vec(),
        server: server.clone(),
        virtualisation: true,
    };
    let members = vec![member; 3];
    for topology in Topology::ALL {
        let estimate = estimate(instances, server, terms, topology);
        assert!(estimate.nodes.is_some() != estimate.why.is_some(), "{estimate:?}");
        match check(instances, &members, Some(server), terms, topology) {
            Ok(check) => assert_eq!(check.enough, missing(&check).is_empty()),
            Err(why) => assert!(matches!(why, Unsizable::Nothing(_) | Unsizable::TooMuch), "{why}"),
        }
    }
    let duties = Duties { control: true, storage: true, shares_nic: true };
    let refused =
        host(instances, server, terms, duties).is_err_and(|why| matches!(why, Unsizable::Nothing(_)));
    assert_eq!(refused, instances.checked().is_err());
}

#[test]
fn hostile_numbers_are_refused_or_counted_and_never_overflow() {
    for instances in hostile_instances() {
        for server in hostile_servers() {
            for terms in hostile_terms() {
                is_answered(&instances, &server, &terms);
            }
        }
    }
    assert!(sizing_view(Instances { count: 0, ..INSTANCES }, None, None, Terms::default(), None).is_err());
}

#[test]
fn servers_as_they_are_written() {
    let kind = server("16c32t,128G,2x480G+1.9T,2x10G+100M");
    assert_eq!((kind.cores, kind.threads, kind.memory_bytes), (16, 32, 128 * GIB));
    assert_eq!(kind.disks_bytes, [480_000_000_000, 480_000_000_000, 1_900_000_000_000]);
    assert_eq!(kind.nics_mbps, [10_000, 10_000, 100]);
    assert_eq!(server("8c,64G,1T,1G").threads, 8);
    for text in [
        "",
        ",,,",
        "16c32t,128G,960G",
        "16c32t,128G,960G,10G,10G",
        "16,128G,960G,10G",
        "0c,128G,960G,10G",
        "16c8t,128G,960G,10G",
        "16c32,128G,960G,10G",
        "16c99999999999999999999t,128G,960G,10G",
        "16c32t,0G,960G,10G",
        "16c32t,128,960G,10G",
        "16c32t,128Q,960G,10G",
        "16c32t,-128G,960G,10G",
        "16c32t,1.2345G,960G,10G",
        "16c32t,1.G,960G,10G",
        "16c32t,.5G,960G,10G",
        "16c32t,99999999T,960G,10G",
        "16c32t,128G,0x960G,10G",
        "16c32t,128G,129x960G,10G",
        "16c32t,128G,100x960G+100x960G,10G",
        "16c32t,128G,960G+,10G",
        "16c32t,128G,x960G,10G",
        "16c32t,128G,960G,10G\u{0}",
        "１６c,128G,960G,10G",
        "16c32t,128G,960G,2x",
    ] {
        let why = text.parse::<Server>().unwrap_err().to_string();
        assert!(why.contains("16c32t,128G,2x960G,2x10G"), "{text:?}: {why}");
    }
    assert_eq!(binary_bytes("1.5G"), Ok(3 * GIB / 2));
    assert_eq!(
        [gib(GIB / 2 * 3), gib(894 * GIB + 1), gib(0), gib(u64::MAX)],
        ["1.5 GiB", "894 GiB", "0 GiB", "17179869183 GiB"]
    );
    assert!("Basic".parse::<Topology>().is_err());
}

fn member(node: &str, state: &str, roles: &[&str], kind: &str) -> Member {
    Member {
        node: node.to_owned(),
        state: state.to_owned(),
        roles: roles.iter().map(|&role| role.to_owned()).collect(),
        server: server(kind),
        virtualisation: true,
    }
}

fn checked(instances: &Instances, members: &[Member], like: Option<&Server>) -> Check {
    check(instances, members, like, &Terms::default(), Topology::of(members)).unwrap()
}

fn missing(check: &Check) -> Vec<(&str, &str)> {
    check.roles.iter().filter_map(|role| Some((role.role.as_str(), role.missing.as_deref()?))).collect()
}

#[test]
fn a_rack_is_compared_with_what_is_asked_for() {
    let kind = "16c32t,128G,2x960G,2x10G";
    let mut members = vec![
        member("n1", "active", &["control"], kind),
        member("n2", "active", &["compute"], kind),
        member("n3", "ready", &["compute"], kind),
        member("n4", "attention", &["compute"], kind),
        member("n5", "ready", &[], kind),
    ];
    let check = checked(&INSTANCES, &members, None);
    assert_eq!(check.topology, Topology::Basic);
    assert_eq!(missing(&check), [("compute", "9 more servers like n2, which carry 21 each")]);
    assert_eq!((check.free.as_slice(), check.uncounted.len()), (&["n5".to_owned()][..], 1));
    assert_eq!(check.uncounted[0].why, "it is attention");
    let sums = &check.roles[1].sums;
    assert_eq!(sums.last().unwrap().text, "42 of 200 instances; 21 with 1 failed");

    // So many of them, and it is enough; one less, and it is not.
    for at in 0..9 {
        assert!(!checked(&INSTANCES, &members, None).enough, "{at}");
        members.push(member(&format!("m{at}"), "active", &["compute"], kind));
    }
    assert!(checked(&INSTANCES, &members, None).enough);

    // Larger ones are fewer.
    let large = server("64c128t,1T,8T,2x25G");
    let few = &members[..3];
    let check = checked(&INSTANCES, few, Some(&large));
    assert_eq!(missing(&check), [("compute", "2 more servers of that kind, which carry 185 each")]);
}

#[test]
fn what_a_rack_lacks_by_role() {
    let kind = "16c32t,128G,2x960G,2x10G";
    let small = "4c,8G,960G,10G";
    let few = Instances { count: 10, ..INSTANCES };
    let volumes = Instances { volume_bytes: 500 * GIB, ..few };
    let nothing = checked(&few, &[], None);
    assert_eq!(
        missing(&nothing),
        [("control", "one control node"), ("compute", "room for 10 instances: say which servers (--server)")]
    );
    let members = vec![
        member("n1", "active", &["control"], small),
        member("n2", "active", &["compute"], kind),
        member("n3", "active", &["compute", "storage"], kind),
    ];
    let check = checked(&volumes, &members, None);
    assert_eq!(
        missing(&check),
        [
            ("control", "memory: n1 has 8 GiB, and 12 GiB are needed"),
            ("storage", "4105 GiB more for volumes")
        ]
    );
    let network = vec![
        member("n1", "active", &["control"], kind),
        member("n2", "active", &["network"], "16c32t,128G,960G,10G"),
        member("n3", "active", &["compute"], kind),
        member("n4", "active", &["compute"], kind),
    ];
    let check = checked(&few, &network, None);
    assert_eq!(check.topology, Topology::Full1);
    assert_eq!(missing(&check), [("network", "one network node")]);
    assert_eq!(check.uncounted[0].why, "a network node needs 2 NICs, and the server has 1");
}
