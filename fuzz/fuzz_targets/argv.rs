//! Call-outs from arguments: what was understood is rendered and understood as the same; an error shows the name of a
//! call-out and no other argument.
//!
//! An input is the arguments, a zero byte between them.
#![no_main]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use flexvolume_host::contract::{Call, Encoding};

const SECRET: &str = "aHVudGVyMg";

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let arguments: Vec<OsString> =
        input.split(|byte| *byte == 0).map(|argument| OsString::from_vec(argument.to_vec())).collect();
    let name = input.split(|byte| *byte == 0).next().map(String::from_utf8_lossy).unwrap_or_default();
    match Call::parse(arguments) {
        Ok(call) => {
            for encoding in [Encoding::Kubernetes, Encoding::Escaped] {
                let rendered = call.to_arguments(encoding);
                assert_eq!(Call::parse(rendered.clone()).as_ref(), Ok(&call), "{rendered:?}");
            }
        }
        Err(error) => {
            let shown = format!("{error} {error:?}");
            assert!(name.contains(SECRET) || !shown.contains(SECRET), "{shown}");
        }
    }
});
