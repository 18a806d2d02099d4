//! Leaving a seed in its place, from the ramdisk or the installed system: beside the newest one there, and believed only
//! when it was read back.

use protocol::{Seed, SeedError, SeedWrite};

/// Leaves a seed. `room` has space for a whole place; `read` fills it from the medium, past every cache; `write` makes
/// its bytes, at that offset of the place, durable before it returns.
///
/// # Errors
/// What `read` and `write` say; [`SeedError::Damaged`] when the seed does not fit, or something else is read back.
pub(crate) fn leave<E: From<SeedError>>(
    seed: &Seed,
    room: &mut [u8],
    read: impl Fn(&mut [u8]) -> Result<(), E>,
    write: impl Fn(u64, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    // A place that can't be read has nothing to be spared: writing it may even mend the disk.
    let place = read(room).map_or(&[][..], |()| &*room);
    let SeedWrite { offset, bytes } = seed.write_over(place)?;
    write(offset, &bytes)?;
    read(room)?;
    match Seed::decode(room) {
        Ok(left) if left == *seed => Ok(()),
        Ok(_) | Err(_) => Err(SeedError::Damaged("read back, it is not what was written").into()),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use protocol::{CaPin, NodeId, SEED_BYTES, Seed, SeedError};

    use super::leave;

    fn seed(complete: bool) -> Seed {
        Seed {
            controller: "10.77.0.1:8443".parse().unwrap(),
            ca: CaPin([7; 32]),
            node: NodeId([1; 16]),
            name: "n1".into(),
            job: None,
            key: "a2V5".into(),
            certificate: String::new(),
            complete,
        }
    }

    #[test]
    fn a_write_that_was_lost_or_spoilt_is_noticed_and_the_seed_before_it_stays() {
        let medium = RefCell::new(vec![0; usize::try_from(SEED_BYTES).unwrap()]);
        let mut room = medium.borrow().clone();
        let faults = Cell::new(0);
        let mut leave = |seed: &Seed| {
            leave::<SeedError>(
                seed,
                &mut room,
                |room| {
                    room.copy_from_slice(&medium.borrow());
                    Ok(())
                },
                |offset, bytes| {
                    let at = usize::try_from(offset).unwrap();
                    let mut medium = medium.borrow_mut();
                    match faults.get() {
                        // Said to be written.
                        1 => {}
                        2 => medium[at..at + 100].copy_from_slice(&bytes[..100]),
                        _ => medium[at..at + bytes.len()].copy_from_slice(bytes),
                    }
                    Ok(())
                },
            )
        };
        leave(&seed(false)).unwrap();
        for fault in [1, 2] {
            faults.set(fault);
            let why = leave(&seed(true)).unwrap_err().to_string();
            assert!(why.contains("read back"), "{why}");
            assert_eq!(Seed::decode(&medium.borrow()).unwrap(), seed(false));
        }
        faults.set(0);
        leave(&seed(true)).unwrap();
        assert_eq!(Seed::decode(&medium.borrow()).unwrap(), seed(true));
    }

    #[test]
    fn a_place_that_can_not_be_read_is_written_and_then_has_to_be() {
        let medium = RefCell::new(Vec::new());
        let mut room = vec![0; usize::try_from(SEED_BYTES).unwrap()];
        let unreadable = || SeedError::Damaged("unreadable");
        let read = |room: &mut [u8]| {
            let medium = medium.borrow();
            room.get_mut(..medium.len())
                .filter(|_| !medium.is_empty())
                .ok_or_else(unreadable)?
                .copy_from_slice(&medium);
            Ok(())
        };
        let lost = leave(&seed(true), &mut room, read, |_, _| Ok(()));
        assert!(matches!(lost, Err(SeedError::Damaged("unreadable"))));
        leave(&seed(true), &mut room, read, |_, bytes| {
            medium.replace(bytes.to_vec());
            Ok(())
        })
        .unwrap();
    }
}
