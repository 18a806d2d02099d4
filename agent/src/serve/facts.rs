//! The node itself, in numbers.

use std::path::Path;

use protocol::Facts;

use crate::text;

/// The kernel's boot id: another one after every boot.
pub(crate) fn boot_id(root: &Path) -> String {
    let read = std::fs::read_to_string(root.join("proc/sys/kernel/random/boot_id"));
    // A test's tree has no /proc of its own.
    let read = read.or_else(|_| std::fs::read_to_string("/proc/sys/kernel/random/boot_id"));
    text::clean(&read.unwrap_or_default(), 64)
}

/// Everything but the hypervisor; what can't be read is empty or 0.
pub(super) fn take(root: &Path) -> Facts {
    let uname = rustix::system::uname();
    let system = rustix::system::sysinfo();
    let (root_bytes, root_free_bytes) = rustix::fs::statvfs(root).map_or((0, 0), |fs| {
        (fs.f_blocks.saturating_mul(fs.f_frsize), fs.f_bavail.saturating_mul(fs.f_frsize))
    });
    Facts {
        hostname: text::name_of_bytes(uname.nodename().to_bytes()),
        kernel: text::name_of_bytes(uname.release().to_bytes()),
        root_bytes,
        root_free_bytes,
        memory_bytes: system.totalram.saturating_mul(u64::from(system.mem_unit)),
        uptime_seconds: u64::try_from(system.uptime).unwrap_or(0),
        hypervisor: None,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_machine_has_facts() {
        let root = std::path::Path::new("/");
        let facts = super::take(root);
        assert!(facts.root_bytes >= facts.root_free_bytes && facts.root_bytes > 0);
        assert!(facts.memory_bytes > 64 << 20 && facts.uptime_seconds > 0, "{facts:?}");
        assert!(!facts.kernel.is_empty() && !facts.hostname.is_empty());
        assert_eq!(super::boot_id(root).len(), 36);
    }
}
