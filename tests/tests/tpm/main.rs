//! The whole challenge with a real TPM: swtpm answers what the agent sends, and the controller's own code asks and judges.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agent::tpm::{Session, TpmError, Wire};
use appliance::tpm::{answers, are_points, make_credential};
use fleet::tpm::{Question, ek_of};
use protocol::tpm::{ResponseError, tpm_transcript};
use protocol::{CaPin, EcPoint, Key, NodeId, Nonce, TpmAnswer, TpmKeys, TpmSecret};
use ring::rand::SystemRandom;
use tempfile::TempDir;

/// A TPM: a process with a state of its own.
struct Tpm {
    process: Child,
    folder: TempDir,
}

impl Tpm {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().display();
        let process = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--tpmstate"])
            .arg(format!("dir={path}"))
            .args(["--server", &format!("type=unixio,path={path}/data")])
            .stdin(Stdio::null())
            .spawn()
            .expect("swtpm is not installed: cargo xtask test installs it");
        Self { process, folder }
    }

    fn open(&self) -> Session<Socket> {
        Session::open(Socket::connect(&self.folder.path().join("data"))).unwrap()
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// swtpm's data channel: commands and answers, one after the other.
struct Socket(UnixStream);

impl Socket {
    fn connect(path: &Path) -> Self {
        let begun = Instant::now();
        loop {
            match UnixStream::connect(path) {
                Ok(stream) => return Self(stream),
                Err(error) if begun.elapsed() > Duration::from_secs(60) => panic!("no swtpm: {error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Wire for Socket {
    fn transact(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.0.write_all(command)?;
        let mut answer = vec![0; 10];
        self.0.read_exact(&mut answer)?;
        let length =
            answer.get(2..6).and_then(|length| length.try_into().ok()).map_or(10, u32::from_be_bytes);
        answer.resize(usize::try_from(length).unwrap(), 0);
        self.0.read_exact(answer.get_mut(10..).unwrap())?;
        Ok(answer)
    }
}

/// Who asks: what the quote is over, beside the TPM and the secret.
#[derive(Clone, Copy)]
struct Asker {
    pin: CaPin,
    node: NodeId,
    key: Key,
    nonce: Nonce,
}

const ASKER: Asker =
    Asker { pin: CaPin([1; 32]), node: NodeId([2; 16]), key: Key([3; 32]), nonce: Nonce([4; 16]) };

impl Asker {
    fn transcript(&self, keys: (&EcPoint, &EcPoint), secret: &TpmSecret) -> Vec<u8> {
        tpm_transcript(&self.pin, &self.node, (&self.key, &self.nonce), keys, secret)
    }
}

fn question(session: &Session<Socket>, secret: u8) -> Question {
    let (endorsement, attestation) = session.keys();
    Question { endorsement, attestation, secret: TpmSecret([secret; 32]) }
}

fn answered(session: &mut Session<Socket>, question: &Question, asker: Asker) -> Result<TpmAnswer, TpmError> {
    let credential = make_credential(question, &SystemRandom::new()).unwrap();
    let (endorsement, attestation) = session.keys();
    session.answer(&credential, |secret| asker.transcript((&endorsement, &attestation), secret))
}

fn believed(question: &Question, answer: &TpmAnswer, asker: Asker) -> bool {
    let Question { endorsement, attestation, secret: _ } = *question;
    let keys = TpmKeys { endorsement, attestation, answer: Some(answer.clone()) };
    answers(question, &keys, |secret| asker.transcript((&endorsement, &attestation), secret))
}

fn refuses(session: &mut Session<Socket>, question: &Question) {
    let refused = answered(session, question, ASKER).unwrap_err();
    assert!(matches!(refused, TpmError::Answer { source: ResponseError::Refused(_), .. }), "{refused:?}");
}

#[test]
fn a_tpm_proves_whose_key_asks() {
    let tpm = Tpm::new();
    let mut session = tpm.open();
    // Ephemeral keys are random, and some numbers begin with zeros.
    for secret in 0..24 {
        let asked = question(&session, secret);
        let answer = answered(&mut session, &asked, ASKER).unwrap();
        assert!(believed(&asked, &answer, ASKER));
    }
}

#[test]
fn it_is_the_same_tpm_in_every_boot() {
    let tpm = Tpm::new();
    let first = tpm.open().keys();
    let again = tpm.open().keys();
    assert_eq!(ek_of(&first.0), ek_of(&again.0));
    assert_ne!(ek_of(&first.0), ek_of(&Tpm::new().open().keys().0), "another TPM is another one");
}

#[test]
fn what_is_for_another_tpm_key_or_challenge_is_no_proof() {
    let (tpm, other) = (Tpm::new(), Tpm::new());
    let (mut session, others) = (tpm.open(), other.open());
    let asked = question(&session, 7);
    let (endorsement, attestation) = others.keys();
    // A TPM has few places for sessions: what is refused must leave none behind.
    for _ in 0..5 {
        // For the endorsement key of another TPM, and for an attestation key that is not in this one.
        refuses(&mut session, &Question { endorsement, ..asked });
        refuses(&mut session, &Question { attestation, ..asked });
    }
    let answer = answered(&mut session, &asked, ASKER).unwrap();
    assert!(believed(&asked, &answer, ASKER));
    // Replayed: the next question has another secret.
    assert!(!believed(&question(&session, 8), &answer, ASKER));
    // For another agent's key, node, challenge, or site.
    for asker in [
        Asker { key: Key([9; 32]), ..ASKER },
        Asker { node: NodeId([9; 16]), ..ASKER },
        Asker { nonce: Nonce([9; 16]), ..ASKER },
        Asker { pin: CaPin([9; 32]), ..ASKER },
    ] {
        assert!(!believed(&asked, &answer, asker));
        let theirs = answered(&mut session, &asked, asker).unwrap();
        assert!(believed(&asked, &theirs, asker) && !believed(&asked, &theirs, ASKER));
    }
    // Another TPM's keys with this one's answer; and a signature that was touched.
    assert!(!believed(&Question { endorsement, ..asked }, &answer, ASKER));
    assert!(!believed(&Question { attestation, ..asked }, &answer, ASKER));
    let mut touched = answer.clone();
    touched.signature.0.iter_mut().take(1).for_each(|byte| *byte ^= 1);
    assert!(!believed(&asked, &touched, ASKER));
    // A question to one, answered with keys that are told to be another's.
    let keys = TpmKeys { endorsement, attestation: asked.attestation, answer: Some(answer) };
    assert!(!answers(&asked, &keys, |secret| ASKER.transcript((&endorsement, &asked.attestation), secret)));
}

#[test]
fn what_is_no_point_of_the_curve_is_no_key() {
    let tpm = Tpm::new();
    let (endorsement, attestation) = tpm.open().keys();
    let random = SystemRandom::new();
    let keys = |endorsement, attestation| TpmKeys { endorsement, attestation, answer: None };
    assert!(are_points(&keys(endorsement, attestation), &random));
    for bad in [EcPoint([0; 64]), EcPoint([0xff; 64]), EcPoint([5; 64])] {
        assert!(
            !are_points(&keys(bad, attestation), &random) && !are_points(&keys(endorsement, bad), &random)
        );
        let question = Question { endorsement: bad, attestation, secret: TpmSecret([0; 32]) };
        make_credential(&question, &random).unwrap_err();
    }
}
