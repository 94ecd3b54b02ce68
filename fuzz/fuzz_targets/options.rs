//! The map of options: what was read is written and read again as the same, in every rendering.
#![no_main]

use flexvolume_host::contract::{Encoding, FsGroupKeys, Options, Rendering};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(options) = Options::parse(text) else { return };
    for encoding in [Encoding::Kubernetes, Encoding::Escaped] {
        for fs_group in [FsGroupKeys::Current, FsGroupKeys::Both] {
            let rendering = Rendering { encoding, fs_group, ..Rendering::default() };
            let written = options.to_json(rendering);
            assert_eq!(Options::parse(&written).as_ref(), Ok(&options), "{written}");
            assert!(!written.contains(['<', '>', '&', '\u{2028}', '\u{2029}']), "{written}");
            let is_fragile = |byte: u8| byte <= b' ' || byte == 0x7f;
            assert!(encoding == Encoding::Kubernetes || !written.bytes().any(is_fragile), "{written:?}");
        }
    }
});
