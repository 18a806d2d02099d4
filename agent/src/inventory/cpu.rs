//! Processors and memory, from `/proc/cpuinfo` and `/proc/meminfo`.

use protocol::Cpu;

/// `/proc/cpuinfo` of x86-64 or arm64.
pub fn cpu(text: &str) -> Cpu {
    let value = |key: &str| {
        text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == key).then(|| value.trim())
        })
    };
    let threads = text.lines().filter(|line| line.split(':').next().map(str::trim) == Some("processor"));
    let flags = value("flags").unwrap_or_default();
    Cpu {
        model: crate::text::name(value("model name").or_else(|| value("CPU part")).unwrap_or_default()),
        threads: u32::try_from(threads.count()).unwrap_or(u32::MAX),
        arch: std::env::consts::ARCH.to_owned(),
        virtualisation: flags.split_ascii_whitespace().any(|flag| matches!(flag, "vmx" | "svm")),
    }
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
pub fn memory_bytes(text: &str) -> u64 {
    text.lines()
        .find_map(|line| {
            let kib =
                line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?;
            kib.checked_mul(1024)
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{cpu, memory_bytes};

    #[test]
    fn two_threads_with_vmx() {
        let text = "processor\t: 0\nmodel name\t: Intel(R) Xeon(R)  CPU @ 2.20GHz\nflags\t\t: fpu vmx sse\n\n\
                    processor\t: 1\nmodel name\t: Intel(R) Xeon(R)  CPU @ 2.20GHz\nflags\t\t: fpu vmx sse\n";
        let got = cpu(text);
        assert_eq!((got.threads, got.virtualisation), (2, true));
        assert_eq!(got.model, "Intel(R) Xeon(R) CPU @ 2.20GHz");
    }

    #[test]
    fn nonsense_is_an_unknown_processor() {
        for text in ["", ":", "processor", "flags: vmxnet svms", "model name : \x1b[31m\n"] {
            let got = cpu(text);
            assert!(!got.virtualisation, "{text:?}");
            assert!(!got.model.contains('\x1b'), "{text:?}");
        }
    }

    #[test]
    fn memory_of_any_text() {
        let table = [
            ("MemTotal:        2048 kB\nMemFree: 1 kB\n", 2048 * 1024),
            ("MemTotal: kB", 0),
            ("MemTotal: 18446744073709551615 kB", 0),
            ("MemTotal: -1 kB", 0),
            ("", 0),
        ];
        for (text, want) in table {
            assert_eq!(memory_bytes(text), want, "{text:?}");
        }
    }
}
