//! What an SMB server answers to whoever asks for a dialect, and names of shares in manifests: no length is believed, no
//! name leads out of its share, no word is printed raw.
#![no_main]

use std::io::{self, Cursor, Read, Write};

use flexvol_fuzz::halves;
use flexvolume_drivers::cifs::negotiate::{self, Dialect, NegotiateError, Offer};
use flexvolume_drivers::cifs::unc::Unc;

/// A server that has said everything already.
struct Script<'a>(Cursor<&'a [u8]>);

impl Read for Script<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Script<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let (first, rest) = halves(text);
    for says in [text, first, rest] {
        check(&negotiate::read(says));
        check(&negotiate::ask(&mut Script(Cursor::new(says)), &Dialect::ALL));
        if let Some(unc) = std::str::from_utf8(says).ok().and_then(|text| Unc::parse(text).ok()) {
            let source = unc.source();
            assert!(!source.contains(char::is_control) && source.matches('/').count() == 3, "{source:?}");
            let plain = |path: String| path.split('/').all(|part| !matches!(part, "" | "." | ".."));
            assert!(unc.directory.is_none_or(|directory| plain(directory.path())));
        }
    }
});

/// Whatever is wrong is said on one line.
fn check(outcome: &Result<Offer, NegotiateError>) {
    if let Err(error) = outcome {
        let shown = error.to_string();
        assert!(shown.len() < 4096 && !shown.contains(char::is_control), "{shown:?}");
    }
}
