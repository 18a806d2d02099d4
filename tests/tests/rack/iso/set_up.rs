//! The live system becomes a controller: by answers on a stick, or by answers at its console.

use std::time::Duration;

use xtask::rack::firmware::Firmware;
use xtask::rack::live::{Medium, Spec};
use xtask::say;

use super::{Bench, PATIENCE, shell, until, until_said};
use crate::shell::Shell;

/// What only a person knows; everything else is what set-up proposes.
const ANSWERS: &str = r#"site = "iso"

[management]
interface = "enp0s16"
address = "10.77.9.1/24"
"#;

/// A key that there is not.
const MISSPELT: &str = "[management]\ninterfaze = \"enp0s16\"\n";

/// Looking at the machine waits for DHCP servers on every card.
const LOOK: Duration = Duration::from_secs(300);

/// A disc in an old machine and answers on a stick: without a key being pressed there is a controller, and a server boots from it over
/// the network and shows the code that the controller knows it by. All of the product from one ISO.
#[test]
#[ignore = "two machines at once, some minutes: cargo xtask iso --test"]
fn answers_on_a_stick_make_a_controller_that_a_server_boots_from() {
    let Some(bench) = Bench::up("answers") else { return };
    let drive = bench.rackconf("answers.toml", ANSWERS);
    let cable = bench.dir.join("cable");
    let spec = Spec {
        drive: Some(&drive),
        cable: Some((&cable, true)),
        ..bench.spec("controller", Firmware::Bios, Medium::Disc)
    };
    let live = bench.start(&spec);
    until(&live, "The controller is running");
    let mut shell = shell(&live);
    running(&mut shell);
    let spec = Spec { cable: Some((&cable, false)), ..bench.spec("server", Firmware::Bios, Medium::None) };
    let server = bench.start(&spec);
    let listed = until_said(&mut shell, "rackwright node list", "code ");
    say::line(&listed);
    assert!(listed.contains("discovered"), "{listed}");
    let code = listed.split_once("code ").unwrap().1.split(|next: char| !next.is_ascii_alphanumeric());
    let code = code.into_iter().next().unwrap();
    assert_eq!(code.len(), 6, "no code in {listed}");
    until(&server, code);
    drop(server);
    bench.passed();
}

/// A stick with a mistake on it changes nothing, and the console says which. Then somebody does what the console says: `rackwright
/// setup` asks on the serial line, and what was answered is a controller.
#[test]
#[ignore = "some minutes of boot: cargo xtask iso --test"]
fn the_console_says_what_is_wrong_with_a_stick_and_set_up_on_it_makes_a_controller() {
    let Some(bench) = Bench::up("setup") else { return };
    let drive = bench.rackconf("answers.toml", MISSPELT);
    let cable = bench.dir.join("cable");
    let spec = Spec {
        drive: Some(&drive),
        cable: Some((&cable, true)),
        ..bench.spec("controller", Firmware::Uefi, Medium::Disc)
    };
    let live = bench.start(&spec);
    for said in ["The controller waits for its configuration", "    rackwright setup", "management.interfaze"]
    {
        until(&live, said);
    }
    let mut shell = shell(&live);
    let conversation = [
        ("rackwright setup", "Language"),
        ("", "Name of this site"),
        ("iso", "How the servers are cabled"),
        ("", "Card to the site's network"),
        ("", "Card to the servers"),
        ("1", "Address of this machine on the management network"),
        ("10.77.9.1", "error RK-SET-"),
        ("10.77.9.1/24", "Addresses for servers"),
        ("", "External network of the cloud"),
        ("", "External addresses that the cloud may use"),
        ("", "apply writes everything"),
    ];
    for (line, question) in conversation {
        shell.answer(line, (question, "\n> "), LOOK);
    }
    let said = shell.answer("apply", ("Done: this machine is the controller of iso", "node approve"), LOOK);
    assert!(said.contains("/etc/rackwright/rackwright.toml"), "{said}");
    running(&mut shell);
    // The console again, when the shell has ended.
    shell.answer("exit", ("The controller is running", "Enter opens a root shell"), PATIENCE);
    bench.passed();
}

/// The daemon is up on the network that was answered, whose address the card has by set-up's file.
fn running(shell: &mut Shell) {
    say::line(&until_said(shell, "rackwright status", "answered:"));
    until_said(shell, "ip -color=never -4 -brief address show dev enp0s16", "10.77.9.1/24");
    // Through a pipe, because a terminal gets a shortened line.
    let network = shell.run("networkctl status enp0s16 --no-pager --lines 0 | cat");
    assert!(network.contains("10-rackwright-management.network"), "{network}");
    let kept = shell.run("cat /etc/rackwright/answers.toml");
    assert!(kept.contains(r#"site = "iso""#), "{kept}");
}
