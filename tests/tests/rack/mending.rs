//! A server whose system does not come up is mended by hand: into the ramdisk by the key on its disk, in by SSH, nothing written
//! that was not meant to be, and out of it as who it was.

use std::time::{Duration, Instant};

use xtask::rack::disk;
use xtask::rack::firmware::Firmware;
use xtask::rack::host::{Host, Leg};
use xtask::rack::machine::{Bus, Reboot};
use xtask::rack::netns::Network;
use xtask::say;

use crate::lab::{Lab, PATIENCE, fail, spec};
use crate::shell::Shell;
use crate::{neighbours, offline};

#[test]
#[ignore = "four boots more, some minutes: cargo xtask test --long"]
fn a_server_that_does_not_come_up_is_mended_by_hand() {
    let servers = vec![spec("n9", Firmware::Bios, 9, Bus::Virtio, false)];
    let Some(mut lab) = Lab::up(servers) else { return };
    lab.start(0, Reboot::Off);
    lab.until("verified", |node| node.state == "booting");
    lab.servers[0].wait_off(Duration::from_secs(120)).unwrap_or_else(|error| fail(&error));
    let disk = lab.servers[0].files().disks[0].clone();
    offline::add_shell(&disk);
    offline::break_loader(&disk);
    let key = named_key(&lab);
    let text = lab.controller.rackwright(&["node", "rescue", "n9", "--ssh-key", "/root/mend.pub"]);
    say::line(&text.unwrap_or_else(|error| fail(&error)));
    lab.start(0, Reboot::Again);
    let host_key = entered(&lab);
    assert_eq!(lab.approved_again(), 0, "the key on its disk lets it in");

    let leg = format!("{}250/24", neighbours::prefix(Network::Provision));
    let leg = Leg { network: Network::Provision, interface: "mender", address: Some(&leg) };
    let host = lab.rack.host("mender", &[leg]).unwrap_or_else(|error| fail(&error));
    let login = Login { host: &host, key, address: lab.node(0).address, known: lab.rack.dir().join("known") };
    assert!(login.runs("true").contains(&host_key), "the host key is the one that was told");
    let before = disk::allocated(&disk).unwrap();
    login.fails("dd if=/dev/zero of=/dev/vda bs=1M count=1 conv=fsync");
    assert_eq!(disk::allocated(&disk).unwrap(), before, "something was written");
    let root = login.runs("blkid -t PARTLABEL=rackwright-root -o device").lines().last().unwrap().to_owned();
    login.runs(&format!(
        "mount -o ro,norecovery {root} /mnt && test ! -e /mnt/boot/grub/grub.cfg && umount /mnt"
    ));
    let mends = "mv /mnt/boot/grub/saved.cfg /mnt/boot/grub/grub.cfg && echo by-hand >/mnt/root/mended";
    login.runs(&format!("blockdev --setrw /dev/vda && mount {root} /mnt && {mends} && umount /mnt"));
    lab.controller.rackwright(&["node", "rescue", "n9", "--end"]).unwrap_or_else(|error| fail(&error));
    lab.until("active with all units up", |node| node.state == "active" && node.health == "ok");
    let mut shell = Shell::open(&lab.servers[0].files().shell, Duration::from_secs(60));
    assert_eq!(shell.run("cat /root/mended"), "by-hand");
    lab.passed();
}

/// A key pair; the public half lies on the controller.
fn named_key(lab: &Lab) -> String {
    let file = lab.rack.dir().join("mend");
    let file = file.to_str().unwrap().to_owned();
    let made = xtask::tool::Tool::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "mender", "-f", &file]);
    made.read().unwrap_or_else(|error| fail(&error));
    let public = std::fs::read_to_string(format!("{file}.pub")).unwrap();
    let line = format!("echo '{}' >/root/mend.pub", public.trim());
    lab.controller.run(&["sh", "-c", &line]).unwrap_or_else(|error| fail(&error));
    file
}

/// Waits until the ramdisk tells by what its SSH server is known.
fn entered(lab: &Lab) -> String {
    let start = Instant::now();
    loop {
        let shown = lab.controller.rackwright(&["node", "show", "n9"]).unwrap_or_else(|error| fail(&error));
        if let Some(at) = shown.find("SHA256:") {
            let is_in_it = |letter: char| letter.is_ascii_alphanumeric() || ":+/".contains(letter);
            return shown[at..].chars().take_while(|letter| is_in_it(*letter)).collect();
        }
        assert!(start.elapsed() < PATIENCE, "not in the ramdisk:\n{shown}");
        std::thread::sleep(Duration::from_secs(2));
    }
}

/// A way in from the provisioning network.
struct Login<'a> {
    host: &'a Host,
    key: String,
    address: String,
    known: std::path::PathBuf,
}

impl Login<'_> {
    fn tries(&self, words: &str) -> xtask::tool::Output {
        let (known, to) =
            (format!("UserKnownHostsFile={}", self.known.display()), format!("root@{}", self.address));
        let options = [
            "-F",
            "none",
            "-v",
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=accept-new",
            "-o",
            &known,
        ];
        let argv = [&["ssh"][..], &options, &["-i", &self.key, &to, words]].concat();
        self.host.try_run(&argv, Duration::from_secs(120)).unwrap_or_else(|error| fail(&error))
    }

    /// What it says, and what `ssh` says of the server before.
    fn runs(&self, words: &str) -> String {
        let output = self.tries(words);
        assert!(output.status.success(), "{words}: {output:?}");
        format!("{}\n{}", output.stderr, output.stdout)
    }

    fn fails(&self, words: &str) {
        let output = self.tries(words);
        assert!(!output.status.success(), "{words}: {output:?}");
    }
}
