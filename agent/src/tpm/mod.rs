//! Speaking with a TPM 2.0: two keys that live in it, and its answers to the controller's challenges.
//!
//! What is sent and how answers are read is `protocol::tpm`'s; here is the order of it. Nothing is written into the TPM: both keys
//! are made anew in each boot, the endorsement key from a seed that is the TPM's own, so that it is the same one every time. No
//! crate is used for it: `tss-esapi` needs the C library tpm2-tss, and `tpm2-protocol` (ten thousand lines for every structure
//! there is) takes more than we would accept for the six commands that we send.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::thread;
use std::time::Duration;

use protocol::tpm::{
    Handle, KeyKind, RESPONSE_BYTES_MAX, ResponseError, Signed, acknowledged, activate_credential, activated,
    create_primary, created, flush, policy_secret, quote, session_started, signed, start_policy,
};
use protocol::{Credential, EcPoint, TpmAnswer, TpmSecret};
use ring::digest::{SHA256, digest};

use crate::keys::{self, KeyError};

/// The kernel's resource manager: what one process leaves in the TPM is no other's concern.
const DEVICE: &str = "dev/tpmrm0";
/// A TPM that tests itself says so for some seconds.
const BUSY_TRIES: u32 = 50;
const BUSY_PAUSE: Duration = Duration::from_millis(200);

/// Why a TPM does not speak.
#[derive(Debug, thiserror::Error)]
pub enum TpmError {
    /// There is none.
    #[error("there is no TPM 2.0 (no /{DEVICE})")]
    Missing,
    /// Its driver says no.
    #[error("{doing}: its driver fails")]
    Driver {
        /// What was asked of it.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The TPM says no, or nonsense.
    #[error("{doing}")]
    Answer {
        /// What was asked of it.
        doing: &'static str,
        /// What it said.
        source: ResponseError,
    },
    /// No randomness.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// The way to a TPM: one command, one answer.
pub trait Wire: Send {
    /// Sends a command and waits for the answer.
    ///
    /// # Errors
    /// What the kernel said.
    fn transact(&mut self, command: &[u8]) -> io::Result<Vec<u8>>;
}

/// The kernel's device.
#[derive(Debug)]
pub struct Device(File);

impl Device {
    /// That of the machine whose `/dev` is under `root`.
    ///
    /// # Errors
    /// [`TpmError::Missing`], or [`TpmError::Driver`].
    pub fn open(root: &Path) -> Result<Self, TpmError> {
        match File::options().read(true).write(true).open(root.join(DEVICE)) {
            Ok(file) => Ok(Self(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(TpmError::Missing),
            Err(source) => Err(TpmError::Driver { doing: "opening the TPM", source }),
        }
    }
}

impl Wire for Device {
    fn transact(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        // The driver takes a command in one write and gives its answer in one read (tpm(4), Documentation/security/tpm).
        self.0.write_all(command)?;
        let mut answer = vec![0; RESPONSE_BYTES_MAX];
        let length = self.0.read(&mut answer)?;
        answer.truncate(length);
        Ok(answer)
    }
}

/// A TPM with both keys in it.
#[derive(Debug)]
pub struct Session<W: Wire> {
    wire: W,
    endorsement: (Handle, EcPoint),
    attestation: (Handle, EcPoint),
}

impl<W: Wire> Session<W> {
    /// Has the TPM make both keys, which takes some tenths of a second.
    ///
    /// # Errors
    /// [`TpmError`]; nothing is left in the TPM.
    pub fn open(mut wire: W) -> Result<Self, TpmError> {
        let endorsement = key(&mut wire, KeyKind::Endorsement, "making the endorsement key")?;
        match key(&mut wire, KeyKind::Attestation, "making an attestation key") {
            Ok(attestation) => Ok(Self { wire, endorsement, attestation }),
            Err(error) => {
                forget(&mut wire, endorsement.0);
                Err(error)
            }
        }
    }

    /// The endorsement key and the attestation key.
    pub fn keys(&self) -> (EcPoint, EcPoint) {
        (self.endorsement.1, self.attestation.1)
    }

    /// Opens a credential, and signs what `transcript` makes of the secret in it.
    ///
    /// # Errors
    /// [`TpmError`]: among others when the credential is for other keys.
    pub fn answer(
        &mut self,
        credential: &Credential,
        transcript: impl FnOnce(&TpmSecret) -> Vec<u8>,
    ) -> Result<TpmAnswer, TpmError> {
        let secret = self.secret(credential)?;
        let over = digest(&SHA256, &transcript(&secret));
        let over = over.as_ref().try_into().unwrap_or([0; 32]);
        let command = quote(self.attestation.0, &over);
        let Signed { attest, signature } = ask(&mut self.wire, "signing", &command, signed)?;
        Ok(TpmAnswer { attest, signature })
    }

    fn secret(&mut self, credential: &Credential) -> Result<TpmSecret, TpmError> {
        let command = start_policy(&keys::random()?);
        let session = ask(&mut self.wire, "starting a session", &command, session_started)?;
        let secret = self.activated(session, credential);
        // It ends with the use of it.
        if secret.is_err() {
            forget(&mut self.wire, session);
        }
        secret
    }

    fn activated(&mut self, session: Handle, credential: &Credential) -> Result<TpmSecret, TpmError> {
        let allows = "using the endorsement hierarchy";
        ask(&mut self.wire, allows, &policy_secret(session), acknowledged)?;
        let command = activate_credential(self.attestation.0, self.endorsement.0, session, credential);
        ask(&mut self.wire, "opening the controller's credential", &command, activated)
    }
}

impl<W: Wire> Drop for Session<W> {
    fn drop(&mut self) {
        forget(&mut self.wire, self.attestation.0);
        forget(&mut self.wire, self.endorsement.0);
    }
}

fn key<W: Wire>(wire: &mut W, kind: KeyKind, doing: &'static str) -> Result<(Handle, EcPoint), TpmError> {
    ask(wire, doing, &create_primary(kind), |answer| created(kind, answer))
}

/// What can't be flushed is the resource manager's to remove, when the device is closed.
fn forget<W: Wire>(wire: &mut W, handle: Handle) {
    let _ = wire.transact(&flush(handle));
}

fn ask<W: Wire, T>(
    wire: &mut W,
    doing: &'static str,
    command: &[u8],
    read: impl Fn(&[u8]) -> Result<T, ResponseError>,
) -> Result<T, TpmError> {
    let mut tries = 0;
    loop {
        let answer = wire.transact(command).map_err(|source| TpmError::Driver { doing, source })?;
        match read(&answer) {
            Err(ResponseError::Busy(_)) if tries < BUSY_TRIES => {
                tries += 1;
                thread::sleep(BUSY_PAUSE);
            }
            done => return done.map_err(|source| TpmError::Answer { doing, source }),
        }
    }
}
