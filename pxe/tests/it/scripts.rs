//! Boot scripts, letter for letter.

use pxe::boot::LocalBoot;
use pxe::script::{BootTask, CaPin, NodeView, Reason, autoexec, grub, grub_entry, ipxe, kernel_line};
use pxe::{BootPath, HttpBase};

use crate::wire::{SERVER, mac};

fn view(task: BootTask, path: BootPath) -> NodeView {
    NodeView {
        mac: mac(5),
        address: "10.77.0.100/24".parse().unwrap(),
        gateway: None,
        local: Default::default(),
        controller: "10.77.0.1:8443".parse().unwrap(),
        also: None,
        ca: CaPin([0xab; 32]),
        http: HttpBase::at(SERVER),
        task,
        path,
    }
}

fn agent() -> BootTask {
    BootTask::Agent { why: Reason::new("new machine: enrol") }
}

fn hold(why: &str) -> BootTask {
    BootTask::Hold { why: Reason::new(why) }
}

/// The contract with the ramdisk's agent.
const LINE: &str = "rackwright.controller=10.77.0.1:8443 \
    rackwright.ca=sha256:abababababababababababababababababababababababababababababababab \
    rackwright.mac=52:54:00:ab:cd:05 rackwright.address=10.77.0.100/24 rackwright.path=uefi-pxe \
    console=tty0 console=ttyS0,115200n8 loglevel=4 panic=30";

#[test]
fn the_kernel_command_line() {
    assert_eq!(kernel_line(&view(agent(), BootPath::UefiPxe)), LINE);
    let bios = kernel_line(&view(agent(), BootPath::BiosPxe));
    assert_eq!(bios, LINE.replace("uefi-pxe", "bios-pxe"));
    assert!(bios.len() < 2048, "what kernels take");
    let relayed = NodeView {
        gateway: Some("10.77.0.254".parse().unwrap()),
        path: BootPath::UefiHttp,
        ..view(agent(), BootPath::UefiPxe)
    };
    let with =
        LINE.replace("rackwright.path=uefi-pxe", "rackwright.gateway=10.77.0.254 rackwright.path=uefi-http");
    assert_eq!(kernel_line(&relayed), with);
}

#[test]
fn golden_ipxe() {
    let bios = ipxe(&view(agent(), BootPath::BiosPxe));
    let line = LINE.replace("uefi-pxe", "bios-pxe");
    let expected = format!(
        "#!ipxe\n\
         echo Rackwright 52:54:00:ab:cd:05: new machine: enrol\n\
         set tries:int32 0\n\
         :try\n\
         imgfree ||\n\
         kernel http://10.77.0.1/boot/vmlinuz {line} || goto again\n\
         initrd --name initrd.img http://10.77.0.1/boot/initrd.img || goto again\n\
         boot || goto again\n\
         :again\n\
         inc tries\n\
         iseq ${{tries}} 24 && goto restart ||\n\
         echo Try ${{tries}} of 24 failed. Again in 5 seconds.\n\
         sleep 5\n\
         goto try\n\
         :restart\n\
         echo Restarting in 10 seconds.\n\
         sleep 10\n\
         reboot ||\n\
         :end\n\
         chain --replace --autofree http://10.77.0.1/boot/52-54-00-ab-cd-05/script.ipxe ||\n\
         sleep 10\n\
         goto end\n"
    );
    assert_eq!(bios, expected);
    let uefi = ipxe(&view(agent(), BootPath::UefiPxe));
    assert!(uefi.contains(&format!("/boot/vmlinuz initrd=initrd.img {LINE} || goto again\n")), "{uefi}");
}

#[test]
fn ipxe_starts_the_local_disk() {
    let bios = ipxe(&view(BootTask::LocalDisk, BootPath::BiosPxe));
    let drives = ["0x80 ||\n", "0x81 ||\n", "0x82 ||\n", "0x83 || goto again\n"];
    let tried = drives.map(|drive| format!("sanboot --no-describe --drive {drive}")).concat();
    assert!(bios.contains(&format!("\n{tried}")), "{bios}");
    let uefi = ipxe(&view(BootTask::LocalDisk, BootPath::UefiPxe));
    assert!(
        uefi.contains("\nsanboot --no-describe --drive 0 --filename \\EFI\\debian\\shimx64.efi ||\n"),
        "{uefi}"
    );
}

/// The second way: firmware is handed back, with an error, and goes to the next entry of its boot order.
#[test]
fn ipxe_hands_back_to_firmware_that_came_again_from_the_disk() {
    let second = |path| ipxe(&NodeView { local: LocalBoot::Return, ..view(BootTask::LocalDisk, path) });
    let expected = "#!ipxe\n\
         echo Rackwright 52:54:00:ab:cd:05: starting the local disk\n\
         sanboot --no-describe --drive 0 --filename \\EFI\\debian\\shimx64.efi ||\n\
         sanboot --no-describe --drive 0 || exit 1\n";
    assert_eq!(second(BootPath::UefiPxe), expected);
    assert_eq!(second(BootPath::UefiHttp), expected);
    assert_eq!(second(BootPath::UefiPxeArm64), expected.replace("shimx64", "shimaa64"));
    let bios = second(BootPath::BiosPxe);
    assert!(bios.ends_with("sanboot --no-describe --drive 0x83 || exit 1\n"), "{bios}");
    assert_eq!(bios.matches("||\n").count(), 3, "{bios}");
    // Everything else is as ever: where nothing is to be started, and in GRUB, whose end is a setup screen.
    for task in [agent(), hold("x")] {
        let other = NodeView { local: LocalBoot::Return, ..view(task.clone(), BootPath::UefiPxe) };
        assert_eq!(ipxe(&other), ipxe(&view(task, BootPath::UefiPxe)));
    }
    let third = |local| NodeView { local, ..view(BootTask::LocalDisk, BootPath::UefiPxe) };
    for local in [LocalBoot::Return, LocalBoot::MissingFile] {
        assert_eq!(grub(&third(local)), grub(&third(LocalBoot::Start)));
    }
    assert_eq!(ipxe(&third(LocalBoot::MissingFile)), ipxe(&third(LocalBoot::Start)));
}

#[test]
fn golden_grub_local_disk() {
    let block = |found: &str, file: &str| {
        format!(
            "if search --no-floppy --set=root {found}; then\n\
             \x20 if chainloader {file}; then\n\
             \x20   boot\n\
             \x20 fi\n\
             fi\n"
        )
    };
    let expected = |shim: &str, removable: &str| {
        [
            "echo \"Rackwright 52:54:00:ab:cd:05: starting the local disk\"\n".to_owned(),
            block("--label RW-ESP", shim),
            block(&format!("--file {shim}"), shim),
            block(&format!("--file {removable}"), removable),
            "echo \"No disk of this machine could be started. Trying again.\"\n".to_owned(),
        ]
        .concat()
    };
    let local = |path| grub(&view(BootTask::LocalDisk, path));
    let x64 = expected("/EFI/debian/shimx64.efi", "/EFI/BOOT/BOOTX64.EFI");
    assert_eq!((local(BootPath::UefiPxe), local(BootPath::UefiHttp)), (x64.clone(), x64));
    let arm64 = expected("/EFI/debian/shimaa64.efi", "/EFI/BOOT/BOOTAA64.EFI");
    assert_eq!(local(BootPath::UefiPxeArm64), arm64);
}

#[test]
fn arm64_has_its_own_kernel_and_console() {
    let path = BootPath::UefiHttpArm64;
    let grub = grub(&view(agent(), path));
    assert!(grub.contains("if linux (http,10.77.0.1)/boot/arm64/vmlinuz rackwright.controller="), "{grub}");
    assert!(grub.contains("if initrd (http,10.77.0.1)/boot/arm64/initrd.img; then"), "{grub}");
    let ipxe = ipxe(&view(agent(), path));
    assert!(
        ipxe.contains("kernel http://10.77.0.1/boot/arm64/vmlinuz initrd=initrd.img rackwright."),
        "{ipxe}"
    );
    assert!(ipxe.contains("initrd --name initrd.img http://10.77.0.1/boot/arm64/initrd.img ||"), "{ipxe}");
    let line = kernel_line(&view(agent(), path));
    assert!(
        line.contains("rackwright.path=uefi-http-arm64 console=tty0 console=ttyAMA0,115200n8 "),
        "{line}"
    );
}

/// What the agent takes as a path (and a controller of another version may have words of its own).
#[test]
fn every_path_is_a_word() {
    for path in PATHS {
        let name = path.name();
        assert!((1..=32).contains(&name.len()));
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{name}");
        let row = serde_json::to_string(&path).unwrap();
        assert_eq!(row, format!("\"{name}\""), "rows and command lines have one name");
    }
}

const PATHS: [BootPath; 5] = [
    BootPath::BiosPxe,
    BootPath::UefiPxe,
    BootPath::UefiHttp,
    BootPath::UefiPxeArm64,
    BootPath::UefiHttpArm64,
];

#[test]
fn golden_grub() {
    let expected = format!(
        "echo \"Rackwright 52:54:00:ab:cd:05: new machine: enrol\"\n\
         if linux (http,10.77.0.1)/boot/vmlinuz {LINE}; then\n\
         \x20 if initrd (http,10.77.0.1)/boot/initrd.img; then\n\
         \x20   boot\n\
         \x20 fi\n\
         fi\n\
         echo \"The ramdisk could not be started. Trying again.\"\n"
    );
    assert_eq!(grub(&view(agent(), BootPath::UefiPxe)), expected);
    let local = grub(&view(BootTask::LocalDisk, BootPath::UefiPxe));
    assert!(local.contains("search --no-floppy --set=root --file /EFI/debian/shimx64.efi"), "{local}");
    let entry = grub_entry(HttpBase::at(SERVER));
    assert!(entry.contains("configfile (http,10.77.0.1)/boot/$net_default_mac/grub.cfg\n"), "{entry}");
    assert!(entry.ends_with("reboot\n"), "{entry}");
}

#[test]
fn other_ports_are_spelt_out() {
    let http = HttpBase("10.77.0.1:8080".parse().unwrap());
    assert!(grub_entry(http).contains("(http,10.77.0.1:8080)/boot/"));
    assert!(autoexec(http).contains("http://10.77.0.1:8080/boot/${net0/mac:hexhyp}/script.ipxe"));
}

fn every_script() -> Vec<String> {
    let mut all = vec![grub_entry(HttpBase::at(SERVER)), autoexec(HttpBase::at(SERVER))];
    for path in PATHS {
        for task in [agent(), BootTask::LocalDisk, hold("the disk is being looked at")] {
            all.push(ipxe(&view(task.clone(), path)));
            all.push(grub(&view(task, path)));
        }
    }
    all
}

/// Firmware that gets a machine back may show its setup screen until somebody comes.
#[test]
fn no_script_hands_back_to_the_firmware() {
    for script in every_script() {
        for word in script.split_whitespace() {
            assert!(
                !["exit", "shell", "insmod", "normal", "halt", "poweroff"].contains(&word),
                "{word} in\n{script}"
            );
        }
        assert!(script.ends_with('\n'));
    }
}

#[test]
fn every_label_that_is_jumped_to_is_there_once() {
    for script in every_script().iter().filter(|script| script.starts_with("#!ipxe")) {
        let words: Vec<&str> = script.split_whitespace().collect();
        for pair in words.windows(2).filter(|pair| pair[0] == "goto") {
            let label = format!(":{}", pair[1]);
            assert_eq!(script.lines().filter(|line| **line == label).count(), 1, "{label} in\n{script}");
        }
    }
}

#[test]
fn grub_blocks_are_closed() {
    for script in every_script().iter().filter(|script| !script.starts_with("#!ipxe")) {
        let count = |word: &str| script.split_whitespace().filter(|other| *other == word).count();
        assert_eq!((count("if"), count("for")), (count("fi"), count("done")), "{script}");
        assert!(script.lines().all(|line| line.matches('"').count() % 2 == 0), "{script}");
    }
}

/// A reason comes from facts that machines told us. None becomes a command.
#[test]
fn a_reason_cannot_inject() {
    let hostile = [
        "x\nreboot",
        "x\r\nreboot",
        "x || reboot",
        "x && reboot",
        "${net0/mac}",
        "$(reboot)",
        "`reboot`",
        "\"; reboot; \"",
        "'; reboot; '",
        "x # y",
        "x; reboot",
        "x { y }",
        "\\x",
        "--help",
        "\u{202e}toober",
        "\0",
        "\u{1b}[2J",
        "%s%n",
        "<script>",
        "x | y > z < w * ? [a] ~ ^ ! @ &",
    ];
    for text in hostile {
        for path in [BootPath::BiosPxe, BootPath::UefiPxe] {
            let plain = |script: String| script.lines().count();
            assert_eq!(
                (plain(ipxe(&view(hold(text), path))), plain(grub(&view(hold(text), path)))),
                (plain(ipxe(&view(hold("x"), path))), plain(grub(&view(hold("x"), path)))),
                "{text:?}"
            );
        }
        let reason = Reason::new(text).to_string();
        assert!(
            reason.bytes().all(|b| b.is_ascii_alphanumeric() || b" .,:_/()-+=?".contains(&b)),
            "{reason:?}"
        );
    }
    assert_eq!(Reason::new(&"x".repeat(10_000)).to_string().len(), 160);
}
