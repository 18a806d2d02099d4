//! The instances: started, listened to.

use std::net::Ipv4Addr;

use data_encoding::BASE64;
use hyper::Method;
use serde_json::{Value, json};

use super::cloud::{Service, id_of, list, text};
use super::course::{Course, Ended, made};
use super::fault::Fault;
use super::offer::{Host, places};
use super::remains::PREFIX;
use super::said::Said;
use super::step::Outcome;
use crate::client::segment;

/// How long an instance may take to be started, and the guest in it to say something, as [`Course::deadline`] counts: where
/// processors are emulated both take minutes.
const ACTIVE: u32 = 600;
const CONSOLE: u32 = 600;
/// Lines of the console: what the guest says is at its end.
const LINES: u32 = 100;

/// An instance that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instance {
    pub(super) id: String,
    pub(super) name: String,
    /// The node that it runs on.
    pub(super) host: String,
    /// The address that it was promised.
    pub(super) address: Ipv4Addr,
}

impl Course<'_> {
    pub(super) async fn instance(&mut self) -> Ended {
        let places = places(&self.offer.hosts, self.wish.node.as_deref())?;
        // It always waits for a disk: whether one comes is seen later.
        let first = self.start("1", places.first.as_ref(), "disk\n").await?;
        let outcome = Outcome::Ok(format!("ACTIVE on {}", first.host));
        self.made.first = Some(first);
        Ok(outcome)
    }

    pub(super) async fn address(&mut self) -> Ended {
        let first = made(&self.made.first, "instance")?;
        let address = self.hear(&first, "its address", |said| said.address.clone()).await?;
        let address = address.map_err(|said| Fault::new(format!("the guest got none by DHCP: {said}")))?;
        if address.ip != first.address {
            let why = format!("the guest got {}, and neutron says {}", address.ip, first.address);
            return Err(Fault::new(why));
        }
        Ok(Outcome::Ok(address.text))
    }

    pub(super) async fn metadata(&mut self) -> Ended {
        let first = made(&self.made.first, "instance")?;
        let heard = self.hear(&first, "its metadata", |said| said.metadata.clone()).await?;
        let (id, name) = heard.map_err(|_| Fault::new("169.254.169.254 did not answer the guest"))?;
        if !name.starts_with(&first.name) {
            return Err(Fault::new(format!("the guest was told the name {name:?}, and is {}", first.name)));
        }
        Ok(Outcome::Ok(format!("{id} {name}")))
    }

    pub(super) async fn tunnel(&mut self) -> Ended {
        let first = made(&self.made.first, "instance")?;
        let host = match places(&self.offer.hosts, self.wish.node.as_deref())?.second {
            Ok(host) => host,
            Err(why) => return Ok(Outcome::Skipped(why)),
        };
        let orders = format!("ping {}\n", first.address);
        let second = self.start("2", Some(&host), &orders).await?;
        let heard = |said: &Said| match (said.pinged(first.address), &said.metadata) {
            (Some(answered), _) => Some(Ok(answered)),
            (None, Some(Err(why))) => Some(Err(why.clone())),
            (None, Some(Ok(_)) | None) => None,
        };
        let way = format!("from {} to {}", second.host, first.host);
        match self.hear(&second, "the answer of the first instance", heard).await? {
            Ok(true) if second.host == first.host => {
                Err(Fault::new(format!("both instances are on {}: nothing was proven", first.host)))
            }
            Ok(true) => Ok(Outcome::Ok(format!("{} answers {way}", first.address))),
            Ok(false) => Err(Fault::new(format!("{} does not answer {way}", first.address))),
            Err(why) => Err(Fault::new(format!("the second instance has {why} and can't be told to ping"))),
        }
    }

    /// Starts an instance and waits until it runs.
    async fn start(&mut self, number: &str, place: Option<&Host>, orders: &str) -> Result<Instance, Fault> {
        let name = format!("{PREFIX}-{number}");
        let mut server = json!({
            "name": name,
            "imageRef": made(&self.made.image, "image")?,
            "flavorRef": made(&self.made.flavor, "flavor")?,
            "key_name": PREFIX,
            "networks": [{"uuid": made(&self.made.network, "network")?}],
            "security_groups": [{"name": made(&self.made.group, "security group")?}],
            "user_data": BASE64.encode(orders.as_bytes()),
        });
        if let (Some(place), Some(server)) = (place, server.as_object_mut()) {
            server.insert("availability_zone".to_owned(), json!(place.forced()));
        }
        let answer = self.cloud.post(Service::Compute, "/servers", json!({"server": server})).await?;
        let id = id_of(&answer, &["server", "id"])?;
        let path = format!("/servers/{}", segment(&id));
        let deadline = self.deadline(ACTIVE);
        loop {
            let answer = self.cloud.get(Service::Compute, &path).await?;
            match text(&answer, &["server", "status"]) {
                "ACTIVE" => return read(&answer, id, name),
                "ERROR" => return Err(broken(&answer, &name)),
                status => {
                    let doing = text(&answer, &["server", "OS-EXT-STS:task_state"]);
                    let state = format!("{status} {doing}");
                    self.tell(&format!("{name}: {}", state.trim()));
                    if !self.again(deadline).await {
                        return Err(Fault::new(format!("{name} is still {} after {ACTIVE} s", state.trim())));
                    }
                }
            }
        }
    }

    /// Waits until the guest has said something on its console.
    pub(super) async fn hear<T>(
        &mut self,
        instance: &Instance,
        what: &str,
        heard: impl Fn(&Said) -> Option<T>,
    ) -> Result<T, Fault> {
        let path = format!("/servers/{}/action", segment(&instance.id));
        let deadline = self.deadline(CONSOLE);
        self.tell(&format!("{}: waiting until its console tells {what}", instance.name));
        loop {
            // An instance that has just been started has none yet, and nova says so in several ways.
            let (said, why) = match self.console(&path).await {
                Ok(said) => (said, None),
                Err(fault) => (Said::default(), Some(fault.why)),
            };
            if let Some(found) = heard(&said) {
                return Ok(found);
            }
            if !self.again(deadline).await {
                let end = why.unwrap_or(format!("it ends with: {}", said.last));
                return Err(Fault::new(format!(
                    "the console of {} does not tell {what} within {CONSOLE} s; {end}",
                    instance.name
                )));
            }
        }
    }

    /// The end of a console. Its lines are told apart before they are cleaned.
    async fn console(&mut self, path: &str) -> Result<Said, Fault> {
        let order = json!({"os-getConsoleOutput": {"length": LINES}}).to_string();
        let body = ("application/json", order.into());
        let answer =
            self.cloud.raw(Service::Compute, Method::POST, path, body).await?.value("the console")?;
        Ok(Said::read(text(&answer, &["output"])))
    }
}

fn read(answer: &Value, id: String, name: String) -> Result<Instance, Fault> {
    let nets = answer.get("server").and_then(|server| server.get("addresses")).and_then(Value::as_object);
    let rows = nets.into_iter().flat_map(|nets| nets.values()).flat_map(|rows| list(rows, &[]));
    let address = rows.filter_map(|row| text(row, &["addr"]).parse().ok()).next();
    let address = address.ok_or_else(|| Fault::new(format!("{name} is ACTIVE and has no address")))?;
    let host = text(answer, &["server", "OS-EXT-SRV-ATTR:host"]).to_owned();
    Ok(Instance { id, name, host, address })
}

fn broken(answer: &Value, name: &str) -> Fault {
    match text(answer, &["server", "fault", "message"]) {
        "" => Fault::new(format!("{name} went to ERROR, and nova does not say why")),
        why => Fault::new(format!("{name} went to ERROR: {why}")),
    }
}
