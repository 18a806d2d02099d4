//! Whether a rack that is there carries what is asked for, by what its nodes really have, and what is missing.

use std::cmp::Reverse;

use super::gateway::passes;
use super::{
    CONTROL_BYTES, Check, Duties, Gateway, Instances, Member, RoleCheck, Server, Sum, Terms, Topology,
    Uncounted, Unsizable, gib, host, plus, times,
};

/// Compares what the nodes have with what is asked for; `like`: what is bought when servers are missing, none: such as the best there.
///
/// # Errors
/// [`Unsizable::Nothing`], [`Unsizable::TooMuch`].
pub fn check(
    instances: &Instances,
    members: &[Member],
    like: Option<&Server>,
    terms: &Terms,
    topology: Topology,
) -> Result<Check, Unsizable> {
    instances.checked()?;
    let counted = members.iter().filter(|member| member.is_out(topology).is_none()).collect::<Vec<_>>();
    let rack = Rack { instances, members: &counted, like, terms, topology };
    let mut roles = vec![rack.control()?];
    roles.extend(rack.network()?);
    roles.push(rack.compute()?);
    roles.extend(rack.storage()?);
    let free = counted.iter().filter(|member| member.roles.is_empty() && member.state == "ready");
    let out = members
        .iter()
        .filter_map(|member| Some(Uncounted { node: member.node.clone(), why: member.is_out(topology)? }));
    Ok(Check {
        topology,
        enough: roles.iter().all(|role| role.missing.is_none()),
        roles,
        free: free.map(|member| member.node.clone()).collect(),
        uncounted: out.collect(),
    })
}

/// The nodes that count.
struct Rack<'a> {
    instances: &'a Instances,
    members: &'a [&'a Member],
    like: Option<&'a Server>,
    terms: &'a Terms,
    topology: Topology,
}

impl<'a> Rack<'a> {
    fn with(&self, role: &'a str) -> impl Iterator<Item = &'a Member> {
        self.members.iter().copied().filter(move |member| member.has(role))
    }

    fn names(&self, role: &'a str) -> Vec<String> {
        self.with(role).map(|member| member.node.clone()).collect()
    }

    fn control(&self) -> Result<RoleCheck, Unsizable> {
        let needs = plus(CONTROL_BYTES, self.terms.reserve_bytes)?;
        let small = self.with("control").find(|member| member.server.memory_bytes < needs);
        let missing = match (self.with("control").next(), small) {
            (None, _) => Some("one control node".to_owned()),
            (Some(_), Some(small)) => Some(format!(
                "memory: {} has {}, and {} are needed",
                small.node,
                gib(small.server.memory_bytes),
                gib(needs)
            )),
            (Some(_), None) => None,
        };
        let sums = vec![Sum::new("memory", format!("{} of each, for its services and itself", gib(needs)))];
        Ok(RoleCheck { role: "control".to_owned(), nodes: self.names("control"), sums, missing })
    }

    /// Who connects instances to the outside, where that is not the server that they run on.
    fn network(&self) -> Result<Option<RoleCheck>, Unsizable> {
        let own = match self.topology.gateway() {
            Gateway::Compute => return Ok(None),
            Gateway::Control => false,
            Gateway::Network => true,
        };
        let outside = self.instances.outside(self.terms)?;
        let fits = |member: &&Member| own || member.has("control");
        let members = self.with("network").filter(fits).collect::<Vec<_>>();
        let (mut sums, mut all, mut is_known) = (Vec::new(), 0, true);
        for member in &members {
            let (passes, how) = passes(&member.server, self.topology)?;
            all = plus(all, passes)?;
            is_known &= passes > 0;
            sums.push(Sum::new(&member.node, how));
        }
        sums.push(Sum::new("network", format!("{all} Mb/s of {outside} Mb/s that go outside")));
        let missing = if members.is_empty() {
            Some(if own { "one network node" } else { "the role network on the control node" }.to_owned())
        } else {
            (is_known && all < outside).then(|| format!("{} Mb/s more", outside.saturating_sub(all)))
        };
        let nodes = members.iter().map(|member| member.node.clone()).collect();
        Ok(Some(RoleCheck { role: "network".to_owned(), nodes, sums, missing }))
    }

    fn compute(&self) -> Result<RoleCheck, Unsizable> {
        let (mut sums, mut all, mut each) = (Vec::new(), 0, Vec::new());
        for member in self.with("compute") {
            let host = host(self.instances, &member.server, self.terms, member.duties(self.topology))?;
            all = plus(all, host.carries)?;
            each.push(host.carries);
            let soft = if member.virtualisation { "" } else { "; it can't run virtual machines in hardware" };
            sums.push(Sum::new(&member.node, format!("{} by its {}{soft}", host.carries, host.limit.word())));
        }
        each.sort_unstable_by(|one, other| other.cmp(one));
        // When the largest ones fail, the others carry all.
        let spare = if self.topology == Topology::AllInOne { 0 } else { self.terms.spare };
        let failing = usize::try_from(spare).unwrap_or(usize::MAX);
        let lost = each.iter().take(failing).try_fold(0, |sum, carries| plus(sum, *carries))?;
        let left = all.saturating_sub(lost);
        let count = self.instances.count;
        let when = if spare == 0 { String::new() } else { format!("; {left} with {spare} failed") };
        sums.push(Sum::new("compute", format!("{all} of {count} instances{when}")));
        let lacks = count.saturating_sub(left);
        let missing = if lacks == 0 { None } else { Some(self.servers(lacks, &each)?) };
        Ok(RoleCheck { role: "compute".to_owned(), nodes: self.names("compute"), sums, missing })
    }

    /// How many more compute nodes carry what is lacking.
    fn servers(&self, lacks: u64, each: &[u64]) -> Result<String, Unsizable> {
        // The first of those that carry most.
        let best = self.with("compute").min_by_key(|member| {
            let duties = Duties::compute(self.topology);
            Reverse(host(self.instances, &member.server, self.terms, duties).map_or(0, |host| host.carries))
        });
        let (server, called) = match (self.like, best) {
            (Some(like), _) => (like, "of that kind".to_owned()),
            (None, Some(best)) => (&best.server, format!("like {}", best.node)),
            (None, None) => return Ok(format!("room for {lacks} instances: say which servers (--server)")),
        };
        let carries = host(self.instances, server, self.terms, Duties::compute(self.topology))?.carries;
        if carries == 0 {
            return Ok(format!("room for {lacks} instances, and none fits on a server {called}"));
        }
        let more = more(self.instances.count, carries, each, self.terms.spare)?;
        Ok(format!("{more} more servers {called}, which carry {carries} each"))
    }

    fn storage(&self) -> Result<Option<RoleCheck>, Unsizable> {
        if self.instances.volume_bytes == 0 {
            return Ok(None);
        }
        let needs = times(self.instances.count, self.instances.volume_bytes)?;
        let (mut sums, mut all) = (Vec::new(), 0);
        for member in self.with("storage") {
            let (bytes, text) = match member.server.data_disk() {
                Ok(bytes) => (bytes, gib(bytes)),
                Err(why) => (0, why.to_string()),
            };
            all = plus(all, bytes)?;
            sums.push(Sum::new(&member.node, text));
        }
        sums.push(Sum::new("volumes", format!("{} of {}", gib(all), gib(needs))));
        let missing = (all < needs).then(|| format!("{} more for volumes", gib(needs.saturating_sub(all))));
        Ok(Some(RoleCheck { role: "storage".to_owned(), nodes: self.names("storage"), sums, missing }))
    }
}

/// How many servers that carry so many have to come to those that carry `each`, the largest first, so that all is carried when `spare` of
/// all of them fail, those that carry most.
fn more(count: u64, carries: u64, each: &[u64], spare: u64) -> Result<u64, Unsizable> {
    let spare = usize::try_from(spare).unwrap_or(usize::MAX);
    let sum = |some: &[u64]| some.iter().try_fold(0, |sum, one| plus(sum, *one));
    let left = |failing: usize| sum(each.get(failing..).unwrap_or_default());
    // Those that are larger than a new one fail first, then new ones.
    let larger = each.iter().filter(|one| **one > carries).count();
    let new = spare.saturating_sub(larger);
    // So few of them that they all fail, and the smaller ones go on: they spare as many others.
    for few in spare.saturating_sub(each.len())..new {
        if left(spare.saturating_sub(few))? >= count {
            return large(few);
        }
    }
    let lacks = count.saturating_sub(left(larger.min(spare))?);
    plus(lacks.div_ceil(carries), large(new)?)
}

fn large(count: usize) -> Result<u64, Unsizable> {
    u64::try_from(count).map_err(|_| Unsizable::TooMuch)
}
