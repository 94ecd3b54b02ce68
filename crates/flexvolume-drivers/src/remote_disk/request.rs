//! The options that say what shall be on a disk and how it is mounted.

use flexvolume::{Access, Options};
use flexvolume_os::filesystem::FsType;
use flexvolume_os::mount::MountFlag;

use crate::error::RequestError;
use crate::request::fs_type;

pub(crate) const FORMAT: &str = "format";
pub(crate) const PROTECTION: &str = "multiMountProtection";
pub(crate) const MOUNT_OPTIONS: &str = "mountOptions";

/// Whether a file system may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// What is on the disk is somebody's, whatever it looks like.
    Never,
    /// The administrator says that the disk is new.
    New,
}

/// Whether an ext4 must have its multi-mount protection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protection {
    AsItIs,
    Required,
}

/// What shall be on a disk, and how it is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileSystemRequest {
    pub(crate) access: Access,
    pub(crate) fs_type: FsType,
    pub(crate) format: Format,
    pub(crate) protection: Protection,
    pub(crate) mount_flags: Vec<MountFlag>,
}

impl FileSystemRequest {
    pub(crate) fn read(options: &Options) -> Result<Self, RequestError> {
        let fs_type = fs_type(options)?;
        Ok(Self {
            access: options.access,
            fs_type,
            format: format(options)?,
            protection: protection(options, fs_type)?,
            mount_flags: mount_flags(options)?,
        })
    }

    /// What is given to the mount.
    pub(crate) fn mount_options(&self) -> Vec<String> {
        let flags = self.mount_flags.iter().map(|flag| flag.as_str().to_owned());
        // Its default is to go on writing after it has found itself damaged.
        let careful = (self.fs_type == FsType::Ext4).then(|| "errors=remount-ro".to_owned());
        flags.chain(careful).collect()
    }
}

fn format(options: &Options) -> Result<Format, RequestError> {
    match options.get(FORMAT) {
        None | Some("never") => Ok(Format::Never),
        Some("new") => Ok(Format::New),
        Some(other) => Err(RequestError::Value {
            key: FORMAT,
            value: other.to_owned(),
            why: "it is \"never\", or \"new\" for a disk that nobody has used".to_owned(),
        }),
    }
}

fn protection(options: &Options, fs_type: FsType) -> Result<Protection, RequestError> {
    let refuse = |value: &str, why: &str| {
        Err(RequestError::Value { key: PROTECTION, value: value.to_owned(), why: why.to_owned() })
    };
    match options.get(PROTECTION) {
        None | Some("false") => Ok(Protection::AsItIs),
        Some("true") if fs_type == FsType::Ext4 => Ok(Protection::Required),
        Some(value @ "true") => refuse(value, "only ext4 has it: leave it out, or use the fsType ext4"),
        Some(other) => refuse(other, "it is \"true\" or \"false\""),
    }
}

/// `nosuid` and `nodev` are always on: what a server serves gives nobody rights on the node.
fn mount_flags(options: &Options) -> Result<Vec<MountFlag>, RequestError> {
    let mut flags = vec![MountFlag::NoSuid, MountFlag::NoDev];
    let text = options.get(MOUNT_OPTIONS).unwrap_or_default();
    for word in text.split(',').map(str::trim).filter(|_| !text.is_empty()) {
        let flag = MountFlag::ALL.into_iter().find(|flag| flag.as_str() == word).ok_or_else(|| {
            RequestError::Value {
                key: MOUNT_OPTIONS,
                value: text.to_owned(),
                why: "it is a list of noexec, noatime, nodiratime (nosuid and nodev are always on)"
                    .to_owned(),
            }
        })?;
        if !flags.contains(&flag) {
            flags.push(flag);
        }
    }
    Ok(flags)
}
