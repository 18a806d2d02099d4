//! Messages between node and controller, and the seed that a ramdisk leaves for the installed system.

use std::fmt::Debug;

use protocol::{
    Disk, Enrol, Enrolled, Envelope, Erasure, Hello, HelloReply, IdentityFile, Inventory, Missing, NodeId,
    Progress, ProgressReply, Receipt, Refusal, Report, ReportReply, Rescue, RescueReply, SEED_BYTES, Seal,
    Seed, SeedError, StateAsk, StateReply, Task, TaskAsk, TestReport, Ticket, Windows,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Reached;
use crate::identity::is_made;

/// What was read is written and read again as the same; then writing changes nothing any more.
fn message<T: Serialize + DeserializeOwned + PartialEq + Debug>(data: &[u8]) -> Option<T> {
    let value: T = match serde_json::from_slice(data) {
        Ok(value) => value,
        Err(why) => {
            assert!(!why.to_string().is_empty());
            return None;
        }
    };
    let text = serde_json::to_vec(&value).expect("a message can be written");
    let again: T = serde_json::from_slice(&text).expect("what was written can be read");
    assert!(again == value, "another message after a journey");
    assert_eq!(serde_json::to_vec(&again).ok(), Some(text));
    Some(value)
}

fn inventory(inventory: &Inventory) {
    for disk in &inventory.disks {
        if let Some(id) = disk.id() {
            is_made(&id);
        }
    }
}

/// The ramdisk's hello and its answer.
pub(crate) fn hello(data: &[u8]) -> Reached {
    let hello: Option<Hello> = message(data);
    if let Some(hello) = &hello {
        inventory(&hello.inventory);
    }
    let reply = message::<HelloReply>(data).is_some();
    Reached::when(hello.is_some() || reply || message::<Refusal>(data).is_some())
}

/// A server with a disk; the answers.
pub(crate) fn hello_seeds() -> Vec<Vec<u8>> {
    let inventory = INVENTORY;
    let (key, nonce) = ("ab".repeat(32), "cd".repeat(16));
    let hello = format!(
        r#"{{"protocol":1,"key":"{key}","proof":"{}","boot":{{"mac":"52:54:00:ab:cd:05","address":"10.77.0.100",
        "path":"uefi-pxe","uptime_seconds":4}},"inventory":{inventory},"wait_seconds":25}}"#,
        "ef".repeat(64)
    );
    let reply = |verdict: &str| {
        format!(
            r#"{{"node":"{nonce}","name":"n1","epoch":1,"time_ms":1800000000000,"nonce":"{nonce}","verdict":{verdict}}}"#
        )
    };
    let all = [
        hello,
        reply(r#"{"verdict":"waiting","reason":"compare the code"}"#),
        reply(r#"{"verdict":"approved","certificate":"-----BEGIN CERTIFICATE-----"}"#),
        r#"{"error":"no\u001b[2J","retry":false}"#.to_owned(),
        "[".repeat(4000),
    ];
    all.map(String::into_bytes).into()
}

/// The installed system's first certificate, its identity files, its ticket.
pub(crate) fn enrol(data: &[u8]) -> Reached {
    let files: Option<Vec<IdentityFile>> = message(data);
    let enrolled: Option<Enrolled> = message(data);
    let others = message::<Enrol>(data).is_some() || message::<Ticket>(data).is_some();
    Reached::when(files.is_some() || enrolled.is_some() || others)
}

/// One of each.
pub(crate) fn enrol_seeds() -> Vec<Vec<u8>> {
    let (key, node) = ("ab".repeat(32), "cd".repeat(16));
    let file = r#"{"path":"/etc/ssh/ssh_host_ed25519_key","mode":384,"content":"AAAA"}"#;
    let all = [
        format!(
            r#"{{"protocol":1,"key":"{key}","proof":"{}","boot_id":"x","uptime_seconds":20}}"#,
            "ef".repeat(64)
        ),
        format!(
            r#"{{"node":"{node}","name":"n1","epoch":1,"certificate":"PEM","renew_ms":1,"identity":[{file}]}}"#
        ),
        format!("[{file}]"),
        format!(r#"{{"key":"{key}"}}"#),
    ];
    all.map(String::into_bytes).into()
}

/// Work, progress, receipts.
pub(crate) fn job(data: &[u8]) -> Reached {
    let task: Option<Envelope<Task>> = message(data);
    if let Some(Envelope { body: Task::Image(job), .. }) = &task {
        is_made(&job.target.disk);
        assert!(!job.target.is(&Disk::default()), "a disk without a name is nobody's target");
    }
    let ask: Option<TaskAsk> = message(data);
    if let Some(ask) = &ask {
        inventory(&ask.inventory);
    }
    let receipt: Option<Receipt> = message(data);
    if let Some(receipt) = &receipt {
        is_made(&receipt.disk);
    }
    if let Some(Envelope { body: Task::Capture(job), .. }) = &task {
        is_made(&job.disk.disk);
        assert!(!job.disk.is(&Disk::default()), "a disk without a name is nobody's");
    }
    if let Some(Envelope { body: Task::Erase(job), .. }) = &task {
        for doomed in &job.disks {
            is_made(&doomed.disk.disk);
            assert!(!doomed.disk.is(&Disk::default()), "a disk without a name is nobody's");
        }
    }
    let erasure: Option<Erasure> = message(data);
    if let Some(erasure) = &erasure {
        is_made(&erasure.disk);
        // Whatever is in it, what is signed of it has as many lines as there are things to say.
        assert_eq!(erasure.statement(&NodeId([0; 16])).lines().count(), 17);
    }
    let rescue = message::<Rescue>(data).is_some() || message::<RescueReply>(data).is_some();
    let seal: Option<Seal> = message(data);
    if let Some(seal) = &seal {
        assert!(seal.check().is_ok() || !seal.found.is_empty());
    }
    if let Some(Envelope { body: Task::Test(job), .. }) = &task {
        assert!(job.parts.len() <= 4);
    }
    let tested: Option<TestReport> = message(data);
    if let Some(report) = &tested {
        assert!(report.check().is_ok() || report != &TestReport::begin(report.job));
        assert!(report.fault_count() >= report.more_faults);
    }
    let windows = message::<Windows>(data).is_some() || message::<Envelope<Missing>>(data).is_some();
    let progress = message::<Progress>(data).is_some() || seal.is_some() || windows;
    let reply = message::<Envelope<ProgressReply>>(data).is_some() || erasure.is_some();
    Reached::when(
        tested.is_some()
            || task.is_some()
            || ask.is_some()
            || receipt.is_some()
            || progress
            || reply
            || rescue,
    )
}

/// One of each.
pub(crate) fn job_seeds() -> Vec<Vec<u8>> {
    let (job, digest) = ("ab".repeat(8), "cd".repeat(32));
    let envelope = |body: &str| {
        format!(r#"{{"node":"{}","generation":1,"epoch":1,"job":"{job}","body":{body}}}"#, "ef".repeat(16))
    };
    let image = format!(
        r#"{{"task":"image","job":"{job}","image":"{digest}","signer":"{digest}","target":{{"disk":"serial:QM1",
        "model":"QEMU","bytes":8589934592,"expect":{{"expect":"content","digest":"{digest}"}}}}}}"#
    );
    let capture = format!(
        r#"{{"task":"capture","job":"{job}","disk":{{"disk":"serial:QM1","model":"QEMU","serial":"QM1","bytes":8589934592}},
        "identity":{{"identity":"generalize","keep":["machine-id"]}}}}"#
    );
    let erase = format!(
        r#"{{"task":"erase","job":"{job}","challenge":"{}","disks":[{{"disk":{{"disk":"serial:QM1","model":"QEMU",
        "serial":"QM1","bytes":8589934592}},"own":true,"erase":["lvm@2:vg0"]}}]}}"#,
        "cd".repeat(16)
    );
    let all = [
        envelope(&image),
        envelope(&capture),
        envelope(&erase),
        envelope(&format!(
            r#"{{"task":"rescue","job":"{job}","keys":["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDQbuRX4QAYWPr4Ujwgqe5YuVgGaCQpeDLuo/rYBSeko alice@lab"]}}"#
        )),
        format!(r#"{{"job":"{job}","host_key":"SHA256:{}AQE","trouble":"no\u001b[2J"}}"#, "AQEB".repeat(10)),
        format!(
            r#"{{"job":"{job}","disk":"serial:QM1","model":"QEMU","serial":"QM1","wwn":"","bytes":8589934592,
            "method":"nvme-sanitize-block","firmware":"done\u001b[2J","written_bytes":0,"canaries":256,"samples":8192,
            "sampled_bytes":33554432,"milliseconds":9,"key":"{digest}","signature":"{}"}}"#,
            "ab".repeat(64)
        ),
        envelope(r#"{"go_on":true,"windows":[0,5]}"#),
        format!(r#"{{"job":"{job}","before":3,"records":"AAAAAAAAAAAA"}}"#),
        format!(
            r#"{{"job":"{job}","windows":3,"root":"{digest}","layout":{{"sector_bytes":512}},"seed":null,
            "found":[{{"rule":"machine-id","what":"its id","places":1,"kept":false}}],"milliseconds":9}}"#
        ),
        envelope(&format!(r#"{{"task":"test","job":"{job}","parts":["cpu","disk"],"seconds":60,"seed":7}}"#)),
        format!(
            r#"{{"job":"{job}","part":"memory","milliseconds":9,"over":true,"faults":[{{"part":"cpu","what":"\u001b[2J",
            "count":18446744073709551615}},{{"part":"cpu","what":"x","count":2}}],"figures":{{"disks":[{{"disk":"serial:QM1","model":"",
            "bytes":9,"read_bytes":9,"start":null,"middle":null,"end":1,"random_reads":0,"median_micros":null,"p99_micros":null,
            "max_micros":null,"errors":1,"health":{{"well":false}}}}]}}}}"#
        ),
        envelope(r#"{"task":"wait","reason":"for a plan"}"#),
        envelope(r#"{"go_on":true}"#),
        format!(r#"{{"inventory":{INVENTORY},"wait_seconds":25}}"#),
        format!(
            r#"{{"job":"{job}","phase":"read_back","total_bytes":18446744073709551615,"done_bytes":1,"same_bytes":0,
            "read_back_bytes":18446744073709551615,"fetched_bytes":0,"failed":null}}"#
        ),
        format!(
            r#"{{"job":"{job}","image":"{digest}","disk":"wwn:naa.5000","total_bytes":1,"written_bytes":1,
            "same_bytes":0,"fetched_bytes":1,"milliseconds":9}}"#
        ),
    ];
    all.map(String::into_bytes).into()
}

/// The state document and orders.
pub(crate) fn state(data: &[u8]) -> Reached {
    let reply: Option<Envelope<StateReply>> = message(data);
    Reached::when(reply.is_some() || message::<StateAsk>(data).is_some())
}

/// A document with one of everything; the question.
pub(crate) fn state_seeds() -> Vec<Vec<u8>> {
    let document = format!(
        r#"{{"generation":3,"name":"n1","files":[{{"path":"/etc/hosts","mode":420,"owner":"root","group":"root",
        "digest":"{}","content":"x","restarts":["a.service"]}}],"units":[{{"name":"a.service","enabled":true,
        "running":true,"restarts":0}}],"tasks":[{{"name":"vg","guard":["/bin/false"],"argv":["/bin/vg"],
        "timeout_seconds":5,"when":"before_units"}}]}}"#,
        "cd".repeat(32)
    );
    let orders = r#"[{"id":1,"kind":{"order":"logs","unit":"a.service","lines":50}},{"id":2,"kind":{"order":"redeploy"}}]"#;
    let reply = |document: &str| {
        format!(
            r#"{{"node":"{}","generation":1,"epoch":1,"job":null,"body":{{"document":{document},"orders":{orders}}}}}"#,
            "ef".repeat(16)
        )
    };
    let ask = r#"{"have":1,"done_order":0,"wait_seconds":30}"#;
    vec![reply(&document).into_bytes(), reply("null").into_bytes(), ask.into()]
}

/// What the installed agent tells.
pub(crate) fn report(data: &[u8]) -> Reached {
    let report = message::<Report>(data).is_some();
    Reached::when(report || message::<Envelope<ReportReply>>(data).is_some())
}

/// A report with one of everything; the answer.
pub(crate) fn report_seeds() -> Vec<Vec<u8>> {
    let reply = format!(
        r#"{{"node":"{}","generation":1,"epoch":1,"job":null,"body":{{"generation":4}}}}"#,
        "ef".repeat(16)
    );
    vec![REPORT.into(), reply.into_bytes()]
}

/// The seed partition: damage is told from absence, and what is believed is written back.
pub(crate) fn seed(data: &[u8]) -> Reached {
    assert!(!matches!(Seed::decode(data), Err(SeedError::Decode(_))) || data.len() > 44);
    let framed = framed(data);
    let Ok(seed) = Seed::decode(&framed) else { return Reached::Refusal };
    assert!(Seed::decode(framed.get(..framed.len() - 1).unwrap_or_default()).is_err(), "cut short");
    let key = seed.key.as_str();
    assert!(key.len() < 8 || !format!("{seed:?}").contains(key), "a key in a log");
    let Ok(written) = seed.encode() else { return Reached::Inside };
    assert_eq!(u64::try_from(written.len()), Ok(SEED_BYTES), "exactly the partition");
    assert!(Seed::decode(&written).is_ok_and(|again| again == seed));
    Reached::Inside
}

/// Magic, length and checksum around any content, so that the content is read.
fn framed(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let mut out = [b"RWSEED1\n".as_slice(), &length.to_le_bytes(), content].concat();
    let sum = blake3::hash(&out);
    out.extend_from_slice(sum.as_bytes());
    out
}

/// A whole seed's content, one without a job, a framed one, a wiped partition.
pub(crate) fn seed_seeds() -> Vec<Vec<u8>> {
    let content = |job: &str| {
        format!(
            r#"{{"controller":"10.77.0.1:8443","ca":"{}","node":"{}","name":"n1","job":{job},"key":"c2VjcmV0LWtleQ==",
            "certificate":"","complete":false}}"#,
            "ab".repeat(32),
            "cd".repeat(16)
        )
        .into_bytes()
    };
    let whole = content(&format!("\"{}\"", "ef".repeat(8)));
    vec![whole.clone(), content("null"), framed(&whole), vec![0; 64]]
}

/// A server's inventory.
pub(crate) const INVENTORY: &str = r#"{"cpu":{"model":"QEMU","threads":2,"arch":"x86_64","virtualisation":true},
    "memory_bytes":2147483648,"nics":[{"name":"eth0","mac":"52:54:00:ab:cd:05","speed_mbps":1000,"carrier":true,
    "driver":"virtio_net"}],"disks":[{"name":"vda","model":"QEMU","serial":"QM1","wwn":"","bytes":8589934592,
    "sector_bytes":512,"bus":"virtio","removable":false,"rotational":false,"read_only":false,"holds":[{"kind":"gpt",
    "partition":0,"label":"","bytes":null}],"content":null}],"smbios":{"vendor":"QEMU","product":"pc","serial":"",
    "uuid":"","bios":"1"},"firmware":"uefi","bmc":{"kind":"ipmi"}}"#;

/// A report with one of everything.
pub(crate) const REPORT: &str = r#"{"generation":3,"applying":4,"boot_id":"x","units":[{"name":"a.service",
    "load":"loaded","active":"failed","sub":"dead","result":"exit-code","since_ms":18446744073709551615,
    "log":["\u001b[2Jlast words"]}],"tasks":[{"name":"vg","result":{"result":"failed","why":"no"},"log":[]}],
    "drift":[{"what":"a.service","found":"inactive","done":"started"}],"answers":[{"order":1,"lines":["x"],
    "error":null}],"done_order":1,"facts":{"hostname":"n1","kernel":"6.12","root_bytes":1,"root_free_bytes":1,
    "memory_bytes":1,"uptime_seconds":1,"hypervisor":{"cpu_model":"","threads":2,"memory_bytes":1,"version":"10",
    "domains":[{"name":"d","uuid":"u","vcpus":1,"memory_bytes":1}],"error":null}}}"#;
