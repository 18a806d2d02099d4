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
    /// The passwords of all its services, and others in their place
    #[command(
        subcommand,
        after_help = "Examples:
  rackwright cloud passwords show
  rackwright cloud passwords rotate"
    )]
    Passwords(PasswordsCommand),
    /// What rebuilding the nodes from newer images would change
    #[command(after_help = "Examples:
  rackwright cloud upgrade --plan
  rackwright cloud upgrade --plan -o json

Which node gets which image and in which order, what goes down with it, and
what is lost. Nothing is upgraded by this command, with --plan or without: it
names the rebuilds that do it.")]
    Upgrade {
        /// Show it; nothing is changed
        #[arg(long)]
        plan: bool,
    },
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
that the cloud has nothing for is skipped, and says so: objects are put and
got back where it has an object storage. --no-attach is for compute nodes
whose kernel has no iSCSI, such as containers.")]
    Smoke(SmokeArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum PasswordsCommand {
    /// How far a rotation is, and which node waits for what
    #[command(after_help = "Examples:
  rackwright cloud passwords show
  rackwright cloud passwords show --wait
  rackwright cloud passwords show -o json

No password is shown. The administrator's is in cloud openrc.")]
    Show {
        /// Until the rotation is over; Ctrl-C changes nothing
        #[arg(long)]
        wait: bool,
    },
    /// Give the cloud other passwords: none of before is good any more
    #[command(after_help = "Examples:
  rackwright cloud passwords rotate
  rackwright cloud passwords rotate --confirm lab
  rackwright cloud passwords rotate --confirm lab --no-wait
  rackwright cloud passwords rotate --confirm lab -o json

Accounts in database, message queue and keystone, what services share, and the
administrator's password: afterwards, take cloud openrc again. The control node
comes first, then all others; one that is off, when it is back. Services are
away for minutes, instances run on. What data at rest is encrypted with stays.
Once begun it ends, whatever is restarted; Ctrl-C only ends the wait.")]
    Rotate {
        /// The site's name, instead of typing it
        #[arg(long, value_name = "SITE")]
        confirm: Option<String>,
        /// Come back as soon as it is begun
        #[arg(long)]
        no_wait: bool,
    },
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
