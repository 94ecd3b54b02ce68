//! Options, typed.

use std::path::{Component, Path, PathBuf};

use flexvolume::{Access, Bytes, Options};
use flexvolume_os::filesystem::FsType;
use serde::{Deserialize, Serialize};

use crate::delete_policy::{DELETE_POLICY, DeletePolicy};
use crate::error::RequestError;
use crate::pool::VolumeId;

/// Sizes are whole blocks of this many bytes, rounded up: the granularity of every file system that we make.
pub(crate) const BLOCK: u64 = 4096;

const SIZE: &str = "size";
const DIRECTORY: &str = "directory";
pub(crate) const VOLUME: &str = "volume";
const ALLOCATION: &str = "allocation";
const MODE: &str = "mode";
const SOURCE: &str = "source";
const ERASE: &str = "erase";
const FS_TYPE: &str = "kubernetes.io/fsType";

/// How the pool holds the blocks of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Allocation {
    /// All of them are allocated when the volume is made, and kept: a write within the size never lacks space.
    Reserved,
    /// They are allocated when written and given back when freed: more can be promised than there is.
    Thin,
}

impl Allocation {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Allocation::Reserved => "reserved",
            Allocation::Thin => "thin",
        }
    }
}

/// What happens to the data of a volume that is removed, before its blocks are given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Erase {
    /// Nothing. No other volume shows them, since a file system never shows a file the old content of its blocks.
    #[default]
    None,
    /// The blocks are given back at once, and a disk that is told of it (mounted with `discard`) forgets them.
    Discard,
    /// They are overwritten with zeros.
    Zero,
}

impl Erase {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
    pub(crate) fn is_none(&self) -> bool {
        *self == Erase::None
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Erase::None => "none",
            Erase::Discard => "discard",
            Erase::Zero => "zero",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Erase::None, Erase::Discard, Erase::Zero].into_iter().find(|erase| erase.as_str() == text)
    }
}

/// What an image should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageRequest {
    /// The pool directory.
    pub(crate) directory: PathBuf,
    /// The volume.
    pub(crate) id: VolumeId,
    /// Bytes, a multiple of [`BLOCK`].
    pub(crate) size: u64,
    pub(crate) fs_type: FsType,
    pub(crate) allocation: Allocation,
    pub(crate) access: Access,
    /// The mode that the root directory gets when it is new; `None` is what its `mkfs` gives it.
    pub(crate) root_mode: Option<u32>,
    /// The volume that a new one is a copy of.
    pub(crate) source: Option<VolumeId>,
    pub(crate) erase: Erase,
}

/// The options of `loop`.
pub(crate) const PERSISTENT: [&str; 8] =
    [SIZE, DIRECTORY, VOLUME, ALLOCATION, MODE, SOURCE, ERASE, DELETE_POLICY];

/// The options of `loop-ephemeral`.
pub(crate) const EPHEMERAL: [&str; 6] = [SIZE, DIRECTORY, ALLOCATION, MODE, ERASE, DELETE_POLICY];

/// The mode of a new ephemeral volume's root directory: any container user may write, as in an `emptyDir`.
const EPHEMERAL_MODE: u32 = 0o777;

impl ImageRequest {
    /// Reads the options of `loop`.
    pub(crate) fn persistent(options: &Options, pool: &Path) -> Result<Self, RequestError> {
        refuse_unknown(options, &PERSISTENT)?;
        DeletePolicy::Retain.agrees(options)?;
        let id = options.get(VOLUME).unwrap_or(&options.volume_name);
        let request = Self::read(options, pool, VolumeId::parse(id)?)?;
        let source = options.get(SOURCE).map(VolumeId::parse).transpose()?;
        if source.as_ref() == Some(&request.id) {
            let why = "a volume cannot be a copy of itself".to_owned();
            return Err(RequestError::Value { key: SOURCE, value: request.id.as_str().to_owned(), why });
        }
        Ok(Self { source, ..request })
    }

    /// Reads the options of `loop-ephemeral`; the volume's id is the pod's uid and the volume's name.
    pub(crate) fn ephemeral(options: &Options, pool: &Path) -> Result<Self, RequestError> {
        refuse_unknown(options, &EPHEMERAL)?;
        DeletePolicy::Delete.agrees(options)?;
        let pod = options.pod.as_ref().filter(|pod| !pod.uid.is_empty());
        let pod = pod.ok_or(RequestError::NoPod { key: "kubernetes.io/pod.uid" })?;
        let id = format!("{}/{}", pod.uid, options.volume_name);
        let request = Self::read(options, pool, VolumeId::parse(&id)?)?;
        Ok(Self { root_mode: request.root_mode.or(Some(EPHEMERAL_MODE)), ..request })
    }

    fn read(options: &Options, pool: &Path, id: VolumeId) -> Result<Self, RequestError> {
        let request = Self {
            directory: directory(options, pool)?,
            id,
            size: size(options)?,
            fs_type: fs_type(options)?,
            allocation: allocation(options)?,
            access: options.access,
            root_mode: root_mode(options)?,
            source: None,
            erase: erase(options)?.unwrap_or_default(),
        };
        let minimum = request.fs_type.minimum_size();
        if request.size < minimum {
            let fs_type = request.fs_type.as_str();
            return Err(RequestError::TooSmall { size: request.size, fs_type, minimum });
        }
        Ok(request)
    }
}

/// Refuses the keys that this driver does not have; a key with a slash is somebody else's.
pub(crate) fn refuse_unknown(options: &Options, known: &[&str]) -> Result<(), RequestError> {
    let unknown = |key: &&String| !key.contains('/') && !known.contains(&key.as_str());
    match options.user.keys().find(unknown) {
        None => Ok(()),
        Some(key) => Err(RequestError::Unknown { key: key.clone(), remedy: remedy(key, known) }),
    }
}

fn remedy(key: &str, known: &[&str]) -> String {
    match nearest(key, known) {
        Some(nearest) => format!("did you mean {nearest:?}?"),
        None if known.is_empty() => "this driver has no options".to_owned(),
        None => format!("the options of this driver are {}", known.join(", ")),
    }
}

/// The word that was meant, if one is near enough.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase();
    let (steps, nearest) = known.iter().map(|known| (distance(&word, known), *known)).min()?;
    (steps <= 3 && steps < nearest.len()).then_some(nearest)
}

/// How many characters must be inserted, removed or replaced to turn one word into the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, character) in from.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(character != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

pub(crate) fn directory(options: &Options, pool: &Path) -> Result<PathBuf, RequestError> {
    let Some(text) = options.get(DIRECTORY) else { return Ok(pool.to_owned()) };
    let directory = Path::new(text);
    let plain = |component| matches!(component, Component::RootDir | Component::Normal(_));
    if !directory.is_absolute() || !directory.components().all(plain) || text.contains('\0') {
        let why = "it must be an absolute path without `..`".to_owned();
        return Err(RequestError::Value { key: DIRECTORY, value: text.to_owned(), why });
    }
    Ok(directory.components().collect())
}

fn size(options: &Options) -> Result<u64, RequestError> {
    let text = options.get(SIZE).ok_or(RequestError::Missing {
        key: SIZE,
        meaning: "the volume's size as a Kubernetes quantity, such as \"512Mi\"",
    })?;
    let refuse = |why: String| RequestError::Value { key: SIZE, value: text.to_owned(), why };
    let bytes = Bytes::parse_size(text).map_err(|error| refuse(format!("it {error}")))?;
    round_up(bytes.get()).ok_or_else(|| refuse("it is more than a file can have".to_owned()))
}

/// Whole blocks for so many bytes, `None` when no file can be that long.
pub(crate) fn round_up(bytes: u64) -> Option<u64> {
    let rounded = bytes.div_ceil(BLOCK).checked_mul(BLOCK)?;
    (rounded <= i64::MAX.unsigned_abs()).then_some(rounded)
}

pub(crate) fn fs_type(options: &Options) -> Result<FsType, RequestError> {
    match options.fs_type.as_str() {
        "" => Ok(FsType::Ext4),
        name => FsType::parse(name).ok_or_else(|| RequestError::Value {
            key: FS_TYPE,
            value: name.to_owned(),
            why: "the file systems are ext4, xfs and btrfs".to_owned(),
        }),
    }
}

fn allocation(options: &Options) -> Result<Allocation, RequestError> {
    match options.get(ALLOCATION) {
        // A thin volume on a full disk loses writes that the application believes done, so one must ask for it.
        None | Some("reserved") => Ok(Allocation::Reserved),
        Some("thin") => Ok(Allocation::Thin),
        Some(other) => Err(RequestError::Value {
            key: ALLOCATION,
            value: other.to_owned(),
            why: "it is either \"reserved\" or \"thin\"".to_owned(),
        }),
    }
}

/// What to do with the data on removal, if the options say it.
pub(crate) fn erase(options: &Options) -> Result<Option<Erase>, RequestError> {
    let Some(text) = options.get(ERASE) else { return Ok(None) };
    Erase::parse(text).map(Some).ok_or_else(|| RequestError::Value {
        key: ERASE,
        value: text.to_owned(),
        why: "it is \"none\", \"discard\" or \"zero\"".to_owned(),
    })
}

pub(crate) fn root_mode(options: &Options) -> Result<Option<u32>, RequestError> {
    let Some(text) = options.get(MODE) else { return Ok(None) };
    let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o7777);
    mode.map(Some).ok_or_else(|| RequestError::Value {
        key: MODE,
        value: text.to_owned(),
        why: "it must be an octal mode, such as \"0770\"".to_owned(),
    })
}

#[cfg(test)]
mod tests;
