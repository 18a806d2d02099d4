//! The names.

/// One figure, or one for each of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is described by its help text")]
pub enum Metric {
    BuildInfo,
    StartTime,
    ResidentMemory,
    OpenFiles,
    Nodes,
    NodeState,
    NodeHeartbeatAge,
    NodeUnits,
    CertificateExpiry,
    ServerCertificateExpiry,
    CaWaiting,
    ClockDoubted,
    Jobs,
    Images,
    ImageSent,
    ListenerUp,
    Received,
    Requests,
    DhcpSilences,
    Leases,
    ForeignDhcp,
    Events,
    DatabaseSize,
    Commits,
    CommitSeconds,
    StateTrouble,
    FreeSpace,
    TotalSpace,
}

impl Metric {
    /// All, in the order in which they are printed.
    pub const ALL: [Metric; 28] = [
        Metric::BuildInfo,
        Metric::StartTime,
        Metric::ResidentMemory,
        Metric::OpenFiles,
        Metric::Nodes,
        Metric::NodeState,
        Metric::NodeHeartbeatAge,
        Metric::NodeUnits,
        Metric::CertificateExpiry,
        Metric::ServerCertificateExpiry,
        Metric::CaWaiting,
        Metric::ClockDoubted,
        Metric::Jobs,
        Metric::Images,
        Metric::ImageSent,
        Metric::ListenerUp,
        Metric::Received,
        Metric::Requests,
        Metric::DhcpSilences,
        Metric::Leases,
        Metric::ForeignDhcp,
        Metric::Events,
        Metric::DatabaseSize,
        Metric::Commits,
        Metric::CommitSeconds,
        Metric::StateTrouble,
        Metric::FreeSpace,
        Metric::TotalSpace,
    ];

    /// Name, kind, and what it is.
    pub fn about(self) -> (&'static str, &'static str, &'static str) {
        let name = self.name();
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        (name, kind, self.help())
    }

    fn name(self) -> &'static str {
        match self {
            Metric::BuildInfo => "rackwright_build_info",
            Metric::StartTime => "process_start_time_seconds",
            Metric::ResidentMemory => "process_resident_memory_bytes",
            Metric::OpenFiles => "process_open_fds",
            Metric::Nodes => "rackwright_nodes",
            Metric::NodeState => "rackwright_node_state",
            Metric::NodeHeartbeatAge => "rackwright_node_heartbeat_age_seconds",
            Metric::NodeUnits => "rackwright_node_units",
            Metric::CertificateExpiry => "rackwright_certificate_expiry_timestamp_seconds",
            Metric::ServerCertificateExpiry => "rackwright_server_certificate_expiry_timestamp_seconds",
            Metric::CaWaiting => "rackwright_ca_nodes_waiting",
            Metric::ClockDoubted => "rackwright_clock_doubted",
            Metric::Jobs => "rackwright_jobs",
            Metric::Images => "rackwright_images",
            Metric::ImageSent => "rackwright_image_sent_bytes_total",
            Metric::ListenerUp => "rackwright_listener_up",
            Metric::Received => "rackwright_listener_received_total",
            Metric::Requests => "rackwright_listener_requests_total",
            Metric::DhcpSilences => "rackwright_dhcp_silences_total",
            Metric::Leases => "rackwright_leases",
            Metric::ForeignDhcp => "rackwright_foreign_dhcp_servers",
            Metric::Events => "rackwright_events_total",
            Metric::DatabaseSize => "rackwright_database_size_bytes",
            Metric::Commits => "rackwright_database_commits_total",
            Metric::CommitSeconds => "rackwright_database_commit_seconds_total",
            Metric::StateTrouble => "rackwright_state_unsaved",
            Metric::FreeSpace => "rackwright_state_free_bytes",
            Metric::TotalSpace => "rackwright_state_size_bytes",
        }
    }

    fn help(self) -> &'static str {
        match self {
            Metric::BuildInfo => "The version that runs; always 1.",
            Metric::StartTime => "When the daemon was started, in seconds since 1970.",
            Metric::ResidentMemory => "Memory that the daemon has in use.",
            Metric::OpenFiles => "Files and sockets that the daemon has open.",
            Metric::Nodes => "Nodes in each state.",
            Metric::NodeState => "The state of each node; always 1.",
            Metric::NodeHeartbeatAge => {
                "Time since a node's agent was last heard; an installed one reports every 30 s."
            }
            Metric::NodeUnits => "Units of an installed node that should run, and those that do.",
            Metric::CertificateExpiry => "When a node's valid certificate ends, in seconds since 1970.",
            Metric::ServerCertificateExpiry => {
                "When the controller's own certificate ends; it gets a new one at every start."
            }
            Metric::CaWaiting => {
                "While the site CA is changed: nodes that depend on the one that is to be refused; 0 otherwise."
            }
            Metric::ClockDoubted => {
                "Whether the controller's clock is not believed, and no certificate issued."
            }
            Metric::Jobs => "Jobs that are known, by kind and state.",
            Metric::Images => "Images in the store.",
            Metric::ImageSent => "Bytes of an image that the controller sent, to one node or to all at once.",
            Metric::ListenerUp => "Whether a listener listens.",
            Metric::Received => "Packets or requests that came to a listener.",
            Metric::Requests => {
                "What became of them: answered, refused for what they are, dropped because there were too many."
            }
            Metric::DhcpSilences => "DHCP questions that were not answered, by reason.",
            Metric::Leases => "Addresses that are given out.",
            Metric::ForeignDhcp => "Other DHCP servers on a provisioning network.",
            Metric::Events => "Lines of the log, since the first start.",
            Metric::DatabaseSize => "Size of the data base's files.",
            Metric::Commits => "Transactions that were saved.",
            Metric::CommitSeconds => "Time that saving them took, until they were durable.",
            Metric::StateTrouble => "1 while nothing can be saved, as with a full disk.",
            Metric::FreeSpace => "Free space on the disk of the state directory.",
            Metric::TotalSpace => "Size of the disk of the state directory.",
        }
    }
}
