//! A disk that lies: it says that it has written, and keeps what it had. Served to QEMU as a network block device, of which this is as
//! much as QEMU asks for (<https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md>: fixed newstyle, simple replies).
//!
//! Knows one file. Refuses to lie where it was not told to.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const GREETING: &[u8; 16] = b"NBDMAGICIHAVEOPT";
const OPTION: &[u8; 8] = b"IHAVEOPT";
const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
const REQUEST: u32 = 0x2560_9513;
const REPLY: u32 = 0x6744_6698;
/// `NBD_FLAG_FIXED_NEWSTYLE`, `NBD_FLAG_NO_ZEROES`.
const HANDSHAKE: u16 = 3;
/// `NBD_FLAG_HAS_FLAGS`, `NBD_FLAG_SEND_FLUSH`.
const TRANSMISSION: u16 = 5;
const ABORT: u32 = 2;
const INFO: u32 = 6;
const GO: u32 = 7;
const ACK: u32 = 1;
const EXPORT: u32 = 3;
const UNSUPPORTED: u32 = 0x8000_0001;
/// More than QEMU asks for at once is a mistake of this file.
const MOST: u32 = 64 << 20;

/// A file, served until dropped.
#[derive(Debug)]
pub struct Liar {
    socket: PathBuf,
    ends: Arc<AtomicBool>,
}

impl Liar {
    /// Serves `file` at `socket`, but for writes to the bytes that it `keeps`: these are taken, and forgotten.
    ///
    /// # Errors
    /// The file or the socket can't be opened.
    pub fn serve(socket: &Path, file: &Path, keeps: Range<u64>) -> io::Result<Liar> {
        let file = File::options().read(true).write(true).open(file)?;
        let listener = UnixListener::bind(socket)?;
        let ends = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&ends);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                // One that goes away in the middle of a word was switched off.
                let _ = Session { client, file: &file, keeps: keeps.clone() }.run();
            }
        });
        Ok(Liar { socket: socket.to_path_buf(), ends })
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // Whoever waits for the next client sees this one. One whose client is still there ends with it.
        let _ = UnixStream::connect(&self.socket);
        let _ = std::fs::remove_file(&self.socket);
    }
}

struct Session<'a> {
    client: UnixStream,
    file: &'a File,
    keeps: Range<u64>,
}

impl Session<'_> {
    fn run(mut self) -> io::Result<()> {
        self.client.write_all(GREETING)?;
        self.client.write_all(&HANDSHAKE.to_be_bytes())?;
        self.take::<4>()?;
        while !self.option()? {}
        while self.request()? {}
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.client.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn word(&mut self) -> io::Result<u32> {
        Ok(u32::from_be_bytes(self.take()?))
    }

    fn body(&mut self, length: u32) -> io::Result<Vec<u8>> {
        let length = usize::try_from(length.min(MOST)).unwrap_or(0);
        let mut bytes = vec![0; length];
        self.client.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// One option; true when the disk is used from here on.
    fn option(&mut self) -> io::Result<bool> {
        if self.take::<8>()? != *OPTION {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let (option, length) = (self.word()?, self.word()?);
        self.body(length)?;
        match option {
            INFO | GO => {
                let bytes = self.file.metadata()?.len().to_be_bytes();
                let export = [&[0, 0], &bytes[..], &TRANSMISSION.to_be_bytes()].concat();
                self.answer(option, EXPORT, &export)?;
                self.answer(option, ACK, &[])?;
                Ok(option == GO)
            }
            ABORT => Err(io::ErrorKind::ConnectionAborted.into()),
            _ => self.answer(option, UNSUPPORTED, &[]).map(|()| false),
        }
    }

    fn answer(&mut self, option: u32, kind: u32, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let words = [option, kind, length].map(u32::to_be_bytes).concat();
        self.client.write_all(&[&OPTION_REPLY.to_be_bytes(), &words[..], body].concat())
    }

    /// One request; false when it was the last.
    fn request(&mut self) -> io::Result<bool> {
        if self.word()? != REQUEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let [_, _, _, kind] = self.take()?;
        let cookie = self.take::<8>()?;
        let at = u64::from_be_bytes(self.take()?);
        let length = self.word()?;
        let mut data = Vec::new();
        match kind {
            0 => {
                data.resize(usize::try_from(length.min(MOST)).unwrap_or(0), 0);
                self.file.read_exact_at(&mut data, at)?;
            }
            1 => {
                let bytes = self.body(length)?;
                self.write(at, &bytes)?;
            }
            2 => return Ok(false),
            // What was not written can't be lost.
            3 => {}
            _ => return Err(io::ErrorKind::Unsupported.into()),
        }
        let head = [&REPLY.to_be_bytes()[..], &[0; 4], &cookie].concat();
        self.client.write_all(&[head, data].concat())?;
        Ok(true)
    }

    /// Writes what is not kept, before and behind it.
    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let place = |to: u64| usize::try_from(to.saturating_sub(at)).unwrap_or(usize::MAX).min(bytes.len());
        let (first, last) = (place(self.keeps.start), place(self.keeps.end));
        let (before, behind) = (bytes.get(..first), bytes.get(last..));
        self.file.write_all_at(before.unwrap_or_default(), at)?;
        let from = at.saturating_add(u64::try_from(last).unwrap_or(u64::MAX));
        self.file.write_all_at(behind.unwrap_or_default(), from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: u8, at: u64, length: u32, data: &[u8]) -> Vec<u8> {
        let head = [&REQUEST.to_be_bytes()[..], &[0, 0, 0, kind], b"a cookie", &at.to_be_bytes()].concat();
        [head, length.to_be_bytes().to_vec(), data.to_vec()].concat()
    }

    #[test]
    fn it_says_that_it_has_written_and_keeps_what_it_was_told_to() {
        let dir = tempfile::tempdir().unwrap();
        let (file, socket) = (dir.path().join("disk"), dir.path().join("socket"));
        std::fs::write(&file, [b'o'; 64]).unwrap();
        let liar = Liar::serve(&socket, &file, 16..32).unwrap();
        let mut client = UnixStream::connect(&socket).unwrap();
        let take = |client: &mut UnixStream, count: usize| {
            let mut bytes = vec![0; count];
            client.read_exact(&mut bytes).unwrap();
            bytes
        };
        assert!(take(&mut client, 18).starts_with(GREETING));
        // Structured replies, which it does not know; then this disk.
        let option = |number: u32| [&OPTION[..], &number.to_be_bytes(), &[0; 4]].concat();
        client.write_all(&[&[0, 0, 0, 3], &option(8)[..], &option(GO)].concat()).unwrap();
        assert_eq!(take(&mut client, 20)[12..16], UNSUPPORTED.to_be_bytes());
        assert_eq!(take(&mut client, 32)[22..30], 64_u64.to_be_bytes());
        assert_eq!(take(&mut client, 20)[12..16], ACK.to_be_bytes());
        for (kind, at, length, data) in
            [(1, 8, 32, &[b'n'; 32][..]), (1, 20, 4, b"nnnn"), (1, 60, 4, b"nnnn"), (3, 0, 0, &[])]
        {
            client.write_all(&request(kind, at, length, data)).unwrap();
            assert_eq!(take(&mut client, 16)[4..8], [0; 4], "it says that all is well");
        }
        client.write_all(&request(0, 0, 64, &[])).unwrap();
        let read = take(&mut client, 16 + 64).split_off(16);
        assert_eq!(read, std::fs::read(&file).unwrap());
        assert_eq!(
            String::from_utf8(read).unwrap(),
            ["o".repeat(8), "n".repeat(8), "o".repeat(16), "n".repeat(8), "o".repeat(20), "n".repeat(4)]
                .concat()
        );
        drop((client, liar));
        assert!(!socket.exists());
    }
}
