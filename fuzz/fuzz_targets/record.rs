//! Records of volumes: a file that is no record is shown and set aside, never lost, and nothing on it ends in a panic.
//!
//! An input is a letter and a JSON text. `d` and `p` put the text, as the record of a device or of a pod's volume, into
//! an envelope with the right checksum, so that damage reaches what lies behind it; `D` and `P` are the file as it is.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use flexvolume_host::contract::PodUid;
use flexvolume_host::lifecycle::VolumeManager;
use flexvolume_host::os::fake::{self, FakeMounter, FakeRunner};
use flexvolume_host::registry::Registry;
use flexvolume_host::{Deadlines, Reading, SecretError, SecretObject, SecretSource, VolumeHost};

/// A record of this version, so that the envelope that is made here cannot drift from the one that is read.
const KNOWN: &[u8] = include_bytes!("../corpus/record/device");

const POD: &str = "uid-1";

struct NoSecrets;

impl SecretSource for NoSecrets {
    fn secret(&self, _: &str, name: &str) -> Result<SecretObject, SecretError> {
        Err(SecretError::NotFound { name: name.to_owned() })
    }
}

struct Place {
    root: PathBuf,
    devices: PathBuf,
    publishes: PathBuf,
}

fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| {
        // Whoever starts the target gives it a temporary directory of its own and removes it.
        let root = tempfile::tempdir().unwrap().keep();
        let (devices, publishes) = (root.join("flexvol/volumes"), root.join("flexvol/publishes").join(POD));
        fs::create_dir_all(&devices).unwrap();
        Place { root, devices, publishes }
    })
}

fn manager() -> VolumeManager {
    let host = Arc::new(VolumeHost {
        root: place().root.clone(),
        node: "node-1".to_owned(),
        system: fake::system(&FakeRunner::new(), &FakeMounter::new()),
        secrets: Arc::new(NoSecrets),
        reading: Reading::Tolerant,
        deadlines: Deadlines::default(),
        settings: Arc::default(),
    });
    let registry = Arc::new(Registry::new(Arc::clone(&host), Vec::new()));
    VolumeManager::new(host, registry)
}

libfuzzer_sys::fuzz_target!(init: the_known_record_is_read(), |input: &[u8]| {
    let [kind, text @ ..] = input else { return };
    let (directory, file) = match kind {
        b'd' | b'D' => (&place().devices, "x.json"),
        b'p' | b'P' => (&place().publishes, "x.json"),
        _ => return,
    };
    let content = match kind {
        b'd' | b'p' => sealed(text),
        _ => text.to_vec(),
    };
    put(directory, file, &content);
    let overview = manager().status().unwrap();
    assert_eq!(overview.volumes.len() + overview.unreadable.len(), 1, "{overview:?}");
    // The record is not in the file of its own name, so whatever it says, this file must not go.
    let _ = manager().unmount(&PodUid::parse(POD).unwrap());
    let kept = files(directory).into_iter().any(|(name, bytes)| name.starts_with(file) && bytes == content);
    assert!(kept, "{:?}", files(directory));
    clear();
});

fn the_known_record_is_read() {
    put(&place().devices, "known.json", &sealed(&KNOWN[1..]));
    let overview = manager().status().unwrap();
    assert_eq!((overview.volumes.len(), overview.unreadable.len()), (1, 0), "{overview:?}");
    clear();
}

/// The file of a record with this content.
fn sealed(text: &[u8]) -> Vec<u8> {
    let checksum = digest(&[&1_u64.to_le_bytes(), text].concat());
    let before = format!(r#"{{"format":1,"generation":1,"checksum":"{checksum:032x}","record":"#);
    [before.as_bytes(), text, b"}\n"].concat()
}

/// FNV-1a of 128 bits.
fn digest(bytes: &[u8]) -> u128 {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(BASIS, |digest, byte| (digest ^ u128::from(*byte)).wrapping_mul(PRIME))
}

fn put(directory: &Path, name: &str, content: &[u8]) {
    // The directory of a pod goes when nothing is left of it.
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join(name), content).unwrap();
}

fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    paths
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()))
        .collect()
}

/// Removes every record, also those that were made of what the file said.
fn clear() {
    for directory in [&place().devices, &place().publishes] {
        for (name, _) in files(directory) {
            fs::remove_file(directory.join(name)).unwrap();
        }
    }
}
