//! nginx and as many curls: a copy for each, as most installers do it.

use std::error::Error;
use std::ffi::OsString;
use std::fs;

use crate::bench::cast::lab::CONTROLLER;
use crate::bench::cast::peer::{Arrival, First, Peer, Stage};
use crate::bench::cast::run::PATIENCE;
use crate::bench::cast::scenario::Scenario;

pub(super) struct Nginx;

impl Peer for Nginx {
    fn name(&self) -> &'static str {
        "nginx and curl"
    }

    fn refuses(&self, scenario: &Scenario) -> Option<String> {
        if f64::from(scenario.receivers) > 0.9 * PATIENCE {
            return Some("so many copies take longer than it is given".to_owned());
        }
        scenario.needs_a_disk()
    }

    fn prepare(&self, stage: &Stage<'_>) -> Result<(), Box<dyn Error>> {
        let root = stage.image.parent().unwrap_or(&stage.image);
        let (root, dir) = (root.display(), stage.dir.display());
        // Debian's own settings where they matter for one big file.
        let text = format!(
            "daemon off;\nuser root;\nworker_processes auto;\npid {dir}/nginx.pid;\n\
             events {{ worker_connections 768; }}\nhttp {{\n  sendfile on;\n  tcp_nopush on;\n  access_log off;\n  \
             client_body_temp_path {dir}/body;\n  proxy_temp_path {dir}/proxy;\n  fastcgi_temp_path {dir}/fastcgi;\n  \
             uwsgi_temp_path {dir}/uwsgi;\n  scgi_temp_path {dir}/scgi;\n  \
             server {{ listen {CONTROLLER}:80; root {root}; }}\n}}\n"
        );
        Ok(fs::write(stage.dir.join("nginx.conf"), text)?)
    }

    fn controller(&self, stage: &Stage<'_>) -> Vec<Vec<OsString>> {
        let conf = stage.dir.join("nginx.conf");
        let mut argv = Stage::words(&[&stage.program("usr/sbin/nginx"), "-e stderr -c"], &[&conf]);
        argv.extend(["-p".into(), stage.dir.clone().into_os_string()]);
        vec![argv]
    }

    fn receiver(&self, stage: &Stage<'_>, _scenario: &Scenario, receiver: u16) -> Vec<OsString> {
        // What was cut off goes on from where it was, as scripts around curl do it.
        let sink = stage.sink(receiver);
        let again = format!("until curl -sS -C - -o \"$1\" http://{CONTROLLER}/image; do sleep 0.2; done");
        let mut argv: Vec<OsString> = ["sh", "-c"].map(OsString::from).to_vec();
        argv.extend([again.into(), "sh".into(), sink.into_os_string()]);
        argv
    }

    fn first(&self, _stage: &Stage<'_>) -> First {
        First::Servers(&[80])
    }

    fn arrival(&self, _stage: &Stage<'_>, _receiver: u16) -> Arrival {
        Arrival::Exit
    }
}
