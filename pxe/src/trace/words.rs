//! A step in words for a person: what arrived, and what was answered.

use super::dhcp::{Answer, Class, Dhcp, Message};
use super::fetch::{By, End, Fetch, Task, Way};
use super::what::What;

impl What {
    /// What arrived, or was seen.
    #[must_use]
    pub fn arrived(&self) -> String {
        match self {
            What::Dhcp(dhcp) => arrived(dhcp),
            What::Fetch(fetch) => asked(fetch),
            What::Router => "IPv6: looks for a router".to_owned(),
            What::Tls { .. } => "TLS, of an agent".to_owned(),
            What::Hello { .. } => "hello of the agent".to_owned(),
            What::Link { interface, up } => {
                format!("link of our {interface} {}", if *up { "came up" } else { "was lost" })
            }
            What::Foreign { interface, server, rackwright } => {
                let who = if *rackwright { "another Rackwright" } else { "another DHCP server" };
                format!("{who} on {interface}: {server}")
            }
        }
    }

    /// What was answered; empty where nothing is.
    #[must_use]
    pub fn answered(&self) -> String {
        match self {
            What::Dhcp(dhcp) => answered(&dhcp.answer),
            What::Fetch(fetch) => ended(fetch),
            What::Router => "there is none".to_owned(),
            What::Tls { why } => format!("failed: {why}"),
            What::Hello { refused: Some(why) } => format!("refused: {why}"),
            What::Hello { refused: None } => "heard".to_owned(),
            What::Link { .. } | What::Foreign { .. } => String::new(),
        }
    }
}

fn arrived(dhcp: &Dhcp) -> String {
    let message = match dhcp.message {
        Message::Discover => "DISCOVER",
        Message::Request => "REQUEST",
        Message::Decline => "DECLINE",
        Message::Release => "RELEASE",
        Message::Inform => "INFORM",
    };
    let who = match (&dhcp.ipxe, dhcp.class, dhcp.arch) {
        (Some(_), _, _) => "iPXE".to_owned(),
        (None, Class::Pxe, Some(0)) => "BIOS".to_owned(),
        (None, Class::Pxe, Some(arch)) => format!("UEFI, arch {arch}"),
        (None, Class::Pxe, None) => "PXE, no arch".to_owned(),
        (None, Class::Http, Some(arch)) => format!("UEFI HTTP, arch {arch}"),
        (None, Class::Http, None) => "UEFI HTTP".to_owned(),
        (None, Class::Other | Class::Absent, _) => "a system".to_owned(),
    };
    let mut text = format!("{message} ({who})");
    if dhcp.port != 67 {
        text.push_str(&format!(" on {}", dhcp.port));
    }
    if let Some(relay) = dhcp.relay {
        text.push_str(&format!(" by relay {relay}"));
    }
    if dhcp.secs > 0 {
        text.push_str(&format!(", after {} s", dhcp.secs));
    }
    text
}

fn answered(answer: &Answer) -> String {
    let with = |word: &str, address: &Option<std::net::Ipv4Addr>| {
        let address = address.map(|address| format!(" {address}")).unwrap_or_default();
        let boot = answer.boot().map(|boot| format!(", boot {boot}")).unwrap_or_default();
        format!("{word}{address}{boot}")
    };
    match answer {
        Answer::Offer { address, .. } => with("OFFER", address),
        Answer::Ack { address, .. } => with("ACK", address),
        Answer::Nak => "NAK".to_owned(),
        Answer::Noted => "noted".to_owned(),
        Answer::Silence { why, .. } => format!("silence: {why}"),
    }
}

fn asked(fetch: &Fetch) -> String {
    let way = match (fetch.way, fetch.head) {
        (Way::Tftp, _) => "TFTP",
        (Way::Http, false) => "GET",
        (Way::Http, true) => "HEAD",
    };
    let by = match fetch.by {
        By::Firmware => " (firmware)",
        By::Grub => " (GRUB)",
        By::Ipxe => " (iPXE)",
        By::Agent => " (agent)",
        By::Other => "",
    };
    format!("{way} {}{by}", fetch.name)
}

fn ended(fetch: &Fetch) -> String {
    if let Some(task) = fetch.told {
        return match task {
            Task::Agent => "told to start the agent",
            Task::LocalDisk => "told to start its own disk",
            Task::Hold => "told to wait",
        }
        .to_owned();
    }
    match &fetch.end {
        End::Begun => "being sent".to_owned(),
        End::Whole { bytes } => match fetch.took_ms {
            Some(took) => format!("sent, {bytes} bytes in {}.{} s", took / 1000, took % 1000 / 100),
            None => format!("sent, {bytes} bytes"),
        },
        End::Part { bytes } => format!("a part sent, {bytes} bytes"),
        End::Told => "length told".to_owned(),
        End::BrokenOff { said } if fetch.size => format!("size told; it broke off: {said}"),
        End::BrokenOff { said } => format!("it broke off: {said}"),
        End::Stopped { sent, why } => {
            let sent = sent.map(|sent| format!(" after {sent} bytes")).unwrap_or_default();
            format!("not sent to the end{sent}: {why}")
        }
        End::Optional => "not there (optional)".to_owned(),
        End::NotFound => "no such file".to_owned(),
        End::Missing { why } => format!("missing in the boot store: {why}"),
        End::Refused { why } => format!("refused: {why}"),
        End::Busy => "too many transfers; asks again".to_owned(),
    }
}
