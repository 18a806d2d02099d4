//! A run of the steps: one after the other, each told of when it is over, and at the end everything removed.

use std::time::Duration;

use bytes::Bytes;

use super::cloud::{Cloud, Service};
use super::fault::Fault;
use super::instance::Instance;
use super::offer::{Offer, Outside};
use super::remains::{self, Thing};
use super::step::{Outcome, Row, Step, blocked};
use crate::session::Session;

/// How long what was deleted may take to be gone, as [`Course::deadline`] counts.
const REMOVAL: u32 = 600;

/// How long a service may take to report after it has come up, in the same pauses: nova and cinder count one as down until then.
const REPORTED: u32 = 90;

/// How often a service that does not say what it has is asked.
const LOOKS: u32 = 3;

/// What was wished.
#[derive(Clone, Debug, Default)]
pub(super) struct Wish {
    /// The external network.
    pub(super) external: Option<String>,
    /// The compute node that is to be proven.
    pub(super) node: Option<String>,
    /// Whether the volume is given to no instance.
    pub(super) no_attach: bool,
    /// Whether everything stays.
    pub(super) keep: bool,
}

/// The guest's parts.
#[derive(Clone, Debug)]
pub(super) struct Guest {
    pub(super) kernel: Bytes,
    pub(super) ramdisk: Bytes,
}

/// What later steps need of earlier ones.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) image: Option<String>,
    pub(super) flavor: Option<String>,
    pub(super) network: Option<String>,
    pub(super) subnet: Option<String>,
    pub(super) outside: Option<Outside>,
    pub(super) group: Option<String>,
    pub(super) first: Option<Instance>,
    pub(super) floating: Option<std::net::Ipv4Addr>,
}

/// A step's end, where it did not fail.
pub(super) type Ended = Result<Outcome, Fault>;

/// A run.
pub(super) struct Course<'a> {
    pub(super) session: &'a mut Session,
    pub(super) cloud: Cloud,
    pub(super) guest: Guest,
    pub(super) wish: Wish,
    pub(super) offer: Offer,
    pub(super) made: Made,
    pub(super) rows: Vec<Row>,
    /// What stays, where everything stays.
    pub(super) kept: Vec<Thing>,
    told: String,
}

impl Course<'_> {
    pub(super) fn new(session: &mut Session, cloud: Cloud, guest: Guest, wish: Wish) -> Course<'_> {
        let (offer, made) = (Offer::default(), Made::default());
        let (rows, kept, told) = (Vec::new(), Vec::new(), String::new());
        Course { session, cloud, guest, wish, offer, made, rows, kept, told }
    }

    /// Every step but the removal. Dropped anywhere, it leaves what is removed then.
    pub(super) async fn run(&mut self) {
        for step in Step::ALL {
            let began = self.session.elapsed_ms();
            let outcome = match blocked(step, &self.rows) {
                Some(why) => Outcome::Skipped(why),
                None => self.carry_out(step).await.unwrap_or_else(Outcome::Failed),
            };
            self.end(step, outcome, began);
        }
    }

    /// The removal, and a look whether anything is left; or what stays.
    pub(super) async fn finish(&mut self) {
        let began = self.session.elapsed_ms();
        let outcome = if !self.reached_the_cloud() {
            Outcome::Skipped("nothing was made".to_owned())
        } else if self.wish.keep {
            self.keep().await.unwrap_or_else(Outcome::Failed)
        } else {
            self.remove_all("nothing is left").await.unwrap_or_else(Outcome::Failed)
        };
        self.end(Step::Removed, outcome, began);
    }

    /// The removal was interrupted as well.
    pub(super) fn give_up(&mut self, began: u64) {
        let fault = Fault::new("interrupted before everything was gone");
        self.end(Step::Removed, Outcome::Failed(fault), began);
    }

    fn reached_the_cloud(&self) -> bool {
        self.rows.iter().any(|row| row.step == Step::Token && row.outcome.word() == "ok")
    }

    fn end(&mut self, step: Step, outcome: Outcome, began: u64) {
        let milliseconds = self.session.elapsed_ms().saturating_sub(began);
        let (word, text) = (outcome.word(), outcome.text());
        let text = if text.is_empty() { String::new() } else { format!(", {text}") };
        self.session.note(&format!("{}: {word}{text}", step.word()));
        self.rows.push(Row { step, outcome, milliseconds });
    }

    async fn carry_out(&mut self, step: Step) -> Ended {
        match step {
            Step::Token => self.token().await,
            Step::Services => self.services().await,
            Step::Leftovers => self.remove_all("there were none").await,
            Step::Image => self.image().await,
            Step::Flavor => self.flavor().await,
            Step::KeyPair => self.key_pair().await,
            Step::Network => self.network().await,
            Step::Router => self.router().await,
            Step::SecurityGroup => self.security_group().await,
            Step::Instance => self.instance().await,
            Step::Address => self.address().await,
            Step::Metadata => self.metadata().await,
            Step::Tunnel => self.tunnel().await,
            Step::FloatingAddress => self.floating_address().await,
            Step::Ping => self.ping().await,
            Step::Volume => self.volume().await,
            Step::Objects => self.objects().await,
            Step::Removed => Ok(Outcome::Ok(String::new())),
        }
    }

    async fn token(&mut self) -> Ended {
        self.cloud.log_in().await?;
        let region = self.cloud.region();
        for service in Service::NEEDED {
            if !self.cloud.has(service) {
                let why = format!("the catalog has no {} service in region {region}", service.word());
                return Err(Fault::new(why));
            }
        }
        Ok(Outcome::Ok(format!("region {region}")))
    }

    /// One that has just come up is down until it has reported: it is given its time.
    async fn services(&mut self) -> Ended {
        let deadline = self.deadline(REPORTED);
        loop {
            self.offer = self.look().await?;
            if self.offer.down.is_empty() {
                break;
            }
            let down = format!("down: {}", self.offer.down.join(", "));
            self.tell(&down);
            if !self.again(deadline).await {
                return Err(Fault::new(down));
            }
        }
        let hosts = &self.offer.hosts;
        let names = hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(", ");
        if hosts.is_empty() {
            return Err(Fault::new("no compute service is up"));
        }
        Ok(Outcome::Ok(format!("compute on {names}")))
    }

    async fn look(&mut self) -> Result<Offer, Fault> {
        let mut offer = Offer::default();
        offer.computes(&self.cloud.get(Service::Compute, "/os-services").await?);
        offer.agents(&self.cloud.get(Service::Network, "/agents").await?);
        if self.cloud.has(Service::Volumes) {
            offer.volumes(&self.cloud.get(Service::Volumes, "/os-services").await?);
        }
        Ok(offer)
    }

    /// Removes what has our name, until a look finds nothing. Things that hold on to others go first; one that does not
    /// want to go is tried again.
    async fn remove_all(&mut self, none: &str) -> Ended {
        let deadline = self.deadline(REMOVAL);
        let (mut gone, mut last, mut blind) = (String::new(), None, 0);
        loop {
            let (left, unseen) = remains::look(&mut self.cloud).await;
            if gone.is_empty() {
                gone = remains::summary(&left);
            }
            match unseen {
                None if left.is_empty() => {
                    return Ok(Outcome::Ok(if gone.is_empty() { none.to_owned() } else { gone }));
                }
                Some(fault) if left.is_empty() => {
                    blind += 1;
                    if blind == LOOKS {
                        return Err(Fault::new(format!("it can't be seen what is left: {}", fault.why)));
                    }
                }
                None | Some(_) => self.tell(&format!("removing {}", remains::summary(&left))),
            }
            for thing in remains::due(&left) {
                let removed = remains::remove(&mut self.cloud, &thing).await;
                last = removed.err().or(last);
            }
            if !self.again(deadline).await {
                let why = last.map(|fault| format!("; {}", fault.why)).unwrap_or_default();
                return Err(Fault::new(format!("still there: {}{why}", names(&left))));
            }
        }
    }

    async fn keep(&mut self) -> Ended {
        let (kept, unseen) = remains::look(&mut self.cloud).await;
        self.kept = kept;
        match unseen {
            Some(fault) => Err(fault),
            None => Ok(Outcome::Skipped(format!("--keep: {}", remains::summary(&self.kept)))),
        }
    }

    /// Waits between two looks; false when the time is over.
    pub(super) async fn again(&mut self, deadline: u64) -> bool {
        if self.session.elapsed_ms() >= deadline {
            return false;
        }
        tokio::time::sleep(self.session.pause * 2).await;
        true
    }

    /// When something is to have happened: so many pauses, which are seconds, from now.
    pub(super) fn deadline(&self, pauses: u32) -> u64 {
        self.session.elapsed_ms() + milliseconds(self.session.pause * pauses)
    }

    /// Tells what is waited for, once.
    pub(super) fn tell(&mut self, line: &str) {
        if self.told != line {
            self.session.note(&format!("  {line}"));
            self.told = line.to_owned();
        }
    }
}

fn names(things: &[Thing]) -> String {
    things.iter().map(Thing::text).collect::<Vec<_>>().join(", ")
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What an earlier step has made; a step is only tried when those before it were ok.
pub(super) fn made<T: Clone>(thing: &Option<T>, what: &str) -> Result<T, Fault> {
    thing.clone().ok_or_else(|| Fault::new(format!("there is no {what}")))
}
