//! `rackwright node console`: the serial line of a server, on this terminal.
//!
//! Once it is open every key goes to the server, Ctrl-C too, but for what follows Ctrl-]. The terminal is raw meanwhile, and is put back
//! however this ends: by leaving, by a signal, by a daemon that is gone, by a panic. Into a file or a pipe it only reads.

use std::io::Read;
use std::sync::Mutex;

use fleet::power::frame::{Frame, Frames};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::failure::{Failure, exit};
use crate::node::path;
use crate::session::Session;
use crate::text::clean;

/// Ctrl-].
const ESCAPE: u8 = 0x1d;
const KEYS: &str =
    "Ctrl-] q leaves, Ctrl-] b sends a break, Ctrl-] Ctrl-] sends Ctrl-], Ctrl-] ? says this again";

/// What a person wants by a key.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    Bytes(Vec<u8>),
    Break,
    Help,
    Leave,
}

/// What was typed, until it is known what it means.
#[derive(Debug, Default)]
struct Keys {
    escaped: bool,
}

impl Keys {
    fn take(&mut self, typed: &[u8]) -> Vec<Key> {
        let (mut keys, mut bytes) = (Vec::new(), Vec::new());
        for byte in typed {
            if !self.escaped && *byte != ESCAPE {
                bytes.push(*byte);
                continue;
            }
            self.escaped = !self.escaped;
            if self.escaped {
                continue;
            }
            let key = match byte {
                b'q' | b'Q' | b'.' => Key::Leave,
                b'b' | b'B' => Key::Break,
                &ESCAPE => Key::Bytes(vec![ESCAPE]),
                _ => Key::Help,
            };
            if !bytes.is_empty() {
                keys.push(Key::Bytes(std::mem::take(&mut bytes)));
            }
            keys.push(key);
        }
        if !bytes.is_empty() {
            keys.push(Key::Bytes(bytes));
        }
        keys
    }
}

/// What the terminal was before it became raw; also for whoever panics, where nothing is dropped any more.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

fn put_back() {
    let before = BEFORE.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    if let Some(before) = before {
        // There is nothing left to do about a terminal that went away.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &before);
    }
}

/// A raw terminal, until this is dropped.
struct Raw;

impl Raw {
    fn begin() -> std::io::Result<Raw> {
        let before = tcgetattr(std::io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        *BEFORE.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(before);
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            put_back();
            told(panic);
        }));
        let own = Raw;
        tcsetattr(std::io::stdin(), OptionalActions::Now, &raw)?;
        Ok(own)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        put_back();
    }
}

/// What ends it from outside.
async fn signalled() -> u8 {
    let on = |kind| signal(kind).ok();
    let (mut terminate, mut hang_up) = (on(SignalKind::terminate()), on(SignalKind::hangup()));
    let (mut interrupt, mut quit) = (on(SignalKind::interrupt()), on(SignalKind::quit()));
    async fn of(signal: &mut Option<tokio::signal::unix::Signal>) {
        match signal {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    }
    tokio::select! {
        () = of(&mut terminate) => 143,
        () = of(&mut hang_up) => 129,
        () = of(&mut interrupt) => exit::INTERRUPTED,
        () = of(&mut quit) => 131,
    }
}

/// What a thread reads from standard input; it ends with the process.
fn typing() -> mpsc::Receiver<Vec<u8>> {
    let (typed, typing) = mpsc::channel(16);
    std::thread::spawn(move || {
        let mut piece = [0; 1024];
        while let Ok(length @ 1..) = std::io::stdin().lock().read(&mut piece) {
            if typed.blocking_send(piece.get(..length).unwrap_or_default().to_vec()).is_err() {
                return;
            }
        }
    });
    typing
}

pub(crate) async fn console(
    session: &mut Session,
    node: &str,
    read: bool,
    take: bool,
) -> Result<u8, Failure> {
    let types = !read && session.terminal.out_tty && isatty(std::io::stdin());
    session.note(&format!("opening the console of {}", clean(node)));
    let body = json!({ "read": !types, "take": take });
    let route = path(node, "console");
    let opening = session.client.upgrade(&route, &body);
    let connection = tokio::select! {
        opened = opening => opened?,
        code = signalled() => return Ok(code),
    };
    session.note(match types {
        true => KEYS,
        false => "only reading: nothing is sent to the server (Ctrl-C ends this)",
    });
    let raw = if types { Some(Raw::begin().map_err(|source| Failure::Printing { source })?) } else { None };
    let ended = attend(session, connection, types).await;
    drop(raw);
    if types {
        session.note("");
    }
    match ended? {
        End::Left => Ok(exit::OK),
        End::Signal(code) => Ok(code),
        End::Told(why) => {
            Err(Failure::Refused { error: format!("the console is closed: {why}"), exit: exit::GENERAL })
        }
        End::Lost => Err(Failure::Refused {
            error: "the rackwright daemon hung up: the console is closed".to_owned(),
            exit: exit::UNREACHABLE,
        }),
    }
}

enum End {
    Left,
    Signal(u8),
    Told(String),
    Lost,
}

async fn attend<C>(session: &mut Session, connection: C, types: bool) -> Result<End, Failure>
where
    C: tokio::io::AsyncRead + tokio::io::AsyncWrite,
{
    let (mut from, mut to) = tokio::io::split(connection);
    let (mut came, mut piece, mut keys) = (Frames::default(), vec![0; 4096], Keys::default());
    let mut typing = types.then(typing);
    let told = signalled();
    tokio::pin!(told);
    loop {
        let typed = async {
            match &mut typing {
                Some(typing) => typing.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            code = &mut told => return Ok(End::Signal(code)),
            heard = from.read(&mut piece) => {
                let Ok(length @ 1..) = heard else { return Ok(End::Lost) };
                let frames = came.take(piece.get(..length).unwrap_or_default());
                for frame in frames.map_err(|why| Failure::Refused { error: why.to_string(), exit: exit::GENERAL })? {
                    match frame {
                        Frame::Bytes(bytes) => say(session, &bytes)?,
                        Frame::Note(text) if types => {
                            say(session, format!("\r\n[{}]\r\n", clean(&text)).as_bytes())?;
                        }
                        Frame::Note(text) => session.note(&clean(&text)),
                        Frame::End(why) => return Ok(End::Told(why)),
                        Frame::Break => {}
                    }
                }
            }
            typed = typed => {
                let Some(typed) = typed else { return Ok(End::Left) };
                for key in keys.take(&typed) {
                    let frame = match key {
                        Key::Leave => return Ok(End::Left),
                        Key::Help => {
                            say(session, format!("\r\n[{KEYS}]\r\n").as_bytes())?;
                            continue;
                        }
                        Key::Break => Frame::Break,
                        Key::Bytes(bytes) => Frame::Bytes(bytes),
                    };
                    if to.write_all(&frame.encode()).await.is_err() {
                        return Ok(End::Lost);
                    }
                }
            }
        }
    }
}

/// To the terminal or the file as it came: a serial line is raw.
fn say(session: &mut Session, bytes: &[u8]) -> Result<(), Failure> {
    let out = &mut session.terminal.out;
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|source| Failure::Printing { source })
}

#[cfg(test)]
mod tests {
    use super::{Key, Keys};

    #[test]
    fn every_key_is_the_servers_but_what_follows_the_escape() {
        let bytes = |text: &[u8]| Key::Bytes(text.to_vec());
        let table: [(&[&[u8]], Vec<Key>); 8] = [
            (&[b"ls\r\x03\x04\x1a\x1c"], vec![bytes(b"ls\r\x03\x04\x1a\x1c")]),
            (&[b"a\x1dq"], vec![bytes(b"a"), Key::Leave]),
            (&[b"\x1d", b"q"], vec![Key::Leave]),
            (&[b"\x1d\x1dq"], vec![bytes(b"\x1d"), bytes(b"q")]),
            (&[b"\x1db\x1d?x"], vec![Key::Break, Key::Help, bytes(b"x")]),
            (&[b"q&.~."], vec![bytes(b"q&.~.")]),
            (&[b"\x1d"], vec![]),
            (&[b""], vec![]),
        ];
        for (typed, wanted) in table {
            let mut keys = Keys::default();
            let got = typed.iter().flat_map(|piece| keys.take(piece)).collect::<Vec<_>>();
            assert_eq!(got, wanted, "{typed:?}");
        }
    }
}
