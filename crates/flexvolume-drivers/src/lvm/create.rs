//! From nothing to a ready volume.

use std::time::Duration;

use flexvolume_os::failpoint::hit;
use flexvolume_os::filesystem::{self, Discard, FsType, MakeFilesystem};

use super::error::{LvmError, Result};
use super::lookup::{Found, Known, look_up};
use super::name::Place;
use super::node::{self, Node};
use super::origin::{Origin, Source};
use super::pool;
use super::remove;
use super::report::Group;
use super::request::{Layout, LvmRequest};
use super::tags::{Contents, Owner, Record, State};
use super::tool::Lvm;
use crate::record::random_uuid;
use crate::superblock;

/// We activate a volume when it is asked for. LVM takes these words when it makes a plain volume; for a mirror or a thin one
/// they must come later.
const NO_AUTOACTIVATION: [&str; 2] = ["--setautoactivation", "n"];

/// How long `mkfs` may take. When it is ended, the volume is made again from nothing.
const MAKE_DEADLINE: Duration = Duration::from_secs(120);

/// A volume that is to be made, or that should be there already.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) request: &'a LvmRequest,
    /// The short name of the mount dir that an ephemeral volume belongs to.
    pub(crate) mount_dir: Option<&'a str>,
}

/// A volume that can be mounted: ready and active.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) record: Record,
    pub(crate) contents: Contents,
    pub(crate) node: Node,
    /// Bytes.
    pub(crate) size: u64,
    pub(crate) blocks: Blocks,
}

/// Where the blocks of a volume come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blocks {
    /// They are all its own.
    Allocated,
    /// From a thin pool, when written.
    Thin,
}

/// Makes sure that the volume, which `known` was found about, is there, ready and active, and is the one that is asked for.
/// The caller holds its lock.
pub(crate) fn ensure(lvm: Lvm<'_>, known: Known, wanted: Wanted<'_>) -> Result<Ready> {
    let place = &wanted.request.place;
    let group = match known {
        Known::Present(found) => match found.record.state.clone() {
            State::Ready(contents) => {
                agrees(&found, wanted)?;
                return activated(lvm, place, &found, contents);
            }
            // Nobody has used the one, and the data of the other is given up.
            State::Creating | State::Removing => {
                remove::clear(lvm, place, &found)?;
                found.group
            }
        },
        Known::Absent(vacancy) => vacancy.group,
    };
    create(lvm, &group, wanted)
}

/// Compares what is there with what is asked for.
pub(crate) fn agrees(found: &Found, wanted: Wanted<'_>) -> Result<()> {
    let request = wanted.request;
    let differs = |property, actual: String, wanted: String, remedy| {
        Err(LvmError::Differs { subject: request.place.to_string(), property, actual, wanted, remedy })
    };
    let bytes = |size: u64| format!("of {size} bytes");
    let rounded = found.group.in_extents(request.size);
    if rounded != found.volume.size && request.size != found.record.asked {
        let remedy = "a volume grows by `expandvolume` or `expandfs` and never shrinks";
        return differs("a size", bytes(found.volume.size), bytes(rounded), remedy);
    }
    if let State::Ready(contents) = &found.record.state
        && contents.fs_type != request.fs_type
    {
        let remedy = "a volume keeps the file system that it was made with";
        let (actual, asked) = (contents.fs_type.as_str(), request.fs_type.as_str());
        return differs("the file system", actual.to_owned(), asked.to_owned(), remedy);
    }
    if !has_layout(found, &request.layout) {
        let remedy = "a volume keeps the layout that it was made with";
        return differs("the layout", layout_of(found), request.layout.to_string(), remedy);
    }
    if found.record.mount_dir.as_deref() != wanted.mount_dir {
        let shown = |name: Option<&str>| name.unwrap_or("none").to_owned();
        let remedy = "an ephemeral volume belongs to the mount dir that it was made for; unmount that first";
        return differs(
            "the mount dir",
            shown(found.record.mount_dir.as_deref()),
            shown(wanted.mount_dir),
            remedy,
        );
    }
    Ok(())
}

fn has_layout(found: &Found, layout: &Layout) -> bool {
    let words: Vec<_> = found.volume.layout.split(',').collect();
    match layout {
        Layout::Linear => words.contains(&"linear"),
        Layout::Striped(_) => words.contains(&"striped"),
        Layout::Raid1(_) => words.contains(&"raid1"),
        Layout::Thin { pool, .. } => words.contains(&"thin") && found.volume.pool == pool.as_str(),
    }
}

fn layout_of(found: &Found) -> String {
    let volume = &found.volume;
    if volume.pool.is_empty() {
        volume.layout.clone()
    } else {
        format!("{} in {}", volume.layout, volume.pool)
    }
}

/// Makes the volume in this group, which does not have it.
fn create(lvm: Lvm<'_>, group: &Group, wanted: Wanted<'_>) -> Result<Ready> {
    let request = wanted.request;
    let place = &request.place;
    let size = group.in_extents(request.size);
    room_for(group, request, size)?;
    if let Layout::Thin { pool, pool_size } = &request.layout {
        pool::ensure(lvm, place, pool, *pool_size)?;
    }
    let origin = Origin::of(lvm, request, size)?;
    let creating = new_record(lvm.owner, wanted);
    let (size, node) = allocated(lvm, group, (request, &creating), &origin)?;
    let blocks = if matches!(request.layout, Layout::Thin { .. }) { Blocks::Thin } else { Blocks::Allocated };
    let contents = match &origin {
        Origin::Blank => format(lvm, request.fs_type, &node, blocks)?,
        Origin::Snapshot(source) => source.rename_copy(lvm, &node)?,
        Origin::Copy(source) => {
            source.copy_to(lvm, &node)?;
            source.rename_copy(lvm, &node)?
        }
    };
    let device = node.open()?;
    verify(place, &device, &contents)?;
    device.sync_all().map_err(node::step("sync", &node.path))?;
    hit("lvm.synced");
    let state = State::Ready(contents.clone());
    let record = Record { state, grow: origin.owed(size), ..creating.clone() };
    let more: &[&str] = if is_plain(&request.layout) { &[] } else { &NO_AUTOACTIVATION };
    retag_with(lvm, place, (&creating, &record), more)?;
    hit("lvm.ready");
    Ok(Ready { record, contents, node, size, blocks })
}

/// The device of the new volume, and its size.
fn allocated(
    lvm: Lvm<'_>,
    group: &Group,
    (request, record): (&LvmRequest, &Record),
    origin: &Origin,
) -> Result<(u64, Node)> {
    let place = &request.place;
    let size = group.in_extents(request.size);
    if let Origin::Snapshot(source) = origin {
        snapshot(lvm, place, record, source)?;
        hit("lvm.created");
        if source.found.volume.size < size {
            let subject = place.to_string();
            lvm.change(&subject, "lvextend", &["-L", &format!("{size}b"), &subject])?;
            hit("lvm.extended");
        }
    } else {
        allocate(lvm, request, record)?;
        hit("lvm.created");
    }
    let node = node::prove(place, &group.uuid, size)?;
    hit("lvm.proved");
    Ok((size, node))
}

/// Makes the file system.
fn format(lvm: Lvm<'_>, fs_type: FsType, node: &Node, blocks: Blocks) -> Result<Contents> {
    let contents = Contents { fs_type, uuid: random_uuid()? };
    let request = MakeFilesystem {
        fs_type,
        device: &node.path,
        uuid: Some(&contents.uuid),
        // The blocks of a thin volume are free yet, and others are better not discarded in the foreground.
        discard: match blocks {
            Blocks::Thin => Discard::Allow,
            Blocks::Allocated => Discard::Forbid,
        },
        deadline: MAKE_DEADLINE,
    };
    filesystem::make(lvm.runner, &request)?;
    hit("lvm.formatted");
    Ok(contents)
}

fn is_plain(layout: &Layout) -> bool {
    matches!(layout, Layout::Linear | Layout::Striped(_))
}

fn room_for(group: &Group, request: &LvmRequest, size: u64) -> Result<()> {
    let needed = match request.layout {
        Layout::Linear | Layout::Striped(_) => size,
        Layout::Raid1(mirrors) => size.saturating_mul(u64::from(mirrors) + 1),
        // The pool decides.
        Layout::Thin { .. } => return Ok(()),
    };
    if needed <= group.free() {
        return Ok(());
    }
    Err(LvmError::Full {
        vg: group.name.clone(),
        subject: request.place.to_string(),
        needed,
        free: group.free(),
    })
}

/// `lvcreate`: the volume and its tags in one commit of metadata, then activated, and signatures of old wiped.
fn allocate(lvm: Lvm<'_>, request: &LvmRequest, record: &Record) -> Result<()> {
    let place = &request.place;
    let size = format!("{}b", request.size);
    let tags = record.tags();
    // LVM's copy of the metadata in /etc/lvm is made when the volume is ready: none of a volume that nobody has used is missed.
    let mut words = vec!["-y", "-An", "-n", place.lv()];
    for tag in &tags {
        words.extend(["--addtag", tag]);
    }
    if is_plain(&request.layout) {
        words.extend(NO_AUTOACTIVATION);
    }
    let (stripes, mirrors);
    match &request.layout {
        Layout::Linear => words.extend(["-Wy", "-Zy", "-L", &size]),
        Layout::Striped(count) => {
            stripes = count.to_string();
            words.extend(["-Wy", "-Zy", "--type", "striped", "-i", &stripes, "-L", &size]);
        }
        Layout::Raid1(count) => {
            mirrors = count.to_string();
            words.extend(["-Wy", "-Zy", "--type", "raid1", "-m", &mirrors, "-L", &size]);
        }
        Layout::Thin { pool, .. } => words.extend(["-V", &size, "--thinpool", pool.as_str()]),
    }
    words.push(place.vg.as_str());
    lvm.change(&place.to_string(), "lvcreate", &words)
}

/// `lvcreate --snapshot` of a thin volume: metadata only, and active like any other volume.
fn snapshot(lvm: Lvm<'_>, place: &Place, record: &Record, source: &Source) -> Result<()> {
    let (tags, origin) = (record.tags(), source.place.to_string());
    let mut words = vec!["-y", "--snapshot", "--setactivationskip", "n", "-n", place.lv()];
    for tag in &tags {
        words.extend(["--addtag", tag]);
    }
    words.push(&origin);
    lvm.change(&place.to_string(), "lvcreate", &words)
}

fn new_record(owner: Owner, wanted: Wanted<'_>) -> Record {
    let request = wanted.request;
    Record {
        owner: owner.as_str().to_owned(),
        id: request.place.id.clone(),
        state: State::Creating,
        made: Record::now(),
        asked: request.size,
        erase: request.erase,
        source: request.source.as_ref().map(|place| place.id.clone()),
        root_mode: request.root_mode,
        grow: None,
        erased: None,
        mount_dir: wanted.mount_dir.map(str::to_owned),
    }
}

/// Compares the file system's UUID with the recorded one.
pub(crate) fn verify(place: &Place, device: &std::fs::File, contents: &Contents) -> Result<()> {
    let fs_type = contents.fs_type.as_str();
    let found = superblock::uuid(device, contents.fs_type)
        .map_err(node::step("read the superblock of", &place.device()))?;
    let why = match found {
        Some(uuid) if uuid == contents.uuid => return Ok(()),
        Some(uuid) => format!("holds the {fs_type} {uuid}, but its tags say {}", contents.uuid),
        None => format!("holds no {fs_type} superblock, but its tags say {}", contents.uuid),
    };
    Err(LvmError::NotOurs { subject: place.to_string(), why })
}

/// Puts `new` down in place of `old`, in one commit. By name: a selection that finds nothing would be a success, and a
/// volume that was used would be formatted once more.
pub(crate) fn retag(lvm: Lvm<'_>, place: &Place, old: &Record, new: &Record) -> Result<()> {
    retag_with(lvm, place, (old, new), &[])
}

fn retag_with(lvm: Lvm<'_>, place: &Place, (old, new): (&Record, &Record), more: &[&str]) -> Result<()> {
    let subject = place.to_string();
    let changes = old.changes_to(new);
    if changes.is_empty() {
        return Ok(());
    }
    let words = more.iter().copied().chain(changes.iter().map(String::as_str)).chain([&*subject]);
    lvm.change(&subject, "lvchange", &words.collect::<Vec<_>>())
}

/// The volume if it is ready for use, activated.
pub(crate) fn ready(lvm: Lvm<'_>, place: &Place) -> Result<Ready> {
    let (found, contents) = find_ready(lvm, place)?;
    activated(lvm, place, &found, contents)
}

/// The same, of a volume that was looked up already.
pub(crate) fn found_ready(lvm: Lvm<'_>, place: &Place, found: &Found) -> Result<Ready> {
    activated(lvm, place, found, contents_of(place, found)?)
}

/// The volume if it is ready for use.
pub(crate) fn find_ready(lvm: Lvm<'_>, place: &Place) -> Result<(Box<Found>, Contents)> {
    match look_up(lvm, place).known()? {
        Known::Present(found) => {
            let contents = contents_of(place, &found)?;
            Ok((found, contents))
        }
        Known::Absent(_) => Err(LvmError::Absent { subject: place.to_string() }),
    }
}

fn contents_of(place: &Place, found: &Found) -> Result<Contents> {
    match &found.record.state {
        State::Ready(contents) => Ok(contents.clone()),
        State::Creating | State::Removing => Err(LvmError::Absent { subject: place.to_string() }),
    }
}

pub(crate) fn activated(lvm: Lvm<'_>, place: &Place, found: &Found, contents: Contents) -> Result<Ready> {
    let node = node::ensure_active(lvm, place, found)?;
    Ok(Ready {
        record: found.record.clone(),
        contents,
        node,
        size: found.volume.size,
        blocks: if found.volume.pool.is_empty() { Blocks::Allocated } else { Blocks::Thin },
    })
}

#[cfg(test)]
mod tests {
    use flexvolume::Access;
    use flexvolume_os::fake::{FakeRunner, output};

    use super::*;
    use crate::lvm::name::{PoolName, VgName};
    use crate::lvm::tool::Patience;
    use crate::request::Erase;

    fn request(layout: Layout) -> LvmRequest {
        LvmRequest {
            place: Place::of(VgName::parse("volumegroup", "vg0").unwrap(), "data").unwrap(),
            size: 64 << 20,
            fs_type: FsType::Ext4,
            layout,
            erase: Erase::None,
            source: None,
            access: Access::ReadWrite,
            root_mode: None,
            mount_flags: Vec::new(),
        }
    }

    /// The arguments of the one command of LVM that `act` runs, without those for a machine without udev.
    fn words(act: impl FnOnce(Lvm<'_>) -> Result<()>) -> String {
        let runner = FakeRunner::new();
        runner.always("lvm", output(0, ""));
        act(Lvm { runner: &runner, patience: Patience::default(), owner: Owner::Lvm }).unwrap();
        let calls = runner.calls();
        let [call] = calls.as_slice() else { panic!("{calls:?}") };
        let shown: Vec<_> =
            call.iter().filter(|word| *word != "--config" && !word.starts_with("activation{")).collect();
        shown.into_iter().map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    fn creation(layout: Layout) -> String {
        let request = request(layout);
        let mut record = new_record(Owner::Lvm, Wanted { request: &request, mount_dir: None });
        record.made = 7;
        words(|lvm| allocate(lvm, &request, &record))
    }

    #[test]
    fn each_layout_is_made_by_one_command_that_asks_nothing_and_carries_all_tags() {
        let common = "lvm lvcreate -y -An -n fv.data --addtag flexvol.owner=lvm --addtag flexvol.id=data \
            --addtag flexvol.state=creating --addtag flexvol.made=7:67108864";
        for (layout, rest) in [
            (Layout::Linear, "--setautoactivation n -Wy -Zy -L 67108864b vg0"),
            (Layout::Striped(3), "--setautoactivation n -Wy -Zy --type striped -i 3 -L 67108864b vg0"),
            (Layout::Raid1(1), "-Wy -Zy --type raid1 -m 1 -L 67108864b vg0"),
            (
                Layout::Thin { pool: PoolName::parse("pool", "tp").unwrap(), pool_size: None },
                "-V 67108864b --thinpool tp vg0",
            ),
        ] {
            assert_eq!(creation(layout), format!("{common} {rest}"));
        }
    }

    #[test]
    fn a_volume_becomes_ready_in_one_commit_and_by_its_name() {
        let request = request(Layout::Linear);
        let old = new_record(Owner::Lvm, Wanted { request: &request, mount_dir: None });
        let contents = Contents { fs_type: FsType::Ext4, uuid: "5a5a".to_owned() };
        let new = Record { state: State::Ready(contents), ..old.clone() };
        let expected = "lvm lvchange --deltag flexvol.state=creating --addtag flexvol.state=ready \
            --addtag flexvol.fs=ext4:5a5a vg0/fv.data";
        assert_eq!(words(|lvm| retag(lvm, &request.place, &old, &new)), expected);
    }

    #[test]
    fn a_group_must_have_room_for_every_copy() {
        let report =
            crate::lvm::report::groups(crate::lvm::report::tests::REPORT.as_bytes()).unwrap().remove(0);
        let fits = |layout, size| room_for(&report.group, &request(layout), size);
        let free = report.group.free();
        fits(Layout::Linear, free).unwrap();
        let error = fits(Layout::Linear, free + 1).unwrap_err().to_string();
        assert!(error.contains(&format!("{} bytes are needed and {free} are free", free + 1)), "{error}");
        fits(Layout::Raid1(1), free / 2).unwrap();
        fits(Layout::Raid1(2), free / 2).unwrap_err();
    }
}
