//! How much of an image may wait in memory for the disk.

use std::path::Path;

/// What every server that can run the ramdisk at all has room for.
const LEAST: u64 = 64 << 20;
/// Left to everything else, besides a quarter of what is free.
const KEPT_FREE: u64 = 192 << 20;

/// Bytes of an image's stored bytes that may wait: of the memory that is free now, three quarters. A slow disk then holds up
/// nobody who sends. Never more than the image has.
pub(super) fn bytes(root: &Path, image: u64) -> u64 {
    let meminfo = std::fs::read_to_string(root.join("proc/meminfo")).unwrap_or_default();
    of(&meminfo, image)
}

/// The same, by what /proc/meminfo says (proc(5)).
fn of(meminfo: &str, image: u64) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse().ok());
    let free = kib.map_or(0, |kib: u64| kib.saturating_mul(1024));
    (free.saturating_sub(KEPT_FREE) / 4 * 3).max(LEAST).min(image.max(LEAST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_takes_what_is_free_and_never_more_than_the_image() {
        let free = |kib: u64| format!("MemTotal: 99999999 kB\nMemAvailable:   {kib} kB\nBuffers: 1 kB\n");
        let gib = 1 << 30;
        assert_eq!(of(&free(4 << 20), 64 * gib), (4 * gib - KEPT_FREE) / 4 * 3);
        assert_eq!(of(&free(4 << 20), gib), gib);
        assert_eq!(of(&free(4 << 20), 5), LEAST);
        assert_eq!(of(&free(100 << 10), gib), LEAST);
        for bad in ["", "MemAvailable:", "MemAvailable: x kB", "MemAvailable: 99999999999999999999 kB"] {
            assert_eq!(of(bad, gib), LEAST, "{bad}");
        }
        assert_eq!(of(&free(u64::MAX), gib), gib);
    }
}
