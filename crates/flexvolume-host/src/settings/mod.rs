//! Per-driver settings: what an operator knows of a driver that the driver does not say itself.
//!
//! A settings directory holds one TOML file per driver, `<vendor~driver>.toml`, and `default.toml` for all drivers.
//! The driver's file wins over `default.toml`, which wins over what is built in; each value knows where it comes from.
//! The files are read whenever a driver is looked up, so that a change counts from the next call on.
//!
//! In the strict reading only the deadlines and the environment are used: everything else would make us differ from
//! Kubernetes.

mod error;
mod read;
mod table;
mod words;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flexvolume::{DriverName, FsGroupKeys, ReservedKeys, Secret, Verb};

pub use self::error::SettingsError;
pub use self::table::Effective;
pub use self::words::{Attach, MountCheck, Protocol, Serialisation, SickMount, UnmountDeviceArgument};

use self::read::Source;

/// Where settings are looked for.
pub const DEFAULT_SETTINGS_DIR: &str = "/etc/flexvol/drivers.d";

/// The file for all drivers.
const DEFAULT_FILE: &str = "default.toml";

/// A settings file is a few lines; what is longer is something else.
const LONGEST_FILE: u64 = 64 << 10;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody has set it.
    BuiltIn,
    /// A settings file.
    File {
        /// The file.
        file: Arc<Path>,
        /// The line, from 1.
        line: usize,
    },
    /// Whoever started the host, for all drivers and call-outs.
    Host,
}

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub origin: Origin,
}

impl<T> Setting<T> {
    fn built_in(value: T) -> Self {
        Self { value, origin: Origin::BuiltIn }
    }
}

/// The settings of one driver, complete. `docs/settings.md` describes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverSettings {
    /// `attach`.
    pub attach: Setting<Attach>,
    /// `protocol`.
    pub protocol: Setting<Protocol>,
    /// `unmountdevice-argument`.
    pub unmount_device_argument: Setting<UnmountDeviceArgument>,
    /// `options`: which reserved keys the driver is sent.
    pub options: Setting<ReservedKeys>,
    /// `fs-group-key`.
    pub fs_group_keys: Setting<FsGroupKeys>,
    /// `serialize`.
    pub serialisation: Setting<Serialisation>,
    /// `mount-check`.
    pub mount_check: Setting<MountCheck>,
    /// `may-mount-nothing`: the driver fills the directory, or leaves it as it is.
    pub may_mount_nothing: Setting<bool>,
    /// `may-leave-symlink`: the driver puts a symlink in the place of the directory.
    pub may_leave_symlink: Setting<bool>,
    /// `sick-mount`: what the agent does about a mount that does not answer.
    pub sick_mount: Setting<SickMount>,
    /// `working-directory`.
    pub working_directory: Setting<PathBuf>,
    /// `[environment]`, on top of the host's. Kept as secrets because people put some there all the same.
    pub environment: BTreeMap<OsString, Setting<Secret>>,
    /// `[deadlines]`, on top of [`crate::Deadlines`].
    pub deadlines: BTreeMap<Verb, Setting<Duration>>,
}

impl Default for DriverSettings {
    /// What is built in.
    fn default() -> Self {
        Self {
            attach: Setting::built_in(Attach::Auto),
            protocol: Setting::built_in(Protocol::Current),
            unmount_device_argument: Setting::built_in(UnmountDeviceArgument::Path),
            options: Setting::built_in(ReservedKeys::All),
            fs_group_keys: Setting::built_in(FsGroupKeys::Current),
            serialisation: Setting::built_in(Serialisation::Volume),
            mount_check: Setting::built_in(MountCheck::Warn),
            may_mount_nothing: Setting::built_in(false),
            may_leave_symlink: Setting::built_in(false),
            sick_mount: Setting::built_in(SickMount::Report),
            working_directory: Setting::built_in(PathBuf::from("/")),
            environment: BTreeMap::new(),
            deadlines: BTreeMap::new(),
        }
    }
}

impl DriverSettings {
    /// The part that the strict reading uses.
    #[must_use]
    pub fn for_strict_reading(self) -> Self {
        Self { environment: self.environment, deadlines: self.deadlines, ..Self::default() }
    }

    /// Whether a driver attaches that declares this.
    #[must_use]
    pub fn attaches(&self, declared: bool) -> bool {
        match self.attach.value {
            Attach::Auto => declared,
            Attach::On => true,
            Attach::Off => false,
        }
    }

    /// The deadline of a call-out, if it is set.
    #[must_use]
    pub fn deadline(&self, verb: Verb) -> Option<Duration> {
        self.deadlines.get(&verb).map(|setting| setting.value)
    }
}

/// The settings of all drivers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    directory: Option<PathBuf>,
    deadline: Option<Duration>,
}

impl Settings {
    /// The settings in a directory, which need not exist. Nothing is read yet.
    #[must_use]
    pub fn in_directory(directory: PathBuf) -> Self {
        Self { directory: Some(directory), deadline: None }
    }

    /// With one deadline for every call-out, whatever the files say.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The files that are looked for, the one that wins last.
    #[must_use]
    pub fn files(&self, name: &DriverName) -> Vec<PathBuf> {
        let Some(directory) = &self.directory else { return Vec::new() };
        vec![directory.join(DEFAULT_FILE), directory.join(format!("{}.toml", name.directory()))]
    }

    /// The settings of a driver, as the files are now.
    ///
    /// # Errors
    /// [`SettingsError`]: a file that is there and cannot be used is never passed over.
    pub fn of(&self, name: &DriverName) -> Result<DriverSettings, SettingsError> {
        let mut settings = DriverSettings::default();
        for file in self.files(name) {
            if let Some(text) = read_file(&file)? {
                Source::new(&file, &text).apply(&mut settings)?;
            }
        }
        Ok(self.over(with_old_keys_only(settings)))
    }

    /// The settings of a driver as one file has them, which need not be in the directory.
    ///
    /// # Errors
    /// [`SettingsError`], also when there is no such file.
    pub fn of_file(&self, file: &Path) -> Result<DriverSettings, SettingsError> {
        let mut settings = DriverSettings::default();
        let absent = || SettingsError::File { file: file.to_owned(), source: ErrorKind::NotFound.into() };
        Source::new(file, &read_file(file)?.ok_or_else(absent)?).apply(&mut settings)?;
        Ok(self.over(with_old_keys_only(settings)))
    }

    /// The settings of a driver without a name, for which there can be no file.
    #[must_use]
    pub fn of_nameless(&self) -> DriverSettings {
        self.over(DriverSettings::default())
    }

    fn over(&self, mut settings: DriverSettings) -> DriverSettings {
        if let Some(deadline) = self.deadline {
            let set = Setting { value: deadline, origin: Origin::Host };
            settings.deadlines = Verb::ALL.map(|verb| (verb, set.clone())).into();
        }
        settings
    }
}

/// Drivers of protocol v1's time refuse keys that came later.
fn with_old_keys_only(mut settings: DriverSettings) -> DriverSettings {
    if settings.protocol.value == Protocol::V1 && settings.options.origin == Origin::BuiltIn {
        settings.options.value = ReservedKeys::Minimal;
    }
    settings
}

/// The text of a file; `None` if there is none.
fn read_file(file: &Path) -> Result<Option<String>, SettingsError> {
    let failed = |source: io::Error| SettingsError::File { file: file.to_owned(), source };
    let refused = |why| SettingsError::Refused { file: file.to_owned(), why };
    match std::fs::metadata(file) {
        Ok(metadata) if metadata.is_file() => {}
        // Opening a pipe would hang.
        Ok(_) => return Err(refused("it is not a file")),
        Err(error) if is_absent(&error) && !file.is_symlink() => return Ok(None),
        Err(error) => return Err(failed(error)),
    }
    let opened = File::open(file).map_err(failed)?;
    if opened.metadata().map_err(failed)?.mode() & 0o002 != 0 {
        return Err(refused("everyone can write to it, and it decides how drivers are run: chmod o-w"));
    }
    let mut bytes = Vec::new();
    opened.take(LONGEST_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > LONGEST_FILE {
        return Err(refused("it is longer than 64 KiB, so it cannot be what it should be"));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| refused("it is not UTF-8 text"))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}
