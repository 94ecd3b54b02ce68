//! Call-outs from arguments: what was understood is rendered and understood as the same; an error shows the name of a
//! call-out, and of an option, and nothing else of the arguments.
//!
//! An input is the arguments, a zero byte between them.
#![no_main]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use flexvol_fuzz::model::Members;
use flexvolume_host::contract::{Call, Encoding};

const SECRET: &str = "aHVudGVyMg";

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let arguments: Vec<&[u8]> = input.split(|byte| *byte == 0).collect();
    match Call::parse(arguments.iter().map(|argument| OsString::from_vec(argument.to_vec()))) {
        Ok(call) => {
            for encoding in [Encoding::Kubernetes, Encoding::Escaped] {
                let rendered = call.to_arguments(encoding);
                assert_eq!(Call::parse(rendered.clone()).as_ref(), Ok(&call), "{rendered:?}");
            }
        }
        Err(error) => {
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains(SECRET) || names(&arguments).contains(SECRET), "{shown}");
        }
    }
});

/// What an error may show: the first argument, and the names of options.
fn names(arguments: &[&[u8]]) -> String {
    let mut names =
        arguments.first().map(|name| String::from_utf8_lossy(name).into_owned()).unwrap_or_default();
    for argument in arguments {
        if let Ok(Members(members)) = serde_json::from_slice(argument) {
            names.extend(members.into_iter().map(|(name, _)| name + "\n"));
        }
    }
    names
}
