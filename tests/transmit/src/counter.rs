//! What passes between both ends beside the transmission: a line of JSON asks, a line of JSON or so many bytes answer.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use protocol::{CastAsk, CastReply, Reach};
use serde::{Deserialize, Serialize};

/// A question.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// How the image shall come.
    Cast {
        /// Which node asks.
        node: u8,
        /// How many write the image.
        company: usize,
        /// What an agent asks.
        ask: Box<CastAsk>,
    },
    /// A node waits for its job.
    Waits {
        /// Which.
        node: u8,
        /// What has come to it so far.
        reach: Option<Reach>,
    },
    /// A range of the data area; that many bytes answer.
    Range {
        /// Where it begins.
        offset: u64,
        /// How long it is.
        bytes: usize,
    },
}

/// How soon another connection is begun.
const ANOTHER: Duration = Duration::from_millis(300);

/// A connection to the sender.
#[derive(Debug)]
pub(crate) struct Line(BufReader<TcpStream>);

impl Line {
    pub(crate) fn open(server: SocketAddr) -> io::Result<Self> {
        // As an agent's: a first packet that is lost would be sent again after a second.
        let soon = || TcpStream::connect_timeout(&server, ANOTHER);
        let stream = soon().or_else(|_| soon()).or_else(|_| TcpStream::connect(server))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    pub(crate) fn cast(&mut self, ask: &Ask) -> io::Result<CastReply> {
        self.say(ask)?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        serde_json::from_str(&line).map_err(io::Error::other)
    }

    pub(crate) fn range(&mut self, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        self.say(&Ask::Range { offset, bytes })?;
        let mut body = vec![0; bytes];
        self.0.read_exact(&mut body)?;
        Ok(body)
    }

    fn say(&mut self, ask: &Ask) -> io::Result<()> {
        let mut line = serde_json::to_vec(ask).map_err(io::Error::other)?;
        line.push(b'\n');
        self.0.get_mut().write_all(&line)
    }
}
