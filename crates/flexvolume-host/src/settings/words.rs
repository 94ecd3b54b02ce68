//! The settings that are one of some words.

use flexvolume::{FsGroupKeys, ReservedKeys};

/// A setting that is one of some words.
pub(super) trait Word: Copy + PartialEq + 'static {
    /// The values with their words, the default first.
    const WORDS: &'static [(&'static str, Self)];

    /// The value of a word.
    fn parse(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, value)| *value)
    }

    /// The word of a value.
    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, value)| *value == self).map_or("", |(word, _)| word)
    }
}

/// Whether the volumes of a driver are attached (`attach`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attach {
    /// As `init` says.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

impl Word for Attach {
    const WORDS: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("on", Self::On), ("off", Self::Off)];
}

/// The version of the contract that a driver is spoken to in (`protocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Since Kubernetes 1.6.
    Current,
    /// Kubernetes 1.2 to 1.5: `init`, `attach <options>`, `mount <mount dir> <device> <options>`,
    /// `unmount <mount dir>`, `detach <device>`, and no others.
    V1,
}

impl Word for Protocol {
    const WORDS: &'static [(&'static str, Self)] = &[("current", Self::Current), ("v1", Self::V1)];
}

/// What `unmountdevice` is called with (`unmountdevice-argument`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnmountDeviceArgument {
    /// The device mount path, as Kubernetes does.
    Path,
    /// The device mount path and the device.
    PathAndDevice,
    /// The device alone.
    Device,
}

impl Word for UnmountDeviceArgument {
    const WORDS: &'static [(&'static str, Self)] =
        &[("path", Self::Path), ("path-and-device", Self::PathAndDevice), ("device", Self::Device)];
}

impl Word for ReservedKeys {
    const WORDS: &'static [(&'static str, Self)] = &[("all", Self::All), ("minimal", Self::Minimal)];
}

impl Word for FsGroupKeys {
    const WORDS: &'static [(&'static str, Self)] =
        &[("current", Self::Current), ("legacy", Self::Legacy), ("both", Self::Both)];
}

/// Which calls of a driver wait for each other, in all processes on this machine (`serialize`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serialisation {
    /// The calls that change one volume; and `attach` and `detach` of the driver, whichever the volume.
    Volume,
    /// All calls of the driver but `init`.
    Driver,
    /// None.
    None,
}

impl Word for Serialisation {
    const WORDS: &'static [(&'static str, Self)] =
        &[("volume", Self::Volume), ("driver", Self::Driver), ("none", Self::None)];
}

/// What is done about a mounted volume that does not answer, besides telling (`sick-mount`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SickMount {
    /// Nothing.
    Report,
    /// The driver's `heal` is called; what is dead even then is mounted again.
    Heal,
    /// If it is dead it is mounted again.
    Remount,
}

impl Word for SickMount {
    const WORDS: &'static [(&'static str, Self)] =
        &[("report", Self::Report), ("heal", Self::Heal), ("remount", Self::Remount)];
}

/// What is made of a `mount` that succeeded and left no mount (`mount-check`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountCheck {
    /// A warning, unless the directory is filled.
    Warn,
    /// A failure.
    Strict,
    /// Nothing: it is not looked for. A success that is only claimed is looked for all the same.
    Off,
}

impl Word for MountCheck {
    const WORDS: &'static [(&'static str, Self)] =
        &[("warn", Self::Warn), ("strict", Self::Strict), ("off", Self::Off)];
}
