//! `rackwright cloud …`

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum CloudCommand {
    /// Every service of the cloud on every node: how it is, and why
    #[command(after_help = "Examples:
  rackwright cloud status
  rackwright cloud status --wait
  rackwright cloud status -o json

held: something that it needs is not well yet. coming: its node brings it up.
The exit code is 9 when anything is not well. What a unit says:
service logs NODE UNIT.")]
    Status {
        /// Until everything is well; Ctrl-C ends it and changes nothing
        #[arg(long)]
        wait: bool,
    },
    /// What the openstack client needs, as lines for a shell
    #[command(after_help = "Examples:
  rackwright cloud openrc
  rackwright cloud openrc -o json

Into a file: umask 077, then with > openrc behind it; then . ./openrc, and
openstack token issue. It has the administrator's password in it.")]
    Openrc,
    /// What the openstack client needs, as clouds.yaml
    #[command(after_help = "Examples:
  rackwright cloud clouds-yaml
  rackwright cloud clouds-yaml -o json

Into a file: umask 077, then with > clouds.yaml behind it; then
openstack --os-cloud rackwright server list. It has the administrator's
password in it.")]
    CloudsYaml,
    /// Prove that the cloud works by using it; nothing of it is left
    #[command(after_help = "Examples:
  rackwright cloud smoke
  rackwright cloud smoke --node n3
  rackwright cloud smoke --no-attach
  rackwright cloud smoke --external lab --keep
  rackwright cloud smoke -o json

Everything that it makes is called rackwright-smoke..., and is removed at its
end, also after a failure or Ctrl-C; what a run has left that was killed, at
the start of the next. One run at a time. It takes a minute or two, and ten
where processors are emulated. The exit code is 9 when a step failed; a step
that the cloud has nothing for is skipped, and says so. --no-attach is for
compute nodes whose kernel has no iSCSI, such as containers.")]
    Smoke(SmokeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SmokeArgs {
    /// Leave everything there, to be looked at
    #[arg(long)]
    pub(crate) keep: bool,
    /// The external network to go out by, instead of the first
    #[arg(long, value_name = "NAME")]
    pub(crate) external: Option<String>,
    /// One instance only, on this compute node
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// Make the volume, and give it to no instance
    #[arg(long)]
    pub(crate) no_attach: bool,
}
