//! The server's TPM as evidence of a hello: kept from boot to approval, asked when the controller asks.
//!
//! A TPM that is not there, is locked, hangs or is not believed keeps no server out: the hello says why none speaks.

use std::path::Path;
use std::thread;
use std::time::Duration;

use protocol::{Credential, EcPoint, Tpm, TpmAnswer, TpmKeys, TpmSecret};
use tokio::sync::oneshot;

use crate::chain::Chain;
use crate::screen::Screen;
use crate::tpm::{Device, Session, TpmError};

/// How long a TPM may think. The slowest ones take some seconds for a key; the kernel itself would wait for minutes.
const PATIENCE: Duration = Duration::from_secs(40);
/// How many answers in a row the controller may leave without an end to its questions.
const ANSWERS_MAX: u32 = 8;

/// What is to be said of the TPM.
#[derive(Debug)]
pub struct Evidence {
    tpm: Result<(Session<Device>, EcPoint, EcPoint), String>,
    answer: Option<TpmAnswer>,
    in_a_row: u32,
}

impl Default for Evidence {
    /// Nobody has looked.
    fn default() -> Self {
        Self { tpm: Err("it was not looked for".to_owned()), answer: None, in_a_row: 0 }
    }
}

impl Evidence {
    /// Looks for a TPM, and has it make its keys.
    pub(super) async fn gather(root: &Path, screen: &Screen) -> Self {
        let root = root.to_owned();
        let opened = aside(move || Device::open(&root).and_then(Session::open)).await;
        let tpm = opened.map(|session| {
            let (endorsement, attestation) = session.keys();
            (session, endorsement, attestation)
        });
        match &tpm {
            Ok(_) => screen.milestone("TPM 2.0 found"),
            Err(why) => screen.milestone(&format!("no TPM speaks for this server: {why}")),
        }
        Self { tpm, answer: None, in_a_row: 0 }
    }

    /// As the hello tells it.
    pub(super) fn told(&self) -> Tpm {
        match &self.tpm {
            Ok((_, endorsement, attestation)) => Tpm::Keys(TpmKeys {
                endorsement: *endorsement,
                attestation: *attestation,
                answer: self.answer.clone(),
            }),
            Err(why) => Tpm::Lacks(why.clone()),
        }
    }

    /// Whether the controller asks something that is to be answered at once. Then the next hello tells what came of it.
    pub(super) async fn asked(
        &mut self,
        credential: Option<Credential>,
        transcript: impl FnOnce((&EcPoint, &EcPoint), &TpmSecret) -> Vec<u8> + Send + 'static,
    ) -> bool {
        let Some(credential) = credential else {
            self.in_a_row = 0;
            return false;
        };
        self.in_a_row += 1;
        let gone = Err("it does not answer".to_owned());
        let Ok((mut session, endorsement, attestation)) = std::mem::replace(&mut self.tpm, gone) else {
            return false;
        };
        if self.in_a_row > ANSWERS_MAX {
            self.tpm = Err(format!("the controller did not take {ANSWERS_MAX} of its answers"));
            return true;
        }
        let answered = aside(move || {
            let answer =
                session.answer(&credential, |secret| transcript((&endorsement, &attestation), secret));
            answer.map(|answer| (session, answer))
        });
        match answered.await {
            Ok((session, answer)) => {
                self.tpm = Ok((session, endorsement, attestation));
                self.answer = Some(answer);
            }
            Err(why) => self.tpm = Err(why),
        }
        true
    }
}

/// Does it on a thread of its own: a driver that hangs is left alone.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TpmError> + Send + 'static,
) -> Result<T, String> {
    let (done, result) = oneshot::channel();
    let started = thread::Builder::new().name("tpm".to_owned()).spawn(move || {
        let _ = done.send(work());
    });
    if let Err(error) = started {
        return Err(format!("no thread for it: {error}"));
    }
    match tokio::time::timeout(PATIENCE, result).await {
        Ok(Ok(result)) => result.map_err(|error| Chain(&error).to_string()),
        Ok(Err(_)) => Err("asking it went wrong".to_owned()),
        Err(_) => Err(format!("it has not answered within {} s", PATIENCE.as_secs())),
    }
}
