//! Settings of a driver: a file is taken whole or refused with its line, and a value of its environment is never shown.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use flexvolume_host::contract::DriverName;
use flexvolume_host::settings::Settings;

const SECRET: &str = "aHVudGVyMg";

fn directory() -> &'static PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    // Whoever starts the target gives it a temporary directory of its own and removes it.
    DIRECTORY.get_or_init(|| tempfile::tempdir().unwrap().keep())
}

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let driver = DriverName::parse("example.com/disk").unwrap();
    let file = directory().join("example.com~disk.toml");
    fs::write(&file, text).unwrap();
    match Settings::in_directory(directory().clone()).of(&driver) {
        Ok(settings) => {
            assert!(!format!("{:?}", settings.environment.values()).contains(SECRET));
            assert!(settings.working_directory.value.is_absolute());
            let day = Duration::from_secs(24 * 3600);
            assert!(settings.deadlines.values().all(|set| !set.value.is_zero() && set.value <= day));
            let strict = settings.clone().for_strict_reading();
            assert_eq!((strict.environment, strict.deadlines), (settings.environment, settings.deadlines));
        }
        Err(error) => {
            let shown = error.to_string();
            assert!(shown.contains("example.com~disk.toml"), "{shown}");
        }
    }
});
