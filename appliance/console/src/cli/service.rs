//! `rackwright service …` and `rackwright ansible …`

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// All units, or those of one node
    #[command(
        alias = "ls",
        after_help = "Examples:
  rackwright service list
  rackwright service list --node n1"
    )]
    List {
        /// Only this node's; `controller` for the controller's own
        #[arg(long)]
        node: Option<String>,
    },
    /// Start a unit and keep it running
    #[command(after_help = "Examples:
  rackwright service start n1 chrony.service
  rackwright service start controller chrony.service")]
    Start {
        /// Name of the node, or `controller`
        node: String,
        /// The unit
        unit: String,
    },
    /// Stop a unit and keep it stopped
    #[command(after_help = "Examples:
  rackwright service stop n1 chrony.service
  rackwright service stop n2 libvirtd.service")]
    Stop {
        /// Name of the node, or `controller`
        node: String,
        /// The unit
        unit: String,
    },
    /// Restart a unit
    #[command(after_help = "Examples:
  rackwright service restart n1 mariadb.service
  rackwright service restart controller chrony.service")]
    Restart {
        /// Name of the node, or `controller`
        node: String,
        /// The unit
        unit: String,
    },
    /// The last journal lines of a unit
    #[command(after_help = "Examples:
  rackwright service logs n1 mariadb.service
  rackwright service logs n1 mariadb.service -n 200")]
    Logs {
        /// Name of the node, or `controller`
        node: String,
        /// The unit
        unit: String,
        /// How many lines
        #[arg(long, short = 'n', default_value_t = 50)]
        lines: u32,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AnsibleCommand {
    /// The inventory, as an Ansible inventory script prints it
    #[command(after_help = "Examples:
  rackwright ansible inventory
  rackwright ansible inventory --host n1

A link to this program named rackwright-inventory is an inventory script:
  ansible -i /usr/lib/rackwright/rackwright-inventory all -m ping")]
    Inventory {
        /// The whole inventory; what is printed anyway
        #[arg(long, conflicts_with = "host")]
        list: bool,
        /// Variables of one host
        #[arg(long)]
        host: Option<String>,
    },
}
