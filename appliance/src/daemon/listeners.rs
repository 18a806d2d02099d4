//! The listeners of every network, put together.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::{Daemon, Fatal};
use crate::agents::Agents;
use crate::boot::BootStore;
use crate::config::{Config, Dhcp, Paths};
use crate::join::Joining;
use crate::listen::dhcp::PORTS;
use crate::listen::files::Files;
use crate::listen::{ListenerState, Place, Stop, dhcp, foreign, http, https, ndp, tftp};
use crate::netboot::Netboot;
use crate::writer::Core;
use crate::{chain, prober};

impl Daemon {
    /// Starts every listener; each keeps itself going.
    pub(super) fn listen(
        &self,
        paths: &Paths,
        config: &Config,
        places: &[Place],
        stop: &Stop,
        tasks: &mut JoinSet<()>,
    ) -> Result<Vec<Arc<ListenerState>>, Fatal> {
        let addresses = places.iter().map(|place| IpAddr::V4(place.address)).collect::<Vec<_>>();
        let tls = Arc::new(crate::tls::Door::new(Arc::clone(&self.ca), addresses).map_err(Fatal::of)?);
        let agents = Arc::new(Agents::new(
            self.core.clone(),
            Arc::clone(&self.ca),
            Arc::clone(&self.images),
            Arc::clone(&self.casts),
            Arc::clone(&self.preflights),
            self.answers.clone(),
        ));
        tasks.spawn(Arc::clone(&agents).watch_captures(stop.clone()));
        tasks.spawn(Arc::clone(&self.casts).keep(stop.clone()));
        tasks.spawn(Arc::clone(&self.preflights).keep(stop.clone()));
        let (mbit, hours) = (config.cast_mbit, config.cast_hours.clone());
        tasks.spawn(Arc::clone(&self.casts).keep_limit(mbit, hours, stop.clone()));
        let mut states = Vec::new();
        let mut waiting = Vec::new();
        for (place, provision) in places.iter().zip(&config.provision) {
            let mut state = |kind| {
                let state = ListenerState::new(kind, &place.interface);
                states.push(Arc::clone(&state));
                state
            };
            let boots = self.core.boots.clone();
            tasks.spawn(boots.watch(place.interface.clone(), place.presence.clone(), stop.clone()));
            let netboot = Arc::new(Netboot::new(self.core.clone(), Joining::of(paths, config)));
            for (port, kind) in PORTS.into_iter().zip(["dhcp", "proxydhcp"]) {
                let service = Arc::clone(&netboot);
                tasks.spawn(dhcp::serve(place.clone(), port, service, state(kind), stop.clone()));
            }
            let service = Arc::clone(&netboot);
            tasks.spawn(foreign::serve(place.clone(), service, state("foreign"), stop.clone()));
            tasks.spawn(prober::run(place.clone(), self.core.clone(), stop.clone()));
            // Only where our DHCP says what to boot does it follow that there is nothing to wait for.
            if provision.answer_ipv6 && provision.dhcp != Dhcp::Off {
                let service = Arc::clone(&netboot);
                tasks.spawn(ndp::serve(place.clone(), service, state("ndp"), stop.clone()));
            }
            waiting.push(Counter { place: place.clone(), netboot, tftp: state("tftp"), http: state("http") });
            let (agents, tls) = (Arc::clone(&agents), Arc::clone(&tls));
            tasks.spawn(https::serve(
                place.clone(),
                config.agents_port,
                tls,
                agents,
                state("https"),
                stop.clone(),
            ));
        }
        tasks.spawn(serve_files(
            paths.boot.clone(),
            config.http_port,
            self.core.clone(),
            waiting,
            stop.clone(),
        ));
        Ok(states)
    }
}

/// Where the boot files of one interface are served.
struct Counter {
    place: Place,
    netboot: Arc<Netboot>,
    tftp: Arc<ListenerState>,
    http: Arc<ListenerState>,
}

/// Serves the boot files on every interface, as soon as there are any.
async fn serve_files(boot: PathBuf, http_port: u16, core: Core, counters: Vec<Counter>, stop: Stop) {
    let states = counters.iter().flat_map(|counter| [&*counter.tftp, &*counter.http]).collect::<Vec<_>>();
    let store = Arc::new(boot_store(&boot, &states).await);
    let mut tasks = JoinSet::new();
    let (extras, mut stopped) = (store.extras(), stop.clone());
    // While nothing can be saved nothing is noted; files are served all the same.
    tasks.spawn(async move {
        while !core.boot_store_has(extras.clone()).await {
            tokio::select! {
                _ = stopped.changed() => return,
                () = tokio::time::sleep(Duration::from_secs(10)) => {}
            }
        }
    });
    for Counter { place, netboot, tftp: tftp_state, http: http_state } in counters {
        let files = Files::new(Arc::clone(&store), netboot);
        tasks.spawn(tftp::serve(place.clone(), tftp::PORT, files.clone(), tftp_state, stop.clone()));
        tasks.spawn(http::serve(place, http_port, files, http_state, stop.clone()));
    }
    tasks.join_all().await;
}

/// The boot store, as soon as there is one: a controller without it still answers everything else. Those that would
/// serve from it say why they do not listen.
async fn boot_store(path: &Path, waiting: &[&ListenerState]) -> BootStore {
    loop {
        let why = match BootStore::open(path) {
            Ok(store) => return store,
            Err(error) => chain(&error),
        };
        tracing::error!(why, "no server can boot from the network");
        for state in waiting {
            let _ = state.waiting(&why);
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::{ListenerState, boot_store};
    use std::time::Duration;

    #[tokio::test]
    async fn a_missing_boot_store_is_the_reason_why_its_listeners_wait() {
        let folder = tempfile::tempdir().unwrap();
        let states = [ListenerState::new("tftp", "rw0"), ListenerState::new("http", "rw0")];
        let each = [&*states[0], &*states[1]];
        let open = boot_store(folder.path(), &each);
        assert!(tokio::time::timeout(Duration::from_millis(50), open).await.is_err());
        for state in states {
            let why = state.report().waiting.expect("a reason");
            assert!(why.contains("image-build ramdisk"), "{why}");
        }
        let none = folder.path().join("none");
        let state = ListenerState::new("tftp", "rw0");
        let each = [&*state];
        let open = boot_store(&none, &each);
        assert!(tokio::time::timeout(Duration::from_millis(50), open).await.is_err());
        assert!(state.report().waiting.is_some_and(|why| why.contains("opening the boot store")));
    }
}
