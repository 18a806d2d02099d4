//! `rackwright network import`: a list of servers out of a spreadsheet or an address plan.
//!
//! Knows what people write into such lists: with or without headings, commas, semicolons or tabs between the cells, a
//! byte order mark before it all. Refuses to know which addresses are possible: the daemon takes all rows or none.

use std::net::Ipv4Addr;

use serde::Serialize;

/// No list of a site is longer, in bytes.
pub(super) const LONGEST: u64 = 4 << 20;
/// More faults than these help nobody.
const FAULTS: usize = 10;
/// Headings, in lower case and without what is no letter.
const MACS: [&str; 6] = ["mac", "macaddress", "hwaddr", "hardwareaddress", "ethernet", "nic"];
const ADDRESSES: [&str; 6] = ["ip", "ipaddress", "ipv", "ipv4", "address", "ipvaddress"];

/// One server of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Row {
    /// Its place in the file, counted from one.
    pub(super) line: u64,
    /// The hardware address as it stands there; the daemon reads it.
    pub(super) mac: String,
    /// The address it shall have.
    pub(super) address: Option<Ipv4Addr>,
}

/// Which cell is which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Columns {
    mac: usize,
    address: Option<usize>,
}

/// Reads a list.
///
/// # Errors
/// What is wrong, a line each, with its place in the file; at most ten.
pub(super) fn parse(text: &str) -> Result<Vec<Row>, Vec<String>> {
    // A record's place would be that of the line feed before it otherwise.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let text = text.as_str();
    let mut reader = csv::ReaderBuilder::new();
    reader.has_headers(false).flexible(true).comment(Some(b'#')).trim(csv::Trim::All);
    let reader = reader.delimiter(delimiter(text)).from_reader(text.as_bytes());
    let (mut rows, mut faults, mut columns) = (Vec::new(), Vec::new(), None);
    for record in reader.into_records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                faults.push(format!("it is no table: {error}"));
                break;
            }
        };
        let line = record.position().map_or(0, csv::Position::line);
        if record.iter().all(str::is_empty) {
            continue;
        }
        let place = match columns {
            Some(columns) => columns,
            None => match headings(&record) {
                Some(found) => {
                    columns = Some(found);
                    continue;
                }
                None => *columns.insert(Columns { mac: 0, address: Some(1) }),
            },
        };
        match row(&record, place, line) {
            Ok(row) => rows.push(row),
            Err(fault) => faults.push(format!("line {line}: {fault}")),
        }
        if faults.len() >= FAULTS {
            break;
        }
    }
    match (faults.is_empty(), rows.is_empty()) {
        (false, _) => Err(faults),
        (true, true) => Err(vec!["there is no server in it".to_owned()]),
        (true, false) => Ok(rows),
    }
}

/// What stands between the cells of the first line that has any.
fn delimiter(text: &str) -> u8 {
    let line =
        text.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#')).unwrap_or_default();
    let count = |byte: u8| line.bytes().filter(|other| *other == byte).count();
    [b',', b';', b'\t'].into_iter().rev().max_by_key(|byte| count(*byte)).unwrap_or(b',')
}

/// The columns that a first line names; none when it is a server already.
fn headings(record: &csv::StringRecord) -> Option<Columns> {
    let plain = |cell: &str| -> String {
        cell.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
    };
    let column = |names: &[&str]| record.iter().position(|cell| names.contains(&plain(cell).as_str()));
    Some(Columns { mac: column(&MACS)?, address: column(&ADDRESSES) })
}

fn row(record: &csv::StringRecord, columns: Columns, line: u64) -> Result<Row, String> {
    let cell = |at: usize| record.get(at).filter(|cell| !cell.is_empty());
    let mac = cell(columns.mac).ok_or("there is no hardware address")?.to_owned();
    let address = columns.address.and_then(cell);
    let address = address.map(|text| text.parse().map_err(|_| format!("{text:?} is no IPv4 address")));
    Ok(Row { line, mac, address: address.transpose()? })
}

#[cfg(test)]
mod tests {
    use super::{Row, parse};

    fn row(line: u64, mac: &str, address: Option<[u8; 4]>) -> Row {
        Row { line, mac: mac.to_owned(), address: address.map(Into::into) }
    }

    #[test]
    fn lists_as_people_have_them() {
        let (one, two) = ("52:54:00:00:00:01", "52-54-00-00-00-02");
        let both = |first| vec![row(first, one, Some([10, 77, 0, 21])), row(first + 1, two, None)];
        let table = [
            (format!("{one},10.77.0.21\n{two}\n"), both(1)),
            (format!("{one},10.77.0.21\r\n{two},\r\n"), both(1)),
            (format!("\u{feff}MAC,IP\n{one},10.77.0.21\n{two},\n"), both(2)),
            (format!("name;IP address;MAC address\nn1;10.77.0.21;{one}\nn2;;{two}\n"), both(2)),
            (format!("# the rack\nhwaddr\taddress\n{one}\t 10.77.0.21\n{two}\t\n"), both(3)),
            (format!("\"{one}\",\"10.77.0.21\"\n\"{two}\"\n"), both(1)),
            (format!("MAC,rack\n{one},A3\n"), vec![row(2, one, None)]),
        ];
        for (text, wanted) in table {
            assert_eq!(parse(&text), Ok(wanted), "{text:?}");
        }
    }

    #[test]
    fn faults_are_named_with_their_lines() {
        let table = [
            ("", "no server"),
            ("# nothing\n\n,,\n", "no server"),
            ("52:54:00:00:00:01,10.77.0.999\n", "line 1: \"10.77.0.999\" is no IPv4 address"),
            ("52:54:00:00:00:01,10.77.0.1\n,10.77.0.2\n", "line 2: there is no hardware address"),
            ("mac,ip\n52:54:00:00:00:01,n1\n", "line 2"),
        ];
        for (text, wanted) in table {
            let faults = parse(text).unwrap_err().join("\n");
            assert!(faults.contains(wanted), "{text:?}: {faults}");
        }
        let many = "52:54:00:00:00:01,x\n".repeat(50);
        assert_eq!(parse(&many).unwrap_err().len(), 10);
    }

    #[test]
    fn any_text_is_a_list_or_a_reason() {
        for text in ["\0\0\u{feff}", "\"", "\"\n\"\"\"", ";;;\n\t\t,", "mac", "a,b\n\"c", "🦀,10.0.0.1\r"] {
            if let Err(faults) = parse(text) {
                assert!(faults.iter().all(|fault| !fault.is_empty()) && !faults.is_empty());
            }
        }
    }
}
