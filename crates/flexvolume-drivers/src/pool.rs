//! The directory that holds images, and the names of the files in it.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flexvolume_os::atomic;
use flexvolume_os::lock::{Lock, LockError};

use crate::acquaintance::Acquaintances;
use crate::error::{RequestError, Result, VolumeError, at};

/// How long a call waits for another one on the same volume; then it fails and the host calls again.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A volume's id, and the file name that stands for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VolumeId {
    id: String,
    file_name: String,
}

impl VolumeId {
    /// Any text that, encoded, leaves room in a file name for what we add to it.
    pub(crate) fn parse(id: &str) -> std::result::Result<Self, RequestError> {
        let refuse = |why| Err(RequestError::Id { id: id.chars().take(300).collect(), why });
        let file_name = encode(id.as_bytes());
        match file_name.len() {
            0 => refuse("is empty"),
            1..=200 => Ok(Self { id: id.to_owned(), file_name }),
            _ => refuse("is too long for a file name (200 bytes, encoded)"),
        }
    }

    /// The id that a file name stands for; `None` for a name that none of ours is.
    pub(crate) fn of_file_name(file_name: &str) -> Option<Self> {
        let id = String::from_utf8(decode(file_name)?).ok()?;
        Self::parse(&id).ok()
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.id
    }

    pub(crate) fn file_name(&self) -> &str {
        &self.file_name
    }
}

/// One file name for these bytes, and no other bytes: a slash becomes `~`; what is not a letter, a digit, `-`, `_` or
/// `.`, and a `.` or `-` in front, becomes `%XX`.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut name = String::with_capacity(bytes.len());
    for (position, &byte) in bytes.iter().enumerate() {
        match byte {
            b'/' => name.push('~'),
            b'.' | b'-' if position > 0 => name.push(char::from(byte)),
            b'_' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => name.push(char::from(byte)),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    name
}

/// The bytes that a file name stands for; `None` for a name that [`encode`] never gives.
pub(crate) fn decode(name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'~' => b'/',
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    (encode(&bytes) == name).then_some(bytes)
}

/// A short name for a path of any length (64-bit FNV-1a). Two paths may share it: whoever uses it compares the path
/// that is written inside.
pub(crate) fn short_name(path: &Path) -> String {
    format!("{:016x}", short_hash(path.as_os_str().as_bytes()))
}

/// 64-bit FNV-1a, which is the same in every version of this program.
pub(crate) fn short_hash(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold)
}

/// Whether the pool directory is made when it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhenMissing {
    /// The driver's own directory.
    Make,
    /// Somebody else's: it may be on a disk that is not mounted at the moment.
    Refuse,
}

/// A directory of images.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    directory: PathBuf,
    /// The state directory of the node, which knows the other pools.
    state: Option<PathBuf>,
}

impl Pool {
    /// Names a pool without looking at it.
    pub(crate) fn at(directory: PathBuf) -> Self {
        Self { directory, state: None }
    }

    /// The same, among the pools that the drivers of this node know.
    pub(crate) fn on_node(self, state: &Path) -> Self {
        Self { state: Some(state.to_owned()), ..self }
    }

    /// All pools that this node knows, this one among them.
    pub(crate) fn all_of_node(&self) -> Vec<PathBuf> {
        let mut directories = vec![self.directory.clone()];
        if let Some(state) = &self.state {
            directories.extend([state.join("loop"), state.join("loop-ephemeral")]);
            directories.extend(Acquaintances::new(state).directories());
        }
        directories.sort();
        directories.dedup();
        directories
    }

    /// Makes sure that the directory is there and that nobody else can put files into it.
    pub(crate) fn prepare(&self, when_missing: WhenMissing) -> Result<()> {
        let refuse = |why| Err(VolumeError::Pool { path: self.directory.clone(), why });
        let metadata = match fs::symlink_metadata(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => match when_missing {
                WhenMissing::Make => return self.make(),
                WhenMissing::Refuse => {
                    return refuse("does not exist: mount its disk, or create it with mode 0700");
                }
            },
            other => other.map_err(at("look at pool directory", &self.directory))?,
        };
        if metadata.is_symlink() {
            return refuse("is a symlink: name the directory itself");
        }
        if !metadata.is_dir() {
            return refuse("is not a directory");
        }
        if ![0, rustix::process::geteuid().as_raw()].contains(&metadata.uid()) {
            return refuse("belongs to another user, who could exchange what is in it: give it to root");
        }
        if metadata.mode() & 0o022 != 0 {
            return refuse("can be written by other users: set its mode to 0700");
        }
        Ok(())
    }

    fn make(&self) -> Result<()> {
        atomic::create_directories(&self.directory, 0o700).map_err(at("make pool directory", &self.directory))
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The files of one volume.
    pub(crate) fn volume(&self, id: VolumeId) -> Volume {
        Volume { pool: self.clone(), id }
    }
}

/// The files of one volume.
#[derive(Debug, Clone)]
pub(crate) struct Volume {
    pub(crate) pool: Pool,
    pub(crate) id: VolumeId,
}

impl Volume {
    /// The volume whose ready image has this path, by its name alone: whose it is must still be found out.
    pub(crate) fn of_image(image: &Path) -> Option<Self> {
        let stem = image.file_name()?.to_str()?.strip_suffix(".img")?;
        Some(Pool::at(image.parent()?.to_owned()).volume(VolumeId::of_file_name(stem)?))
    }

    fn file(&self, prefix: &str, suffix: &str) -> PathBuf {
        self.pool.directory.join(format!("{prefix}{}{suffix}", self.id.file_name))
    }

    /// The image, once it is ready.
    pub(crate) fn image(&self) -> PathBuf {
        self.file("", ".img")
    }

    /// The record.
    pub(crate) fn record(&self) -> PathBuf {
        self.file("", ".json")
    }

    /// The image while it is made. Every attempt has a name of its own: a `mkfs` that outlived a killed driver must
    /// not meet the file of the next attempt.
    pub(crate) fn attempt(&self, uuid: &str) -> PathBuf {
        let attempt = uuid.get(..8).unwrap_or(uuid);
        self.file(".", &format!(".img.{attempt}"))
    }

    /// The image while it is removed.
    pub(crate) fn trash(&self) -> PathBuf {
        self.file(".", ".trash")
    }

    /// Keeps other calls away from this volume, in whatever process, until dropped.
    pub(crate) fn lock(&self) -> Result<Lock> {
        Ok(Lock::acquire(&self.lock_file(), PATIENCE)?)
    }

    fn lock_file(&self) -> PathBuf {
        self.file(".", ".lock")
    }

    /// Whether a call is working on the volume now.
    pub(crate) fn is_locked(&self) -> bool {
        let path = self.lock_file();
        path.exists() && matches!(Lock::acquire(&path, Duration::ZERO), Err(LockError::Held { .. }))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_that_is_safe_stays_readable() {
        assert_eq!(encode(b"pvc-0b5c_data.1"), "pvc-0b5c_data.1");
        assert_eq!(encode(b"0b5c-11/data"), "0b5c-11~data");
    }

    #[test]
    fn no_name_leaves_the_directory_or_hides_or_looks_like_an_option() {
        assert_eq!(encode(b".."), "%2E.");
        assert_eq!(encode(b"."), "%2E");
        assert_eq!(encode(b"-rf"), "%2Drf");
        assert_eq!(encode(b"../../etc/passwd"), "%2E.~..~etc~passwd");
        assert_eq!(encode(b"a\nb\0~%"), "a%0Ab%00%7E%25");
    }

    proptest! {
        #[test]
        fn different_ids_have_different_plain_file_names(one: Vec<u8>, other: Vec<u8>) {
            let (name, other_name) = (encode(&one), encode(&other));
            prop_assert_eq!(one == other, name == other_name);
            prop_assert!(!name.starts_with(['.', '-']));
            prop_assert!(name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/'));
            prop_assert_eq!(decode(&name), Some(one));
        }

        #[test]
        fn a_file_name_means_an_id_only_if_it_is_the_id_s(name in "[a-z%~.0-9A-F-]{0,12}") {
            if let Some(bytes) = decode(&name) {
                prop_assert_eq!(encode(&bytes), name);
            }
        }
    }

    #[test]
    fn an_id_must_fit_into_a_file_name() {
        assert!(VolumeId::parse("").is_err());
        assert!(VolumeId::parse(&"a".repeat(201)).is_err());
        assert!(VolumeId::parse(&"\n".repeat(100)).is_err());
        let longest = VolumeId::parse(&"a".repeat(200)).unwrap();
        let volume = Pool::at("/pool".into()).volume(longest);
        let paths = [volume.image(), volume.record(), volume.attempt("01234567-89"), volume.trash()];
        assert!(paths.iter().all(|path| path.file_name().unwrap().len() <= 255 - ".tmp.".len()));
    }

    #[test]
    fn short_names_are_stable_across_versions() {
        assert_eq!(short_name(Path::new("")), "cbf29ce484222325");
        assert_eq!(short_name(Path::new("/a/b")), "363e289cb38ee0cc");
    }

    #[test]
    fn a_pool_that_others_can_change_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let refusal = |path: PathBuf| Pool::at(path).prepare(WhenMissing::Refuse).unwrap_err().to_string();
        let open = root.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(refusal(open).ends_with("can be written by other users: set its mode to 0700"));
        let link = root.path().join("link");
        symlink("/etc", &link).unwrap();
        assert!(refusal(link).ends_with("is a symlink: name the directory itself"));
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(refusal(file).ends_with("is not a directory"));
        assert!(refusal(root.path().join("gone")).contains("mount its disk"));
    }

    #[test]
    fn a_pool_of_another_user_is_refused() {
        let root = tempfile::tempdir().unwrap();
        if std::os::unix::fs::chown(root.path(), Some(12_345), None).is_err() {
            eprintln!("skipped: a_pool_of_another_user_is_refused: needs root");
            return;
        }
        let error = Pool::at(root.path().to_owned()).prepare(WhenMissing::Refuse).unwrap_err().to_string();
        assert!(error.contains("belongs to another user"), "{error}");
    }

    #[test]
    fn the_driver_makes_its_own_pool_for_itself_alone() {
        let root = tempfile::tempdir().unwrap();
        let pool = Pool::at(root.path().join("state/loop"));
        pool.prepare(WhenMissing::Make).unwrap();
        pool.prepare(WhenMissing::Make).unwrap();
        assert_eq!(fs::metadata(pool.directory()).unwrap().mode() & 0o777, 0o700);
    }
}
