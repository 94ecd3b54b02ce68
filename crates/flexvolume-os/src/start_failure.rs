//! Why a program did not start, told apart where one errno has several causes.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::runner::StartFailure;

/// Enough for a `#!` line (the kernel reads 256 bytes) and for the headers of an ELF file.
const HEAD: u64 = 4096;

/// Looks at what is there to explain the error of the start.
pub(crate) fn explain(program: &Path, directory: Option<&Path>, error: &io::Error) -> StartFailure {
    if error.raw_os_error().is_none() {
        return StartFailure::NulByte;
    }
    if let Some(directory) = directory
        && !directory.is_dir()
    {
        return StartFailure::WorkingDirectory(directory.to_owned());
    }
    match Errno::from_io_error(error) {
        Some(Errno::NOENT) => explain_missing(program),
        Some(Errno::ACCESS) if !is_anywhere(program) => StartFailure::Missing,
        Some(Errno::ACCESS) if program.is_dir() => StartFailure::Directory,
        Some(Errno::ACCESS) => StartFailure::NotExecutable,
        Some(Errno::NOEXEC) => StartFailure::NotAProgram,
        Some(Errno::TXTBSY) => StartFailure::BeingWritten,
        Some(Errno::TOOBIG) => StartFailure::ArgumentsTooLong,
        _ => StartFailure::Errno(error.raw_os_error().unwrap_or_default()),
    }
}

/// Whether a bare name is found in `PATH`: a directory there that we may not enter gives EACCES for every name.
fn is_anywhere(program: &Path) -> bool {
    let is_bare = !program.as_os_str().as_bytes().contains(&b'/');
    let path = std::env::var_os("PATH").unwrap_or_default();
    !is_bare || std::env::split_paths(&path).any(|directory| directory.join(program).exists())
}

/// ENOENT: the program, what its symlink leads to, or its interpreter.
fn explain_missing(program: &Path) -> StartFailure {
    if let Ok(link) = program.read_link()
        && !program.exists()
    {
        return StartFailure::DanglingLink(link);
    }
    match head(program).ok().as_deref().and_then(interpreter) {
        Some(interpreter) => StartFailure::MissingInterpreter(interpreter),
        None => StartFailure::Missing,
    }
}

fn head(program: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(program)?.take(HEAD).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The interpreter that the first bytes of a file name.
fn interpreter(head: &[u8]) -> Option<PathBuf> {
    let name = match head {
        [b'#', b'!', line @ ..] => script_interpreter(line)?,
        [0x7f, b'E', b'L', b'F', 2, 1, ..] => elf_interpreter(head)?,
        _ => return None,
    };
    Some(OsStr::from_bytes(name).into())
}

fn script_interpreter(line: &[u8]) -> Option<&[u8]> {
    let line = line.split(|byte| *byte == b'\n').next()?;
    line.split(|byte| matches!(byte, b' ' | b'\t')).find(|word| !word.is_empty())
}

/// The `PT_INTERP` segment of a 64-bit little-endian file (elf(5)).
fn elf_interpreter(head: &[u8]) -> Option<&[u8]> {
    const PT_INTERP: u32 = 3;
    let table = number(head, 32)?;
    let entry_size = usize::from(u16::from_le_bytes(bytes_at(head, 54)?));
    let entries = usize::from(u16::from_le_bytes(bytes_at(head, 56)?));
    for index in 0..entries {
        let entry = table.checked_add(index.checked_mul(entry_size)?)?;
        if u32::from_le_bytes(bytes_at(head, entry)?) == PT_INTERP {
            let start = number(head, entry.checked_add(8)?)?;
            let length = number(head, entry.checked_add(32)?)?;
            return head.get(start..start.checked_add(length)?)?.split(|byte| *byte == 0).next();
        }
    }
    None
}

fn number(head: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(bytes_at(head, at)?)).ok()
}

fn bytes_at<const N: usize>(head: &[u8], at: usize) -> Option<[u8; N]> {
    head.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_interpreter_of_a_script_is_the_first_word() {
        let cases: [(&[u8], Option<&str>); 6] = [
            (b"#!/bin/sh\n", Some("/bin/sh")),
            (b"#! /usr/bin/env python3\nprint()", Some("/usr/bin/env")),
            (b"#!/bin/sh\r\n", Some("/bin/sh\r")),
            (b"#!\n", None),
            (b"", None),
            (b"plain text", None),
        ];
        for (head, expected) in cases {
            assert_eq!(interpreter(head), expected.map(PathBuf::from), "{}", head.escape_ascii());
        }
    }

    #[test]
    fn the_loader_of_a_program_is_read_from_its_header() {
        let own = head(&std::env::current_exe().unwrap()).unwrap();
        if let Some(loader) = interpreter(&own) {
            assert!(loader.is_absolute() && loader.exists(), "{}", loader.display());
        }
    }

    #[test]
    fn a_bare_name_that_is_nowhere_is_missing_whatever_the_errno() {
        let explain = |program: &str| super::explain(Path::new(program), None, &Errno::ACCESS.into());
        assert_eq!(explain("flexvol-no-such-program"), StartFailure::Missing);
        assert_eq!(explain("sh"), StartFailure::NotExecutable);
        assert_eq!(explain("/no/such/program"), StartFailure::NotExecutable);
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(tail in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = interpreter(&[b"\x7fELF\x02\x01".as_slice(), &tail].concat());
        }
    }
}
