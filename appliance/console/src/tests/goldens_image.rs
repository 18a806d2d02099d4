//! What people see of images, letter by letter.

use serde_json::json;

use super::PIPE;
use super::goldens::{SCREEN, assert_golden};
use super::samples::{self, NOW, but, read};
use crate::{image, status};

#[test]
fn image_show() {
    assert_golden(
        &image::render_image(&read(samples::image_view()), &SCREEN),
        "
        base
          digest           3f9a1c0d5e6b7a8899aabbccddeeff00
          content root     9d1c0d5e6b7a8899aabbccddeeff0011
          signed by        ab12
          imported         2026-11-20 13:31:02 UTC
          roles            compute, network
          arch             x86_64
          nodes            n1
          needs a disk of  4 GB, sectors of 512 bytes
          used             1.1 GiB: 1.1 GiB of data, 84 MiB of zeros
          in the store     512 MiB, 2.2 to 1; 476 MiB of it shared with other images
          read through     2026-11-20 14:00:00 UTC

        Disk
          [####++++++++++++++++..........000000----------------------------]
           1   2                                                             partitions
           data: # most, + some, . little   0 zeros   - free

        Partitions (gpt)
          NO  BEGINS   SIZE     NAME  PARTUUID
          1   1 MiB    250 MiB  boot  77e0b2f4-aa61-4a27-9c53-000000000001
          2   251 MiB  3 GiB    root  77e0b2f4-aa61-4a27-9c53-000000000002

        Volumes
          KIND  BEGINS   SIZE     USED   LABEL  UUID
          vfat  1 MiB    250 MiB  9 MiB  -      5b8c6a0e-1f7d-4b52-8c35-111111111111
          ext4  251 MiB  3 GiB    1 GiB  root   5b8c6a0e-1f7d-4b52-8c35-111111111111",
    );
    let wide = image::render_image(&read(samples::image_view()), &SCREEN);
    assert!(wide.lines().count() <= 28 && wide.lines().all(|line| crate::text::width(line) <= 80), "{wide}");
}

#[test]
fn image_show_of_one_that_goes_onto_a_smaller_disk() {
    let smaller = but(samples::image_view(), json!({"leastBytes": 3_500_000_000u64}));
    let text = image::render_image(&read(smaller), &SCREEN);
    let line = "  needs a disk of  3.5 GB or more (its own had 4 GB), sectors of 512 bytes\n";
    assert!(text.contains(line), "{text}");
}

#[test]
fn image_show_of_one_that_is_for_one_node() {
    let text = image::render_image(&read(samples::personal(samples::image_view())), &SCREEN);
    assert!(text.contains("  only for         n1: its keys and ids are in it\n"), "{text}");
    assert!(text.lines().all(|line| crate::text::width(line) <= 80), "{text}");
}

#[test]
fn image_show_of_one_that_is_damaged() {
    let change = json!({"content": null, "checked": null, "damage": "its files are not in the store"});
    let text = image::render_image(&read(but(samples::image_view(), change)), &SCREEN);
    assert!(text.contains("DAMAGED: its files are not in the store"), "{text}");
    assert!(text.ends_with("Next: import it again: rackwright image import FILE\n"), "{text}");
    let listed = but(samples::image(), json!({"damage": "2 of its chunks are damaged"}));
    let text = image::render_images(&[read(listed)], &PIPE, NOW);
    assert!(text.ends_with("base: 2 of its chunks are damaged; import it again\n"), "{text}");
}

#[test]
fn image_diff_and_prune() {
    assert_golden(
        &image::render_diff(&read(samples::diff()), &SCREEN),
        "
        Images
          from            base (3f9a1c0d5e6b)
          to              base (77e0b2f4aa61)
          a node fetches  8.5 MiB at most

          WHERE      SAME   CHANGED  ONLY FROM  ONLY TO  FETCHED
          outside    2 MiB  -        -          -        0 B
          ext4 root  1 GiB  12 MiB   3 MiB      5 MiB    8.5 MiB
          all        1 GiB  12 MiB   3 MiB      5 MiB    8.5 MiB",
    );
    assert_golden(
        &image::render_prune(&read(samples::prune(false)), &PIPE, NOW),
        "
        IMAGE  DIGEST        AGE  ONLY ITS OWN
        base   3f9a1c0d5e6b  1h   100 MiB
        1 image can be deleted; 100 MiB would become free",
    );
    let done = image::render_prune(&read(samples::prune(true)), &PIPE, NOW);
    assert!(done.ends_with("1 image deleted, 100 MiB are free now\n"), "{done}");
}

#[test]
fn status_tells_damaged_images_and_a_scrub() {
    let scrub = but(samples::scrub(&[]), json!({"running": true, "image": "base", "doneBytes": 512}));
    let problem = "image base (3f9a1c0d5e6b): 1 of its chunks are damaged; import it again: rackwright image import FILE";
    let store = json!({"images": 2, "bytes": 1, "packBytes": 1, "problems": [problem], "scrub": scrub});
    let text = status::render_status(&read(but(samples::status(), json!({"images": store}))), &PIPE);
    assert!(text.contains(problem) && text.contains("reading images through: base, 50 % of all"), "{text}");
}

#[test]
fn image_capture_tells_what_was_found() {
    assert_golden(
        &image::render_found(&read(samples::captured()), &SCREEN),
        "
        image lab-2 of n1 is in the store

        Found on its disk
          RULE          PLACES  IMAGE    WHAT
          machine-id    1       without  the machine's id
          ssh-host-key  6       has it   SSH host key

        Next: rackwright image show lab-2",
    );
    let as_is = image::render_found(&read(but(samples::captured(), json!({"identity": "as-is"}))), &PIPE);
    assert!(as_is.contains("\nIt has the keys and ids of n1, and is for n1 alone.\n"), "{as_is}");
    let none = but(samples::captured(), json!({"found": []}));
    assert_eq!(image::render_found(&read(none), &PIPE).lines().count(), 3);
}
