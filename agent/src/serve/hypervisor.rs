//! What libvirt says of this node: asked now and then, never waited for. Without the feature `libvirt` nothing is asked.

/// Keeps the ledger's word on the hypervisor fresh, for ever.
#[cfg(not(feature = "libvirt"))]
pub(super) async fn follow(_node: std::sync::Arc<super::node::Node>) {
    std::future::pending::<()>().await;
}

#[cfg(feature = "libvirt")]
pub(super) use asked::{SIGN, URI, follow};

#[cfg(feature = "libvirt")]
mod asked {
    use std::sync::Arc;
    use std::time::Duration;

    use protocol::{Domain, Hypervisor};
    use tokio::time::{sleep, timeout};
    use virt::connect::Connect;
    use virt::error::Error;

    use super::super::node::Node;
    use crate::text;

    pub(in super::super) const URI: &str = "qemu:///system";
    /// There since libvirt's first start; before, asking would only make it complain.
    pub(in super::super) const SIGN: &str = "run/libvirt";
    const EVERY: Duration = Duration::from_secs(30);
    /// A daemon that takes longer does not answer.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// Keeps the ledger's word on the hypervisor fresh, for ever. One question at a time: a libvirtd that hangs costs
    /// one thread, not one more every half minute.
    pub(in super::super) async fn follow(node: Arc<Node>) {
        virt::error::clear_error_callback();
        loop {
            if node.root().join(SIGN).exists() {
                let mut question = tokio::task::spawn_blocking(|| ask(URI));
                let answer = match timeout(PATIENCE, &mut question).await {
                    Ok(answer) => answer,
                    Err(_) => {
                        let why = format!("libvirt does not answer within {} s", PATIENCE.as_secs());
                        node.ledger.hypervisor(Some(failed(&why)));
                        question.await
                    }
                };
                node.ledger.hypervisor(answer.ok());
            } else {
                node.ledger.hypervisor(None);
            }
            sleep(EVERY).await;
        }
    }

    fn failed(why: &str) -> Hypervisor {
        Hypervisor { error: Some(text::clean(why, 400)), ..Hypervisor::default() }
    }

    /// Blocks until libvirt answers.
    pub(super) fn ask(uri: &str) -> Hypervisor {
        match Connect::open_read_only(Some(uri)) {
            Ok(mut connection) => {
                let answer = look(&connection).unwrap_or_else(|error| failed(error.message()));
                // Not done by itself when it is dropped. What can't be closed is broken already.
                let _ = connection.close();
                answer
            }
            Err(error) => failed(error.message()),
        }
    }

    fn look(connection: &Connect) -> Result<Hypervisor, Error> {
        let host = connection.get_node_info()?;
        let capabilities = connection.get_capabilities().unwrap_or_default();
        let model = cpu_model(&capabilities).unwrap_or(&host.model);
        Ok(Hypervisor {
            cpu_model: text::name(model),
            threads: host.cpus,
            memory_bytes: host.memory.saturating_mul(1024),
            version: version(connection.get_hyp_version()?),
            domains: domains(connection)?,
            error: None,
        })
    }

    fn domains(connection: &Connect) -> Result<Vec<Domain>, Error> {
        let mut out = Vec::new();
        for mut domain in connection.list_all_domains(virt_sys::VIR_CONNECT_LIST_DOMAINS_ACTIVE)? {
            // A domain that ends while it is looked at is no longer one.
            if let (Ok(name), Ok(uuid), Ok(info)) =
                (domain.get_name(), domain.get_uuid_string(), domain.get_info())
            {
                out.push(Domain {
                    name: text::name(&name),
                    uuid: text::name(&uuid),
                    vcpus: info.nr_virt_cpu,
                    memory_bytes: info.memory.saturating_mul(1024),
                });
            }
            // Dropped unfreed it frees itself, and panics when it can't.
            if domain.free().is_err() {
                std::mem::forget(domain);
            }
        }
        out.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(out)
    }

    /// `major * 1,000,000 + minor * 1,000 + release` (virConnectGetVersion).
    pub(super) fn version(number: u32) -> String {
        format!("{}.{}.{}", number / 1_000_000, number / 1_000 % 1_000, number % 1_000)
    }

    /// The host CPU's model in the capabilities: libvirt's name for it, which two hosts must share to move a guest.
    pub(super) fn cpu_model(capabilities: &str) -> Option<&str> {
        let host = between(capabilities, "<host>", "</host>")?;
        let model = between(between(host, "<cpu>", "</cpu>")?, "<model>", "</model>")?;
        (!model.is_empty()).then_some(model)
    }

    fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
        let (_, rest) = text.split_once(from)?;
        rest.split_once(to).map(|(inner, _)| inner)
    }
}

#[cfg(all(test, feature = "libvirt"))]
mod tests {
    use super::asked::{ask, cpu_model, version};

    #[test]
    fn libvirts_own_test_host_is_read() {
        let hypervisor = ask("test:///default");
        assert_eq!(hypervisor.error, None);
        assert_eq!((hypervisor.threads, hypervisor.version.as_str()), (16, "0.0.2"));
        assert!(hypervisor.memory_bytes > 1 << 30 && !hypervisor.cpu_model.is_empty(), "{hypervisor:?}");
        let [domain] = &hypervisor.domains[..] else { panic!("{hypervisor:?}") };
        assert_eq!((domain.name.as_str(), domain.vcpus), ("test", 2));
        assert_eq!((domain.uuid.len(), domain.memory_bytes), (36, 2 << 30));
    }

    #[test]
    fn a_libvirt_that_is_not_there_is_an_answer_too() {
        let hypervisor = ask("qemu+unix:///system?socket=/nonexistent");
        assert!(hypervisor.error.is_some_and(|why| why.contains("nonexistent")), "says what is missing");
        assert!(hypervisor.domains.is_empty());
    }

    #[test]
    fn capabilities_of_any_shape() {
        for (text, want) in [
            (
                "<capabilities><host><uuid>x</uuid><cpu><arch>x86_64</arch><model>Skylake</model></cpu></host>",
                Some("Skylake"),
            ),
            ("<host><cpu><arch>i686</arch></cpu></host><guest><model>no</model></guest>", None),
            ("<host><cpu><model></model></cpu></host>", None),
            ("<host><cpu><model>cut", None),
            ("</host></cpu><host>", None),
            ("", None),
        ] {
            assert_eq!(cpu_model(text), want, "{text}");
        }
        assert_eq!((version(10_000_003), version(0)), ("10.0.3".to_owned(), "0.0.0".to_owned()));
    }
}
