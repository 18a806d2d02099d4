//! From the seed that the ramdisk left to a certificate of our own. Every step can be repeated after a power cut:
//! who this node is and by which seed is kept first, the key before it is shown, the certificate last, and the seed is wiped
//! when nothing needs it any more.
//!
//! An image of a disk may have brought along what another node kept, or this one before it was restored: a complete seed of
//! another job than the kept one means that the disk was written since, and all of that is forgotten. So a seed that can't be
//! read is waited for, for a while, even by a node that knows who it is.

use std::path::Path;
use std::time::{Duration, Instant};

use protocol::{Enrol, Enrolled, NodeId, Seed, enrol_proof, routes};
use units::{Active, Systemd, UnitName};

use super::folder::{Folder, FolderError, Identity};
use super::options::Options;
use super::seed::PartitionError;
use super::voice::{self, Nag};
use super::{host_keys, seed};
use crate::chain::Chain;
use crate::clock;
use crate::controller::{CallError, Controller, Dates, Line, TlsError};
use crate::keys::{KeyError, KeyPair};

/// How long an answer may take; a certificate is quickly made, a loaded controller is slow to begin.
const DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks at a seed that is not there yet.
const LOOK: Duration = Duration::from_secs(1);
/// For how long a node that knows who it is waits for a seed that can't be read: it could say otherwise.
const SETTLING: Duration = Duration::from_secs(30);
/// This long after a boot an earlier start of the agent has waited, and the disk was not written since.
const BOOTED_SECONDS: u32 = 600;
/// After a final no: an operator may change the controller's mind.
const PATIENCE: Duration = Duration::from_secs(15);

/// A node that is one.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) identity: Identity,
    pub(super) key: KeyPair,
    pub(super) controller: Controller,
}

/// Why an attempt did not succeed; every attempt is repeated.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error(transparent)]
    Seed(#[from] PartitionError),
    #[error("the seed is not complete: the ramdisk has not read the image back")]
    Incomplete,
    #[error("waiting for the seed: who this node was may have come with an image")]
    Unread(#[source] PartitionError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("enrolling")]
    Call(#[from] CallError),
    #[error("the controller enrolled node {}, the seed is for {}", .got.short(), .ours.short())]
    OtherNode { got: NodeId, ours: NodeId },
    #[error("putting the identity back")]
    HostKeys(#[from] host_keys::HostKeyError),
}

/// This node with its certificate: the one it has, or a new one as soon as there are seed and controller.
pub(super) async fn enrolled(
    options: &Options,
    folder: &Folder,
    systemd: &Systemd,
) -> Result<Standing, FolderError> {
    let mut nag = Nag::default();
    let (begun, uptime_seconds) = (Instant::now(), clock::uptime_seconds(&options.root));
    loop {
        let unread = Unread::after(begun.elapsed(), uptime_seconds);
        let attempt = match settled(options, folder, unread) {
            Ok(Some(standing)) => {
                wipe(options, &standing.identity);
                return Ok(standing);
            }
            Ok(None) => attempt(options, folder, systemd).await,
            Err(error) => Err(error),
        };
        match attempt {
            Ok(()) => voice::milestone("enrolled"),
            Err(error) => {
                nag.say(&Chain(&error).to_string());
                let refused = matches!(&error, AttemptError::Call(call) if call.is_refusal());
                tokio::time::sleep(if refused { PATIENCE } else { LOOK }).await;
            }
        }
    }
}

/// What a node that knows who it is does about a seed that can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unread {
    /// Its disk may still be on its way.
    Waits,
    /// It has waited: a disk that fails takes nothing away from what there is.
    GoesOn,
}

impl Unread {
    /// For an agent that runs for so long, and began so many seconds after the kernel.
    fn after(running: Duration, uptime_seconds: u32) -> Self {
        if running < SETTLING && uptime_seconds < BOOTED_SECONDS { Self::Waits } else { Self::GoesOn }
    }
}

/// What an earlier enrolment left, when all of it is there and the disk was not written since.
fn settled(options: &Options, folder: &Folder, unread: Unread) -> Result<Option<Standing>, AttemptError> {
    let error = match left(options) {
        Ok(seed) => {
            forget(&options.root, folder, &seed)?;
            return standing(folder);
        }
        // It was read, and there is none: it was wiped, or never left.
        Err(PartitionError::Seed(_)) => return standing(folder),
        Err(error) => error,
    };
    let standing = standing(folder)?;
    match (unread, &standing) {
        (Unread::Waits, Some(_)) => return Err(AttemptError::Unread(error)),
        (Unread::GoesOn, Some(Standing { identity, .. })) => {
            let why = Chain(&error);
            voice::say(&format!("going on as node {} without the seed: {why}", identity.node.short()));
        }
        (Unread::Waits | Unread::GoesOn, None) => {}
    }
    Ok(standing)
}

/// Forgets what an image brought along, if this seed says that there is such. `true` when it did.
///
/// Who the node is goes last, in the same step in which the new one comes: until then the next start does all of this again.
/// The order of the rest does not matter.
fn forget(root: &Path, folder: &Folder, seed: &Seed) -> Result<bool, AttemptError> {
    let kept = folder.identity()?;
    if !seed.complete || kept.as_ref().is_some_and(|kept| is_by(kept, seed)) {
        return Ok(false);
    }
    let was_used = folder.is_used()?;
    // Nobody says whose the host keys are when what is kept does not say whose it is.
    if kept.as_ref().map_or(was_used, |kept| kept.node != seed.node) {
        host_keys::remove(root)?;
    }
    folder.forget()?;
    folder.keep_identity(&Identity {
        node: seed.node,
        name: seed.name.clone(),
        controller: seed.controller,
        ca: seed.ca,
        job: seed.job,
        renew_ms: 0,
    })?;
    if was_used {
        voice::say("the disk was written since: what it brought along is forgotten");
    }
    Ok(true)
}

/// What an earlier enrolment left, when all of it is there.
fn standing(folder: &Folder) -> Result<Option<Standing>, AttemptError> {
    let (Some(identity), Some(key), Some(certificate)) =
        (folder.identity()?, folder.key()?, folder.certificate()?)
    else {
        return Ok(None);
    };
    let key = KeyPair::from_pkcs8(&key)?;
    let controller = controller(&identity, &certificate, &key)?;
    Ok(Some(Standing { identity, key, controller }))
}

/// The controller, called with this certificate.
pub(super) fn controller(
    identity: &Identity,
    certificate: &str,
    key: &KeyPair,
) -> Result<Controller, TlsError> {
    let client = crate::controller::Identity::new(certificate, key)?;
    // The clock of a node with an empty battery is right only after chrony has run, and chrony's configuration comes
    // from the controller: the pinned CA and the address decide, the dates do not.
    Controller::new(identity.controller, identity.ca, Dates::Lenient, Some(client))
}

async fn attempt(options: &Options, folder: &Folder, systemd: &Systemd) -> Result<(), AttemptError> {
    let seed = left(options)?;
    if !seed.complete {
        return Err(AttemptError::Incomplete);
    }
    // The seed may be younger than the last look at it.
    forget(&options.root, folder, &seed)?;
    let key = own_key(folder)?;
    let deploy_key = KeyPair::from_base64(&seed.key)?;
    let mut identity = Identity {
        node: seed.node,
        name: seed.name.clone(),
        controller: seed.controller,
        ca: seed.ca,
        job: seed.job,
        renew_ms: 0,
    };
    let mut line = Line::new(controller(&identity, &seed.certificate, &deploy_key)?);
    let enrolled = ask(&mut line, &seed, &key, options).await?;
    identity.name.clone_from(&enrolled.name);
    identity.renew_ms = enrolled.renew_ms;
    folder.keep_identity(&identity)?;
    let mut line = Line::new(controller(&identity, &enrolled.certificate, &key)?);
    settle_identity(options, systemd, &mut line, &enrolled).await?;
    // Last: from here on the seed is not needed any more.
    Ok(folder.keep_certificate(&enrolled.certificate)?)
}

/// The key that was kept, or a new one that is.
fn own_key(folder: &Folder) -> Result<KeyPair, AttemptError> {
    if let Some(kept) = folder.key()?.and_then(|pkcs8| KeyPair::from_pkcs8(&pkcs8).ok()) {
        return Ok(kept);
    }
    let made = KeyPair::generate()?;
    folder.keep_key(made.pkcs8())?;
    Ok(made)
}

/// What is sent to enrol this key, now or again.
pub(super) fn request(ca: &protocol::CaPin, node: &NodeId, key: &KeyPair, options: &Options) -> Enrol {
    Enrol {
        protocol: protocol::VERSION,
        key: key.public(),
        proof: key.sign(&enrol_proof(ca, node, &key.public())),
        boot_id: super::facts::boot_id(&options.root),
        uptime_seconds: clock::uptime_seconds(&options.root),
    }
}

async fn ask(
    line: &mut Line,
    seed: &Seed,
    key: &KeyPair,
    options: &Options,
) -> Result<Enrolled, AttemptError> {
    let request = request(&seed.ca, &seed.node, key, options);
    let mut nag = Nag::default();
    let trouble = |error: &CallError, _| nag.say(&format!("enrolling: {}", Chain(error)));
    let enrolled: Enrolled = line.insist(routes::ENROL, &request, DEADLINE, trouble).await?;
    if enrolled.node != seed.node {
        return Err(AttemptError::OtherNode { got: enrolled.node, ours: seed.node });
    }
    Ok(enrolled)
}

/// Puts the identity back that the controller kept, or makes one and hands it in.
async fn settle_identity(
    options: &Options,
    systemd: &Systemd,
    line: &mut Line,
    enrolled: &Enrolled,
) -> Result<(), AttemptError> {
    if !enrolled.identity.is_empty() {
        if host_keys::put_back(&options.root, &enrolled.identity)? {
            restart_ssh(systemd).await;
        }
        return Ok(());
    }
    let before = host_keys::collect(&options.root)?;
    let root = options.root.clone();
    let made = tokio::task::spawn_blocking(move || host_keys::make(&root)).await;
    if !made.unwrap_or(Ok(false))? {
        voice::say("there is no ssh-keygen here: no identity files are handed in");
        return Ok(());
    }
    let files = host_keys::collect(&options.root)?;
    if files != before {
        restart_ssh(systemd).await;
    }
    let mut nag = Nag::default();
    let trouble = |error: &CallError, _| nag.say(&format!("handing in the identity: {}", Chain(error)));
    line.insist::<_, serde_json::Value>(routes::ESCROW, &files, DEADLINE, trouble).await?;
    Ok(())
}

/// SSH has read the keys of a stranger, or failed without any. Not a reason to hold the enrolment up.
async fn restart_ssh(systemd: &Systemd) {
    let Ok(ssh) = UnitName::parse("ssh.service") else { return };
    let result = match systemd.state(&ssh).await {
        // It reads the right keys when it comes up; without the package there is none.
        Ok(state) if state.active == Active::Inactive => return,
        Ok(_) => systemd.restart(&ssh).await.map(drop),
        Err(error) => Err(error),
    };
    if let Err(error) = result {
        voice::say(&Chain(&error).to_string());
    }
}

/// The deploy key is used up; a ticket for a rebuild is not, and neither is the seed of a job that we have not enrolled by.
fn wipe(options: &Options, identity: &Identity) {
    let Ok(place) = seed::find(options) else { return };
    let used = matches!(seed::read(&place), Ok(seed) if seed.complete && is_by(identity, &seed));
    if used && let Err(error) = seed::wipe(&place) {
        voice::say(&Chain(&error).to_string());
    }
}

/// Whether what is kept comes from this seed. The job alone does not say it where neither names one.
fn is_by(identity: &Identity, seed: &Seed) -> bool {
    (identity.job, identity.node, identity.ca) == (seed.job, seed.node, seed.ca)
}

/// What the ramdisk left for us.
fn left(options: &Options) -> Result<Seed, PartitionError> {
    seed::read(&seed::find(options)?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use protocol::{CaPin, IdentityFile, JobId, NodeId, Seed, StateDocument};
    use tempfile::TempDir;

    use super::Unread::{GoesOn, Waits};
    use super::{AttemptError, Folder, Identity, Unread, forget, own_key, settled, standing, wipe};
    use crate::serve::folder::{Applied, PLACE};
    use crate::serve::root_disk::tests::Tree;
    use crate::serve::seed::PartitionError;
    use crate::serve::{Options, seed};

    const FIRST: NodeId = NodeId([1; 16]);
    const OTHER: NodeId = NodeId([2; 16]);

    fn a_seed(node: NodeId, job: u8, complete: bool) -> Seed {
        Seed {
            controller: "10.77.0.1:8443".parse().unwrap(),
            ca: CaPin([7; 32]),
            node,
            name: "n1".into(),
            job: Some(JobId([job; 8])),
            key: crate::keys::KeyPair::generate().unwrap().pkcs8_base64(),
            certificate: String::new(),
            complete,
        }
    }

    /// A root file system with what node 1 kept that was installed by job 1, and a place for a seed.
    fn restored() -> (TempDir, Folder, Options) {
        let root = TempDir::new().unwrap();
        let folder = restored_in(root.path());
        let place = root.path().join("seed");
        fs::write(&place, b"").unwrap();
        let options = Options { root: root.path().to_owned(), seed: Some(place) };
        (root, folder, options)
    }

    fn restored_in(root: &Path) -> Folder {
        let folder = Folder::open(root).unwrap();
        let of = a_seed(FIRST, 1, true);
        assert!(forget(root, &folder, &of).unwrap(), "who it is, before anything else");
        own_key(&folder).unwrap();
        folder.keep_applied(&Applied { generation: 9, done_order: 4, ..Applied::default() }).unwrap();
        let document: StateDocument = serde_json::from_value(serde_json::json!({
            "generation": 9, "name": "n1", "files": [], "units": [], "tasks": []
        }))
        .unwrap();
        folder.keep_document(&document).unwrap();
        folder.keep_certificate("a certificate").unwrap();
        fs::create_dir_all(root.join("etc/ssh")).unwrap();
        for name in IdentityFile::PATHS {
            fs::write(root.join(name.trim_start_matches('/')), "of node 1").unwrap();
        }
        folder
    }

    /// Names and content of all files of the folder and of the host keys.
    fn kept(root: &Path) -> Vec<(String, Vec<u8>)> {
        let inside =
            |folder: &str| fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let mut all = inside(PLACE).chain(inside("etc/ssh")).collect::<Vec<_>>();
        all.sort();
        all.into_iter().map(|path| (path.display().to_string(), fs::read(&path).unwrap())).collect()
    }

    fn names(root: &Path) -> Vec<String> {
        let name = |(path, _): (String, Vec<u8>)| path.rsplit('/').next().unwrap().to_owned();
        kept(root).into_iter().map(name).collect()
    }

    fn identity(folder: &Folder) -> Identity {
        folder.identity().unwrap().unwrap()
    }

    #[test]
    fn a_seed_of_another_job_makes_the_node_forget_what_the_disk_brought_along() {
        for (node, host_keys) in [(FIRST, 6), (OTHER, 0)] {
            let (root, folder, options) = restored();
            let old = own_key(&folder).unwrap().public();
            seed::write(options.seed.as_ref().unwrap(), &a_seed(node, 2, true)).unwrap();
            assert!(settled(&options, &folder, Waits).unwrap().is_none(), "it is to enrol");
            let names = names(root.path());
            assert_eq!(names.iter().filter(|name| name.starts_with("ssh_host")).count(), host_keys);
            assert_eq!(
                names.iter().filter(|name| !name.starts_with("ssh_host")).collect::<Vec<_>>(),
                ["identity.json"]
            );
            assert_eq!((identity(&folder).node, identity(&folder).job), (node, Some(JobId([2; 8]))));
            let new = own_key(&folder).unwrap().public();
            assert_ne!(new, old);
            // Until it is wiped the seed is there at every start, and takes nothing more away.
            assert!(settled(&options, &folder, Waits).unwrap().is_none());
            assert_eq!(own_key(&folder).unwrap().public(), new, "one key for all attempts");
        }
    }

    #[test]
    fn a_disk_of_another_rack_says_nothing_of_this_node() {
        let tree = Tree::of_a_node();
        let (folder, options) =
            (restored_in(tree.root()), Options { root: tree.root().to_owned(), seed: None });
        let before = kept(tree.root());
        tree.add_foreign();
        seed::write(&tree.path("dev/vdb3"), &a_seed(OTHER, 2, true)).unwrap();
        assert!(settled(&options, &folder, Waits).is_err(), "its own certificate is looked at");
        assert!(kept(tree.root()) == before);
        wipe(&options, &Identity { job: Some(JobId([2; 8])), ..identity(&folder) });
        assert_eq!(seed::read(&tree.path("dev/vdb3")).unwrap().node, OTHER, "it is not ours to wipe");
        // On the disk that it runs from, the same words count.
        seed::write(&tree.path("dev/vda3"), &a_seed(OTHER, 2, true)).unwrap();
        assert!(settled(&options, &folder, Waits).unwrap().is_none());
        assert_eq!(identity(&folder).node, OTHER);
    }

    /// A certificate that the kept key belongs to.
    fn enrolled(folder: &Folder) {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        folder.keep_key(key.serialized_der()).unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        folder.keep_certificate(&certificate.pem()).unwrap();
    }

    #[test]
    fn a_seed_that_comes_late_is_waited_for() {
        let (root, folder, options) = restored();
        enrolled(&folder);
        let before = kept(root.path());
        let late = Options { seed: Some(root.path().join("late")), ..options.clone() };
        for _ in 0..3 {
            let told = settled(&late, &folder, Waits).unwrap_err();
            assert!(matches!(told, AttemptError::Unread(PartitionError::Read(_))), "{told:?}");
        }
        // The disk of the root is not known either.
        let lost = Options { seed: None, ..options.clone() };
        let told = settled(&lost, &folder, Waits).unwrap_err();
        assert!(matches!(told, AttemptError::Unread(PartitionError::Find(_))), "{told:?}");
        for unread in [&late, &lost] {
            let standing = settled(unread, &folder, GoesOn).unwrap().expect("a disk that fails");
            assert_eq!(standing.identity, identity(&folder));
        }
        // One that was read and is none is not waited for.
        assert!(settled(&options, &folder, Waits).unwrap().is_some());
        assert!(kept(root.path()) == before);
        fs::write(root.path().join("late"), b"").unwrap();
        seed::write(&root.path().join("late"), &a_seed(OTHER, 2, true)).unwrap();
        assert!(settled(&late, &folder, Waits).unwrap().is_none(), "who it was came with an image");
        assert_eq!(identity(&folder).node, OTHER);
        // Nobody knows who this is: there is only the seed to wait for, and that is done elsewhere.
        assert!(settled(&lost, &folder, Waits).unwrap().is_none());
    }

    #[test]
    fn it_is_waited_for_half_a_minute_and_only_after_a_boot() {
        let seconds = Duration::from_secs;
        let table = [(0, 0, Waits), (29, 599, Waits), (30, 0, GoesOn), (0, 600, GoesOn), (900, 2, GoesOn)];
        for (running, uptime_seconds, want) in table {
            assert_eq!(Unread::after(seconds(running), uptime_seconds), want, "{running} {uptime_seconds}");
        }
    }

    #[test]
    fn only_a_seed_that_was_used_is_wiped() {
        let (_root, folder, options) = restored();
        let place = options.seed.as_ref().unwrap();
        let identity = identity(&folder);
        for seed in [a_seed(FIRST, 2, true), Seed { job: None, ..a_seed(FIRST, 1, false) }] {
            seed::write(place, &seed).unwrap();
            wipe(&options, &identity);
            assert_eq!(seed::read(place).unwrap(), seed);
        }
        seed::write(place, &a_seed(FIRST, 1, true)).unwrap();
        wipe(&options, &identity);
        assert!(matches!(seed::read(place), Err(PartitionError::Seed(_))));
    }

    #[test]
    fn nothing_else_makes_it_forget() {
        let (root, folder, options) = restored();
        let before = kept(root.path());
        let unreadable = Options { seed: Some(root.path().join("nowhere")), ..options.clone() };
        for seed in [
            None,
            // Its own, not wiped yet.
            Some(a_seed(FIRST, 1, true)),
            // A ticket, or an image that is still being written.
            Some(Seed { job: None, ..a_seed(FIRST, 1, false) }),
            Some(a_seed(OTHER, 2, false)),
        ] {
            if let Some(seed) = &seed {
                seed::write(options.seed.as_ref().unwrap(), seed).unwrap();
            }
            // The certificate of this test is none: that it is looked at is what counts.
            assert!(settled(&options, &folder, Waits).is_err(), "{seed:?}");
            assert!(settled(&unreadable, &folder, GoesOn).is_err(), "{seed:?}");
            assert!(kept(root.path()) == before, "{seed:?}");
        }
    }

    /// A key whose writing a power cut ended is a key.
    #[test]
    fn drafts_are_forgotten_with_what_they_were_to_be() {
        let (root, folder, options) = restored();
        let before = kept(root.path());
        for (path, _) in &before {
            let (folder, name) = path.rsplit_once('/').unwrap();
            fs::write(format!("{folder}/.{name}.rackwright-new"), "secret").unwrap();
        }
        assert_eq!(kept(root.path()).len(), before.len() * 2);
        seed::write(options.seed.as_ref().unwrap(), &a_seed(OTHER, 2, true)).unwrap();
        assert!(settled(&options, &folder, Waits).unwrap().is_none());
        assert_eq!(names(root.path()), ["identity.json"]);
    }

    /// What another node left is nobody's to have, also when who that was can't be read any more.
    #[test]
    fn host_keys_go_when_nobody_says_whose_they_are() {
        let damages: [fn(&Path); 3] = [
            |path| fs::write(path, "").unwrap(),
            |path| fs::write(path, "{ \"node\": ").unwrap(),
            |path| fs::remove_file(path).unwrap(),
        ];
        for damage in damages {
            let (root, folder, options) = restored();
            damage(&root.path().join(PLACE).join("identity.json"));
            seed::write(options.seed.as_ref().unwrap(), &a_seed(OTHER, 2, true)).unwrap();
            assert!(settled(&options, &folder, Waits).unwrap().is_none());
            assert_eq!(names(root.path()), ["identity.json"]);
            assert_eq!(identity(&folder).node, OTHER);
        }
        // Of a system that never was a node's they are its own.
        let (root, _, options) = restored();
        fs::remove_dir_all(root.path().join(PLACE)).unwrap();
        let folder = Folder::open(root.path()).unwrap();
        seed::write(options.seed.as_ref().unwrap(), &a_seed(OTHER, 2, true)).unwrap();
        assert!(settled(&options, &folder, Waits).unwrap().is_none());
        assert_eq!(names(root.path()).len(), 1 + IdentityFile::PATHS.len());
    }

    #[test]
    fn a_folder_of_the_time_before_jobs_were_kept_is_forgotten_too() {
        let (root, folder, _) = restored();
        let path = root.path().join(PLACE).join("identity.json");
        let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert!(json.as_object_mut().unwrap().remove("job").is_some());
        fs::write(&path, json.to_string()).unwrap();
        assert_eq!(identity(&folder).job, None);
        assert!(forget(root.path(), &folder, &a_seed(FIRST, 2, true)).unwrap());
        assert_eq!(identity(&folder).job, Some(JobId([2; 8])));
    }

    #[test]
    fn without_a_job_it_is_the_node_and_the_site_that_are_compared() {
        let jobless = |node| Seed { job: None, ..a_seed(node, 0, true) };
        let changes: [fn(&mut Seed); 2] = [|seed| seed.node = OTHER, |seed| seed.ca = CaPin([8; 32])];
        for change in changes {
            let (_root, folder, options) = restored();
            let place = options.seed.as_ref().unwrap();
            folder.keep_identity(&Identity { job: None, ..identity(&folder) }).unwrap();
            seed::write(place, &jobless(FIRST)).unwrap();
            assert!(settled(&options, &folder, Waits).is_err(), "its own: the certificate is looked at");
            let mut other = jobless(FIRST);
            change(&mut other);
            seed::write(place, &other).unwrap();
            wipe(&options, &identity(&folder));
            assert_eq!(seed::read(place).unwrap(), other);
            assert!(settled(&options, &folder, Waits).unwrap().is_none());
            assert_eq!((identity(&folder).node, identity(&folder).ca), (other.node, other.ca));
            // Once: with what is made then it goes on.
            folder.keep_certificate("a certificate").unwrap();
            let key = own_key(&folder).unwrap().public();
            assert!(settled(&options, &folder, Waits).is_err());
            assert_eq!(own_key(&folder).unwrap().public(), key);
        }
    }

    /// Every set of files that a power cut can leave behind ends in the same: the removed ones in any order, because a file
    /// system may keep another order than ours, as long as who the node is comes last.
    #[test]
    fn a_power_cut_between_any_two_steps_ends_right() {
        let removed = ["certificate.pem", "applied.json", "document.json", "key"];
        let ssh = IdentityFile::PATHS.map(|path| path.trim_start_matches('/').to_owned());
        for cut in 0..1_u32 << (removed.len() + 1) {
            let (root, folder, options) = restored();
            let old = own_key(&folder).unwrap().public();
            let new = a_seed(OTHER, 2, true);
            seed::write(options.seed.as_ref().unwrap(), &new).unwrap();
            for (_, name) in removed.iter().enumerate().filter(|(at, _)| cut & 1 << at != 0) {
                fs::remove_file(root.path().join(PLACE).join(name)).unwrap();
            }
            if cut & 1 << removed.len() != 0 {
                ssh.iter().take(3).for_each(|name| fs::remove_file(root.path().join(name)).unwrap());
            }
            assert!(settled(&options, &folder, Waits).unwrap().is_none(), "cut {cut:b}");
            assert_eq!(names(root.path()), ["identity.json"], "cut {cut:b}");
            assert_eq!(identity(&folder).node, OTHER);
            assert_ne!(own_key(&folder).unwrap().public(), old);
        }
        // After the last step: the key is the new one's, and is kept; then a certificate that the seed no longer undoes.
        let (root, folder, options) = restored();
        let new = a_seed(OTHER, 2, true);
        seed::write(options.seed.as_ref().unwrap(), &new).unwrap();
        assert!(forget(root.path(), &folder, &new).unwrap());
        assert!(!forget(root.path(), &folder, &new).unwrap());
        let key = own_key(&folder).unwrap().public();
        assert!(settled(&options, &folder, Waits).unwrap().is_none());
        folder.keep_certificate("a certificate").unwrap();
        assert!(settled(&options, &folder, Waits).is_err(), "the new certificate is looked at");
        assert_eq!(own_key(&folder).unwrap().public(), key);
        assert!(standing(&folder).is_err());
    }
}
