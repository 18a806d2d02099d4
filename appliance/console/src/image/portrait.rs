//! One image in full, with a picture of its disk that needs no colours.

use fleet::view::ImageRow;
use fleet::view::image::{Cell, ContentView, ImageView};

use crate::show::Page;
use crate::table::Table;
use crate::terminal::{Look, Tone};
use crate::text::{bytes, date_and_clock, disk_bytes, or_dash};

/// One image in full.
pub(crate) fn render_image(view: &ImageView, look: &Look) -> String {
    let image = &view.row;
    let mut page = Page::default();
    page.line(&image.name);
    let content = view.content.as_ref();
    let of = |tell: &dyn Fn(&ContentView) -> String| content.map_or_else(String::new, tell);
    let mut pairs = vec![
        ("digest", image.digest.clone()),
        ("content root", of(&|content| content.root.clone())),
        ("signed by", image.signer.clone()),
        ("imported", date_and_clock(&image.imported)),
        ("roles", image.roles.join(", ")),
        ("arch", image.arch.clone()),
        ("nodes", image.nodes.join(", ")),
    ];
    pairs.extend(
        image.only_for.as_ref().map(|node| ("only for", format!("{node}: its keys and ids are in it"))),
    );
    pairs.extend([
        (
            "needs a disk of",
            of(&|content| format!("{}, sectors of {} bytes", least(image), content.sector_bytes)),
        ),
        ("used", of(&|content| used(image.content_bytes, content))),
        ("in the store", stored(image.stored_bytes, content)),
        (
            "read through",
            view.checked.as_deref().map_or_else(|| "not since it came".to_owned(), date_and_clock),
        ),
    ]);
    page.pairs(&pairs);
    if let Some(content) = content {
        picture(&mut page, content, image.disk_bytes, look);
        volumes(&mut page, content, look);
    }
    damage(&mut page, view, look);
    page.into_text()
}

/// The smallest disk, beside the image's own where that is another. A daemon that does not know says nothing of it.
fn least(image: &ImageRow) -> String {
    match image.least_bytes {
        least if least == 0 || least == image.disk_bytes => disk_bytes(image.disk_bytes),
        least => format!("{} or more (its own had {})", disk_bytes(least), disk_bytes(image.disk_bytes)),
    }
}

fn used(all: u64, content: &ContentView) -> String {
    format!("{}: {} of data, {} of zeros", bytes(all), bytes(content.data_bytes), bytes(content.zero_bytes))
}

fn stored(stored: u64, content: Option<&ContentView>) -> String {
    let Some(content) = content else { return bytes(stored) };
    let ratio = match (u128::from(content.data_bytes) * 10).checked_div(u128::from(stored)) {
        Some(tenths) => format!(", {}.{} to 1", tenths / 10, tenths % 10),
        None => String::new(),
    };
    let shared = match content.shared_bytes {
        0 => "nothing of it shared".to_owned(),
        shared => format!("{} of it shared with other images", bytes(shared)),
    };
    format!("{}{ratio}; {shared}", bytes(stored))
}

/// The disk in one line: how dense the data is, where zeros are, what is free; under it where partitions begin.
fn picture(page: &mut Page, content: &ContentView, disk: u64, look: &Look) {
    page.heading("Disk");
    let bar = content.cells.iter().map(letter).collect::<String>();
    let shown = if look.colour { Tone::Good.paint(&bar) } else { bar };
    page.line(&format!("  [{shown}]"));
    let marks = marks(content, disk);
    if !marks.trim().is_empty() {
        page.line(&format!("   {}  partitions", marks));
    }
    page.line("   data: # most, + some, . little   0 zeros   - free");
}

fn letter(cell: &Cell) -> char {
    match (cell.data, cell.zero) {
        (67.., _) => '#',
        (20.., _) => '+',
        (1.., _) => '.',
        (0, 1..) => '0',
        (0, 0) => '-',
    }
}

/// The number of each partition under the cell where it begins; the number's last digit when two would touch.
fn marks(content: &ContentView, disk: u64) -> String {
    let cells = content.cells.len();
    let mut line = vec![' '; cells];
    for partition in &content.partitions {
        let at = u128::from(partition.offset) * (cells as u128) / u128::from(disk.max(1));
        let digit = char::from_digit(partition.number % 10, 10).unwrap_or('?');
        if let Some(place) = usize::try_from(at).ok().and_then(|at| line.get_mut(at)) {
            // Of partitions that begin in one cell, the first is shown.
            *place = if *place == ' ' { digit } else { *place };
        }
    }
    line.into_iter().collect()
}

fn volumes(page: &mut Page, content: &ContentView, look: &Look) {
    if !content.partitions.is_empty() {
        page.heading(&format!("Partitions ({})", or_dash(content.table.as_deref().unwrap_or_default())));
        let mut table = Table::new(&["NO", "BEGINS", "SIZE", "NAME", "PARTUUID"]);
        for partition in &content.partitions {
            table.row([
                partition.number.to_string().into(),
                bytes(partition.offset).into(),
                bytes(partition.bytes).into(),
                or_dash(&partition.name).into(),
                or_dash(&partition.uuid).into(),
            ]);
        }
        page.table(&table, look);
    }
    if !content.volumes.is_empty() {
        page.heading("Volumes");
        let mut table = Table::new(&["KIND", "BEGINS", "SIZE", "USED", "LABEL", "UUID"]);
        for volume in &content.volumes {
            table.row([
                or_dash(&volume.kind).into(),
                bytes(volume.offset).into(),
                bytes(volume.bytes).into(),
                bytes(volume.used_bytes).into(),
                or_dash(&volume.label).into(),
                or_dash(&volume.uuid).into(),
            ]);
        }
        page.table(&table, look);
    }
}

fn damage(page: &mut Page, view: &ImageView, look: &Look) {
    let Some(damage) = &view.row.damage else { return };
    page.line("");
    let word = if look.colour { Tone::Bad.paint("DAMAGED") } else { "DAMAGED".to_owned() };
    page.line(&format!("{word}: {damage}; what is damaged is not sent to any server"));
    page.next(Some("import it again: rackwright image import FILE".to_owned()));
}
