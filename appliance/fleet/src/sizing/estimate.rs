//! How many nodes of each role, for one kind of server and one shape of the rack.

use super::gateway::passes;
use super::{
    CONTROL_BYTES, Duties, Estimate, Gateway, Host, Instances, Nics, Nodes, Server, Sum, Terms, Topology,
    Unsizable, gib, host, plus, times,
};

/// Counts the nodes of one shape.
pub fn estimate(instances: &Instances, server: &Server, terms: &Terms, topology: Topology) -> Estimate {
    let mut sums = Vec::new();
    let carried = carried(instances, server, terms, topology, &mut sums);
    let (limit, carries) = match &carried {
        Ok(host) => (Some(host.limit), Some(host.carries)),
        Err(_) => (None, None),
    };
    let case = Case { instances, server, terms, topology };
    let nodes = carried.and_then(|host| case.nodes(&host, &mut sums));
    let (nodes, why) = match nodes {
        Ok(nodes) => (Some(nodes), None),
        Err(why) => (None, Some(why.to_string())),
    };
    Estimate { topology, nics: topology.nics(), nodes, limit, carries, sums, why }
}

/// What a server that runs instances carries; its sums are kept also when that is nothing.
fn carried(
    instances: &Instances,
    server: &Server,
    terms: &Terms,
    topology: Topology,
    sums: &mut Vec<Sum>,
) -> Result<Host, Unsizable> {
    let duties = if topology == Topology::AllInOne {
        Duties { control: true, storage: instances.volume_bytes > 0, shares_nic: topology.shares_nic() }
    } else {
        Duties::compute(topology)
    };
    let host = host(instances, server, terms, duties)?;
    sums.extend(host.shares.iter().map(|share| Sum::new(share.resource.word(), share.sum.clone())));
    if host.carries > 0 {
        return Ok(host);
    }
    let sum = host.shares.iter().find(|share| share.resource == host.limit);
    let sum = sum.map(|share| format!("{}: {}", share.resource.word(), share.sum)).unwrap_or_default();
    Err(Unsizable::TooLarge { sum })
}

/// What is asked for.
struct Case<'a> {
    instances: &'a Instances,
    server: &'a Server,
    terms: &'a Terms,
    topology: Topology,
}

impl Case<'_> {
    fn nodes(&self, host: &Host, sums: &mut Vec<Sum>) -> Result<Nodes, Unsizable> {
        self.has_nics()?;
        self.has_room_for_control()?;
        if self.topology == Topology::AllInOne {
            return self.one_server(host, sums);
        }
        let compute = self.compute(host, sums)?;
        let network = self.network(sums)?;
        let storage = self.storage(sums)?;
        let control = 1;
        let servers = plus(plus(control, network)?, plus(compute, storage)?)?;
        sums.push(Sum::new(
            "servers",
            format!(
                "{control} control + {network} network + {compute} compute + {storage} storage = {servers}"
            ),
        ));
        Ok(Nodes { control, network, compute, storage, servers })
    }

    fn has_nics(&self) -> Result<(), Unsizable> {
        let Nics { control, network, compute } = self.topology.nics();
        let has = self.server.nics();
        let needed = [("compute", compute), ("control", control), ("network", network)];
        match needed.into_iter().find(|(_, needs)| *needs > has) {
            Some((role, needs)) => Err(Unsizable::Nics { role, needs, has }),
            None => Ok(()),
        }
    }

    fn has_room_for_control(&self) -> Result<(), Unsizable> {
        let needs = plus(CONTROL_BYTES, self.terms.reserve_bytes)?;
        let has = self.server.memory_bytes;
        if has >= needs { Ok(()) } else { Err(Unsizable::Control { needs: gib(needs), has: gib(has) }) }
    }

    /// Compute nodes for all instances, and those that may fail.
    fn compute(&self, host: &Host, sums: &mut Vec<Sum>) -> Result<u64, Unsizable> {
        let (count, carries, spare) = (self.instances.count, host.carries, self.terms.spare);
        let needed = count.div_ceil(carries);
        let all = plus(needed, spare)?;
        sums.push(Sum::new(
            "compute nodes",
            format!("{count} instances / {carries} = {needed}, and {spare} that may fail = {all}"),
        ));
        Ok(all)
    }

    /// Network nodes of their own; 0 when another node is that, and is enough.
    fn network(&self, sums: &mut Vec<Sum>) -> Result<u64, Unsizable> {
        let own = match self.topology.gateway() {
            Gateway::Compute => {
                sums.push(Sum::new(
                    "network nodes",
                    "none: each compute node has the outside on its own NIC",
                ));
                return Ok(0);
            }
            Gateway::Control => false,
            Gateway::Network => true,
        };
        let outside = self.instances.outside(self.terms)?;
        let counted = format!(
            "{} x {} Mb/s x {} % = {outside} Mb/s go outside",
            self.instances.count, self.instances.mbps, self.terms.outside_percent
        );
        let (passes, how) = passes(self.server, self.topology)?;
        let needed = match outside.checked_div(passes) {
            // What is not known is not counted, and said to be.
            None => 1,
            Some(_) => outside.div_ceil(passes).max(1),
        };
        let nodes = if own { format!(" = {needed}") } else { ", by the control node".to_owned() };
        sums.push(Sum::new("network nodes", format!("{counted}; / {how}{nodes}")));
        match (own, needed) {
            (true, _) => Ok(needed),
            (false, 1) => Ok(0),
            (false, _) => Err(Unsizable::Gateway { outside, passes }),
        }
    }

    fn storage(&self, sums: &mut Vec<Sum>) -> Result<u64, Unsizable> {
        let Some(needs) = self.volumes(sums)? else { return Ok(0) };
        let has = self.server.data_disk()?;
        // A disk of no bytes is none.
        let whole = needs.checked_div(has).ok_or(Unsizable::Disks(0))?;
        let nodes = plus(whole, u64::from(!needs.is_multiple_of(has)))?;
        sums.push(Sum::new("storage nodes", format!("{} / {} = {nodes}", gib(needs), gib(has))));
        Ok(nodes)
    }

    /// All volumes together, in bytes; none: there are none.
    fn volumes(&self, sums: &mut Vec<Sum>) -> Result<Option<u64>, Unsizable> {
        let each = self.instances.volume_bytes;
        if each == 0 {
            return Ok(None);
        }
        let all = times(self.instances.count, each)?;
        sums.push(Sum::new("volumes", format!("{} x {} = {}", self.instances.count, gib(each), gib(all))));
        Ok(Some(all))
    }

    fn one_server(&self, host: &Host, sums: &mut Vec<Sum>) -> Result<Nodes, Unsizable> {
        let (carries, count) = (host.carries, self.instances.count);
        sums.push(Sum::new(
            "servers",
            format!("1, which carries {carries}; nothing takes over when it fails"),
        ));
        if carries < count {
            return Err(Unsizable::OneServer { carries, count });
        }
        if let Some(needs) = self.volumes(sums)? {
            let has = self.server.data_disk()?;
            if needs > has {
                return Err(Unsizable::Volumes { needs: gib(needs), has: gib(has) });
            }
        }
        Ok(Nodes { control: 1, network: 0, compute: 0, storage: 0, servers: 1 })
    }
}
