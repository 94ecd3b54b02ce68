//! The kernel's mount table, parsed from bytes.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// One line of `/proc/self/mountinfo` (proc(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The mount's id.
    pub id: u32,
    /// The id of the mount that it stands on.
    pub parent: u32,
    /// Major and minor number of the device.
    pub device: (u32, u32),
    /// The directory of the file system that is mounted.
    pub root: PathBuf,
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// Options of the mount, such as `ro,nosuid`.
    pub options: Vec<String>,
    /// File system type.
    pub fs_type: String,
    /// Device or name.
    pub source: PathBuf,
    /// Options of the file system.
    pub super_options: Vec<String>,
}

impl Mount {
    /// Whether writing through this mount is forbidden, by the mount itself or by its file system.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        let read_only = |options: &[String]| options.iter().any(|option| option == "ro");
        read_only(&self.options) || read_only(&self.super_options)
    }

    /// Whether the mounted directory has been removed since: the kernel then appends `//deleted` to [`Mount::root`]
    /// (as a directory of that name cannot exist, the mark is certain).
    #[must_use]
    pub fn is_root_deleted(&self) -> bool {
        self.root.as_os_str().as_bytes().ends_with(b"//deleted")
    }

    /// One line of `mountinfo`, without its optional fields.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let id = number(fields.next()?)?;
        let parent = number(fields.next()?)?;
        let device = device(fields.next()?)?;
        let root = path(fields.next()?);
        let mount_point = path(fields.next()?);
        let options = options_of(fields.next()?);
        // Any number of optional fields, ended by a single hyphen.
        fields.find(|field| *field == b"-")?;
        let fs_type = text(fields.next()?);
        let source = path(fields.next()?);
        // Some file systems print nothing here.
        let super_options = fields.next().map(options_of).unwrap_or_default();
        // A root that is no path is normal for namespace files (`net:[4026531840]`); a mount point always is one.
        mount_point.is_absolute().then_some(Self {
            id,
            parent,
            device,
            root,
            mount_point,
            options,
            fs_type,
            source,
            super_options,
        })
    }
}

/// The mount table, in the kernel's order: of several mounts at one path the last is on top.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MountTable {
    mounts: Vec<Mount>,
}

impl MountTable {
    /// Parses the text of `mountinfo`. A line that makes no sense is left out: one foreign mount must not blind us.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        Self { mounts: text.split(|byte| *byte == b'\n').filter_map(Mount::parse).collect() }
    }

    /// A table of these mounts.
    #[must_use]
    pub fn new(mounts: Vec<Mount>) -> Self {
        Self { mounts }
    }

    /// All mounts.
    #[must_use]
    pub fn mounts(&self) -> &[Mount] {
        &self.mounts
    }

    /// The mounts stacked at exactly `path`, lowest first.
    pub fn at<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a Mount> + 'a {
        self.mounts.iter().filter(move |mount| mount.mount_point == path)
    }

    /// What one sees at exactly `path`.
    #[must_use]
    pub fn top(&self, path: &Path) -> Option<&Mount> {
        self.mounts.iter().rev().find(|mount| mount.mount_point == path)
    }

    /// The mounts at or below `path`.
    pub fn below<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a Mount> + 'a {
        self.mounts.iter().filter(move |mount| mount.mount_point.starts_with(path))
    }

    /// The other mounts of the same directory of the same file system as the top mount at `path`.
    #[must_use]
    pub fn references(&self, path: &Path) -> Vec<&Mount> {
        let Some(top) = self.top(path) else { return Vec::new() };
        let same = |mount: &&Mount| {
            mount.device == top.device && mount.root == top.root && mount.mount_point != path
        };
        self.mounts.iter().filter(same).collect()
    }
}

/// A path as the kernel writes it into its tables: space, tab, newline, backslash and `#` as `\ooo`.
#[must_use]
pub fn escape(raw: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(raw.len());
    for byte in raw {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => {
                escaped.extend([b'\\', b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)]);
            }
            _ => escaped.push(*byte),
        }
    }
    escaped
}

/// The reverse of [`escape`]. A backslash that no three octal digits follow stays as it is.
#[must_use]
pub fn unescape(field: &[u8]) -> Cow<'_, [u8]> {
    if !field.contains(&b'\\') {
        return Cow::Borrowed(field);
    }
    let mut raw = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        match (first, after) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                raw.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                raw.push(*first);
                rest = after;
            }
        }
    }
    Cow::Owned(raw)
}

fn number(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn device(field: &[u8]) -> Option<(u32, u32)> {
    let colon = field.iter().position(|byte| *byte == b':')?;
    Some((number(&field[..colon])?, number(&field[colon + 1..])?))
}

fn path(field: &[u8]) -> PathBuf {
    OsString::from_vec(unescape(field).into_owned()).into()
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(&unescape(field)).into_owned()
}

fn options_of(field: &[u8]) -> Vec<String> {
    field.split(|byte| *byte == b',').filter(|option| !option.is_empty()).map(text).collect()
}

#[cfg(test)]
mod tests;
