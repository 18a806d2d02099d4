use std::io::{Error, ErrorKind};

use super::*;

fn connecting(kind: ErrorKind) -> Failure {
    Failure::Connecting { socket: PathBuf::from("/run/rackwright/control.sock"), source: Error::from(kind) }
}

#[test]
fn exit_codes() {
    let text = String::new;
    let broken_json = || serde_json::from_str::<u8>("{").unwrap_err();
    let reading = |kind| Failure::Reading { path: PathBuf::new(), source: Error::from(kind) };
    let refused = |exit| Failure::Refused { error: text(), exit };
    let table = [
        (connecting(ErrorKind::NotFound), 6),
        (connecting(ErrorKind::ConnectionRefused), 6),
        (connecting(ErrorKind::PermissionDenied), 11),
        (Failure::Silent { request: text(), seconds: 60 }, 6),
        (Failure::Understanding { request: text(), source: broken_json() }, 1),
        (Failure::Version { theirs: text() }, 1),
        (refused(3), 3),
        (refused(4), 4),
        (refused(2), 2),
        (refused(0), 1),
        (Failure::Unconfirmed { what: text(), next: text() }, 5),
        (reading(ErrorKind::NotFound), 3),
        (reading(ErrorKind::PermissionDenied), 11),
        (reading(ErrorKind::Other), 1),
        (Failure::NotAFile { path: PathBuf::new() }, 1),
        (Failure::JobFailed { job: text(), node: text(), why: text() }, 1),
        (Failure::NodeStuck { job: text(), node: text() }, 1),
        (Failure::Waited { job: text(), seconds: 1 }, 7),
        (Failure::Damaged { image: text(), bad: 1 }, 1),
        (Failure::Printing { source: Error::from(ErrorKind::BrokenPipe) }, 0),
        (Failure::Printing { source: Error::from(ErrorKind::StorageFull) }, 1),
    ];
    for (failure, code) in table {
        assert_eq!(failure.exit(), code, "{failure:?}");
    }
}

#[test]
fn what_why_and_next() {
    assert_eq!(
        connecting(ErrorKind::NotFound).render(),
        "error: cannot reach the rackwright daemon at /run/rackwright/control.sock\n  \
         why:  entity not found\n  \
         next: see whether it runs: systemctl status rackwright.service\n"
    );
    assert!(connecting(ErrorKind::PermissionDenied).render().contains("next: use it as root"));
    let refused =
        Failure::Refused { error: "another key\n  it came later\n\ndo: reject it".to_owned(), exit: 4 };
    assert_eq!(refused.render(), "error: another key\n  it came later\n  do: reject it\n");
    let empty = Failure::Refused { error: " \n ".to_owned(), exit: 4 };
    assert_eq!(empty.render(), "error: refused without a reason\n");
    let failed =
        Failure::JobFailed { job: "j1".to_owned(), node: "n1".to_owned(), why: "chunk 7 is bad".to_owned() };
    assert_eq!(
        failed.render(),
        "error: job j1 on n1 failed\n  why:  chunk 7 is bad\n  next: rackwright node why n1\n"
    );
}
