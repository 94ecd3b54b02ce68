//! Any name as a file name: told apart, harmless, never too long.

use flexvolume::{DriverName, PodUid, VolumeName};

/// Longer encodings are cut: a file name has at most 255 bytes, and endings and the temporary file's dot need room.
const LONGEST: usize = 180;
/// What is kept of a name that is cut, for the person who looks.
const KEPT: usize = 140;

/// The file name, without ending, of a record or lock of a volume.
pub(super) fn of_volume(driver: &DriverName, volume: &VolumeName) -> String {
    let whole = format!("{},{}", encode(&driver.directory()), encode(volume.as_str()));
    bounded(whole)
}

/// The file name of a pod's records, locks and marks.
pub(super) fn of_pod(pod: &PodUid) -> String {
    bounded(encode(pod.as_str()))
}

/// The file name of a driver's lock.
pub(super) fn of_driver(driver: &DriverName) -> String {
    bounded(encode(&driver.directory()))
}

/// The directory of what is about a node.
pub(super) fn of_node(node: &str) -> String {
    bounded(encode(node))
}

/// Letters, digits, `-`, `_`, `~` and inner dots stay; every other byte becomes `%XX`.
fn encode(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for (position, byte) in name.bytes().enumerate() {
        match byte {
            b'.' if position > 0 => encoded.push('.'),
            b'-' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// A name that is too long keeps its beginning and ends in a digest of the whole, after `%%`, which no encoding
/// holds. The record inside names its volume in full, so that even a collision of digests is noticed.
fn bounded(encoded: String) -> String {
    if encoded.len() <= LONGEST {
        return encoded;
    }
    format!("{}%%{:032x}", &encoded[..KEPT], digest(encoded.as_bytes()))
}

/// FNV-1a of 128 bits: finds accidents, not attacks.
pub(super) fn digest(bytes: &[u8]) -> u128 {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(BASIS, |digest, byte| (digest ^ u128::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn of(name: &str) -> String {
        of_volume(&DriverName::parse("example.com/loop").unwrap(), &VolumeName::parse(name).unwrap())
    }

    #[test]
    fn usual_names_stay_readable() {
        assert_eq!(of("data-1.a"), "example.com~loop,data-1.a");
    }

    #[test]
    fn odd_bytes_are_spelled_out() {
        assert_eq!(of("a b\n,%ä"), "example.com~loop,a%20b%0A%2C%25%C3%A4");
        assert_eq!(of(".hidden"), "example.com~loop,%2Ehidden");
        assert_eq!(of("..."), "example.com~loop,%2E..");
    }

    #[test]
    fn names_of_255_bytes_that_differ_at_the_end_have_different_files() {
        let long = |last: &str| of(&format!("{}{last}", "\u{1}".repeat(254)));
        assert_ne!(long("a"), long("b"));
        assert!(long("a").len() <= LONGEST, "{}", long("a").len());
    }

    #[test]
    fn the_digest_is_the_published_one() {
        assert_eq!(digest(b""), 0x6c62272e07bb014262b821756295c58d);
        assert_eq!(digest(b"a"), 0xd228cb696f1a8caf78912b704e4a8964);
    }

    proptest! {
        #[test]
        fn different_names_have_different_harmless_files(names in prop::collection::btree_set("[^/\0]{1,60}", 2..8)) {
            let names: Vec<_> = names.into_iter().filter(|name| VolumeName::parse(name.as_str()).is_ok()).collect();
            let files: BTreeSet<_> = names.iter().map(|name| of(name)).collect();
            prop_assert_eq!(files.len(), names.len());
            for file in files {
                prop_assert!(file.len() <= LONGEST && file.is_ascii() && !file.contains('/') && !file.starts_with('.'));
            }
        }
    }
}
