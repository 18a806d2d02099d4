//! A connection to another node's door.

use std::io;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use cast::wire::door::{ANSWER_BYTES, Answer, Ask};
use protocol::Source;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Who says nothing for so long is dead, or as good as that.
const SILENCE: Duration = Duration::from_secs(1);
/// How long a range may take of which some comes all the time.
const DEADLINE: Duration = Duration::from_secs(30);

/// Why a source gave no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoBytes {
    /// It does not have them, or not yet.
    NotHere,
    /// It has another image.
    OtherImage,
    /// There is no connection, or it broke.
    Broken,
    /// It said nothing.
    Silent,
    /// It takes too long.
    Slow,
    /// What it said is no answer to the question.
    Nonsense,
}

/// The connection.
#[derive(Debug)]
pub(super) struct Call(TcpStream);

impl Call {
    /// Connects, and asks the first question.
    pub(super) async fn begin(ask: &Ask, source: &Source) -> (Option<Call>, Result<Bytes, NoBytes>) {
        let connected = timeout(SILENCE, TcpStream::connect(source.address)).await;
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            Ok(Err(_)) => return (None, Err(NoBytes::Broken)),
            Err(_) => return (None, Err(NoBytes::Silent)),
        };
        // Without it, questions wait for more to be sent with them.
        let _slower = stream.set_nodelay(true);
        Call(stream).ask(ask, source).await
    }

    /// Asks, and takes the answer. The connection comes back when it can be used again.
    pub(super) async fn ask(mut self, ask: &Ask, source: &Source) -> (Option<Call>, Result<Bytes, NoBytes>) {
        let got = timeout(DEADLINE, self.exchange(ask, source)).await.unwrap_or(Err(NoBytes::Slow));
        let is_in_step = match got {
            Ok(_) | Err(NoBytes::NotHere | NoBytes::OtherImage) => true,
            Err(NoBytes::Broken | NoBytes::Silent | NoBytes::Slow | NoBytes::Nonsense) => false,
        };
        (is_in_step.then_some(self), got)
    }

    async fn exchange(&mut self, ask: &Ask, source: &Source) -> Result<Bytes, NoBytes> {
        within(self.0.write_all(&ask.packet(&source.key.0))).await?;
        let mut head = [0; ANSWER_BYTES];
        within(self.0.read_exact(&mut head)).await?;
        match Answer::read(&head) {
            Ok(Answer::Follows(bytes)) if bytes == ask.bytes => {}
            Ok(Answer::NotHere) => return Err(NoBytes::NotHere),
            Ok(Answer::OtherImage) => return Err(NoBytes::OtherImage),
            Ok(Answer::Follows(_)) | Err(_) => return Err(NoBytes::Nonsense),
        }
        // A range is at most 16 MiB.
        let bytes = usize::try_from(ask.bytes).map_err(|_| NoBytes::Nonsense)?;
        let mut body = BytesMut::with_capacity(bytes);
        while body.len() < bytes {
            let lacking = bytes - body.len();
            let mut rest = (&mut body).limit(lacking);
            if within(self.0.read_buf(&mut rest)).await? == 0 {
                return Err(NoBytes::Broken);
            }
        }
        Ok(body.freeze())
    }
}

async fn within<T>(work: impl Future<Output = io::Result<T>>) -> Result<T, NoBytes> {
    match timeout(SILENCE, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(_)) => Err(NoBytes::Broken),
        Err(_) => Err(NoBytes::Silent),
    }
}
