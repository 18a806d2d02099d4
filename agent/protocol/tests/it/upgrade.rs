//! The controller is a version ahead of its agents: what it says with more words is understood; what an agent says
//! with more words is not believed.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fmt::Debug;

use pack::{Digest, PublicKey};
use protocol::tpm::{Attest, CredentialBlob, EcdsaSignature};
use protocol::{
    Adoption, Answer, BootFacts, CaPin, Check, CheckKind, Credential, Disk, DiskId, Drift, EcPoint, Enrol,
    Enrolled, Envelope, Epoch, Expectation, Facts, File, Hello, HelloReply, IdentityFile, ImageJob,
    Inventory, JobId, Key, Neighbour, NetworkAsk, NetworkReply, NodeId, Nonce, Order, OrderKind, Phase,
    Progress, ProgressReply, Receipt, Report, ReportReply, Seed, ServiceWanted, Signature, StateAsk,
    StateDocument, StateReply, StepDone, Target, Task, TaskAsk, TaskReport, TaskResult, TaskWanted, Ticket,
    Token, Tpm, TpmAnswer, TpmKeys, UnitReport, UnitWanted, Verdict, Verify, When,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Every object in it has one more field.
fn grown(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (name, grown(value)));
            Value::Object(fields.chain([("added_later".to_owned(), Value::from(7))]).collect())
        }
        Value::Array(items) => items.into_iter().map(grown).collect(),
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => plain,
    }
}

fn understood<T: Serialize + DeserializeOwned + PartialEq + Debug>(said: &T) {
    let text = serde_json::to_string(&grown(serde_json::to_value(said).unwrap())).unwrap();
    assert!(text.contains("added_later"));
    assert_eq!(serde_json::from_str::<T>(&text).unwrap(), *said, "{text}");
}

fn refused<T: Serialize + DeserializeOwned + Debug>(said: &T) {
    let mut value = serde_json::to_value(said).unwrap();
    serde_json::from_value::<T>(value.clone()).unwrap();
    value.as_object_mut().unwrap().insert("added_later".to_owned(), Value::from(7));
    let why = serde_json::from_value::<T>(value).unwrap_err().to_string();
    assert!(why.contains("added_later"), "{why}");
}

fn envelope<T>(body: T) -> Envelope<T> {
    Envelope { node: NodeId([1; 16]), generation: 1, epoch: Epoch(1), job: Some(JobId([2; 8])), body }
}

fn image_job() -> Task {
    Task::Image(Box::new(ImageJob {
        job: JobId([2; 8]),
        image: Digest::of(b"image"),
        signer: PublicKey([3; 32]),
        target: Target {
            disk: DiskId::of("", "A").unwrap(),
            model: "M".to_owned(),
            serial: Some("A".to_owned()),
            bytes: 1 << 30,
            expect: Expectation::Content { digest: Digest::of(b"disk") },
        },
        erase: vec!["lvm@2:vg0".parse().unwrap()],
        verify: Verify::Stream,
    }))
}

fn document() -> StateDocument {
    let file = File {
        path: "/etc/hosts".to_owned(),
        mode: 0o644,
        owner: "root".to_owned(),
        group: "root".to_owned(),
        digest: Digest::of(b""),
        content: String::new(),
        restarts: Vec::new(),
    };
    let unit = UnitWanted {
        name: "a.service".to_owned(),
        enabled: true,
        running: true,
        restarts: 0,
        packages: Vec::new(),
    };
    let task = TaskWanted {
        name: "t".to_owned(),
        guard: Vec::new(),
        argv: vec!["/bin/true".to_owned()],
        timeout_seconds: 1,
        when: When::AfterUnits,
    };
    StateDocument {
        generation: 1,
        name: "n1".to_owned(),
        files: vec![file],
        units: vec![unit],
        tasks: vec![task],
        services: [
            CheckKind::Http { url: "http://10.77.0.10:5000/".to_owned() },
            CheckKind::Tcp { address: "10.77.0.10:5672".to_owned() },
            CheckKind::Command { argv: vec!["/bin/true".to_owned()] },
        ]
        .map(service)
        .into(),
    }
}

fn service(kind: CheckKind) -> ServiceWanted {
    ServiceWanted {
        name: "s".to_owned(),
        units: vec!["a.service".to_owned()],
        tasks: vec!["t".to_owned()],
        needs: vec!["r".to_owned()],
        check: Some(Check { kind, within_seconds: 1 }),
        leave: None,
    }
}

fn seed() -> Seed {
    Seed {
        controller: "10.77.0.1:8443".parse().unwrap(),
        ca: CaPin([1; 32]),
        node: NodeId([1; 16]),
        name: "n1".to_owned(),
        job: None,
        key: "a2V5".to_owned(),
        certificate: String::new(),
        complete: false,
    }
}

#[test]
fn what_an_agent_reads_may_have_more_fields_than_it_knows() {
    let reply = |verdict| HelloReply {
        node: NodeId([1; 16]),
        name: "n1".to_owned(),
        epoch: Epoch(1),
        time_ms: 1,
        nonce: Nonce([4; 16]),
        verdict,
        ca: Some(CaPin([3; 32])),
        tpm: Some(Credential { point: EcPoint([5; 64]), blob: CredentialBlob([6; 66]) }),
    };
    understood(&reply(Verdict::Waiting { reason: "why".to_owned() }));
    understood(&reply(Verdict::Approved { certificate: "PEM".to_owned() }));
    understood(&envelope(Task::Wait { reason: "why".to_owned() }));
    understood(&envelope(image_job()));
    understood(&envelope(Task::Reboot));
    understood(&envelope(ProgressReply { go_on: true }));
    understood(&envelope(ReportReply { generation: 1 }));
    let orders = [
        OrderKind::Redeploy { force: true, keeps: false },
        OrderKind::Logs { unit: "a.service".to_owned(), lines: 1 },
    ];
    let orders = orders.into_iter().zip(1..).map(|(kind, id)| Order { id, kind }).collect();
    understood(&envelope(StateReply {
        document: Some(document()),
        orders,
        ca: Some(CaPin([3; 32])),
        check: true,
    }));
    let file = IdentityFile { path: "/etc/x".to_owned(), mode: 0o600, content: String::new() };
    understood(&Enrolled {
        node: NodeId([1; 16]),
        name: "n1".to_owned(),
        epoch: Epoch(1),
        certificate: "PEM".to_owned(),
        renew_ms: 1,
        renew_seconds: 1,
        ca: Some(CaPin([3; 32])),
        identity: vec![file],
    });
    understood(&seed());
}

#[test]
fn a_step_of_a_check_may_have_more_in_it_and_less() {
    let step = r#"{"check":1,"number":2,"key":"KEY","me":0,"endpoints":[{"network":0,"address":"10.0.0.1"}],
        "peers":[{"number":1,"network":0,"address":"10.0.0.2"}],
        "targets":[{"to":1,"network":0,"address":"10.0.0.2","sizes":[1500]}],
        "claims":[{"link":"eno1","address":"10.0.0.1"}],
        "send":{"to":1,"network":0,"address":"10.0.0.2","milliseconds":1000},
        "hear":{"from":1,"network":0,"milliseconds":1000}}"#;
    let step = serde_json::from_str(&step.replace("KEY", &"07".repeat(32))).unwrap();
    understood(&envelope(NetworkReply { step: Some(step) }));
    understood(&envelope(NetworkReply::default()));
}

fn tpm() -> Tpm {
    let answer = TpmAnswer { attest: Attest::new(vec![3; 9]).unwrap(), signature: EcdsaSignature([4; 64]) };
    let (endorsement, attestation) = (EcPoint([1; 64]), EcPoint([2; 64]));
    Tpm::Keys(TpmKeys { endorsement, attestation, answer: Some(answer) })
}

#[test]
fn what_the_controller_reads_may_not() {
    let boot = BootFacts {
        mac: "52:54:00:00:00:01".parse().unwrap(),
        address: [10, 77, 0, 9].into(),
        path: "bios-pxe".to_owned(),
        uptime_seconds: 1,
        boot_id: String::new(),
    };
    refused(&boot);
    refused(&Inventory::default());
    refused(&Disk::default());
    refused(&Hello { tpm: Some(tpm()), ..Hello::new(Key([1; 32]), boot, Inventory::default()) });
    let adoption = Adoption { token: Token([1; 16]), host: String::new(), system: String::new() };
    refused(&adoption);
    refused(&Enrol {
        protocol: 1,
        key: Key([1; 32]),
        proof: Signature([1; 64]),
        boot_id: String::new(),
        uptime_seconds: 1,
    });
    refused(&Ticket { key: Key([1; 32]) });
    refused(&TaskAsk { inventory: Inventory::default(), wait_seconds: 0, reach: None });
    refused(&NetworkAsk::default());
    refused(&StepDone::default());
    refused(&Neighbour::default());
    refused(&StateAsk { have: 1, ..StateAsk::default() });
    refused(&Progress {
        job: JobId([2; 8]),
        phase: Phase::Write,
        total_bytes: 1,
        done_bytes: 0,
        same_bytes: 0,
        read_back_bytes: 0,
        fetched_bytes: 0,
        failed: None,
    });
    refused(&Receipt {
        job: JobId([2; 8]),
        image: Digest::of(b"image"),
        disk: DiskId::of("", "A").unwrap(),
        total_bytes: 1,
        written_bytes: 1,
        same_bytes: 0,
        fetched_bytes: 1,
        milliseconds: 1,
        verify: Verify::Stream,
        proof: None,
    });
}

#[test]
fn what_the_controller_reads_of_an_installed_system_may_not() {
    refused(&Report::default());
    refused(&Facts::default());
    refused(&Drift { what: String::new(), found: String::new(), done: String::new() });
    refused(&Answer { order: 1, lines: Vec::new(), error: None });
    refused(&TaskReport { name: String::new(), result: TaskResult::Done, log: Vec::new() });
    let word = String::new;
    let (name, load, active, sub, result) = (word(), word(), word(), word(), word());
    refused(&UnitReport { name, load, active, sub, result, since_ms: 0, log: Vec::new() });
}
