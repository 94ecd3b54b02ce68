//! What we know about a volume, kept in tags of its logical volume.
//!
//! LVM writes tags in the same commit as the volume, so no crash can leave a volume without them. One fact a tag:
//!
//! | tag | meaning |
//! |---|---|
//! | `flexvol.owner=lvm` | the driver that made it |
//! | `flexvol.id=pvc-0b5c` | the volume's id; bytes other than letters, digits and `-._/:` as `+XX` |
//! | `flexvol.state=creating` | `creating`, `ready` or `removing` |
//! | `flexvol.made=1764032400:67108864` | when it was made (seconds since 1970), and the bytes that were asked for |
//! | `flexvol.fs=ext4:<UUID>` | its file system, once it is ready |
//! | `flexvol.erase=zero` | what is done to its blocks before they are given back; absent is `none` |
//! | `flexvol.source=pvc-1d22` | the id of the volume that it began as a copy of |
//! | `flexvol.mode=1777` | the mode that the root directory shall have (octal); gone when it has it |
//! | `flexvol.grow=134217728` | the bytes that it shall grow to; gone when the file system has grown |
//! | `flexvol.erased=1073741824` | while it is removed: the bytes from its beginning that are erased already |
//! | `flexvol.dir=<16 digits>` | the short name of the mount dir that an ephemeral volume belongs to |

use std::time::{SystemTime, UNIX_EPOCH};

use flexvolume_os::filesystem::FsType;

use crate::request::Erase;

const PREFIX: &str = "flexvol.";

/// The driver that a volume belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    Lvm,
    LvmEphemeral,
}

impl Owner {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Owner::Lvm => "lvm",
            Owner::LvmEphemeral => "lvm-ephemeral",
        }
    }

    /// The tag.
    pub(crate) fn tag(self) -> String {
        format!("{PREFIX}owner={}", self.as_str())
    }
}

/// Where a volume stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Being made: nobody has used it, so it may be wiped and made again.
    Creating,
    /// In use or ready for use: never formatted, whatever any probe says.
    Ready(Contents),
    /// Being removed: its data is given up.
    Removing,
}

impl State {
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            State::Creating => "creating",
            State::Ready(_) => "ready",
            State::Removing => "removing",
        }
    }

    /// The tags that say so.
    pub(crate) fn tags(&self) -> Vec<String> {
        let mut tags = vec![format!("{PREFIX}state={}", self.as_str())];
        if let State::Ready(contents) = self {
            tags.push(contents.tag());
        }
        tags
    }
}

/// The file system of a ready volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) fs_type: FsType,
    pub(crate) uuid: String,
}

impl Contents {
    fn tag(&self) -> String {
        format!("{PREFIX}fs={}:{}", self.fs_type.as_str(), self.uuid)
    }
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) owner: String,
    pub(crate) id: String,
    pub(crate) state: State,
    /// Seconds since 1970.
    pub(crate) made: u64,
    /// Bytes asked for when it was made.
    pub(crate) asked: u64,
    pub(crate) erase: Erase,
    pub(crate) source: Option<String>,
    pub(crate) root_mode: Option<u32>,
    pub(crate) grow: Option<u64>,
    pub(crate) erased: Option<u64>,
    pub(crate) mount_dir: Option<String>,
}

/// What the tags of a logical volume say about us.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// It is a volume of one of our drivers.
    Record(Box<Record>),
    /// No tag of ours.
    Foreign,
    /// Tags of ours that make no sense; holds what is wrong.
    Damaged(String),
}

impl Record {
    /// Seconds since 1970, now.
    pub(crate) fn now() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }

    /// The tags of it, in a stable order.
    pub(crate) fn tags(&self) -> Vec<String> {
        let mut tags =
            vec![format!("{PREFIX}owner={}", self.owner), format!("{PREFIX}id={}", encode(&self.id))];
        tags.extend(self.state.tags());
        tags.push(format!("{PREFIX}made={}:{}", self.made, self.asked));
        if self.erase != Erase::None {
            tags.push(format!("{PREFIX}erase={}", self.erase.as_str()));
        }
        tags.extend(self.source.as_ref().map(|id| format!("{PREFIX}source={}", encode(id))));
        tags.extend(self.root_mode.map(mode_tag));
        tags.extend(self.grow.map(grow_tag));
        tags.extend(self.erased.map(erased_tag));
        tags.extend(self.mount_dir.as_ref().map(|name| format!("{PREFIX}dir={name}")));
        tags
    }

    /// The words that make LVM put `new` down in place of this one.
    pub(crate) fn changes_to(&self, new: &Self) -> Vec<String> {
        let (old, new) = (self.tags(), new.tags());
        let gone = old.iter().filter(|tag| !new.contains(tag)).map(|tag| ("--deltag", tag));
        let come = new.iter().filter(|tag| !old.contains(tag)).map(|tag| ("--addtag", tag));
        gone.chain(come).flat_map(|(word, tag)| [word.to_owned(), tag.clone()]).collect()
    }

    /// Reads LVM's list of tags, joined by commas.
    pub(crate) fn read(tags: &str) -> Reading {
        let mut ours = tags.split(',').filter_map(|tag| tag.strip_prefix(PREFIX)).peekable();
        if ours.peek().is_none() {
            return Reading::Foreign;
        }
        match Facts::collect(ours).and_then(Facts::record) {
            Ok(record) => Reading::Record(Box::new(record)),
            Err(why) => Reading::Damaged(why),
        }
    }
}

/// `flexvol.id=…`, to look a volume up by.
pub(crate) fn id_tag(id: &str) -> String {
    format!("{PREFIX}id={}", encode(id))
}

fn mode_tag(mode: u32) -> String {
    format!("{PREFIX}mode={mode:o}")
}

fn grow_tag(bytes: u64) -> String {
    format!("{PREFIX}grow={bytes}")
}

fn erased_tag(bytes: u64) -> String {
    format!("{PREFIX}erased={bytes}")
}

/// The values of the tags, by name.
#[derive(Default)]
struct Facts<'a> {
    found: Vec<(&'a str, &'a str)>,
}

impl<'a> Facts<'a> {
    fn collect(tags: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut found: Vec<(&str, &str)> = Vec::new();
        for tag in tags {
            let (name, value) = tag.split_once('=').ok_or_else(|| format!("{tag:?} has no value"))?;
            if found.iter().any(|(earlier, _)| *earlier == name) {
                return Err(format!("{name:?} is there twice"));
            }
            found.push((name, value));
        }
        Ok(Self { found })
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.found.iter().find(|(found, _)| *found == name).map(|(_, value)| *value)
    }

    fn required(&self, name: &str) -> Result<&'a str, String> {
        self.get(name).ok_or_else(|| format!("{name:?} is missing"))
    }

    /// The value read by `parse`, `None` when there is no such tag.
    fn read<T>(&self, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        parse(value).map(Some).ok_or_else(|| format!("{name:?} is {value:?}"))
    }

    fn record(self) -> Result<Record, String> {
        let (made, asked) = self.read("made", two_numbers)?.ok_or("\"made\" is missing")?;
        Ok(Record {
            owner: self.required("owner")?.to_owned(),
            id: self.read("id", decode)?.ok_or("\"id\" is missing")?,
            state: self.state()?,
            made,
            asked,
            erase: self.read("erase", Erase::parse)?.unwrap_or_default(),
            source: self.read("source", decode)?,
            root_mode: self.read("mode", |text| u32::from_str_radix(text, 8).ok())?,
            grow: self.read("grow", |text| text.parse().ok())?,
            erased: self.read("erased", |text| text.parse().ok())?,
            mount_dir: self.get("dir").map(str::to_owned),
        })
    }

    fn state(&self) -> Result<State, String> {
        let contents = self.read("fs", contents)?;
        match (self.required("state")?, contents) {
            ("creating", None) => Ok(State::Creating),
            ("ready", Some(contents)) => Ok(State::Ready(contents)),
            ("removing", _) => Ok(State::Removing),
            ("ready", None) => Err("\"fs\" is missing".to_owned()),
            ("creating", Some(_)) => Err("\"fs\" is there before the volume is ready".to_owned()),
            (other, _) => Err(format!("\"state\" is {other:?}")),
        }
    }
}

fn two_numbers(text: &str) -> Option<(u64, u64)> {
    let (one, other) = text.split_once(':')?;
    Some((one.parse().ok()?, other.parse().ok()?))
}

fn contents(text: &str) -> Option<Contents> {
    let (fs_type, uuid) = text.split_once(':')?;
    Some(Contents { fs_type: FsType::parse(fs_type)?, uuid: uuid.to_owned() })
}

/// An id in the characters that a tag may have.
fn encode(id: &str) -> String {
    let mut text = String::with_capacity(id.len());
    for byte in id.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'/' | b':' => text.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => text.push(char::from(byte)),
            _ => text.push_str(&format!("+{byte:02X}")),
        }
    }
    text
}

fn decode(text: &str) -> Option<String> {
    let mut pieces = text.split('+');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(piece.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(piece.get(2..)?.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> Record {
        Record {
            owner: "lvm".to_owned(),
            id: "pvc-0b5c".to_owned(),
            state: State::Creating,
            made: 7,
            asked: 64 << 20,
            erase: Erase::None,
            source: None,
            root_mode: None,
            grow: None,
            erased: None,
            mount_dir: None,
        }
    }

    fn ready() -> State {
        State::Ready(Contents { fs_type: FsType::Xfs, uuid: "5a5a".to_owned() })
    }

    #[test]
    fn the_tags_are_stable() {
        let tags = record().tags().join(",");
        let expected = "flexvol.owner=lvm,flexvol.id=pvc-0b5c,flexvol.state=creating,flexvol.made=7:67108864";
        assert_eq!(tags, expected);
        let full = Record {
            state: ready(),
            erase: Erase::Zero,
            source: Some("pvc-1d22".to_owned()),
            root_mode: Some(0o1777),
            grow: Some(1),
            erased: Some(2),
            mount_dir: Some("0123456789abcdef".to_owned()),
            ..record()
        };
        let rest =
            ["state=ready", "fs=xfs:5a5a", "made=7:67108864", "erase=zero", "source=pvc-1d22", "mode=1777"];
        for tag in rest.into_iter().chain(["grow=1", "erased=2", "dir=0123456789abcdef"]) {
            assert!(full.tags().contains(&format!("flexvol.{tag}")), "{tag}");
        }
    }

    #[test]
    fn what_is_written_is_read_in_whatever_order_lvm_gives_it() {
        let written = Record { state: ready(), grow: Some(9), id: "a b/ü,=".to_owned(), ..record() };
        let mut tags = written.tags();
        tags.sort();
        tags.insert(1, "somebody.elses".to_owned());
        assert_eq!(Record::read(&tags.join(",")), Reading::Record(Box::new(written)));
    }

    #[test]
    fn only_what_changes_is_said() {
        let new = Record { state: ready(), grow: Some(9), ..record() };
        let words = record().changes_to(&new).join(" ");
        let expected = "--deltag flexvol.state=creating --addtag flexvol.state=ready --addtag flexvol.fs=xfs:5a5a --addtag flexvol.grow=9";
        assert_eq!(words, expected);
        assert_eq!(new.changes_to(&new), [""; 0]);
    }

    #[test]
    fn no_tag_of_ours_is_foreign_and_half_of_them_is_damage() {
        assert_eq!(Record::read(""), Reading::Foreign);
        assert_eq!(Record::read("backup,flexvolume=1"), Reading::Foreign);
        let whole = record().tags();
        for missing in 0..whole.len() {
            let mut tags = whole.clone();
            tags.remove(missing);
            assert!(matches!(Record::read(&tags.join(",")), Reading::Damaged(_)), "{tags:?}");
        }
        for more in [
            "flexvol.state=ready",
            "flexvol.fs=ext4:x",
            "flexvol.erase=sometimes",
            "flexvol.x",
            "flexvol.grow=-1",
        ] {
            let tags = format!("{},{more}", whole.join(","));
            assert!(matches!(Record::read(&tags), Reading::Damaged(_)), "{tags}");
        }
    }

    proptest! {
        #[test]
        fn any_id_survives_and_has_only_characters_that_lvm_takes(id: String) {
            let text = encode(&id);
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._/:".contains(&byte)));
            prop_assert_eq!(decode(&text), Some(id));
        }

        #[test]
        fn no_tags_break_the_reader(tags: String) {
            let _ = Record::read(&tags);
        }
    }
}
