//! `rackwright cloud …`

use clap::Subcommand;

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
}
