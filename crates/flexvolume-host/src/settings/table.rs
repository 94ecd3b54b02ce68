//! Settings as a table for people and programs.

use std::fmt;

use flexvolume::Verb;
use serde::{Serialize, Serializer};

use super::words::Word;
use super::{DriverSettings, Origin, Setting};

/// One effective setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Effective {
    /// The key as it stands in a settings file; `environment.NAME` and `deadlines.VERB` for those in tables.
    pub key: String,
    /// The value as it would stand there; of the environment `(not shown)`.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::BuiltIn => out.write_str("built in"),
            Origin::File { file, line } => write!(out, "{}:{line}", file.display()),
            Origin::Host => out.write_str("given at the start, for all drivers"),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl DriverSettings {
    /// All settings, in the order of the documentation; of the tables what is set.
    #[must_use]
    pub fn table(&self) -> Vec<Effective> {
        let mut table = vec![
            word("attach", &self.attach),
            word("protocol", &self.protocol),
            word("unmountdevice-argument", &self.unmount_device_argument),
            word("options", &self.options),
            word("fs-group-key", &self.fs_group_keys),
            word("serialize", &self.serialisation),
            word("mount-check", &self.mount_check),
            effective("may-mount-nothing", self.may_mount_nothing.value, &self.may_mount_nothing),
            effective("may-leave-symlink", self.may_leave_symlink.value, &self.may_leave_symlink),
            word("sick-mount", &self.sick_mount),
            effective("working-directory", self.working_directory.value.display(), &self.working_directory),
        ];
        table.extend(self.environment.iter().map(|(name, setting)| {
            effective(&format!("environment.{}", name.display()), "(not shown)", setting)
        }));
        table.extend(self.deadlines.iter().map(|(verb, setting)| deadline(*verb, setting)));
        table
    }
}

fn word<T: Word>(key: &str, setting: &Setting<T>) -> Effective {
    effective(key, setting.value.word(), setting)
}

fn deadline(verb: Verb, setting: &Setting<std::time::Duration>) -> Effective {
    let time = humantime::format_duration(setting.value);
    effective(&format!("deadlines.{}", verb.as_str()), time, setting)
}

fn effective<T>(key: &str, value: impl fmt::Display, setting: &Setting<T>) -> Effective {
    Effective { key: key.to_owned(), value: value.to_string(), origin: setting.origin.clone() }
}
