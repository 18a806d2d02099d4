//! The file by which the loader's menu and an installed controller tell each other which slot is started.

use setup::install::environment::BYTES;
use setup::install::{Environment, Slot};

use crate::Reached;

/// Whatever is in the file, some slot is started; what is written is read again, and is what the menu can write over.
pub(crate) fn environment(data: &[u8]) -> Reached {
    let read = Environment::parse(data);
    let block = read.block();
    assert_eq!(block.len(), BYTES);
    assert_eq!(Environment::parse(&block), read);
    Reached::when(read != Environment { slot: Slot::A, trial: None })
}

/// Ours, another program's, one that breaks off, one that is too long.
pub(crate) fn environment_seeds() -> Vec<Vec<u8>> {
    let ours = Environment { slot: Slot::B, trial: Some(Slot::A) }.block();
    let other = b"# GRUB Environment Block\nsaved_entry=3\nslot=b\n####".to_vec();
    let (cut, long) = (ours.iter().take(30).copied().collect(), [ours.clone(), ours.clone()].concat());
    vec![ours, other, cut, long]
}
