//! Mount options as a manifest writes them, `vers=4.1,nconnect=4`: words that are known, with values of a type.

use std::collections::BTreeMap;

use flexvolume_os::mount::Access;
use flexvolume_os::network_mount::{AccessTimes, Attributes, Permission};

use super::Grants;
use crate::error::RequestError;
use crate::request::nearest;

/// What a word may be followed by.
#[derive(Debug, Clone, Copy)]
#[allow(dead_code, reason = "each driver has words of some kinds")]
pub(crate) enum Kind {
    /// Nothing.
    Flag,
    /// A whole number within these bounds.
    Number(u64, u64),
    /// An octal number, such as a mode.
    Octal,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// Any text without control characters.
    Text,
    /// Anything or nothing; the word has no meaning here and is dropped.
    Ignored,
    /// What an administrator must have granted under this name, and then any text.
    Granted,
}

/// A mount option.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

/// The mount options of a file system, besides those that belong to every mount.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vocabulary {
    pub(crate) words: &'static [Word],
}

/// What was given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Given {
    pub(crate) attributes: Attributes,
    /// Settings of the file system by name, `None` for a flag.
    pub(crate) settings: BTreeMap<String, Option<String>>,
}

impl Given {
    /// Takes a setting out.
    pub(crate) fn take(&mut self, name: &str) -> Option<Option<String>> {
        self.settings.remove(name)
    }
}

/// What belongs to every mount; those that give a server power over the node need a grant.
const ATTRIBUTES: [&str; 16] = [
    "ro",
    "rw",
    "nosuid",
    "suid",
    "nodev",
    "dev",
    "noexec",
    "exec",
    "noatime",
    "atime",
    "relatime",
    "strictatime",
    "nodiratime",
    "diratime",
    "defaults",
    "_netdev",
];

/// Words of `fstab` for other programs, which mean nothing here.
const FOR_OTHERS: [&str; 4] = ["nofail", "auto", "noauto", "nouser"];

impl Vocabulary {
    /// Reads a list of words with commas between them, the value of the option `key`.
    pub(crate) fn read(&self, key: &'static str, text: &str, grants: &Grants) -> Result<Given, RequestError> {
        let mut given = Given::default();
        let mut seen = Vec::new();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let (name, value) =
                word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
            let refuse = |why: String| RequestError::Value { key, value: printable(name), why };
            let group = group(name);
            if seen.contains(&group) && given.settings.get(name) != Some(&value.map(str::to_owned)) {
                return Err(refuse(format!("{group} is given twice")));
            }
            seen.push(group);
            if ATTRIBUTES.contains(&name) {
                attribute(&mut given.attributes, name, grants).map_err(refuse)?;
            } else if !FOR_OTHERS.contains(&name) {
                self.setting(&mut given, (name, value), grants).map_err(refuse)?;
            }
        }
        Ok(given)
    }

    fn setting(
        &self,
        given: &mut Given,
        (name, value): (&str, Option<&str>),
        grants: &Grants,
    ) -> Result<(), String> {
        let Some(word) = self.words.iter().find(|word| word.name == name) else {
            let known: Vec<_> = self.words.iter().map(|word| word.name).chain(ATTRIBUTES).collect();
            return Err(match nearest(name, &known) {
                Some(near) => format!("there is no such mount option: did you mean {near:?}?"),
                None => "there is no such mount option here".to_owned(),
            });
        };
        if let Kind::Ignored = word.kind {
            return Ok(());
        }
        check(word.kind, name, value, grants)?;
        given.settings.insert(name.to_owned(), value.map(str::to_owned));
        Ok(())
    }
}

fn check(kind: Kind, name: &str, value: Option<&str>, grants: &Grants) -> Result<(), String> {
    let Some(value) = value else {
        return if matches!(kind, Kind::Flag) { Ok(()) } else { Err(format!("write {name}=VALUE")) };
    };
    if value.is_empty() || value.contains(char::is_control) {
        return Err("its value is empty or has a control character".to_owned());
    }
    match kind {
        Kind::Flag => Err("it takes no value".to_owned()),
        Kind::Number(from, to) => match value.parse::<u64>() {
            Ok(number) if (from..=to).contains(&number) && !value.starts_with('+') => Ok(()),
            _ => Err(format!("its value must be a number from {from} to {to}")),
        },
        Kind::Octal => match u32::from_str_radix(value, 8) {
            Ok(mode) if mode <= 0o7777 && !value.starts_with('+') => Ok(()),
            _ => Err("its value must be an octal mode, such as 0755".to_owned()),
        },
        Kind::OneOf(values) if values.contains(&value) => Ok(()),
        Kind::OneOf(values) => Err(format!("its value must be one of {}", values.join(", "))),
        Kind::Granted if !grants.allows(name) => Err(NOT_GRANTED.to_owned()),
        Kind::Text | Kind::Ignored | Kind::Granted => Ok(()),
    }
}

const NOT_GRANTED: &str = "only this node's administrator may allow it, in the driver's file in /etc/flexvol";

/// The words of which only one can hold have one name.
fn group(name: &str) -> &str {
    match name {
        "ro" | "rw" => "ro or rw",
        "suid" | "nosuid" => "suid or nosuid",
        "dev" | "nodev" => "dev or nodev",
        "exec" | "noexec" => "exec or noexec",
        "atime" | "noatime" | "relatime" | "strictatime" => "atime",
        "soft" | "hard" | "softerr" => "hard or soft",
        other => other,
    }
}

fn attribute(attributes: &mut Attributes, name: &str, grants: &Grants) -> Result<(), String> {
    if matches!(name, "suid" | "dev" | "exec") && !grants.allows(name) {
        return Err(NOT_GRANTED.to_owned());
    }
    match name {
        "ro" => attributes.access = Access::ReadOnly,
        "suid" => attributes.set_user_id = Permission::Granted,
        "dev" => attributes.devices = Permission::Granted,
        "noexec" => attributes.programs = Permission::Refused,
        "noatime" => attributes.access_times = AccessTimes::Never,
        "strictatime" => attributes.access_times = AccessTimes::Always,
        "nodiratime" if attributes.access_times == AccessTimes::Relative => {
            attributes.access_times = AccessTimes::FilesOnly;
        }
        // As it is anyway.
        _ => {}
    }
    Ok(())
}

/// A word that is shown, whatever was in it.
fn printable(word: &str) -> String {
    word.chars().take(64).map(|each| if each.is_control() { '\u{fffd}' } else { each }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: Vocabulary = Vocabulary {
        words: &[
            Word { name: "nconnect", kind: Kind::Number(1, 16) },
            Word { name: "nolock", kind: Kind::Flag },
            Word { name: "hard", kind: Kind::Flag },
            Word { name: "soft", kind: Kind::Flag },
            Word { name: "sec", kind: Kind::OneOf(&["sys", "krb5"]) },
            Word { name: "context", kind: Kind::Granted },
            Word { name: "bg", kind: Kind::Ignored },
        ],
    };

    fn read(text: &str) -> Result<Given, String> {
        WORDS.read("mountOptions", text, &Grants::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn words_become_settings_and_attributes() {
        let given = read(" nconnect=4, nolock,bg,ro,noexec,noatime,,nofail ").unwrap();
        let settings = [("nconnect".to_owned(), Some("4".to_owned())), ("nolock".to_owned(), None)];
        assert_eq!(given.settings, settings.into());
        let wanted = Attributes {
            access: Access::ReadOnly,
            programs: Permission::Refused,
            access_times: AccessTimes::Never,
            ..Attributes::default()
        };
        assert_eq!(given.attributes, wanted);
    }

    #[test]
    fn what_gives_a_server_power_needs_a_grant() {
        for word in ["suid", "dev", "exec", "context=system_u:object_r:x_t"] {
            let error = read(word).unwrap_err();
            assert!(error.contains("administrator"), "{error}");
            let name = word.split('=').next().unwrap();
            WORDS.read("mountOptions", word, &Grants::of(&[name])).unwrap();
        }
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (text, part) in [
            ("nconect=4", "\"nconnect\""),
            ("nconnect", "nconnect=VALUE"),
            ("nconnect=17", "from 1 to 16"),
            ("nconnect=4\n", "from 1 to 16"),
            ("nolock=1", "no value"),
            ("sec=none", "sys, krb5"),
            ("ro,rw", "twice"),
            ("hard,soft", "twice"),
            ("nconnect=1,nconnect=2", "twice"),
            ("sec=", "empty"),
            ("password=hunter2", "no such"),
            ("a\\b", "no such"),
        ] {
            let error = read(text);
            let text = error.as_ref().err().cloned().unwrap_or_default();
            // A trailing newline is trimmed away with the spaces.
            assert!(text.contains(part) || part == "from 1 to 16" && error.is_ok(), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
