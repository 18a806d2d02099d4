use clap::{Command as Clap, CommandFactory};

use super::*;

/// Every command below this one, with the words that lead to it.
fn walk(command: &Clap, words: &str, visit: &mut impl FnMut(&str, &Clap)) {
    visit(words, command);
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        walk(inner, &format!("{words} {}", inner.get_name()), visit);
    }
}

fn every(visit: &mut impl FnMut(&str, &Clap)) {
    let mut command = Cli::command();
    command.build();
    walk(&command, "rackwright", visit);
}

/// Words as a shell would split them; single quotes are all that examples need.
fn words(line: &str) -> Vec<String> {
    let pieces = line.split('\'').enumerate();
    let quoted = |(index, piece): (usize, &str)| match index % 2 {
        0 => piece.split_whitespace().map(str::to_owned).collect(),
        _ => vec![piece.to_owned()],
    };
    pieces.flat_map(quoted).collect()
}

#[test]
fn the_tree_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_has_two_examples_that_parse() {
    every(&mut |path, command| {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = help.lines().filter(|line| line.starts_with("  rackwright ")).collect::<Vec<_>>();
        assert!(help.starts_with("Examples:\n") && examples.len() >= 2, "{path}: {help:?}");
        for example in examples {
            assert!(example.trim().starts_with(path), "{path} has the example {example:?}");
            if let Err(error) = Cli::try_parse_from(words(example)) {
                panic!("{example:?} does not parse: {error}");
            }
        }
    });
}

#[test]
fn help_fits_80_columns_and_every_command_and_option_is_explained() {
    let mut wide = Vec::new();
    every(&mut |path, command| {
        for help in [command.clone().render_help(), command.clone().render_long_help()] {
            let help = help.to_string();
            let lines = help.lines().filter(|line| line.chars().count() > 80);
            wide.extend(lines.map(|line| format!("{path}: {line}")));
        }
        assert!(command.get_about().is_some(), "{path} says nothing of itself");
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{path} {} is not explained", argument.get_id());
        }
    });
    assert_eq!(wide, [] as [&str; 0]);
}

#[test]
fn wrong_words_are_refused() {
    for line in [
        "rackwright",
        "rackwright nodes",
        "rackwright node approve",
        "rackwright node role set n1",
        "rackwright node set-address n1 10.0.0.999",
        "rackwright apply p-1 --timeout soon",
        "rackwright node list -o yaml",
        "rackwright ansible inventory --list --host n1",
        "rackwright node list --yes",
        "rackwright rebuild",
        "rackwright rebuild n1 --role compute",
        "rackwright rebuild --role compute --max-unavailable 0",
        "rackwright network check --nodes n1 --role compute",
        "rackwright plan size --server 16c32t,128G,960G,10G",
        "rackwright plan size --vms 10",
        "rackwright plan size --vms 0 --check",
        "rackwright plan size --vms 10 --check --topology basik",
        "rackwright plan size --vms 10 --check --cpu-ratio 0",
        "rackwright plan size --vms 10 --check --cpu-ratio 1.234",
        "rackwright plan size --vms 10 --check --outside 101",
        "rackwright plan size --vms 10 --check --ram 0",
        "rackwright plan size --vms 10 --server 16c32t,128G,960G",
        "rackwright plan size --vms 10 --server 16c,128G,1T,1G --from n1",
        "rackwright network check eno2 --nodes n1",
        "rackwright network check --no-throughput --beside-jobs",
        "rackwright network check --transfer-seconds 11",
        "rackwright setup --dump --schema",
        "rackwright setup --answers a --check a",
        "rackwright setup --lang de",
    ] {
        let error = Cli::try_parse_from(words(line)).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn lists_may_be_written_with_commas() {
    let cli = Cli::try_parse_from(words("rackwright node role set n1 control,network storage")).unwrap();
    let Command::Node(NodeCommand::Role(RoleCommand::Set { roles, .. })) = cli.command else {
        panic!("{:?}", cli.command);
    };
    assert_eq!(roles, ["control", "network", "storage"]);
}

#[test]
fn called_as_an_inventory_script() {
    let arguments = |line: &str| words(line).into_iter().map(OsString::from).collect::<Vec<_>>();
    for (line, wanted) in [
        ("/usr/lib/rackwright/rackwright-inventory --list", None),
        ("rackwright-inventory --host n1", Some("n1")),
        ("rackwright ansible inventory --host n1", Some("n1")),
    ] {
        let Command::Ansible(AnsibleCommand::Inventory { host, .. }) = read(arguments(line)).command else {
            panic!("{line}");
        };
        assert_eq!(host.as_deref(), wanted, "{line}");
    }
}

#[test]
fn the_socket_follows_the_root() {
    let socket = |line: &str| crate::paths::socket(&Cli::try_parse_from(words(line)).unwrap().global);
    assert_eq!(socket("rackwright status --root /tmp/r"), Path::new("/tmp/r/run/rackwright/control.sock"));
    assert_eq!(socket("rackwright --socket /tmp/s status --root /tmp/r"), Path::new("/tmp/s"));
    let arguments = words("rackwright serve --root /tmp/r").into_iter().map(OsString::from);
    match crate::parse_from(arguments) {
        crate::Invocation::Serve(options) => assert_eq!(options.root.as_deref(), Some(Path::new("/tmp/r"))),
        other @ (crate::Invocation::Cli(_)
        | crate::Invocation::Offline(_)
        | crate::Invocation::Setup(_)
        | crate::Invocation::Install(_)) => {
            panic!("{other:?}")
        }
    }
}
