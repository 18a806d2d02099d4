//! Changing: every one of these is an event for the writer.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use fleet::burn_in;
use fleet::capture::Wish;
use fleet::event::UnitVerb;
use fleet::job::Work;
use fleet::plan::PlanId;
use fleet::view;
use fleet::{Event, Name, Reply, Time};
use protocol::{DiskId, Identity, Mark, NodeId, Part, SshKey, Verify};
use pxe::Mac;
use serde::Deserialize;

use super::look::{missing, row};
use super::{Answer, Api, ApiError, one, read, rollout};
use crate::writer::AddressWish;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Approve {
    name: Option<Name>,
    roles: Option<BTreeSet<String>>,
    #[serde(default)]
    moved: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reject {
    why: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hold {
    why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Service {
    why: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rescue {
    /// Public keys, one a line; none: nobody gets in by SSH.
    keys: Option<String>,
    confirm: Option<String>,
    #[serde(default)]
    force: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rename {
    name: Name,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Roles {
    roles: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Address {
    address: Ipv4Addr,
    mac: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MakePlan {
    image: Option<String>,
    disk: Option<String>,
    data: Option<String>,
    roles: Option<BTreeSet<String>>,
    #[serde(default)]
    erase: Vec<Mark>,
    #[serde(default)]
    verify: Verify,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Apply {
    confirm: Option<String>,
    /// Also when virtual machines run on the node.
    #[serde(default)]
    force: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Retire {
    #[serde(default)]
    keep: Vec<String>,
}

/// How long a test takes when nobody has said so, in seconds.
const TEST_SECONDS: u64 = 600;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Test {
    #[serde(default)]
    parts: BTreeSet<Part>,
    seconds: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replace {
    new: String,
    #[serde(default)]
    force: bool,
    confirm: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TakeImage {
    name: String,
    identity: Kind,
    /// Only of one that is generalized.
    keep: Option<BTreeSet<String>>,
    disk: Option<String>,
    roles: Option<BTreeSet<String>>,
    confirm: Option<String>,
    #[serde(default)]
    force: bool,
}

/// [`Identity`] without what goes with it, because nothing that is flattened can deny keys.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Generalize,
    AsIs,
}

fn identity(kind: Kind, keep: Option<BTreeSet<String>>) -> Result<Identity, ApiError> {
    match (kind, keep) {
        (Kind::Generalize, keep) => Ok(Identity::Generalize { keep: keep.unwrap_or_default() }),
        (Kind::AsIs, None) => Ok(Identity::AsIs),
        (Kind::AsIs, Some(_)) => Err(ApiError::Body("keep goes with generalize: as-is keeps all".to_owned())),
    }
}

impl Api {
    pub(super) async fn act(&self, path: &[&str], body: &[u8]) -> Option<Answer> {
        Some(match path {
            ["v1", "nodes", name, verb] => self.act_on(name, verb, body).await?,
            ["v1", "plans", id, "apply"] => self.apply(id, body).await,
            ["v1", "invitations"] => self.invite(body).await,
            ["v1", "invitations", id, "revoke"] => self.revoke(id).await,
            ["v1", "ca", "rotate"] => self.rotate_ca().await,
            ["v1", "ca", "abort"] => self.abort_ca().await,
            ["v1", "ca", "finish"] => self.finish_ca(body).await,
            ["v1", "clock", "accept"] => self.accept_clock().await,
            ["v1", "cloud", "access"] => self.cloud_access(&self.core.world()),
            ["v1", "cloud", "passwords", "rotate"] => self.rotate_passwords(body).await,
            ["v1", "rollouts"] => self.make_rollout(body).await,
            ["v1", "rollouts", id, verb] => self.change_rollout(id, rollout::verb(verb)?, body).await,
            ["v1", "jobs", id, "cancel"] => self.cancel(id).await,
            ["v1", "network", "leases", lease, "release"] => self.release(lease).await,
            ["v1", "images", name, "delete"] => self.delete_image(name, body).await,
            ["v1", "backup", "key"] => self.make_kit(body).await,
            ["v1", "store", "scrub"] => self.begin_scrub(body),
            ["v1", "notify", "test"] => self.tell_a_test().await,
            ["v1", "store", "prune"] => self.prune(body).await,
            ["v1", "networks", "check"] => self.check(body).await,
            ["v1", "network", "check"] => self.begin_preflight(body).await,
            ["v1", "network", "check", "stop"] => self.stop_preflight().await,
            ["v1", "network", "reservations", "import"] => self.import_reservations(body).await,
            ["v1", "network", "reservations"] => self.reserve(body).await,
            ["v1", "network", "reservations", mac, "unreserve"] => self.unreserve(mac).await,
            ["v1", "services", node, unit, verb] => {
                let verb = match *verb {
                    "start" => UnitVerb::Start,
                    "stop" => UnitVerb::Stop,
                    "restart" => UnitVerb::Restart,
                    _ => return None,
                };
                self.unit(node, unit, verb).await
            }
            _ => return None,
        })
    }

    async fn act_on(&self, name: &str, verb: &str, body: &[u8]) -> Option<Answer> {
        let node = match self.node(name) {
            Ok(node) => node,
            Err(error) => return Some(Err(error)),
        };
        let event = match verb {
            "approve" => {
                let event = read(body).map(|Approve { name, roles, moved }| Event::Approve {
                    node,
                    name,
                    roles,
                    moved,
                });
                return Some(self.let_in(node, event).await);
            }
            "reject" => read(body).map(|Reject { why }| {
                let why = why.unwrap_or_else(|| "the operator does not want it".to_owned());
                Event::Reject { node, why: why.chars().take(200).collect() }
            }),
            "rename" => read(body).map(|Rename { name }| Event::Rename { node, name }),
            "roles" => read(body).map(|Roles { roles }| Event::SetRoles { node, roles }),
            "retry" => Ok(Event::Retry { node }),
            "hold" => {
                read(body).map(|Hold { why }| Event::Hold { node, why: why.chars().take(200).collect() })
            }
            "release" => Ok(Event::Release { node }),
            "rescue" => read(body).and_then(|wish| rescue(node, wish)),
            "rescue-end" => Ok(Event::EndRescue { node }),
            "service" => read(body).map(|Service { why }| {
                let why = why.unwrap_or_else(|| "maintenance".to_owned());
                Event::Service { node, why: why.chars().take(200).collect() }
            }),
            "service-end" => Ok(Event::EndService { node }),
            "capture" => return Some(self.capture(node, body).await),
            "plan" => return Some(self.plan(node, body).await),
            "retire" => return Some(self.retire(node, body).await),
            "test" => return Some(self.test(node, body).await),
            "test-stop" => return Some(self.stop_test(node).await),
            "delete" => return Some(self.delete(node, body).await),
            "replace" => return Some(self.replace(node, body).await),
            "address" => return Some(self.address(node, body).await),
            verb if verb.starts_with("power") || verb.starts_with("bmc") => {
                return self.act_on_power(node, verb, body).await;
            }
            _ => return None,
        };
        Some(self.change(node, event).await)
    }

    pub(super) async fn change(&self, node: NodeId, event: Result<Event, ApiError>) -> Answer {
        self.core.bring(event?).await?;
        self.row(node)
    }

    pub(super) fn row(&self, node: NodeId) -> Answer {
        let world = self.core.world();
        let node = world.fleet.node(node)?;
        one(row(&world, node))
    }

    pub(super) fn node(&self, name: &str) -> Result<NodeId, ApiError> {
        let world = self.core.world();
        Ok(world.fleet.find(name, &world.site.ca)?.id)
    }

    async fn address(&self, node: NodeId, body: &[u8]) -> Answer {
        let Address { address, mac } = read(body)?;
        let world = self.core.world();
        let wanted = mac.unwrap_or_else(|| {
            world.fleet.nodes.get(&node).map(|node| node.boot.mac.to_string()).unwrap_or_default()
        });
        let known = world.fleet.node(node)?.macs().any(|mac| mac.as_str() == wanted.to_ascii_lowercase());
        if !known {
            return Err(missing("NIC", &wanted));
        }
        let mac =
            wanted.parse().map_err(|_| ApiError::Body(format!("{wanted:?} is not an Ethernet address")))?;
        self.core.address(AddressWish::Fix { node, mac, address }).await?;
        self.row(node)
    }

    /// Gives back the address of a machine, named by its MAC or by the address.
    async fn release(&self, lease: &str) -> Answer {
        let world = self.core.world();
        if let Ok(address) = lease.parse::<Ipv4Addr>()
            && world.leases.holder(address).is_none()
        {
            self.core.address(AddressWish::Lift { address }).await?;
            return one(view::Released { address, mac: None, free_from: None });
        }
        let by_address = |ip: Ipv4Addr| world.leases.holder(ip);
        let mac = lease.parse::<Mac>().ok().or_else(|| lease.parse().ok().and_then(by_address));
        let mac = mac.ok_or_else(|| missing("lease", lease))?;
        let address = world.leases.get(mac).ok_or_else(|| missing("lease", lease))?.ip;
        let change = self.core.release(mac).await?;
        let free_from = change.quarantine.map(|(_, until)| Time(until.0).to_string());
        one(view::Released { address, mac: Some(mac), free_from })
    }

    async fn plan(&self, node: NodeId, body: &[u8]) -> Answer {
        let MakePlan { image, disk, data, roles, erase, verify } = read(body)?;
        let world = self.core.world();
        let image = image.map(|text| world.fleet.find_image(&text).map(|image| image.digest)).transpose()?;
        let disk = disk.map(|text| disk_id(&text)).transpose()?;
        let data = data.map(|text| disk_id(&text)).transpose()?;
        let done = self.core.bring(Event::Plan { node, image, disk, data, roles, erase, verify }).await?;
        let Reply::Plan(plan) = done.reply else {
            return Err(ApiError::Broken("planning was answered with something else".to_owned()));
        };
        one(view::plan_view(&self.core.world().fleet, &plan))
    }

    async fn retire(&self, node: NodeId, body: &[u8]) -> Answer {
        let Retire { keep } = read(body)?;
        let keep = keep.iter().map(|text| disk_id(text)).collect::<Result<_, _>>()?;
        let done = self.core.bring(Event::Retire { node, keep }).await?;
        let Reply::Retirement(row) = done.reply else {
            return Err(ApiError::Broken("planning was answered with something else".to_owned()));
        };
        one(view::retirement_view(&self.core.world().fleet, &row))
    }

    /// Begins a test of a node's hardware; what is not said is everything, for ten minutes.
    async fn test(&self, node: NodeId, body: &[u8]) -> Answer {
        let Test { parts, seconds } = read(body)?;
        let parts = if parts.is_empty() { Part::ALL.into() } else { parts };
        let wish = burn_in::Wish { parts, seconds: seconds.unwrap_or(TEST_SECONDS) };
        wish.check().map_err(ApiError::Body)?;
        let done = self.core.bring(Event::Test { node, wish }).await?;
        self.job(&done.reply)
    }

    /// Stops a node's test, or says that what came of it was seen.
    async fn stop_test(&self, node: NodeId) -> Answer {
        let world = self.core.world();
        let known = world.fleet.node(node)?;
        let job = known.state.job().filter(|job| world.fleet.burn_ins.contains_key(job));
        let job = job.ok_or_else(|| missing("test of", known.name.as_str()))?;
        let done = self.core.bring(Event::Cancel { job }).await?;
        self.job(&done.reply)
    }

    /// A new server becomes this node, and has its address from its next DHCP request on.
    async fn replace(&self, old: NodeId, body: &[u8]) -> Answer {
        let Replace { new, force, confirm } = read(body)?;
        let world = self.core.world();
        let new = self.node(&new)?;
        let (before, fresh) = (world.fleet.node(old)?, world.fleet.node(new)?);
        if confirm.as_deref() != Some(before.name.as_str()) {
            let (old, new) = (before.name.to_string(), fresh.name.to_string());
            return Err(ApiError::Replaces { old, new });
        }
        let how = with_force(force);
        self.refuse_alone(&format!("replace {} {}{how}", before.id, fresh.id), || {
            format!("rackwright node replace {0} {1}{how} --confirm {0}", before.name, fresh.name)
        })?;
        self.core.bring(Event::Replace { old, new, force }).await?;
        let was = before.boot.mac.as_str().parse::<Mac>().ok();
        let lease = was.and_then(|mac| world.leases.get(mac).map(|lease| (mac, lease.ip)));
        if let (Some((was, address)), Ok(mac)) = (lease, fresh.boot.mac.as_str().parse()) {
            self.take_over(old, (was, mac), address).await.map_err(|why| {
                let name = &before.name;
                ApiError::Broken(format!(
                    "the new server is {name} now, but {address} could not be given to it ({why}): rackwright node set-address \
                     {name} {address}"
                ))
            })?;
        }
        self.row(old)
    }

    /// The address of one NIC for another.
    async fn take_over(
        &self,
        node: NodeId,
        (was, mac): (Mac, Mac),
        address: Ipv4Addr,
    ) -> Result<(), ApiError> {
        let change = self.core.release(was).await?;
        if change.quarantine.is_some() {
            self.core.address(AddressWish::Lift { address }).await?;
        }
        self.core.address(AddressWish::Fix { node, mac, address }).await?;
        Ok(())
    }

    /// Forgets a node; what is shown is what was known of it.
    async fn delete(&self, node: NodeId, body: &[u8]) -> Answer {
        let Apply { confirm, .. } = read(body)?;
        let world = self.core.world();
        let known = world.fleet.node(node)?;
        if confirm.as_deref() != Some(known.name.as_str()) {
            return Err(ApiError::Forgets(known.name.to_string()));
        }
        self.refuse_alone(&format!("delete {}", known.id), || {
            format!("rackwright node delete {0} --confirm {0}", known.name)
        })?;
        self.core.bring(Event::Delete { node }).await?;
        one(row(&world, known))
    }

    async fn apply(&self, id: &str, body: &[u8]) -> Answer {
        let Apply { confirm, force } = read(body)?;
        let world = self.core.world();
        let plan = PlanId(id.to_owned());
        let view = world.fleet.plans.get(&plan).map(|plan| (plan.node, view::plan_view(&world.fleet, plan)));
        let retirement = || fleet::retire::of_plan(&world.fleet, &plan);
        let erases = || retirement().map(|row| (row.node, view::retirement_view(&world.fleet, row)));
        let (node, found) = view.or_else(erases).ok_or_else(|| missing("plan", id))?;
        let node = world.fleet.node(node)?;
        if found.state == "open" && confirm.as_deref() != Some(node.name.as_str()) {
            return Err(ApiError::Unconfirmed { node: node.name.to_string(), disk: found.disk });
        }
        // A first installation ends nothing.
        if found.state == "open" && found.kind != "install" {
            let how = with_force(force);
            self.refuse_alone(&format!("apply {id}{how}"), || {
                format!("rackwright apply {id} --confirm {}{how}", node.name)
            })?;
        }
        let done = self.core.bring(Event::Apply { plan, force }).await?;
        self.job(&done.reply)
    }

    /// Begins to take an image. A node that runs is restarted for it, and that wants to be confirmed.
    async fn capture(&self, node: NodeId, body: &[u8]) -> Answer {
        let TakeImage { name, identity: kind, keep, disk, roles, confirm, force } = read(body)?;
        let identity = identity(kind, keep)?;
        let disk = disk.map(|text| disk_id(&text)).transpose()?;
        let wish = Box::new(Wish { name, identity, disk, roles, confirmed: confirm, force });
        let done = self.core.bring(Event::Capture { node, wish }).await?;
        self.job(&done.reply)
    }

    async fn tell_a_test(&self) -> Answer {
        let notifier = self.notifier.as_ref().ok_or(ApiError::NobodyToTell)?;
        notifier.test().await?;
        one(serde_json::json!({ "told": notifier.whom() }))
    }

    async fn cancel(&self, id: &str) -> Answer {
        let world = self.core.world();
        let job = world.fleet.find_job(id)?.id();
        let done = self.core.bring(Event::Cancel { job }).await?;
        self.job(&done.reply)
    }

    /// The job that an event was answered with.
    fn job(&self, reply: &Reply) -> Answer {
        let Reply::Job(job) = reply else {
            return Err(ApiError::Broken("a job was answered with something else".to_owned()));
        };
        let world = self.core.world();
        let work = Work::of(&world.fleet, *job).ok_or_else(|| missing("job", &job.to_string()))?;
        one(view::job_row(&world.fleet, work))
    }
}

/// How a command ends; with force it is another thing that two people agree on.
fn with_force(force: bool) -> &'static str {
    if force { " --force" } else { "" }
}

/// A rescue for the holders of these keys.
fn rescue(node: NodeId, wish: Rescue) -> Result<Event, ApiError> {
    let Rescue { keys, confirm: confirmed, force } = wish;
    let keys = keys.map(|text| SshKey::read_all(&text)).transpose();
    let keys = keys.map_err(|(line, why)| {
        let at = if line == 0 { String::new() } else { format!("line {line}: ") };
        ApiError::Body(format!("the SSH keys are not taken: {at}{why}"))
    })?;
    let keys = keys.unwrap_or_default();
    Ok(Event::Rescue { node, wish: Box::new(fleet::rescue::Wish { keys, confirmed, force }) })
}

/// A disk as plans and `node show` spell it.
fn disk_id(text: &str) -> Result<DiskId, ApiError> {
    text.parse().map_err(|error: protocol::IdentityError| {
        ApiError::Body(format!("{error}: write wwn:… or serial:…, as node show prints it"))
    })
}
