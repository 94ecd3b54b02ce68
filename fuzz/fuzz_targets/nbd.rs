//! What an NBD server says, and what the kernel answers by netlink: no length is believed, no word is printed raw.
#![no_main]

use std::io::{self, Cursor, Read, Write};

use flexvol_fuzz::halves;
use flexvolume_drivers::nbd::protocol::{self, Intent, LONGEST_NAME, ProtocolError};
use flexvolume_host::os::netlink;

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
        let script = || Script(Cursor::new(says));
        let mut whole = script();
        let greeted = protocol::greet(&mut whole);
        check(&greeted);
        if greeted.is_ok() {
            check(&protocol::choose(&mut whole, "disk", Intent::Use));
            check(&protocol::read(&mut whole, 0, &mut [0; 32]));
        }
        check(&protocol::choose(&mut script(), "disk", Intent::Look));
        let listed = protocol::list(&mut script(), 4);
        check(&listed);
        if let Ok(names) = listed {
            // Each byte of a name that is no UTF-8 becomes three.
            assert!(names.len() <= 4 && names.iter().all(|name| name.len() <= 4 * LONGEST_NAME * 3));
        }
        if let Ok(answers) = netlink::split(says) {
            for answer in answers {
                let inner: usize = answer.attributes(4).map(|(_, value)| value.len() + 4).sum();
                assert!(inner <= answer.payload.len());
                let _ = answer.error();
            }
        }
    }
});

/// Whatever is wrong is said on one line.
fn check<T>(outcome: &Result<T, ProtocolError>) {
    if let Err(error) = outcome {
        let shown = error.to_string();
        assert!(shown.len() < 4096 && !shown.contains(char::is_control), "{shown:?}");
    }
}
