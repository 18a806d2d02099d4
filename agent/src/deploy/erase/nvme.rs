//! Erasing by an NVMe drive's own firmware: Sanitize where it can and erases nothing else, else Format (NVM Express Base 2.0, 5.24,
//! 5.14 with the NVM Command Set's 4.1).
//!
//! What is refused at once has not begun, and the next best is tried. What has begun and failed is an error: nobody knows then
//! what is on the drive.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use protocol::Method;

const IDENTIFY: u8 = 0x06;
const GET_LOG_PAGE: u8 = 0x02;
const FORMAT_NVM: u8 = 0x80;
const SANITIZE: u8 = 0x84;
/// Identify (CNS): all namespaces that there are, attached to a controller or not.
const ALLOCATED: u32 = 0x10;
/// Every namespace.
const ALL: u32 = 0xffff_ffff;
const SANITIZE_STATUS: u32 = 0x81;
/// How often the drive is asked how far it is.
const EVERY: Duration = Duration::from_secs(1);
/// A drive that says for two days that it sanitizes does not.
const ASKED_MAX: u32 = 48 * 3600;
/// Formatting large drives takes minutes, in one command.
const FORMAT_MS: u32 = 3_600_000;
const QUICK_MS: u32 = 60_000;

/// A command to the controller of a drive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// Which.
    pub opcode: u8,
    /// The namespace.
    pub namespace: u32,
    /// Command dwords 10 and 11.
    pub dwords: [u32; 2],
    /// How long it may take, in milliseconds.
    pub timeout_ms: u32,
}

/// A drive's controller.
pub trait Admin {
    /// Carries a command out; gives its status, 0 for success (Base 2.0, figure 91: code type and code).
    ///
    /// # Errors
    /// The kernel's: it could not be given to the drive.
    fn send(&self, command: Command, data: &mut [u8]) -> io::Result<u16>;
    /// The namespace that is to be erased.
    ///
    /// # Errors
    /// The kernel's.
    fn namespace(&self) -> io::Result<u32>;
    /// Waits between two questions. False: stop asking.
    fn pause(&self, time: Duration) -> bool;
}

/// Why nobody knows whether the drive is erased.
#[derive(Debug, thiserror::Error)]
pub enum FirmwareError {
    /// The kernel could not ask.
    #[error("asking the drive's firmware")]
    Ask(#[from] io::Error),
    /// The drive says so.
    #[error("the drive's firmware says that {0} failed, status {1:#x}")]
    Failed(&'static str, u16),
    /// There is more on the drive than this server can see.
    #[error(
        "the drive has the namespace {} beside what this server sees of it: attached to nothing, or to another controller. Nothing \
         was erased, because what lies there would be named in no plan and no proof: delete it (nvme delete-ns) or attach it (nvme \
         attach-ns), and make a new plan",
        listed(.0)
    )]
    Unseen(BTreeSet<u32>),
    /// There may be more on the drive than this server can see.
    #[error(
        "the drive can have namespaces that are attached to nothing, and does not list them: nothing was erased, because nobody could \
         say that nothing is left"
    )]
    Unlisted,
    /// It does not end.
    #[error("the drive's firmware has been sanitizing for two days")]
    Endless,
    /// The controller wants it stopped; the drive goes on by itself.
    #[error("stopped by the controller, while the drive's firmware goes on")]
    Stopped,
}

fn listed(namespaces: &BTreeSet<u32>) -> String {
    namespaces.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

/// What of a drive decides how it may be erased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Abilities {
    crypto: bool,
    block: bool,
    format: bool,
    format_crypto: bool,
    /// A secure format erases all namespaces, whichever is named.
    format_all: bool,
    /// There are other namespaces, or may be: on this controller, on none, or on another that leads into the same drive.
    others: bool,
}

/// How the drive is while it sanitizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sanitizing {
    Never,
    Done,
    Running,
    Failed(u16),
}

fn sanitizing(log: &[u8]) -> Sanitizing {
    let status = u16::from_le_bytes([log.get(2).copied().unwrap_or(0), log.get(3).copied().unwrap_or(0)]);
    match status & 7 {
        0 => Sanitizing::Never,
        1 | 4 => Sanitizing::Done,
        2 => Sanitizing::Running,
        _ => Sanitizing::Failed(status),
    }
}

/// Reads Identify Controller, and the lists of namespaces of which `own` is one: those of this controller, and where they are
/// managed all that are allocated, if the drive tells.
fn abilities(controller: &[u8], namespaces: &[u8], allocated: Option<&[u8]>, own: u32) -> Abilities {
    let byte = |at: usize| controller.get(at).copied().unwrap_or(0);
    let (optional, format, sanitize) = (byte(256), byte(524), byte(328));
    // More than one port or controller, or virtual functions (CMIC): what hangs on another one is not listed here.
    let shared = byte(76) & 7 != 0;
    let unattached = manages(controller) && allocated.is_none_or(|list| names_another(list, own));
    Abilities {
        crypto: sanitize & 1 != 0,
        block: sanitize & 2 != 0,
        format: optional & 2 != 0,
        format_crypto: format & 4 != 0,
        // Bit 0 is about the format, bit 1 about erasing.
        format_all: format & 3 != 0,
        others: shared || unattached || names_another(namespaces, own),
    }
}

/// Whether namespaces can be made that are attached to nothing (OACS, bit 3).
fn manages(controller: &[u8]) -> bool {
    controller.get(256).is_some_and(|byte| byte & 8 != 0)
}

/// A list of namespaces, which ends with a zero.
fn names(list: &[u8]) -> impl Iterator<Item = u32> {
    let ids = list.chunks_exact(4).map(|id| u32::from_le_bytes(id.try_into().unwrap_or_default()));
    ids.take_while(|id| *id != 0)
}

/// Whether a list of namespaces has one beside this.
fn names_another(list: &[u8], own: u32) -> bool {
    names(list).any(|id| id != own)
}

/// What may be tried, best first: nothing that would erase a namespace beside this one.
fn ways(can: Abilities) -> Vec<Method> {
    let mut ways = Vec::new();
    if !can.others {
        ways.extend(can.block.then_some(Method::NvmeSanitizeBlock));
        ways.extend(can.crypto.then_some(Method::NvmeSanitizeCrypto));
    }
    if can.format && !(can.others && can.format_all) {
        ways.push(if can.format_crypto { Method::NvmeFormatCrypto } else { Method::NvmeFormatErase });
    }
    ways
}

/// Command dword 10 of a format that keeps everything as it is (size of blocks, metadata, protection) and erases.
fn format_word(namespace: &[u8], erase: u32) -> u32 {
    let byte = |at: usize| u32::from(namespace.get(at).copied().unwrap_or(0));
    let (format, protection) = (byte(26), byte(29));
    (format & 0xf)
        | (format & 0x10)
        | ((protection & 7) << 5)
        | ((protection & 8) << 5)
        | erase << 9
        | ((format & 0x60) << 7)
}

fn identify(drive: &impl Admin, namespace: u32, what: u32) -> io::Result<Option<Vec<u8>>> {
    let mut data = vec![0; 4096];
    let command = Command { opcode: IDENTIFY, namespace, dwords: [what, 0], timeout_ms: QUICK_MS };
    Ok((drive.send(command, &mut data)? == 0).then_some(data))
}

fn status(drive: &impl Admin) -> io::Result<Option<Sanitizing>> {
    let mut log = vec![0; 512];
    let dwords = [SANITIZE_STATUS | 127 << 16, 0];
    let command = Command { opcode: GET_LOG_PAGE, namespace: ALL, dwords, timeout_ms: QUICK_MS };
    Ok((drive.send(command, &mut log)? == 0).then(|| sanitizing(&log)))
}

fn go_on(drive: &impl Admin) -> Result<(), FirmwareError> {
    if drive.pause(EVERY) { Ok(()) } else { Err(FirmwareError::Stopped) }
}

/// Waits until nothing is sanitized any more; a power cut does not stop that. A drive that knows no such thing is settled.
///
/// # Errors
/// [`FirmwareError`].
pub fn settle(drive: &impl Admin) -> Result<(), FirmwareError> {
    for _ in 0..ASKED_MAX {
        match status(drive)? {
            Some(Sanitizing::Running) => go_on(drive)?,
            None | Some(Sanitizing::Never | Sanitizing::Done | Sanitizing::Failed(_)) => return Ok(()),
        }
    }
    Err(FirmwareError::Endless)
}

/// Whether every namespace of the drive is one of `seen`, the disks that this server has of it: what is attached to nothing, or to
/// another controller, is no disk here, and would go away with a node of which everybody is told that its disks are erased.
///
/// # Errors
/// [`FirmwareError::Unseen`], [`FirmwareError::Unlisted`]; the kernel's.
pub fn all_seen(drive: &impl Admin, seen: &BTreeSet<u32>) -> Result<(), FirmwareError> {
    // A drive from before there were such lists (Base 1.0) has no namespaces that are not attached: the kernel tried each number.
    let Some(controller) = identify(drive, 0, 1)? else { return Ok(()) };
    let mut there = BTreeSet::from([drive.namespace()?]);
    there.extend(identify(drive, 0, 2)?.iter().flat_map(|list| names(list)));
    if manages(&controller) {
        let allocated = identify(drive, 0, ALLOCATED)?.ok_or(FirmwareError::Unlisted)?;
        there.extend(names(&allocated));
    }
    there.retain(|id| !seen.contains(id));
    if there.is_empty() { Ok(()) } else { Err(FirmwareError::Unseen(there)) }
}

/// Has the drive erase the namespace; `None` when it refuses every way that erases nothing else, with what it said.
///
/// # Errors
/// [`FirmwareError`].
pub fn erase(drive: &impl Admin) -> Result<(Option<Method>, String), FirmwareError> {
    let own = drive.namespace()?;
    let Some(controller) = identify(drive, 0, 1)? else { return Ok((None, String::new())) };
    // Without the list nobody knows what else would be erased.
    let Some(list) = identify(drive, 0, 2)? else {
        return Ok((None, "it does not list its namespaces".to_owned()));
    };
    let allocated = if manages(&controller) { identify(drive, 0, ALLOCATED)? } else { None };
    let mut said = Vec::new();
    for method in ways(abilities(&controller, &list, allocated.as_deref(), own)) {
        let refused = match method {
            Method::NvmeSanitizeBlock => sanitize(drive, 2)?,
            Method::NvmeSanitizeCrypto => sanitize(drive, 4)?,
            Method::NvmeFormatCrypto => format(drive, own, 2)?,
            Method::NvmeFormatErase => format(drive, own, 1)?,
            Method::Overwrite => None,
        };
        match refused {
            None => {
                said.push(format!("{}: done", method.word()));
                return Ok((Some(method), said.join("; ")));
            }
            Some(code) => said.push(format!("{}: refused, status {code:#x}", method.word())),
        }
    }
    Ok((None, said.join("; ")))
}

/// The status with which it was refused at once, if it was.
fn sanitize(drive: &impl Admin, action: u32) -> Result<Option<u16>, FirmwareError> {
    let command = Command { opcode: SANITIZE, namespace: 0, dwords: [action, 0], timeout_ms: QUICK_MS };
    let code = drive.send(command, &mut [])?;
    if code != 0 {
        return Ok(Some(code));
    }
    for _ in 0..ASKED_MAX {
        match status(drive)? {
            Some(Sanitizing::Running) => go_on(drive)?,
            Some(Sanitizing::Done) => return Ok(None),
            Some(Sanitizing::Failed(code)) => return Err(FirmwareError::Failed("sanitizing", code)),
            // It took the command, and knows nothing of it.
            None | Some(Sanitizing::Never) => return Err(FirmwareError::Failed("sanitizing", 0)),
        }
    }
    Err(FirmwareError::Endless)
}

fn format(drive: &impl Admin, own: u32, erase: u32) -> Result<Option<u16>, FirmwareError> {
    let Some(namespace) = identify(drive, own, 0)? else { return Ok(Some(0)) };
    let dwords = [format_word(&namespace, erase), 0];
    let command = Command { opcode: FORMAT_NVM, namespace: own, dwords, timeout_ms: FORMAT_MS };
    let code = drive.send(command, &mut [])?;
    Ok((code != 0).then_some(code))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io;
    use std::time::Duration;

    use protocol::Method;

    use super::{
        ALLOCATED, Admin, Command, FORMAT_NVM, FirmwareError, GET_LOG_PAGE, IDENTIFY, SANITIZE, all_seen,
        erase, format_word, settle,
    };

    /// A drive as the specification says it answers.
    #[derive(Default)]
    struct Fake {
        sanicap: u8,
        fna: u8,
        oacs: u8,
        namespaces: Vec<u32>,
        cmic: u8,
        /// What it says to ALLOCATED; nothing: it refuses.
        allocated: Vec<u32>,
        /// Whoever waits for it is told to stop.
        stops: bool,
        /// How often it says that it is at it, then how it ended (SSTAT).
        runs: RefCell<u32>,
        ends: u16,
        refuses: Vec<u8>,
        sent: RefCell<Vec<Command>>,
    }

    impl Admin for Fake {
        fn send(&self, command: Command, data: &mut [u8]) -> io::Result<u16> {
            match (command.opcode, command.dwords[0]) {
                (IDENTIFY, 1) => {
                    (data[256], data[328], data[524]) = (self.oacs, self.sanicap, self.fna);
                    data[76] = self.cmic;
                }
                (IDENTIFY, ALLOCATED) if self.allocated.is_empty() => return Ok(0x02),
                (IDENTIFY, list @ (2 | ALLOCATED)) => {
                    let ids = if list == 2 { &self.namespaces } else { &self.allocated };
                    for (place, id) in data.chunks_mut(4).zip(ids) {
                        place.copy_from_slice(&id.to_le_bytes());
                    }
                }
                (IDENTIFY, _) => (data[26], data[29]) = (0x13, 0x09),
                (GET_LOG_PAGE, _) => {
                    let left = *self.runs.borrow();
                    data[2] = if left > 0 { 2 } else { u8::try_from(self.ends).unwrap() };
                    *self.runs.borrow_mut() = left.saturating_sub(1);
                }
                _ => self.sent.borrow_mut().push(command),
            }
            Ok(if self.refuses.contains(&command.opcode) { 0x02 } else { 0 })
        }
        fn namespace(&self) -> io::Result<u32> {
            Ok(1)
        }
        fn pause(&self, _: Duration) -> bool {
            !self.stops
        }
    }

    fn able() -> Fake {
        Fake {
            sanicap: 3,
            fna: 4,
            oacs: 2,
            namespaces: vec![1],
            ends: 1,
            runs: RefCell::new(3),
            ..Fake::default()
        }
    }

    #[test]
    fn the_best_that_erases_nothing_else() {
        let table = [
            (able(), Some(Method::NvmeSanitizeBlock)),
            (Fake { sanicap: 1, ..able() }, Some(Method::NvmeSanitizeCrypto)),
            (Fake { sanicap: 4, ..able() }, Some(Method::NvmeFormatCrypto)),
            (Fake { sanicap: 0, fna: 0, ..able() }, Some(Method::NvmeFormatErase)),
            (Fake { sanicap: 0, oacs: 0, ..able() }, None),
            (Fake { namespaces: vec![1, 2], ..able() }, Some(Method::NvmeFormatCrypto)),
            (Fake { namespaces: vec![1, 2], fna: 6, ..able() }, None),
            (Fake { namespaces: vec![2], fna: 5, ..able() }, None),
            (Fake { cmic: 1, ..able() }, Some(Method::NvmeFormatCrypto)),
            (Fake { cmic: 2, fna: 6, ..able() }, None),
            (Fake { cmic: 8, ..able() }, Some(Method::NvmeSanitizeBlock)),
            (Fake { oacs: 10, allocated: vec![1], ..able() }, Some(Method::NvmeSanitizeBlock)),
            (Fake { oacs: 10, allocated: vec![1, 7], ..able() }, Some(Method::NvmeFormatCrypto)),
            (Fake { oacs: 10, allocated: vec![1, 7], fna: 6, ..able() }, None),
            (Fake { oacs: 10, ..able() }, Some(Method::NvmeFormatCrypto)),
            (Fake { refuses: vec![SANITIZE], ..able() }, Some(Method::NvmeFormatCrypto)),
            (Fake { refuses: vec![SANITIZE, FORMAT_NVM], ..able() }, None),
            (Fake { refuses: vec![IDENTIFY], ..able() }, None),
        ];
        for (at, (drive, want)) in table.iter().enumerate() {
            let (method, said) = erase(drive).unwrap();
            assert_eq!(method, *want, "{at}: {said}");
            let others = drive.namespaces.iter().any(|id| *id != 1);
            let sent = drive.sent.borrow();
            assert!(
                !others || sent.iter().all(|c| c.opcode == FORMAT_NVM && c.namespace == 1),
                "{at}: {sent:?}"
            );
            assert!(
                sent.iter().all(|c| c.opcode != FORMAT_NVM || c.dwords[0] >> 9 & 7 > 0),
                "a format that erases nothing"
            );
        }
    }

    #[test]
    fn a_namespace_that_no_plan_can_name_is_named_and_nothing_is_erased() {
        let managed = || Fake { oacs: 10, allocated: vec![1], ..able() };
        let table = [
            (able(), &[1][..], None),
            (managed(), &[1], None),
            (Fake { allocated: vec![1, 7, 9], ..managed() }, &[1, 9], Some("the namespace 7 beside")),
            (Fake { allocated: vec![1, 7, 9], ..managed() }, &[1], Some("the namespace 7, 9 beside")),
            (Fake { namespaces: vec![1, 2], ..able() }, &[1, 2], None),
            (Fake { namespaces: vec![1, 2], ..able() }, &[1], Some("the namespace 2 beside")),
            (Fake { allocated: vec![], ..managed() }, &[1], Some("does not list them")),
            // The kernel does not say which of its disks this is.
            (able(), &[], Some("the namespace 1 beside")),
            (Fake { refuses: vec![IDENTIFY], ..able() }, &[1], None),
        ];
        for (at, (drive, seen, want)) in table.into_iter().enumerate() {
            let told = all_seen(&drive, &seen.iter().copied().collect()).err().map(|error| error.to_string());
            let fits = match want {
                None => told.is_none(),
                Some(part) => told.as_ref().is_some_and(|told| told.contains(part)),
            };
            assert!(fits, "{at}: {told:?}");
            assert!(drive.sent.borrow().is_empty(), "{at}: {:?}", drive.sent);
        }
    }

    #[test]
    fn what_has_begun_and_failed_is_no_success() {
        for ends in [3, 0, 5] {
            let told = erase(&Fake { ends, ..able() });
            assert!(matches!(told, Err(FirmwareError::Failed("sanitizing", _))), "{ends}: {told:?}");
        }
        assert!(erase(&Fake { ends: 4, ..able() }).unwrap().0.is_some());
        let endless = Fake { runs: RefCell::new(u32::MAX), ..able() };
        assert!(matches!(erase(&endless), Err(FirmwareError::Endless)));
        assert!(matches!(settle(&endless), Err(FirmwareError::Endless)));
        settle(&able()).unwrap();
        let told = erase(&Fake { stops: true, ..able() });
        assert!(matches!(told, Err(FirmwareError::Stopped)), "{told:?}");
    }

    #[test]
    fn a_format_changes_nothing_but_what_is_on_it() {
        let mut namespace = vec![0; 4096];
        (namespace[26], namespace[29]) = (0x73, 0x0b);
        // Format 3 with its upper bits, metadata at the end of a block, protection type 3, first: as it was; SES 2.
        assert_eq!(format_word(&namespace, 2), 0x3 | 0x10 | 3 << 5 | 1 << 8 | 2 << 9 | 3 << 12);
        assert_eq!(format_word(&[], 1), 1 << 9);
    }
}
