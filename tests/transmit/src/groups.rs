//! Controller and agent cut an image into groups, each of its own accord: what one counts as a group the other must too.

use pack::{About, BLOCK, BlockMap, Builder, Compression, Extents, Manifest, WINDOW};

/// A disk whose windows are noise, zeros, half of each, or not the image's at all.
fn manifest(windows: &[char]) -> Manifest {
    let about = About {
        name: "groups".into(),
        arch: "amd64".into(),
        roles: Vec::new(),
        disk_bytes: windows.len() as u64 * u64::from(WINDOW),
        seed: None,
        packages: None,
        layout: pack::Layout::default(),
    };
    let mut builder = Builder::new(about);
    for (window, what) in (0_u32..).zip(windows) {
        let mut raw = vec![0; WINDOW as usize];
        let offset = u64::from(window) * u64::from(WINDOW);
        let (noise, used) = match what {
            'n' => (raw.len(), raw.len()),
            'h' => (raw.len() / 2, raw.len() - BLOCK as usize),
            'z' => (0, raw.len()),
            _ => continue,
        };
        let mut state = window.wrapping_mul(2_654_435_761).wrapping_add(12_345);
        raw.iter_mut().take(noise).for_each(|byte| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            [*byte, ..] = state.to_be_bytes();
        });
        let used = std::iter::once(offset..offset + used as u64).collect::<Extents>();
        let map = BlockMap::scan(&raw, offset, &used);
        builder.push(&pack::pack_window(window, &raw, map, Compression::Zstd(1)).unwrap()).unwrap();
    }
    builder.finish().unwrap()
}

#[test]
fn controller_and_agent_cut_an_image_into_the_same_groups() {
    let noise = "n".repeat(9);
    for windows in ["n", "z", "nzn", "n-n", "zz-hzhnn-zn", &noise, "hhhhhhhzzhhhhh--hh"] {
        let manifest = manifest(&windows.chars().collect::<Vec<_>>());
        let groups = appliance::cast::groups(&manifest);
        assert_eq!(groups, agent::restore::groups(&manifest), "{windows}");
        let bytes: u64 = groups.iter().map(|(_, group)| u64::from(group.bytes)).sum();
        let stored: u64 = manifest.chunks().iter().map(|chunk| u64::from(chunk.stored)).sum();
        assert_eq!(bytes, stored, "{windows}: all of it is sent");
        assert_eq!(groups.is_empty(), windows == "z");
    }
    assert!(agent::restore::groups(&manifest(&noise.chars().collect::<Vec<_>>())).len() > 4);
}
