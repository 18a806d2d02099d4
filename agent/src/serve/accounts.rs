//! Names of users and groups to numbers, from `/etc/passwd` and `/etc/group`: the agent is a static program and has no
//! name service, and the accounts of the services are in these files.

use std::path::Path;

/// The number in the third field of the line that begins with `name`.
pub fn number(text: &str, name: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

/// The user's number.
pub(super) fn user(root: &Path, name: &str) -> Option<u32> {
    look_up(root, "etc/passwd", name)
}

/// The group's number.
pub(super) fn group(root: &Path, name: &str) -> Option<u32> {
    look_up(root, "etc/group", name)
}

fn look_up(root: &Path, file: &str, name: &str) -> Option<u32> {
    if name == "root" {
        return Some(0);
    }
    number(&std::fs::read_to_string(root.join(file)).ok()?, name)
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn accounts_are_found_and_garbage_is_not() {
        let text = "root:x:0:0:root:/root:/bin/sh\n\n:::\nnova:x\nnova2:x:abc:1\n_chrony:x:104:109::/:/x\nbig:x:4294967296:1\n";
        for (name, want) in [
            ("root", Some(0)),
            ("_chrony", Some(104)),
            ("nova", None),
            ("nova2", None),
            ("big", None),
            ("chrony", None),
            ("", None),
            ("x", None),
            ("root:x", None),
        ] {
            assert_eq!(number(text, name), want, "{name:?}");
        }
    }
}
