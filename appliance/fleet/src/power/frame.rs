//! What goes over the control socket once a console is open, in both directions: a byte for the kind, two for the length (big
//! endian), and so many more.

/// Most bytes of one frame.
pub const MOST: usize = 8 << 10;
const HEAD: usize = 3;

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Bytes of the serial line: typed by the person, or said by the server.
    Bytes(Vec<u8>),
    /// The person sends a serial break.
    Break,
    /// The controller says something beside the line.
    Note(String),
    /// The controller says why nothing more comes.
    End(String),
}

/// What no frame is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what came is no part of a console: is the rackwright program the one that belongs to the daemon?")]
pub struct Strange;

impl Frame {
    fn kind(&self) -> u8 {
        match self {
            Frame::Bytes(_) => 0,
            Frame::Break => 1,
            Frame::Note(_) => 2,
            Frame::End(_) => 3,
        }
    }

    /// As it is sent; bytes in as many frames as they need, and a text as far as one has room for it.
    pub fn encode(&self) -> Vec<u8> {
        let payload = match self {
            Frame::Bytes(bytes) => bytes.as_slice(),
            Frame::Break => &[],
            Frame::Note(text) | Frame::End(text) => {
                text.as_bytes().get(..text.floor_char_boundary(MOST)).unwrap_or_default()
            }
        };
        let one = |piece: &[u8]| {
            let length = u16::try_from(piece.len()).unwrap_or(0).to_be_bytes();
            [&[self.kind()], length.as_slice(), piece].concat()
        };
        if payload.is_empty() { one(payload) } else { payload.chunks(MOST).flat_map(one).collect() }
    }
}

/// What has come, until it is whole frames.
#[derive(Clone, Debug, Default)]
pub struct Frames(Vec<u8>);

impl Frames {
    /// Takes what has come; the frames that are whole.
    ///
    /// # Errors
    /// [`Strange`]; nothing that comes later is understood either.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, Strange> {
        self.0.extend_from_slice(bytes);
        let mut frames = Vec::new();
        while let Some((&[kind, high, low], rest)) = self.0.split_first_chunk::<HEAD>() {
            let length = usize::from(u16::from_be_bytes([high, low]));
            if length > MOST || kind > 3 || (kind == 1 && length > 0) {
                return Err(Strange);
            }
            let Some(payload) = rest.get(..length) else { break };
            let text = || String::from_utf8(payload.to_vec()).map_err(|_| Strange);
            frames.push(match kind {
                0 => Frame::Bytes(payload.to_vec()),
                1 => Frame::Break,
                2 => Frame::Note(text()?),
                _ => Frame::End(text()?),
            });
            self.0.drain(..HEAD + length);
        }
        Ok(frames)
    }
}

#[cfg(test)]
mod tests {
    use super::{Frame, Frames, MOST, Strange};

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let frames = vec![
            Frame::Bytes(b"\x1b[2Jlogin: \xff\0".to_vec()),
            Frame::Break,
            Frame::Note("bob reads along".to_owned()),
            Frame::End("\u{6559}".to_owned()),
        ];
        let sent = frames.iter().flat_map(Frame::encode).collect::<Vec<_>>();
        for size in 1..sent.len() {
            let mut came = Frames::default();
            let whole = sent.chunks(size).flat_map(|piece| came.take(piece).unwrap()).collect::<Vec<_>>();
            assert_eq!(whole, frames);
        }
        let long = Frame::Bytes(vec![7; 3 * MOST + 1]);
        let pieces = Frames::default().take(&long.encode()).unwrap();
        assert_eq!(pieces.len(), 4);
        let wide = Frame::End("\u{6559}".repeat(MOST));
        assert!(matches!(&Frames::default().take(&wide.encode()).unwrap()[..], [Frame::End(_)]));
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let table: [&[u8]; 6] = [
            b"HTTP/1.1 200 OK",
            &[4, 0, 0],
            &[1, 0, 1, 9],
            &[0, 0xff, 0xff],
            &[2, 0, 1, 0xff],
            &[3, 0, 2, 0xc3, 0x28],
        ];
        for bytes in table {
            assert_eq!(Frames::default().take(bytes), Err(Strange), "{bytes:?}");
        }
        assert_eq!(Frames::default().take(&[0, 0]), Ok(Vec::new()));
    }
}
