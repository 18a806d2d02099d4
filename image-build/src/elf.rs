//! One question about a program file: does it need a loader, or is it static?

/// What a program file is, as far as starting it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linkage {
    /// A 64-bit x86 ELF program that needs nothing else.
    Static,
    /// A 64-bit x86 ELF program that names a loader, and so needs shared libraries.
    Dynamic,
    /// Not a 64-bit x86 ELF program.
    NotAProgram,
}

/// Looks for a PT_INTERP header (System V ABI, "Program Header").
pub fn linkage(file: &[u8]) -> Linkage {
    headers(file).unwrap_or(Linkage::NotAProgram)
}

fn headers(file: &[u8]) -> Option<Linkage> {
    const X86_64: u16 = 62;
    const PT_INTERP: u32 = 3;
    if file.get(..6)? != b"\x7fELF\x02\x01" || word(file, 18)? != X86_64 {
        return None;
    }
    let table = usize::try_from(u64::from_le_bytes(bytes(file, 32)?)).ok()?;
    let (size, count) = (usize::from(word(file, 54)?), usize::from(word(file, 56)?));
    if count == 0 || size < 56 {
        return None;
    }
    for number in 0..count {
        let kind = u32::from_le_bytes(bytes(file, table.checked_add(number.checked_mul(size)?)?)?);
        if kind == PT_INTERP {
            return Some(Linkage::Dynamic);
        }
    }
    Some(Linkage::Static)
}

fn word(file: &[u8], at: usize) -> Option<u16> {
    bytes(file, at).map(u16::from_le_bytes)
}

fn bytes<const N: usize>(file: &[u8], at: usize) -> Option<[u8; N]> {
    file.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(kinds: &[u32]) -> Vec<u8> {
        let mut file = vec![0; 64 + 56 * kinds.len()];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[18] = 62;
        file[32] = 64;
        file[54] = 56;
        file[56] = u8::try_from(kinds.len()).unwrap();
        for (number, kind) in kinds.iter().enumerate() {
            file[64 + 56 * number..][..4].copy_from_slice(&kind.to_le_bytes());
        }
        file
    }

    #[test]
    fn static_and_dynamic_programs_are_told_apart() {
        assert_eq!(linkage(&program(&[6, 1, 2])), Linkage::Static);
        assert_eq!(linkage(&program(&[6, 3, 1])), Linkage::Dynamic);
        assert_eq!(linkage(&std::fs::read("/proc/self/exe").unwrap()), Linkage::Dynamic);
    }

    #[test]
    fn anything_else_is_no_program() {
        let good = program(&[1]);
        let change = |at: usize, value: u8| {
            let mut file = good.clone();
            file[at] = value;
            file
        };
        let mut far = good.clone();
        far[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        for (name, file) in [
            ("empty", vec![]),
            ("script", b"#!/bin/sh\n".to_vec()),
            ("cut", good[..40].to_vec()),
            ("cut table", good[..66].to_vec()),
            ("32 bit", change(4, 1)),
            ("other machine", change(18, 40)),
            ("no headers", change(56, 0)),
            ("headers without size", change(54, 0)),
            ("more headers than file", change(56, 9)),
            ("table beyond the file", far),
        ] {
            assert_eq!(linkage(&file), Linkage::NotAProgram, "{name}");
        }
    }
}
