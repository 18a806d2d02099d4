//! A tar file of plain files in one folder (POSIX.1-1988, ustar).

/// Bytes of a block.
const BLOCK: usize = 512;
/// The folder that everything is in.
const FOLDER: &str = "rackwright-support";
/// What a tar file ends with.
pub(super) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// One file, with its header and what fills its last block.
pub(super) fn entry(name: &str, content: &[u8], time: u64) -> Vec<u8> {
    let mut header = [0_u8; BLOCK];
    let path = format!("{FOLDER}/{}", plain(name));
    let mut put = |at: usize, text: &str| {
        header.iter_mut().skip(at).zip(text.bytes()).for_each(|(place, byte)| *place = byte);
    };
    put(0, &path);
    put(100, "0000600\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, &format!("{time:011o}\0"));
    // The sum is made with spaces in its own place.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\0");
    put(263, "00");
    let sum = header.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    let sum = format!("{sum:06o}\0 ");
    header.iter_mut().skip(148).zip(sum.bytes()).for_each(|(place, byte)| *place = byte);
    let mut entry = header.to_vec();
    entry.extend_from_slice(content);
    entry.resize(entry.len().next_multiple_of(BLOCK), 0);
    entry
}

/// A name that stays in the folder and fits its field.
fn plain(name: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() || ['-', '_', '.'].contains(&c) { c } else { '_' };
    name.chars().map(fits).take(80).collect::<String>().trim_start_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::{END, entry};
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn tar_reads_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let long = "x".repeat(1500);
        let files =
            [("status.json", "{}\n"), ("../../etc/passwd", "no\n"), ("empty", ""), ("long", long.as_str())];
        let mut bytes = files
            .iter()
            .flat_map(|(name, text)| entry(name, text.as_bytes(), 1_700_000_000))
            .collect::<Vec<_>>();
        bytes.extend(END);
        let mut tar =
            Command::new("tar").arg("-x").current_dir(folder.path()).stdin(Stdio::piped()).spawn().unwrap();
        tar.stdin.take().unwrap().write_all(&bytes).unwrap();
        assert!(tar.wait().unwrap().success());
        let read = |name: &str| {
            std::fs::read_to_string(folder.path().join("rackwright-support").join(name)).unwrap()
        };
        assert_eq!(read("status.json"), "{}\n");
        assert_eq!(read("_.._etc_passwd"), "no\n");
        assert_eq!(read("empty"), "");
        assert_eq!(read("long"), long);
    }
}
