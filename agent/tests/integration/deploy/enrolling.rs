//! Hello, code, approval; and the commands that are not for this server.

use std::sync::Arc;

use agent::deploy;
use protocol::{Code, Epoch, NodeId, Task};

use super::controller::Controller;
use super::machine::Machine;
use super::site::Site;
use super::{run, until};

#[test]
fn the_code_is_shown_until_somebody_approves() {
    run(async {
        let site = Arc::new(Site::new());
        let controller = Controller::start(&site).await;
        controller.with(|s| (s.approve, s.task) = (false, Task::Reboot));
        let machine = Machine::new();
        let (mut server, console) = machine.boot(controller.address, site.pin());
        let waits = async {
            until("a hello with a proof", || controller.with(|s| s.hellos.iter().any(|h| h.proof.is_some())))
                .await;
            let hello = controller.with(|s| s.hellos[0].clone());
            assert_eq!(hello.boot.uptime_seconds, 12);
            assert_eq!(hello.inventory.nics[0].speed_mbps, Some(1000));
            assert_eq!((hello.inventory.cpu.threads, hello.inventory.cpu.virtualisation), (1, true));
            assert_eq!(hello.inventory.smbios.product, "Test Server");
            let code = controller.with(|s| Code::of(&site.pin(), &hello.key, &s.nonce));
            until("the code", || console.text().contains(&format!("rackwright-agent: code {code}\r\n")))
                .await;
            assert!(!console.text().contains("approved"));
            controller.with(|s| s.approve = true);
        };
        let (ended, ()) = tokio::join!(deploy::follow(&mut server), waits);
        ended.unwrap();
        // The console has a thread of its own.
        until("the last milestone", || console.text().contains("rackwright-agent: approved\r\n")).await;
        let text = console.text();
        for words in [
            "rackwright-agent: hello\r\n",
            "n1: waiting for approval: nobody has",
            "rackwright-agent: approved\r\n",
        ] {
            assert_eq!(text.matches(words).count(), 1, "{words} in {text}");
        }
        let keys = controller.with(|s| s.hellos.iter().map(|h| h.key).collect::<Vec<_>>());
        assert!(keys.iter().all(|key| *key == keys[0]), "one boot, one key");
    });
}

/// Runs an agent against a controller whose tasks say what they should not, until `words` are on the console.
fn refused(words: &'static str, lie: impl FnOnce(&mut super::controller::State)) {
    run(async {
        let site = Arc::new(Site::new());
        let controller = Controller::start(&site).await;
        controller.with(|s| {
            s.task = Task::Reboot;
            lie(s);
        });
        let machine = Machine::new();
        let (mut server, console) = machine.boot(controller.address, site.pin());
        tokio::select! {
            ended = deploy::follow(&mut server) => panic!("obeyed: {ended:?}"),
            () = until(words, || console.text().contains(words)) => {}
        }
    });
}

#[test]
fn a_task_of_an_epoch_that_is_over_is_not_done() {
    refused("refusing a command of epoch 2: a controller of epoch 3 has spoken since", |s| {
        s.task_epoch = Some(Epoch(2));
    });
}

#[test]
fn a_task_for_another_node_is_not_done() {
    refused("refusing a command for node 08080808: this is 07070707", |s| {
        s.task_node = Some(NodeId([8; 16]))
    });
}

#[test]
fn a_controller_that_was_replaced_is_not_listened_to_any_more() {
    run(async {
        let site = Arc::new(Site::new());
        let controller = Controller::start(&site).await;
        let machine = Machine::new();
        let (mut server, console) = machine.boot(controller.address, site.pin());
        let older = async {
            until("the first task", || controller.with(|s| !s.asks.is_empty())).await;
            controller.with(|s| (s.epoch, s.task) = (Epoch(2), Task::Reboot));
            until("a refused task", || console.text().contains("refusing a command of epoch 2")).await;
            let before = controller.with(|s| s.hellos.len());
            until("more hellos", || controller.with(|s| s.hellos.len() >= before + 2)).await;
        };
        tokio::select! {
            ended = deploy::follow(&mut server) => panic!("obeyed: {ended:?}"),
            () = older => {}
        }
    });
}
