//! The live system: the controller's root file system as it is anywhere, with the daemon, the kernel's modules, what the
//! consoles show, the guide, and the key of the images on the medium.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::{IsoError, Job, Order, fresh};
use crate::cache::Inputs;
use crate::files::{self, FileError};
use crate::recipe::Iso;
use crate::system::{self, Built};
use crate::workshop::Workshop;

const NAME: &str = "system.squashfs";

/// All that it depends on. Neither boot store nor images: those change more often, and compressing takes long.
pub(super) fn inputs(
    workshop: &Workshop,
    order: &Order<'_>,
    recipe: &Iso,
    system: &Built,
) -> Result<Inputs, IsoError> {
    let mut inputs = Inputs::default();
    inputs.text("system", &system.inputs);
    inputs.text("recipe", format_args!("{recipe:?}"));
    inputs.text("key", order.key.public());
    inputs.packages(workshop.toolbox.packages());
    inputs.path("appliance", order.appliance)?;
    inputs.path("docs", order.docs)?;
    for name in ["release.toml", "iso"] {
        inputs.path(name, &workshop.recipe(name))?;
    }
    Ok(inputs)
}

/// Builds the squashfs, or takes it from the cache; gives where it is.
pub(super) fn kept(job: &Job<'_>, work: &Path) -> Result<PathBuf, IsoError> {
    let inputs = inputs(job.workshop, job.order, job.recipe, job.system)?;
    let kept = job.workshop.cache.keep("live", &inputs, |folder| write(job, work, &folder.join(NAME)))?;
    Ok(kept.join(NAME))
}

fn write(job: &Job<'_>, work: &Path, to: &Path) -> Result<(), IsoError> {
    let (workshop, epoch) = (job.workshop, job.workshop.release.epoch);
    let archive = work.join("live.tar");
    files::copy(&job.system.archive, &archive)?;
    system::with_program(&archive, job.order.appliance, "./usr/bin/rackwright", epoch)?;
    let stage = work.join("live");
    fresh(&stage)?;
    put_modules(job, &stage)?;
    put_files(&workshop.recipe("iso/files"), &stage)?;
    let key = format!("{}\n", job.order.key.public());
    files::write(&stage.join("etc/rackwright/image-keys/medium.pub"), key.as_bytes())?;
    for path in files::walk(job.order.docs)?.iter().filter(|path| path.is_file()) {
        let name = path.strip_prefix(job.order.docs).unwrap_or(path);
        files::copy(path, &stage.join("usr/share/doc/rackwright").join(name))?;
    }
    append(&archive, &stage, epoch)?;
    workshop
        .progress
        .step(format_args!("compressing the live system, {} MiB", files::look(&archive)?.len() >> 20));
    let time = epoch.to_string();
    workshop
        .toolbox
        .call("sqfstar")
        .args(["-quiet", "-no-progress", "-reproducible", "-mkfs-time", &time, "-all-time", &time])
        .args(["-comp", "zstd", "-Xcompression-level", &job.recipe.level.to_string()])
        .args(["-b", &format!("{}K", job.recipe.block_kib)])
        .arg(to)
        .input_from(&archive)
        .run()?;
    Ok(())
}

/// The modules of the kernel that the medium starts, without those that no controller needs.
fn put_modules(job: &Job<'_>, stage: &Path) -> Result<(), IsoError> {
    let toolbox = &job.workshop.toolbox;
    let folder = format!("usr/lib/modules/{}", toolbox.kernel());
    let from = toolbox.path(&folder);
    let unwanted = |inside: &Path| {
        let inside = inside.strip_prefix("kernel").unwrap_or(inside);
        job.recipe.without.iter().any(|folder| inside.starts_with(folder))
    };
    for path in files::walk(&from)? {
        let inside = path.strip_prefix(&from).unwrap_or(&path);
        // Links lead to sources that are not there; an index is made below, of what there is.
        if path.is_symlink() || !path.is_file() || unwanted(inside) || is_index(inside) {
            continue;
        }
        files::share(&path, &stage.join(&folder).join(inside))?;
    }
    let lib = stage.join("lib");
    symlink("usr/lib", &lib).map_err(files::named("making the link", &lib))?;
    toolbox.call("depmod").arg("-b").arg(stage).arg(toolbox.kernel()).run()?;
    Ok(std::fs::remove_file(&lib).map_err(files::named("removing", &lib))?)
}

/// What depmod writes, and not what it reads.
fn is_index(inside: &Path) -> bool {
    let name = inside.file_name().unwrap_or_default().to_string_lossy();
    let read = ["modules.order", "modules.builtin", "modules.builtin.modinfo"];
    inside.components().count() == 1 && name.starts_with("modules.") && !read.contains(&&*name)
}

/// A folder's files and links.
fn put_files(from: &Path, stage: &Path) -> Result<(), FileError> {
    for path in files::walk(from)? {
        let to = stage.join(path.strip_prefix(from).unwrap_or(&path));
        if path.is_symlink() {
            let link = std::fs::read_link(&path).map_err(files::named("reading the link", &path))?;
            files::make_folder(files::folder_of(&to))?;
            symlink(link, &to).map_err(files::named("making the link", &to))?;
        } else if path.is_file() {
            files::copy(&path, &to)?;
        }
    }
    Ok(())
}

/// Appends files and links, without their folders: those that packages made keep their owner and mode.
fn append(archive: &Path, stage: &Path, epoch: u32) -> Result<(), IsoError> {
    let inside = |path: PathBuf| path.strip_prefix(stage).map(Path::to_path_buf).ok();
    let paths = files::walk(stage)?.into_iter().filter(|path| path.is_symlink() || path.is_file());
    let list: Vec<u8> = paths
        .filter_map(inside)
        .flat_map(|path| [path.as_os_str().as_encoded_bytes(), b"\0"].concat())
        .collect();
    let call = system::tar(epoch).arg("--append").arg("--file").arg(archive).arg("--mode=u=rwX,go=rX");
    call.args(["--no-recursion", "--null", "--files-from=-"]).directory(stage).input(list).run()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_depmod_writes_is_left_to_it() {
        for (path, index) in [
            ("modules.dep", true),
            ("modules.dep.bin", true),
            ("modules.alias", true),
            ("modules.order", false),
            ("modules.builtin", false),
            ("modules.builtin.modinfo", false),
            ("kernel/modules.dep", false),
            ("kernel/fs/isofs/isofs.ko.xz", false),
        ] {
            assert_eq!(is_index(Path::new(path)), index, "{path}");
        }
    }
}
