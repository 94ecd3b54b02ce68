//! Names of volume groups and logical volumes, and what stands for them in `/dev`.

use std::fmt;
use std::path::PathBuf;

use crate::error::RequestError;

/// In front of the name of every logical volume that we make.
const PREFIX: &str = "fv.";

/// In front of the name of a volume that is being removed, so that its name is free while its blocks are not.
const QUARANTINE: &str = "fvq.";

/// The most that device-mapper takes as a name, less room for the suffixes of hidden parts (`-real`, `-cow`, `-tpool`).
const LONGEST_MAPPED: usize = 127 - 6;

/// The name of a volume group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VgName(String);

impl VgName {
    /// LVM's own rule (lvm(8), *Valid names*).
    pub(crate) fn parse(key: &'static str, name: &str) -> Result<Self, RequestError> {
        valid(key, name, "volume group")?;
        Ok(Self(name.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A thin pool that somebody else may have made: any name that LVM accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PoolName(String);

impl PoolName {
    pub(crate) fn parse(key: &'static str, name: &str) -> Result<Self, RequestError> {
        valid(key, name, "thin pool")?;
        Ok(Self(name.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn valid(key: &'static str, name: &str, kind: &str) -> Result<(), RequestError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+_.-".contains(&byte);
    let why = match name {
        "" => "is empty".to_owned(),
        "." | ".." => "is no name".to_owned(),
        _ if name.starts_with('-') => "begins with a hyphen".to_owned(),
        _ if !name.bytes().all(plain) => {
            format!("a {kind} has a name of letters, digits and + _ . - only (not a path below /dev)")
        }
        _ if mapped(name).len() > LONGEST_MAPPED => "is too long".to_owned(),
        _ => return Ok(()),
    };
    Err(RequestError::Value { key, value: name.chars().take(300).collect(), why })
}

/// A logical volume of ours: its group, its name, and the volume's id that the name was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) vg: VgName,
    pub(crate) id: String,
    lv: String,
}

impl Place {
    /// The place of the volume with this id. Different ids have different names.
    pub(crate) fn of(vg: VgName, id: &str) -> Result<Self, RequestError> {
        let lv = format!("{PREFIX}{}", encode(id));
        let refuse = |why: String| {
            let value = id.chars().take(300).collect();
            Err(RequestError::Value { key: "volumeID", value, why })
        };
        if id.is_empty() {
            return refuse("it is empty".to_owned());
        }
        let room = LONGEST_MAPPED.saturating_sub(mapped(&vg.0).len() + 1);
        if lv.len() > room {
            return refuse(format!(
                "it makes the name of a logical volume too long: {} characters, and with the volume group {} there is room for {room}",
                lv.len(),
                vg.0
            ));
        }
        Ok(Self { vg, id: id.to_owned(), lv })
    }

    /// The name of the logical volume.
    pub(crate) fn lv(&self) -> &str {
        &self.lv
    }

    /// The same volume under another name.
    pub(crate) fn renamed(&self, lv: &str) -> Self {
        Self { lv: lv.to_owned(), ..self.clone() }
    }

    /// As device-mapper names it: hyphens doubled, and one between group and volume.
    pub(crate) fn mapped(&self) -> String {
        format!("{}-{}", mapped(&self.vg.0), mapped(&self.lv))
    }

    /// What the host is told as the device. It exists while the volume is active.
    pub(crate) fn device(&self) -> PathBuf {
        PathBuf::from("/dev/mapper").join(self.mapped())
    }
}

/// `vg/lv`, as LVM's commands take it.
impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.vg.0, self.lv)
    }
}

/// Doubles hyphens.
fn mapped(name: &str) -> String {
    name.replace('-', "--")
}

/// Group and volume of device-mapper's name, when the volume has a name of ours. Its id only its tags tell.
pub(crate) fn of_mapped(mapped: &str) -> Option<(VgName, String)> {
    let single = mapped.replace("--", "\0");
    let (vg, lv) = single.split_once('-').filter(|(_, lv)| lv.starts_with(PREFIX))?;
    Some((VgName::parse("volumegroup", &vg.replace('\0', "-")).ok()?, lv.replace('\0', "-")))
}

/// The name of a volume that is being removed.
pub(crate) fn quarantine(lv_uuid: &str) -> String {
    format!("{QUARANTINE}{}", lv_uuid.replace('-', ""))
}

/// One name for this id and no other: letters and digits stay; `-` becomes `.`, `/` becomes `++`, any other byte `+XX`. No
/// hyphens, since device-mapper doubles them, and no `_`, since LVM keeps names such as `x_tdata` to itself.
fn encode(id: &str) -> String {
    let mut name = String::with_capacity(id.len());
    for byte in id.bytes() {
        match byte {
            b'-' => name.push('.'),
            b'/' => name.push_str("++"),
            _ if byte.is_ascii_alphanumeric() => name.push(char::from(byte)),
            _ => name.push_str(&format!("+{byte:02X}")),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vg() -> VgName {
        VgName::parse("volumegroup", "kube-vg").unwrap()
    }

    #[test]
    fn a_place_is_named_readably() {
        let place = Place::of(vg(), "0b5c-11/data_1").unwrap();
        assert_eq!(place.to_string(), "kube-vg/fv.0b5c.11++data+5F1");
        assert_eq!(place.mapped(), "kube--vg-fv.0b5c.11++data+5F1");
        assert_eq!(place.device().to_str(), Some("/dev/mapper/kube--vg-fv.0b5c.11++data+5F1"));
        assert_eq!(of_mapped(&place.mapped()), Some((vg(), place.lv().to_owned())));
        assert_eq!(of_mapped("kube--fv.vg-root"), None);
        assert_eq!(of_mapped("fv.x"), None);
        assert_eq!(of_mapped(&format!("vg0-{}", quarantine("a-b"))), None);
    }

    #[test]
    fn names_that_lvm_does_not_take_are_refused() {
        let long = "v".repeat(128);
        for name in ["", ".", "..", "-x", "a/b", "/dev/vg", "a b", "ä", "a\0b", &long] {
            let error = VgName::parse("volumegroup", name).unwrap_err();
            assert!(matches!(error, RequestError::Value { key: "volumegroup", .. }), "{error}");
        }
    }

    #[test]
    fn an_id_that_makes_too_long_a_name_is_refused_with_the_room_that_there_is() {
        let longest = 127 - 6 - "kube--vg-".len() - PREFIX.len();
        Place::of(vg(), &"a".repeat(longest)).unwrap();
        let error = Place::of(vg(), &"a".repeat(longest + 1)).unwrap_err().to_string();
        assert!(error.contains("there is room for 112"), "{error}");
        Place::of(vg(), "").unwrap_err();
    }

    proptest! {
        #[test]
        fn different_ids_have_different_names_that_lvm_takes(one: String, other: String) {
            let (name, other_name) = (encode(&one), encode(&other));
            prop_assert_eq!(one == other, name == other_name);
            prop_assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.".contains(&byte)));
        }
    }
}
