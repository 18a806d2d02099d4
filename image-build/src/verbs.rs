//! What each verb of the command line does.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use pack::{Compression, PublicKey};

use crate::cache::INPUTS_FILE;

use crate::cli::{Cli, Command, How, Output};
use crate::container::Image;
use crate::files::{self, FileError};
use crate::lint::Generalized;
use crate::node::Order;
use crate::progress::Progress;
use crate::tools::{HOST_DATA, HOST_PROGRAMS};
use crate::workshop::{Setup, Workshop};
use crate::{capture, controller, export, import, iso, keys, lint, node, ramdisk};

type Done = Result<(), Box<dyn Error + Send + Sync>>;

/// Does what the command line says.
pub fn run(cli: &Cli) -> Done {
    match &cli.command {
        Command::Prerequisites => {
            prerequisites();
            Ok(())
        }
        Command::Ramdisk { agent, image_build, out } => {
            let image_build = image_build.clone().map_or_else(std::env::current_exe, Ok)?;
            let own = ramdisk::Own { agent, image_build: &image_build };
            build(&cli.how, out, |workshop, out| Ok(deliver(&ramdisk::build(workshop, own)?, out)?))
        }
        Command::Node { roles, optional, agent, out, raw, name, catalog, key, level } => {
            let name = name.as_deref();
            // A manifest has both in one list.
            let roles = &[roles.as_slice(), optional].concat();
            let order = Order { roles, name, agent, catalog, key, level: *level };
            build(&cli.how, out, |workshop, out| {
                files::copy(&node::build(workshop, &order)?, out)?;
                let image = Image::open(out, None)?;
                if let Some(raw) = raw {
                    image.unpack(raw, &workshop.progress)?;
                }
                if !cli.how.check && !cli.how.compare {
                    print!("{}", node::describe(&image));
                }
                Ok(())
            })
        }
        Command::Show { image } => {
            print!("{}", node::describe(&Image::open(image, None)?));
            Ok(())
        }
        Command::Verify { image, trust } => verify(image, *trust, cli.how.quiet),
        Command::Import { file, out, format, disk_bytes, name, arch, roles, key, level } => {
            let (key, work) = (keys::load_or_make(key)?, cli.how.work());
            let (format, disk_bytes, name, level) = (*format, *disk_bytes, name.as_deref(), *level);
            let (key, work) = (&key, work.as_path());
            let order = import::Order { file, format, disk_bytes, name, arch, roles, level, key, out, work };
            let image = import::import(&order, &Progress::start(cli.how.quiet))?;
            print!("{}", node::describe(&image));
            Ok(())
        }
        Command::Capture { .. } => captured(cli),
        Command::Export { image, out, format } => {
            let image = Image::open(image, None)?;
            Ok(export::export(&image, *format, out, &Progress::start(cli.how.quiet))?)
        }
        Command::Lint { source, output, keep, rules } => lint(source, *output, keep, rules.as_deref()),
        Command::View { source, keep } => view(source, keep, &cli.how.work()),
        Command::Clear => {
            lint::leftover::clear();
            Ok(())
        }
        Command::Iso { .. } => iso(cli),
        Command::Controller { appliance, out } => {
            build(&cli.how, out, |workshop, out| Ok(controller::build(workshop, appliance, out)?))
        }
    }
}

fn prerequisites() {
    let mut packages: Vec<_> = HOST_PROGRAMS.iter().map(|(_, package)| *package).chain(HOST_DATA).collect();
    packages.sort_unstable();
    packages.dedup();
    println!("{}", packages.join("\n"));
}

/// Compares an image file with its manifest, or an ISO with what was signed beside it.
fn verify(file: &Path, trust: PublicKey, quiet: bool) -> Done {
    if file.extension().is_some_and(|kind| kind == "iso") {
        iso::verify(file, trust)?;
        println!("{} is whole and signed by {trust}", file.display());
        return Ok(());
    }
    let image = Image::open(file, Some(&[trust]))?;
    image.check(&Progress::start(quiet))?;
    println!("{} is whole and signed by {trust}", image.digest);
    Ok(())
}

/// Builds the ISO.
fn iso(cli: &Cli) -> Done {
    let Command::Iso { appliance, boot, images, docs, catalog, lock, key, out } = &cli.command else {
        return Ok(());
    };
    let key = keys::load_or_make(key)?;
    let order = iso::Order { appliance, boot, images, docs, catalog, lock, key: &key };
    build(&cli.how, out, |workshop, out| Ok(iso::build(workshop, &order, out)?))
}

/// Takes an image of a disk.
fn captured(cli: &Cli) -> Done {
    let Command::Capture { source, out, name, arch, roles, sector_bytes, key, level, lz4, .. } = &cli.command
    else {
        return Ok(());
    };
    let (key, sector_bytes) = (&keys::load_or_make(key)?, *sector_bytes);
    let compression = if *lz4 { Compression::Lz4 } else { Compression::Zstd(*level) };
    let view = looked_through(cli)?;
    let source = view.as_ref().map_or(source.as_path(), Generalized::path);
    let order = capture::Order { source, sector_bytes, name, arch, roles, compression, key, out };
    let (image, _) = capture::capture(&order, &Progress::start(cli.how.quiet))?;
    print!("{}", node::describe(&image));
    Ok(())
}

/// Says what on a disk that is to be captured belongs to one machine, and refuses it; or gives a view without that.
fn looked_through(cli: &Cli) -> Result<Option<Generalized>, Box<dyn Error + Send + Sync>> {
    let Command::Capture { source, generalize, as_is, keep, .. } = &cli.command else { return Ok(None) };
    let (rules, keep) = (lint::rule::shipped()?, keep.iter().cloned().collect());
    if *generalize {
        let view = Generalized::of(source, &cli.how.work(), &rules, &keep)?;
        eprint!("{}", view.report());
        lint::Refused::check(view.report())?;
        return Ok(Some(view));
    }
    let mut report = lint::examine(source, &rules)?;
    report.keep(Some(&keep).filter(|_| !as_is));
    eprint!("{report}");
    lint::Refused::check(&report)?;
    Ok(None)
}

/// Says what must not be in a golden image, and ends with an error when one would be refused.
fn lint(source: &Path, output: Output, keep: &[String], rules: Option<&Path>) -> Done {
    let rules = match rules {
        Some(path) => lint::rule::parse(&files::read_text(path)?)?,
        None => lint::rule::shipped()?,
    };
    let mut report = lint::examine(source, &rules)?;
    report.keep(Some(&keep.iter().cloned().collect()));
    match output {
        Output::Text => print!("{report}"),
        Output::Json => println!("{}", report.json()?),
    }
    Ok(lint::Refused::check(&report)?)
}

/// Makes a view of a disk without what belongs to one machine, says where, and keeps it until standard input ends.
fn view(source: &Path, keep: &[String], work: &Path) -> Done {
    let keep = keep.iter().cloned().collect();
    let view = Generalized::of(source, work, &lint::rule::shipped()?, &keep)?;
    let mut out = std::io::stdout().lock();
    out.write_all((view.line()? + "\n").as_bytes())?;
    out.flush()?;
    lint::Refused::check(view.report())?;
    // Whoever reads the view holds the other end: when that process ends, however it does, so does this.
    std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink())?;
    Ok(())
}

/// Runs one build; to prove that it depends on its inputs only, without a cache and beside another.
fn build(how: &How, out: &Path, make: impl Fn(&Workshop, &Path) -> Done) -> Done {
    if how.check || how.compare {
        return compare(how, out, make);
    }
    let workshop = Workshop::open(&how.setup())?;
    make(&workshop, out)?;
    workshop.progress.step(format_args!("{} is ready", out.display()));
    Ok(())
}

/// Two builds of the same inputs: both made here (`--check`), or one made here and what `out` holds (`--compare`).
fn compare(how: &How, out: &Path, make: impl Fn(&Workshop, &Path) -> Done) -> Done {
    let setup = Setup { cache: None, ..how.setup() };
    let work = files::WorkFolder::make(&setup.work)?;
    let built = |name: &str| -> Result<_, Box<dyn Error + Send + Sync>> {
        let out = work.path().join(name).join(out.file_name().unwrap_or_default());
        make(&Workshop::open(&setup)?, &out)?;
        Ok(digests_of(&out)?)
    };
    let first = if how.compare { digests_of(out)? } else { built("first")? };
    let second = built("second")?;
    let everything: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    let differing: Vec<_> =
        everything.into_iter().filter(|name| first.get(*name) != second.get(*name)).collect();
    if differing.is_empty() {
        first.iter().for_each(|(name, digest)| println!("{digest}  {name}"));
        return Ok(());
    }
    let names: Vec<_> = differing.into_iter().map(String::as_str).take(20).collect();
    Err(format!("two builds of the same inputs differ in: {}", names.join(", ")).into())
}

/// Content, mode and owner of a file, or of every path in a folder, in one digest each.
fn digests_of(out: &Path) -> Result<BTreeMap<String, String>, FileError> {
    let folder = out.parent().unwrap_or(out);
    let mut digests = BTreeMap::new();
    let paths = if files::look(out)?.is_dir() { files::walk(out)? } else { vec![out.to_path_buf()] };
    for path in paths {
        let look = files::look(&path)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("{:o} {}:{} ", look.mode(), look.uid(), look.gid()).as_bytes());
        if look.is_file() {
            hasher.update_reader(files::open(&path)?).map_err(files::named("reading", &path))?;
        } else if look.is_symlink() {
            let target = std::fs::read_link(&path).map_err(files::named("reading the link", &path))?;
            hasher.update(target.as_os_str().as_encoded_bytes());
        }
        let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        digests.insert(name, hasher.finalize().to_hex().to_string());
    }
    Ok(digests)
}

/// Copies a kept result to where it is wanted.
fn deliver(from: &Path, to: &Path) -> Result<(), FileError> {
    let wanted = |path: &&PathBuf| path.is_file() && !path.ends_with(INPUTS_FILE);
    for path in files::walk(from)?.iter().filter(wanted) {
        files::copy(path, &to.join(path.strip_prefix(from).unwrap_or(path)))?;
    }
    Ok(())
}
