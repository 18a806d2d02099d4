//! The controller's end: its image store, its transmissions.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use ::pack::Digest;
use appliance::cast::{Asker, Casts, Rules, network_of};
use appliance::images::{Images, Stored};
use protocol::{CastReply, NodeId};

use crate::counter::Ask;
use crate::option;

/// Takes an image into a store in `--work`, and serves it until it is killed.
pub(crate) fn main(words: &[&str]) -> Result<(), Box<dyn Error>> {
    let (image, work) = (Path::new(option(words, "--image")?), Path::new(option(words, "--work")?));
    let local: Ipv4Addr = option(words, "--local")?.parse()?;
    let (images, digest) = store(image, work)?;
    let casts = Casts::new(Arc::clone(&images), Some(option(words, "--mbit")?.parse()?));
    let casts = Arc::new(casts.with(Rules { networks: vec![local], ..Rules::default() }));
    let (_stopper, stop) = tokio::sync::watch::channel(false);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.spawn(Arc::clone(&casts).keep(stop));
    let listener = TcpListener::bind((local, option(words, "--port")?.parse::<u16>()?))?;
    println!("ready");
    for stream in listener.incoming() {
        let (casts, images) = (Arc::clone(&casts), Arc::clone(&images));
        let stream = stream?;
        std::thread::spawn(move || {
            let desk = Desk { stored: images.stored(&digest)?, casts, images, digest, local };
            desk.serve(stream)
        });
    }
    Ok(())
}

fn store(image: &Path, work: &Path) -> Result<(Arc<Images>, Digest), Box<dyn Error>> {
    let mut file = File::open(image)?;
    let bytes = file.metadata()?.len();
    let mut key = [0; 32];
    // Where the format has it.
    file.read_exact_at(&mut key, 16)?;
    let keys = work.join("keys");
    std::fs::create_dir_all(&keys)?;
    std::fs::write(keys.join("bench.pub"), data_encoding::HEXLOWER.encode(&key))?;
    let images = Images::open(&work.join("images"), &keys, crate::pack::key()?)?;
    // It was here before, and was killed.
    if let Some(known) = images.all().first() {
        return Ok((Arc::new(images), known.digest));
    }
    let mut import = images.import(bytes)?;
    let mut block = vec![0; 1 << 20];
    loop {
        let got = file.read(&mut block)?;
        if got == 0 {
            break;
        }
        import.push(block.get(..got).unwrap_or_default())?;
    }
    let digest = import.finish()?.digest;
    Ok((Arc::new(images), digest))
}

/// What one connection is answered from.
struct Desk {
    casts: Arc<Casts>,
    images: Arc<Images>,
    stored: Arc<Stored>,
    digest: Digest,
    local: Ipv4Addr,
}

impl Desk {
    /// Who asks. All networks here have 65,536 addresses.
    fn asker(&self, node: u8, address: IpAddr, company: usize) -> Option<Asker> {
        let IpAddr::V4(peer) = address else { return None };
        let networks = [peer, self.local].map(|one| format!("{one}/16").parse());
        let network = network_of(address, networks.into_iter().flatten())?.trunc();
        let (node, image, local) = (NodeId([node; 16]), self.digest, self.local);
        Some(Asker { node, address, network, link_mbit: None, image, local, company })
    }

    fn serve(self, stream: TcpStream) -> Result<(), Box<dyn Error + Send + Sync>> {
        stream.set_nodelay(true)?;
        let peer: IpAddr = stream.peer_addr()?.ip();
        let mut out = stream.try_clone()?;
        let mut waits = None;
        for line in BufReader::new(stream).lines() {
            // It has been told to ask again.
            drop(waits.take());
            match serde_json::from_str(&line?)? {
                Ask::Waits { node, reach } => {
                    let asker = self.asker(node, peer, 0);
                    waits = asker.and_then(|asker| match peer {
                        IpAddr::V4(peer) => {
                            self.casts.waits(asker.node, asker.network, (peer, self.local), reach)
                        }
                        IpAddr::V6(_) => None,
                    });
                    out.write_all(b"{\"seat\":null}\n")?;
                }
                Ask::Cast { node, company, ask } => {
                    let reply = match self.asker(node, peer, company) {
                        Some(asker) => self.casts.ask(&asker, &ask)?,
                        None => CastReply::default(),
                    };
                    let mut answer = serde_json::to_vec(&reply)?;
                    answer.push(b'\n');
                    out.write_all(&answer)?;
                }
                Ask::Range { offset, bytes } => {
                    let end = offset.saturating_add(u64::try_from(bytes)?);
                    for piece in self.images.pieces(&self.stored, offset..end)? {
                        pass(&piece.file, (piece.offset, usize::try_from(piece.bytes)?), &out)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Passes a part of a file on without looking at it, as the controller's HTTP does.
fn pass(file: &File, (mut offset, mut left): (u64, usize), out: &TcpStream) -> std::io::Result<()> {
    while left > 0 {
        match rustix::fs::sendfile(out, file, Some(&mut offset), left)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            sent => left -= sent,
        }
    }
    Ok(())
}
