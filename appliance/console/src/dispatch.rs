//! From a command to the module of its noun.

use crate::cli::{AnsibleCommand, Area, Command, DoctorArgs};
use crate::failure::{Failure, exit};
use crate::session::Session;
use crate::{
    ansible, apply, backup, clock, cloud, doctor, event, explain, image, job, key, metrics, network, node,
    notify, plan, reference, rollout, service, status, support,
};

/// Does it; tells what went wrong and gives the exit code.
pub(crate) async fn dispatch(session: &mut Session, command: Command) -> u8 {
    match carry_out(session, command).await {
        Ok(code) => code,
        Err(failure) => session.report(&failure),
    }
}

async fn carry_out(session: &mut Session, command: Command) -> Result<u8, Failure> {
    match command {
        Command::Status { watch, check } => status::status(session, watch, check).await,
        Command::Doctor(DoctorArgs { area: Area::Pxe }) => doctor::doctor(session).await,
        Command::Node(verb) => node::node(session, verb).await,
        Command::Network(verb) => network::network(session, verb).await,
        Command::Plan(verb) => plan::plan(session, verb).await,
        Command::Apply(arguments) => apply::apply(session, arguments).await,
        Command::Rebuild(arguments) => rollout::rebuild(session, arguments).await,
        Command::Rollout(verb) => rollout::rollout(session, verb).await,
        Command::Image(verb) => image::image(session, verb).await,
        Command::Service(verb) => service::service(session, verb).await,
        Command::Job(verb) => job::job(session, verb).await,
        Command::Event(verb) => event::event(session, verb).await,
        Command::Key(verb) => key::key(session, verb).await,
        Command::Clock(verb) => clock::clock(session, verb).await,
        Command::Cloud(verb) => cloud::cloud(session, verb).await,
        Command::Backup(verb) => backup::backup(session, verb).await,
        Command::Ansible(AnsibleCommand::Inventory { list: _, host }) => {
            ansible::inventory(session, host).await
        }
        Command::Metrics(verb) => metrics::metrics(session, verb).await,
        Command::Notify(verb) => notify::notify(session, verb).await,
        Command::Support(verb) => support::support(session, verb).await,
        Command::Completion(wish) => reference::completion(session, &wish),
        Command::Man(wish) => reference::man(session, &wish),
        Command::Explain(wish) => explain::explain(session, &wish),
        // `parse` hands these to the daemon, or to what needs none; whoever calls `run` with it gets no second daemon.
        Command::Serve
        | Command::Restore(_)
        | Command::Setup(_)
        | Command::Install(_)
        | Command::Update(_) => Ok(exit::GENERAL),
    }
}
