//! What people see, letter by letter.

use serde_json::{Value, json};

use super::PIPE;
use super::samples::{self, NOW, but, read};
use crate::terminal::Look;
use crate::text::width;
use crate::{boot, doctor, event, image, job, node, plan, service, status, why};

pub(super) const SCREEN: Look = Look { columns: Some(80), rows: Some(24), ..PIPE };

/// The page without the margin that keeps it readable here.
pub(super) fn golden(text: &str) -> String {
    let lines =
        text.trim_matches(['\n', ' ']).lines().map(|line| line.strip_prefix("        ").unwrap_or(line));
    lines.map(|line| format!("{line}\n")).collect()
}

#[track_caller]
pub(super) fn assert_golden(got: &str, text: &str) {
    let wanted = golden(text);
    assert!(got == wanted, "got:\n{got}\nwanted:\n{wanted}");
    assert!(got.lines().all(|line| width(line) <= 80), "wider than 80 columns:\n{got}");
}

fn several_nodes() -> Vec<Value> {
    let waiting = json!({"state": "discovered", "code": "X7K2QD", "health": "", "unitsUp": null, "units": null,
        "roles": [], "waiting": "you to compare the code", "address": "10.77.0.111"});
    let stuck =
        json!({"state": "attention", "health": "attention", "waiting": "you: no disk (safe now: retry)"});
    vec![
        samples::node("n1"),
        but(samples::node("n2"), waiting),
        but(samples::node("n3"), json!({"state": "imaging", "percent": 41, "unitsUp": null, "units": null})),
        but(samples::node("n4"), json!({"health": "silent", "unitsUp": 2})),
        but(samples::node("n5"), stuck),
    ]
}

#[test]
fn node_list() {
    let rows = several_nodes().into_iter().map(read).collect::<Vec<_>>();
    assert_golden(
        &node::render_nodes(&rows, &PIPE, NOW),
        "
        NAME  STATE       FOR  ADDRESS      ROLES            DETAIL
        n1    active      3m   10.77.0.10   compute,network  4/4 up
        n2    discovered  3m   10.77.0.111  -                code X7K2QD
        n3    imaging     3m   10.77.0.10   compute,network  41 %
        n4    active      3m   10.77.0.10   compute,network  2/4 up, silent
        n5    attention   3m   10.77.0.10   compute,network  4/4 up, no disk
        ",
    );
}

#[test]
fn node_show() {
    assert_golden(
        &node::render_node(&read(samples::node_view("n1")), &PIPE, NOW),
        r#"
        n1 is active for 3m: ok
          id          00112233445566778899aabbccddeeff
          address     10.77.0.10
          mac         52:54:00:12:34:56
          roles       compute, network
          evidence    code (no TPM: there is no TPM 2.0 (no /dev/tpmrm0))
          first seen  2026-11-20 12:31:02 UTC (2h ago)
          last heard  2026-11-20 14:31:00 UTC (2s ago)

        Hardware
          product   QEMU Standard PC
          serial    -
          cpu       QEMU Virtual CPU, 2 threads
          memory    2 GiB
          firmware  uefi, booted as uefi-pxe with shim and GRUB
          bmc       none seen

        Disks
          DISK        MODEL          SIZE    BUS     HOLDS
          serial:QM1  QEMU HARDDISK  10 GB   virtio  system disk, gpt, ext4 "data"
          wwn:0x5000  DATA           480 GB  virtio  gpt, ext4 "data"

        Network
          NIC     MAC                ADDRESS     LINK  SPEED  DRIVER
          enp0s2  52:54:00:12:34:56  10.77.0.10  up    -      virtio_net

        Installed
          image           base
          system disk     serial:QM1
          state document  4 wanted, 3 applied
          host            n1, kernel 6.12.9
          root            8 GiB of 10 GiB free
          up              2h5m

        Receipt
          read back  2 GiB at 2026-11-20 14:00:02 UTC (31m ago)
          written    1 GiB; 1 GiB were right already
          image      1111111111111111111111111111111111111111111111111111111111111111
          disk       serial:QM1
          serial     QM1
          wwn        -
          root       2222222222222222222222222222222222222222222222222222222222222222
          signed by  3333333333333333333333333333333333333333333333333333333333333333

        Units
          UNIT            STATE   SUB     RESULT
          chrony.service  failed  failed  exit-code
          chrony.service:
            cannot bind
            giving up

        Tasks
          TASK  RESULT  WHY
          vg    failed  exit status 5
        "#,
    );
}

#[test]
fn node_why_tells_the_last_network_boot() {
    let why = but(samples::why(), json!({"boot": samples::boot()}));
    assert_golden(
        &why::render_why(&read(why), &SCREEN, NOW),
        "
        n1 is booting for 3m
          waits for  its first boot to enrol
          until      2026-11-20 14:53:02 UTC (in 22m)

        How it came here
          UTC       KIND      WHAT
          14:30:01  approved  let in by the operator
          14:30:02  approved  let in by the operator

        The last network boot (18:66:da:10:20:30)
          earlier  14:20:00 came to asked
          began    2026-11-20 14:28:00 UTC (3m ago)
          came to  asked

            +0.000  asked    DISCOVER (UEFI, arch 7)
                             -> silence: 18:66:da:10:20:30 is not a known machine, and
                                only those are answered
            +3.900  asked    DISCOVER (UEFI, arch 7), after 4 s, 3 times
                             -> silence: 18:66:da:10:20:30 is not a known machine, and
                                only those are answered
            +5.000  -        another DHCP server on eno2: 192.168.1.1
                             (26s of silence)
           +31.000  loader   TFTP pxelinux.0 -> no such file

        Likely
          certain: it asks to boot, and nobody has made it known
            why: On this network only servers that an operator has made known are
                 answered.
            fix: if it is one of yours: rackwright network reserve 18:66:da:10:20:30

        Next: rackwright node watch n1
        ",
    );
}

#[test]
fn a_machine_that_is_no_node_yet() {
    let quiet = but(samples::boot(), json!({"attempts": [], "findings": []}));
    assert_golden(
        &boot::render_card(&read(quiet), &SCREEN, NOW),
        "
        18:66:da:10:20:30 is no node yet

        The last network boot (18:66:da:10:20:30)
          (nothing is recorded)
        ",
    );
    let healthy = but(samples::boot(), json!({"node": "n2", "findings": [], "around": []}));
    let text = boot::render_card(&read(healthy), &SCREEN, NOW);
    assert!(text.starts_with("18:66:da:10:20:30 is a card of n2\n"), "{text}");
    assert!(text.ends_with("\nLikely\n  nothing looks wrong\n"), "{text}");
}

#[test]
fn doctor_says_the_worst_first() {
    assert_golden(
        &doctor::render_doctor(&read(samples::doctor()), &SCREEN, NOW),
        "
        [ok]    listeners      7 listeners listen
        [fail]  boot-store     the boot store has no usable initrd.img (No such file or
                               directory)
                fix: image-build ramdisk --out /var/lib/rackwright/boot
        [ok]    dhcp           10.77.0.0/24: only servers that were made known are
                               answered
        [warn]  pool           10.77.0.0/24: 95 of 100 addresses are held
                fix: release what is not needed (rackwright network leases), or make the
                     pool larger

        Network boots

        18:66:da:10:20:30  no node yet, came to asked, heard 2m ago
          certain: it asks to boot, and nobody has made it known
            why: On this network only servers that an operator has made known are
                 answered.
            fix: if it is one of yours: rackwright network reserve 18:66:da:10:20:30

        Next: step by step: rackwright node why 18:66:da:10:20:30
        ",
    );
}

#[test]
fn node_why() {
    assert_golden(
        &why::render_why(&read(samples::why()), &PIPE, NOW),
        "
        n1 is booting for 3m
          waits for  its first boot to enrol
          until      2026-11-20 14:53:02 UTC (in 22m)

        How it came here
          UTC       KIND      WHAT
          14:30:01  approved  let in by the operator
          14:30:02  approved  let in by the operator

        Next: rackwright node watch n1
        ",
    );
}

#[test]
fn what_to_do_next() {
    let next = |changes: Value| why::next_command(&read(but(samples::node("n1"), changes)));
    let table = [
        (
            json!({"state": "discovered", "code": "X7K2QD"}),
            "compare the code, then: rackwright node approve n1",
        ),
        (json!({"state": "ready", "waiting": "a plan (rackwright node plan n1)"}), "rackwright node plan n1"),
        (
            json!({"state": "planned", "waiting": "the plan to be applied (rackwright apply p-1)"}),
            "rackwright apply p-1",
        ),
        (json!({"state": "planned", "waiting": "(rackwright apply"}), "rackwright plan list"),
        (json!({"state": "attention"}), "when the cause is gone: rackwright node retry n1"),
        (json!({"health": "degraded"}), "rackwright service list --node n1"),
        (json!({"health": "silent"}), "look at the screen of n1"),
    ];
    for (changes, command) in table {
        assert_eq!(next(changes.clone()).as_deref(), Some(command), "{changes}");
    }
    assert_eq!(next(json!({})), None);
}

#[test]
fn plan_show() {
    assert_golden(
        &plan::render_plan(&read(samples::plan())),
        r#"
        Plan p-8f31: install n1

        - disk   serial:QM1  QEMU HARDDISK  10 GB  WILL BE ERASED
                 ON IT NOW:
                   WHOLE DISK  GPT
                   PARTITION 1  EXT4  "data"  9 GB
        = disk   wwn:0x5000 (serial S4X1)  DATA  480 GB  is kept
        + image  base (3f9a1c0d5e6b7a88), at most 1.1 GiB are written
        + roles  compute, network

        Nothing has been changed. Apply: rackwright apply p-8f31
        "#,
    );
}

#[test]
fn what_was_named_stands_apart() {
    let member = json!({"kind": "luks", "partition": 3, "label": "", "bytes": null, "uuid": "0d5a-11"});
    let changes = json!({"erases": [member], "erase": ["luks@3:0d5a-11"], "keeps": []});
    let text = plan::render_plan(&read(but(samples::plan(), changes)));
    let below = |line: &str| format!("{}\n", line.strip_prefix("         ").unwrap_or(line));
    let lines = text.lines().skip(3).take(4).map(below).collect::<String>();
    assert_golden(
        &lines,
        r#"
        ON IT NOW:
          PARTITION 3  LUKS  "0d5a-11"
        ERASED BECAUSE YOU NAMED IT:
          luks@3:0d5a-11
        "#,
    );
}

#[test]
fn a_plan_that_trusts_the_disk_says_so() {
    let text = plan::render_plan(&read(but(samples::plan(), json!({"verify": "stream"}))));
    let line = "!        it is NOT READ BACK: what the disk says is durable is trusted\n";
    assert!(text.contains(line), "{text}");
}

#[test]
fn a_plan_says_what_would_be_ended() {
    let guests = json!({"guests": ["web", "db"]});
    let text = plan::render_plan(&read(but(samples::plan(), guests)));
    assert!(text.contains("! VIRTUAL MACHINES RUN ON IT: web, db\n") && text.contains("--force"), "{text}");
}

#[test]
fn plans_that_are_over() {
    let render = |changes: Value| plan::render_plan(&read(but(samples::plan(), changes)));
    let applied =
        render(json!({"state": "applied", "note": "job 5f3a", "kind": "rebuild", "erases": [], "keeps": []}));
    assert_golden(
        &applied,
        "
        Plan p-8f31: rebuild n1

        - disk   serial:QM1  QEMU HARDDISK  10 GB  WILL BE ERASED
                 NOTHING IS RECOGNISED ON IT
        + image  base (3f9a1c0d5e6b7a88), at most 1.1 GiB are written
        + roles  compute, network
        = node   name, id, address and SSH host keys are kept

        It was applied as job 5f3a. Watch: rackwright job watch 5f3a
        ",
    );
    let data = |kept: bool| {
        let data = json!({"disk": "wwn:0x5000", "model": "DATA", "serial": "S4X1", "bytes": 480_103_981_056u64,
            "group": "cinder-volumes", "kept": kept});
        let text = render(json!({"data": data, "keeps": []}));
        text.lines()
            .skip(6)
            .take_while(|line| !line.starts_with('+'))
            .map(|l| format!("{l}\n"))
            .collect::<String>()
    };
    assert_golden(
        &data(false),
        "
        - data   wwn:0x5000 (serial S4X1)  DATA  480 GB  WILL BE WRITTEN TO
                 NOTHING IS RECOGNISED ON IT
                 it becomes the volume group cinder-volumes
        ",
    );
    assert_golden(
        &data(true),
        "
        = data   wwn:0x5000 (serial S4X1)  DATA  480 GB  is kept, as cinder-volumes
        ",
    );
    let withdrawn = render(json!({"state": "withdrawn", "note": "the disk has changed"}));
    let last = withdrawn.lines().last().unwrap();
    assert_eq!(last, "It is withdrawn: the disk has changed. Plan again: rackwright node plan n1");
}

#[test]
fn job_show() {
    assert_golden(
        &job::render_job(&read(samples::job()), NOW),
        "
        job 5f3a2b1c9d8e7f60 on n1 is running
          stage         imaging
          node is       imaging
          plan          p-8f31
          image         base
          disk          serial:QM1
          written       512 MiB of 1 GiB
          right before  0 B
          read back     0 B
          fetched       95 MiB
          taken up      1x
          made          2026-11-20 14:28:02 UTC
          started       2026-11-20 14:28:05 UTC
          ended         -
          took          3m

        Next: rackwright job watch 5f3a2b1c9d8e7f60
        ",
    );
}

#[test]
fn job_show_of_a_capture() {
    let text = job::render_job(&read(samples::captured()), NOW);
    assert!(text.contains("  image          lab-2 (3f9a1c0d5e6b)\n"), "{text}");
    assert!(text.contains("  keys and ids   left out of the image: it is for any server\n"), "{text}");
    let as_is = but(samples::captured(), json!({"identity": "as-is", "imageDigest": null}));
    let text = job::render_job(&read(as_is), NOW);
    assert!(text.contains("  image          lab-2\n"), "{text}");
    assert!(text.contains("  keys and ids   in the image: it is for n1 alone\n"), "{text}");
    assert!(text.lines().all(|line| crate::text::width(line) <= 80), "{text}");
}

#[test]
fn lists() {
    let failed = but(samples::job(), json!({"state": "failed", "ended": "2026-11-20T14:29:03.000Z"}));
    let table = [
        (
            job::render_jobs(&[read(samples::job()), read(failed)], &PIPE, NOW),
            "
        JOB               NODE  STATE    STAGE    DONE  TOOK  IMAGE
        5f3a2b1c9d8e7f60  n1    running  imaging  25 %  3m    base
        5f3a2b1c9d8e7f60  n1    failed   -        25 %  1m1s  base",
        ),
        (
            plan::render_plans(&[read(samples::plan())], &PIPE, NOW),
            "
        PLAN    NODE  KIND     STATE  AGE  IMAGE  ERASES
        p-8f31  n1    install  open   1m   base   serial:QM1 10 GB",
        ),
        (
            image::render_images(
                &[read(samples::image()), read(samples::personal(samples::image()))],
                &PIPE,
                NOW,
            ),
            "
        IMAGE  DIGEST        AGE  SIZE     DISK  FOR  ROLES            NODES
        base   3f9a1c0d5e6b  1h   512 MiB  4 GB  any  compute,network  n1
        n1-1   3f9a1c0d5e6b  1h   512 MiB  4 GB  n1   -                -",
        ),
        (
            service::render_services(&[read(samples::service())], &PIPE),
            "
        NODE  UNIT            WANTED   STATE   SUB     LAST LINE
        n1    chrony.service  running  failed  failed  giving up",
        ),
        (
            event::render_events(vec![read(samples::event(2)), read(samples::event(1))], &PIPE),
            "
        UTC       NODE  KIND      WHAT
        14:30:01  n1    approved  let in by the operator
        14:30:02  n1    approved  let in by the operator",
        ),
    ];
    table.iter().for_each(|(got, text)| assert_golden(got, text));
}

#[test]
fn events_of_several_days_have_a_date() {
    let old = but(samples::event(1), json!({"time": "2026-11-19T23:59:59.000Z", "node": ""}));
    assert_golden(
        &event::render_events(vec![read(old), read(samples::event(2))], &PIPE),
        "
        UTC             NODE  KIND      WHAT
        11-19 23:59:59  -     approved  let in by the operator
        11-20 14:30:02  n1    approved  let in by the operator",
    );
}

#[test]
fn status_screen() {
    assert_golden(
        &status::render_status(&read(samples::status()), &SCREEN),
        "
        school  BUSY  2026-11-20 14:31:02 UTC  rackwright 0.1.0
        answered: dhcp 12  tftp 3
          tftp 10.77.0.1:69: refused ../etc/passwd

        NAME  STATE   FOR  ADDRESS     ROLES            DETAIL
        n1    active  3m   10.77.0.10  compute,network  4/4 up

        n1  imaging     [#####---------------]   25 %  512 MiB of 1 GiB written

        14:30:01  n1  approved  let in by the operator
        14:30:02  n1  approved  let in by the operator

        Next: compare the code of n2 with its screen: rackwright node approve n2",
    );
    let empty = json!({"nodes": [], "jobs": [], "events": [], "listeners": [], "next": null, "health": "ok"});
    assert_golden(
        &status::render_status(&read(but(samples::status(), empty)), &SCREEN),
        "
        school  OK  2026-11-20 14:31:02 UTC  rackwright 0.1.0
        no listeners

        no nodes yet

        Next: nothing to do",
    );
}

#[test]
fn a_full_disk_is_told_in_full() {
    let full = json!({"nodes": [], "jobs": [], "events": [], "listeners": [], "health": "attention",
        "storage": {"path": "/var/lib/rackwright", "totalBytes": 1000, "freeBytes": 0, "problem": "nothing can be \
            saved since 2026-11-20T14:28:02.000Z, 12 requests were refused: database or disk is full; 0 bytes are \
            free"},
        "next": "free space, and all goes on by itself: du -xh /var/lib/rackwright"});
    assert_golden(
        &status::render_status(&read(but(samples::status(), full)), &SCREEN),
        "
        school  ATTENTION  2026-11-20 14:31:02 UTC  rackwright 0.1.0
        no listeners
          disk /var/lib/rackwright: nothing can be saved since 2026-11-20T14:28:02.000Z,
          12 requests were refused: database or disk is full; 0 bytes are free

        no nodes yet

        Next: free space, and all goes on by itself: du -xh /var/lib/rackwright",
    );
    // A daemon of before this line was there.
    let mut older = samples::status();
    older.as_object_mut().unwrap().remove("storage");
    assert!(!status::render_status(&read(older), &SCREEN).contains("disk"));
}

#[test]
fn a_clock_that_is_not_believed_is_told_in_full() {
    let doubted = json!({"nodes": [], "jobs": [], "events": [], "listeners": [], "health": "attention",
        "clock": "the controller's clock has jumped from 2026-11-20T14:28:02.000Z to 2027-11-20T14:28:02.000Z: no \
            certificates are issued until it is set back; if it is right now: rackwright clock accept",
        "next": "look whether the controller's clock is right"});
    assert_golden(
        &status::render_status(&read(but(samples::status(), doubted)), &SCREEN),
        "
        school  ATTENTION  2026-11-20 14:31:02 UTC  rackwright 0.1.0
        no listeners
          the controller's clock has jumped from 2026-11-20T14:28:02.000Z to
          2027-11-20T14:28:02.000Z: no certificates are issued until it is set back; if
          it is right now: rackwright clock accept

        no nodes yet

        Next: look whether the controller's clock is right",
    );
}

/// Forty nodes, nine jobs, twenty events: still one screen, and whoever needs a person is on it.
#[test]
fn a_full_rack_is_one_screen() {
    let many = |count: u64, of: fn(u64) -> Value| (0..count).map(of).collect::<Vec<_>>();
    let mut nodes = many(40, |index| samples::node(&format!("a{index}")));
    nodes.extend(several_nodes());
    let listener =
        json!({"name": "dhcp", "address": "10.77.0.1:67", "answered": 1, "problem": "x".repeat(200)});
    let full = json!({"nodes": nodes, "jobs": many(9, |_| samples::job()), "events": many(20, samples::event),
        "listeners": vec![listener; 4], "next": "y".repeat(200)});
    let status = read(but(samples::status(), full));
    let screen = status::render_status(&status, &SCREEN);
    assert!(screen.lines().count() <= 24, "{} lines:\n{screen}", screen.lines().count());
    assert!(screen.lines().all(|line| width(line) <= 80), "{screen}");
    for part in
        ["n5    attention", "more: rackwright node list", "and 5 more: rackwright job list", "Next: y"]
    {
        assert!(screen.contains(part), "{part:?} is missing in:\n{screen}");
    }
    let everything = status::render_status(&status, &PIPE);
    assert_eq!(
        everything.lines().filter(|line| line.starts_with('a')).count(),
        40 + 2,
        "a pipe is as long as it needs"
    );
}
