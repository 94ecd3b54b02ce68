//! Options of the LVM drivers, typed.

use std::fmt;

use flexvolume::{Access, Bytes, Options};
use flexvolume_os::filesystem::FsType;
use flexvolume_os::mount::MountFlag;

use super::name::{Place, PoolName, VgName};
use crate::delete_policy::{DELETE_POLICY, DeletePolicy};
use crate::error::RequestError;
use crate::request::{Erase, erase, fs_type, refuse_unknown, root_mode};

const VOLUME_GROUP: &str = "volumegroup";
const VOLUME_ID: &str = "volumeID";
const SIZE: &str = "size";
const LAYOUT: &str = "layout";
const STRIPES: &str = "stripes";
const MIRRORS: &str = "mirrors";
const POOL: &str = "pool";
const POOL_SIZE: &str = "poolSize";
const ERASE: &str = "erase";
const SOURCE: &str = "source";
const MODE: &str = "mode";
const MOUNT_OPTIONS: &str = "mountOptions";

/// What both drivers understand.
const KNOWN: [&str; 11] = [
    VOLUME_GROUP,
    SIZE,
    LAYOUT,
    STRIPES,
    MIRRORS,
    POOL,
    POOL_SIZE,
    ERASE,
    DELETE_POLICY,
    MODE,
    MOUNT_OPTIONS,
];

/// LVM counts in sectors.
const SECTOR: u64 = 512;

/// The mode of a new ephemeral volume's root directory: any container user may write, as in an `emptyDir`.
const EPHEMERAL_MODE: u32 = 0o777;

/// How the blocks lie on the disks of the volume group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One after the other, all allocated.
    Linear,
    /// Spread over so many disks, all allocated.
    Striped(u32),
    /// So many additional copies, each on a disk of its own.
    Raid1(u32),
    /// Allocated from a thin pool when written.
    Thin {
        /// The pool.
        pool: PoolName,
        /// Bytes of the pool if it must be made; `None` refuses to make one.
        pool_size: Option<u64>,
    },
}

/// As in the options.
impl fmt::Display for Layout {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Layout::Linear => out.write_str("linear"),
            Layout::Striped(stripes) => write!(out, "striped over {stripes} disks"),
            Layout::Raid1(mirrors) => write!(out, "raid1 with {mirrors} mirrors"),
            Layout::Thin { pool, .. } => write!(out, "thin in {}", pool.as_str()),
        }
    }
}

/// What a volume should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LvmRequest {
    pub(crate) place: Place,
    /// Bytes, a multiple of a sector.
    pub(crate) size: u64,
    pub(crate) fs_type: FsType,
    pub(crate) layout: Layout,
    pub(crate) erase: Erase,
    /// The id of the volume that this one begins as a copy of.
    pub(crate) source: Option<Place>,
    pub(crate) access: Access,
    pub(crate) root_mode: Option<u32>,
    pub(crate) mount_flags: Vec<MountFlag>,
}

impl LvmRequest {
    /// Reads the options of `lvm`.
    pub(crate) fn persistent(options: &Options) -> Result<Self, RequestError> {
        let known: Vec<_> = KNOWN.into_iter().chain([VOLUME_ID, SOURCE]).collect();
        refuse_unknown(options, &known)?;
        DeletePolicy::Retain.agrees(options)?;
        let request = Self::read(options, options.get(VOLUME_ID).unwrap_or(&options.volume_name))?;
        let Some(id) = options.get(SOURCE) else { return Ok(request) };
        let source = Place::of(request.place.vg.clone(), id)?;
        if source == request.place {
            let why = "a volume is no copy of itself".to_owned();
            return Err(RequestError::Value { key: SOURCE, value: id.to_owned(), why });
        }
        Ok(Self { source: Some(source), ..request })
    }

    /// Reads the options of `lvm-ephemeral`; the volume's id is the pod's uid and the volume's name.
    pub(crate) fn ephemeral(options: &Options) -> Result<Self, RequestError> {
        refuse_unknown(options, &KNOWN)?;
        DeletePolicy::Delete.agrees(options)?;
        let pod = options.pod.as_ref().filter(|pod| !pod.uid.is_empty());
        let pod = pod.ok_or(RequestError::NoPod { key: "kubernetes.io/pod.uid" })?;
        let id = format!("{}/{}", pod.uid, options.volume_name);
        let request = Self::read(options, &id)?;
        Ok(Self { root_mode: request.root_mode.or(Some(EPHEMERAL_MODE)), ..request })
    }

    fn read(options: &Options, id: &str) -> Result<Self, RequestError> {
        let request = Self {
            place: Place::of(volume_group(options)?, id)?,
            size: size(options, SIZE)?.ok_or(RequestError::Missing {
                key: SIZE,
                meaning: "the volume's size as a Kubernetes quantity, such as \"512Mi\"",
            })?,
            fs_type: fs_type(options)?,
            layout: layout(options)?,
            erase: erase(options)?.unwrap_or_default(),
            source: None,
            access: options.access,
            root_mode: root_mode(options)?,
            mount_flags: mount_flags(options)?,
        };
        let minimum = request.fs_type.minimum_size();
        if request.size < minimum {
            let fs_type = request.fs_type.as_str();
            return Err(RequestError::TooSmall { size: request.size, fs_type, minimum });
        }
        Ok(request)
    }
}

/// What an administrator names: a group, perhaps a thin pool in it, perhaps a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// `None` for all of them.
    pub(crate) vg: Option<VgName>,
    pub(crate) pool: Option<PoolName>,
    pub(crate) place: Option<Place>,
}

impl Named {
    /// Reads the options; those that only describe a new volume may stand there too.
    pub(crate) fn read(options: &Options, more: &[&str]) -> Result<Self, RequestError> {
        refuse_unknown(options, &[&KNOWN[..], &[VOLUME_ID, SOURCE], more].concat())?;
        let id = options.get(VOLUME_ID).unwrap_or(&options.volume_name);
        let vg = match options.get(VOLUME_GROUP) {
            None if id.is_empty() && options.get(POOL).is_none() => None,
            _ => Some(volume_group(options)?),
        };
        let pool = options.get(POOL).map(|name| PoolName::parse(POOL, name)).transpose()?;
        let place = match &vg {
            Some(vg) if !id.is_empty() => Some(Place::of(vg.clone(), id)?),
            _ => None,
        };
        Ok(Self { vg, pool, place })
    }

    /// The volume, which must be named, and its group.
    pub(crate) fn required(&self) -> Result<&Place, RequestError> {
        let meaning = "the volume's id, as `listvolumes` tells it";
        self.place.as_ref().ok_or(RequestError::Missing { key: VOLUME_ID, meaning })
    }
}

fn volume_group(options: &Options) -> Result<VgName, RequestError> {
    let name = options.get(VOLUME_GROUP).ok_or(RequestError::Missing {
        key: VOLUME_GROUP,
        meaning: "the volume group in which the volume is made, such as \"vg0\" (`vgs` lists them)",
    })?;
    VgName::parse(VOLUME_GROUP, name)
}

fn layout(options: &Options) -> Result<Layout, RequestError> {
    let name = options.get(LAYOUT);
    let pool = options.get(POOL);
    // A pool can mean one layout only, so the layout need not be said.
    let name = name.unwrap_or(if pool.is_some() { "thin" } else { "linear" });
    let belongs = [("striped", STRIPES), ("raid1", MIRRORS), ("thin", POOL), ("thin", POOL_SIZE)];
    for (layout, key) in belongs {
        if let Some(value) = options.get(key).filter(|_| layout != name) {
            let why = format!("it belongs to the layout {layout:?}, and the layout is {name:?}");
            return Err(RequestError::Value { key, value: value.to_owned(), why });
        }
    }
    match name {
        "linear" => Ok(Layout::Linear),
        "striped" => Ok(Layout::Striped(count(options, STRIPES, 2..=128)?)),
        "raid1" => Ok(Layout::Raid1(count(options, MIRRORS, 1..=9)?)),
        "thin" => Ok(Layout::Thin {
            pool: PoolName::parse(
                POOL,
                pool.ok_or(RequestError::Missing {
                    key: POOL,
                    meaning: "the thin pool of the volume group (with \"poolSize\" it is made if there is none)",
                })?,
            )?,
            pool_size: size(options, POOL_SIZE)?,
        }),
        other => Err(RequestError::Value {
            key: LAYOUT,
            value: other.to_owned(),
            why: "it is \"linear\", \"striped\", \"raid1\" or \"thin\"".to_owned(),
        }),
    }
}

/// `nosuid,noatime`: what a manifest may say about a mount. Everything else is the driver's to decide.
fn mount_flags(options: &Options) -> Result<Vec<MountFlag>, RequestError> {
    let Some(text) = options.get(MOUNT_OPTIONS) else { return Ok(Vec::new()) };
    let read = |word: &str| MountFlag::ALL.into_iter().find(|flag| flag.as_str() == word.trim());
    text.split(',').map(read).collect::<Option<_>>().ok_or_else(|| RequestError::Value {
        key: MOUNT_OPTIONS,
        value: text.to_owned(),
        why: format!("it is a list of {}", MountFlag::ALL.map(MountFlag::as_str).join(", ")),
    })
}

fn count(
    options: &Options,
    key: &'static str,
    range: std::ops::RangeInclusive<u32>,
) -> Result<u32, RequestError> {
    let Some(text) = options.get(key) else { return Ok(*range.start()) };
    text.parse().ok().filter(|count| range.contains(count)).ok_or_else(|| RequestError::Value {
        key,
        value: text.to_owned(),
        why: format!("it is a number from {} to {}", range.start(), range.end()),
    })
}

/// A size as Kubernetes writes it, or with LVM's small letters (`1024m`, `1g`), which are powers of 1024.
fn size(options: &Options, key: &'static str) -> Result<Option<u64>, RequestError> {
    let Some(text) = options.get(key) else { return Ok(None) };
    let refuse = |why: String| RequestError::Value { key, value: text.chars().take(80).collect(), why };
    let bytes = Bytes::parse_size(&spelled_out(text)).map_err(|error| refuse(format!("it {error}")))?.get();
    // LVM's tools read a bare number as mebibytes, Kubernetes as bytes: nobody wants a volume of 1024 bytes.
    if text.bytes().all(|byte| byte.is_ascii_digit()) && bytes < 1 << 20 {
        return Err(refuse(format!("it has no unit and so means bytes; for mebibytes write {text}Mi")));
    }
    let rounded = round_up(bytes).ok_or_else(|| refuse("it is more than a device can have".to_owned()))?;
    Ok(Some(rounded))
}

/// Whole sectors for so many bytes, `None` when no device can be that large.
pub(crate) fn round_up(bytes: u64) -> Option<u64> {
    let rounded = bytes.div_ceil(SECTOR).checked_mul(SECTOR)?;
    (rounded <= i64::MAX.unsigned_abs()).then_some(rounded)
}

/// `1024m` as `1024Mi`: `m`, `g`, `t` in small letters are LVM's own, and mean nothing of sense to Kubernetes.
fn spelled_out(text: &str) -> String {
    let Some(number) = text.strip_suffix(['m', 'g', 't']) else { return text.to_owned() };
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return text.to_owned();
    }
    let unit = text.get(number.len()..).unwrap_or_default().to_uppercase();
    format!("{number}{unit}i")
}

#[cfg(test)]
mod tests {
    use flexvolume::PodReference;

    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Options {
        let user = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Options { volume_name: "data".to_owned(), user, ..Options::default() }
    }

    fn with(pairs: &[(&str, &str)]) -> Result<LvmRequest, RequestError> {
        let all: Vec<_> =
            [("volumegroup", "vg0"), ("size", "64Mi")].into_iter().chain(pairs.iter().copied()).collect();
        LvmRequest::persistent(&options(&all))
    }

    #[test]
    fn group_and_size_are_enough() {
        let request = with(&[]).unwrap();
        assert_eq!(request.place.to_string(), "vg0/fv.data");
        assert_eq!((request.size, request.fs_type), (64 << 20, FsType::Ext4));
        assert_eq!((request.layout, request.erase), (Layout::Linear, Erase::None));
        assert_eq!((request.source, request.root_mode), (None, None));
    }

    #[test]
    fn the_manifest_of_the_old_script_means_what_it_meant() {
        let request = LvmRequest::persistent(&options(&[
            ("volumeID", "vol-1"),
            ("size", "1000m"),
            ("volumegroup", "kube_vg"),
        ]))
        .unwrap();
        assert_eq!(request.place.to_string(), "kube_vg/fv.vol.1");
        assert_eq!(request.size, 1000 << 20);
        assert_eq!(with(&[("size", "1g")]).unwrap().size, 1 << 30);
        assert_eq!(with(&[("size", "0.5t")]).unwrap().size, 1 << 39);
    }

    #[test]
    fn units_of_kubernetes_keep_their_meaning() {
        for (text, bytes) in [
            ("1G", 1_000_000_000_u64.next_multiple_of(512)),
            ("1Gi", 1 << 30),
            ("1.5Gi", 3 << 29),
            ("1048577", 1_049_088),
        ] {
            assert_eq!(with(&[("size", text)]).unwrap().size, bytes, "{text}");
        }
    }

    #[test]
    fn sizes_that_make_no_sense_are_refused_with_a_word_on_what_does() {
        for (text, words) in [
            ("0", "is zero"),
            ("-1", "is negative"),
            ("1024", "write 1024Mi"),
            ("0g", "is zero"),
            ("64MB", "Ki, Mi, Gi, Ti"),
            ("99999999Ei", "more than"),
            ("lots", "not a quantity"),
            ("100Ki", "too small for ext4"),
        ] {
            let error = with(&[("size", text)]).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn layouts_have_their_own_options_and_no_others() {
        assert_eq!(with(&[("layout", "striped")]).unwrap().layout, Layout::Striped(2));
        assert_eq!(with(&[("layout", "striped"), ("stripes", "3")]).unwrap().layout, Layout::Striped(3));
        assert_eq!(with(&[("layout", "raid1")]).unwrap().layout, Layout::Raid1(1));
        let pool = PoolName::parse("pool", "tp").unwrap();
        assert_eq!(
            with(&[("pool", "tp")]).unwrap().layout,
            Layout::Thin { pool: pool.clone(), pool_size: None }
        );
        let made = Layout::Thin { pool, pool_size: Some(1 << 30) };
        assert_eq!(with(&[("layout", "thin"), ("pool", "tp"), ("poolSize", "1Gi")]).unwrap().layout, made);
        for wrong in [
            &[("layout", "thin")][..],
            &[("layout", "raid5")],
            &[("layout", "linear"), ("pool", "tp")],
            &[("stripes", "2")],
            &[("layout", "striped"), ("stripes", "1")],
            &[("layout", "raid1"), ("mirrors", "x")],
            &[("pool", "a/b")],
        ] {
            with(wrong).unwrap_err();
        }
    }

    #[test]
    fn a_mount_may_be_restricted_and_nothing_else() {
        let flags = with(&[("mountOptions", "nosuid, noatime")]).unwrap().mount_flags;
        assert_eq!(flags, [MountFlag::NoSuid, MountFlag::NoAtime]);
        for wrong in ["suid", "nosuid,,nodev", "discard", "errors=continue", "nosuid nodev"] {
            let error = with(&[("mountOptions", wrong)]).unwrap_err().to_string();
            assert!(error.contains("nosuid, nodev, noexec, noatime, nodiratime"), "{error}");
        }
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_the_nearest_one() {
        let error = with(&[("volumeGroup", "vg1")]).unwrap_err().to_string();
        assert!(error.contains("did you mean \"volumegroup\"?"), "{error}");
        let error = with(&[("erase", "shred")]).unwrap_err().to_string();
        assert!(error.contains("\"discard\" or \"zero\""), "{error}");
    }

    #[test]
    fn each_driver_has_one_policy_of_deletion() {
        assert_eq!(with(&[("deletePolicy", "retain")]).unwrap(), with(&[]).unwrap());
        let error = with(&[("deletePolicy", "delete")]).unwrap_err().to_string();
        assert!(error.contains("`-ephemeral`"), "{error}");
        let error = with(&[("deletepolicy", "retain")]).unwrap_err().to_string();
        assert!(error.contains("did you mean \"deletePolicy\"?"), "{error}");
        let mut given = options(&[("volumegroup", "vg0"), ("size", "64Mi"), ("deletePolicy", "retain")]);
        given.pod = Some(PodReference { uid: "0b5c-11".to_owned(), ..PodReference::default() });
        LvmRequest::ephemeral(&given).unwrap_err();
        given.user.insert("deletePolicy".to_owned(), "delete".to_owned());
        LvmRequest::ephemeral(&given).unwrap();
    }

    #[test]
    fn an_ephemeral_volume_belongs_to_its_pod() {
        let mut given = options(&[("volumegroup", "vg0"), ("size", "64Mi")]);
        assert!(matches!(LvmRequest::ephemeral(&given), Err(RequestError::NoPod { .. })));
        given.pod = Some(PodReference { uid: "0b5c-11".to_owned(), ..PodReference::default() });
        let request = LvmRequest::ephemeral(&given).unwrap();
        assert_eq!(request.place.to_string(), "vg0/fv.0b5c.11++data");
        assert_eq!(request.root_mode, Some(0o777));
        given.user.insert("volumeID".to_owned(), "x".to_owned());
        LvmRequest::ephemeral(&given).unwrap_err();
    }
}
