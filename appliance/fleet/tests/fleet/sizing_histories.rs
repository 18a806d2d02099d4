//! How many servers a cloud needs, of any numbers: what must hold of every sum.

use fleet::sizing::{
    Duties, GIB, Instances, Member, Resource, Server, Terms, Topology, check, estimate, host,
};
use proptest::prelude::*;

fn instances() -> impl Strategy<Value = Instances> {
    let disks = (0..100_u64, 0..100_u64);
    (1..5000_u64, 1..33_u64, 1..65_u64, disks, 0..500_u64).prop_map(
        |(count, vcpus, memory, (disk, volume), mbps)| Instances {
            count,
            vcpus,
            memory_bytes: memory * GIB,
            disk_bytes: disk * GIB,
            volume_bytes: volume * GIB,
            mbps,
        },
    )
}

fn servers() -> impl Strategy<Value = Server> {
    let disks = prop::collection::vec(1..8000_u64, 1..4);
    let nics = prop::collection::vec(prop::sample::select(vec![0, 1000, 10_000, 25_000]), 1..4);
    (1..129_u64, 1..1025_u64, disks, nics).prop_map(|(threads, memory, disks, nics_mbps)| Server {
        cores: threads.div_ceil(2),
        threads,
        memory_bytes: memory * GIB,
        disks_bytes: disks.into_iter().map(|disk| disk * GIB).collect(),
        nics_mbps,
    })
}

fn terms() -> impl Strategy<Value = Terms> {
    (50..1600_u64, 0..9_u64, 0..4_u64, 0..=100_u64).prop_map(
        |(cpu_percent, reserve, spare, outside_percent)| Terms {
            cpu_percent,
            reserve_bytes: reserve * GIB,
            spare,
            outside_percent,
        },
    )
}

fn shapes() -> impl Strategy<Value = Topology> {
    prop::sample::select(Topology::ALL.to_vec())
}

/// A server that has more than enough of one thing.
fn without_limit(server: &Server, resource: Resource) -> Server {
    let much = 1 << 50;
    let mut server = server.clone();
    match resource {
        Resource::Cpu => server.threads = much,
        Resource::Memory => server.memory_bytes = much,
        Resource::Disk => server.disks_bytes = vec![much; 3],
        Resource::Network => server.nics_mbps.iter_mut().for_each(|nic| *nic = much),
    }
    server
}

proptest! {
    #[test]
    fn more_instances_never_need_fewer_servers(
        some in instances(), more in 0..5000_u64, server in servers(), terms in terms(), shape in shapes()
    ) {
        let many = Instances { count: some.count + more, ..some };
        let (few, many) =
            (estimate(&some, &server, &terms, shape), estimate(&many, &server, &terms, shape));
        if let Some(many) = many.nodes {
            let few = few.nodes.expect("what many fit into, fewer do");
            prop_assert!(few.servers <= many.servers && few.compute <= many.compute, "{few:?} {many:?}");
            prop_assert!(few.network <= many.network && few.storage <= many.storage, "{few:?} {many:?}");
        }
    }

    #[test]
    fn the_resource_that_is_named_decides_and_no_other(
        instances in instances(), server in servers(), terms in terms(), shares_nic: bool, storage: bool
    ) {
        let duties = Duties { control: false, storage, shares_nic };
        let host_of = |server: &Server| host(&instances, server, &terms, duties).expect("small numbers");
        let own = host_of(&server);
        for resource in [Resource::Cpu, Resource::Memory, Resource::Disk, Resource::Network] {
            let richer = host_of(&without_limit(&server, resource));
            if resource == own.limit {
                let others = own.shares.iter().filter(|share| share.resource != resource);
                let next = others.filter_map(|share| share.carries).min();
                if let Some(next) = next {
                    prop_assert_eq!(richer.carries, next, "{:?}", &own);
                }
            } else if resource != Resource::Network || server.nics_mbps.iter().any(|nic| *nic > 0) {
                prop_assert_eq!(richer.carries, own.carries, "more of {:?}: {:?}", resource, &own);
            }
        }
    }

    #[test]
    fn compute_nodes_are_enough_when_some_fail_and_one_less_is_not(
        instances in instances(), server in servers(), terms in terms(), shape in shapes()
    ) {
        let estimate = estimate(&instances, &server, &terms, shape);
        prop_assert_eq!(estimate.nodes.is_some(), estimate.why.is_none());
        let Some((nodes, carries)) = estimate.nodes.zip(estimate.carries) else { return Ok(()) };
        if shape == Topology::AllInOne {
            prop_assert!(carries >= instances.count && nodes.servers == 1);
        } else {
            let left = nodes.compute - terms.spare;
            prop_assert!(left * carries >= instances.count && (left - 1) * carries < instances.count);
        }
    }

    /// What the check says is missing makes it enough, and one server less does not.
    #[test]
    fn so_many_more_servers_are_enough(
        instances in instances(), there in prop::collection::vec(servers(), 0..6), kind in servers(), terms in terms()
    ) {
        let instances = Instances { count: instances.count % 300 + 1, volume_bytes: 0, ..instances };
        let member = |server: &Server, role: &str| Member {
            node: role.to_owned(),
            state: "active".to_owned(),
            roles: vec![role.to_owned()],
            server: server.clone(),
            virtualisation: true,
        };
        let mut members = there.iter().map(|server| member(server, "compute")).collect::<Vec<_>>();
        let lacks = |members: &[Member]| {
            let check = check(&instances, members, Some(&kind), &terms, Topology::Basic).expect("small numbers");
            check.roles.into_iter().find(|role| role.role == "compute").and_then(|role| role.missing)
        };
        let Some(missing) = lacks(&members) else { return Ok(()) };
        let Some(more) = missing.split(' ').next().and_then(|word| word.parse::<usize>().ok()) else {
            prop_assert!(missing.contains("none fits"), "{missing}");
            return Ok(());
        };
        prop_assert!(more > 0);
        members.extend((1..more).map(|_| member(&kind, "compute")));
        prop_assert!(lacks(&members).is_some(), "{more} are too many");
        members.push(member(&kind, "compute"));
        prop_assert_eq!(lacks(&members), None, "{} are too few", more);
    }
}
