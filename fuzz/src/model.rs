//! What Go makes of a reply, written a second time over serde_json's parser: slow, short, and sharing nothing with the
//! reader that it is compared with.

use std::fmt;

use serde_json::{Map, Value};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// An object's members in their order, with those that stand twice.
#[derive(Debug)]
pub struct Members(pub Vec<(String, Value)>);

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

/// Whether Go takes `key` for the field `name`: without regard to case, as Unicode folds it.
pub fn folds(key: &str, name: &str) -> bool {
    let fold = |text: &str| text.replace('\u{17f}', "s").replace('\u{212a}', "k").to_ascii_lowercase();
    fold(key) == fold(name)
}

/// Go's `DriverStatus` after decoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub status: String,
    pub message: String,
    pub device: String,
    pub volume_name: String,
    pub attached: bool,
    pub new_size: i64,
    pub capabilities: Option<[bool; 5]>,
}

const CAPABILITIES: [&str; 5] =
    ["attach", "selinuxRelabel", "supportsMetrics", "fsGroup", "requiresFSResize"];

/// What Go would find in these members; `None` where a type is wrong.
pub fn status(members: &Members) -> Option<Status> {
    let mut status = Status {
        status: String::new(),
        message: String::new(),
        device: String::new(),
        volume_name: String::new(),
        attached: false,
        new_size: 0,
        capabilities: Some([true, true, false, true, true]),
    };
    for (key, value) in &members.0 {
        let text = match key.as_str() {
            key if folds(key, "status") => &mut status.status,
            key if folds(key, "message") => &mut status.message,
            key if folds(key, "device") => &mut status.device,
            key if folds(key, "volumeName") => &mut status.volume_name,
            _ => {
                other(&mut status, key, value)?;
                continue;
            }
        };
        match value {
            Value::Null => {}
            value => value.as_str()?.clone_into(text),
        }
    }
    Some(status)
}

fn other(status: &mut Status, key: &str, value: &Value) -> Option<()> {
    if folds(key, "attached") && !value.is_null() {
        status.attached = value.as_bool()?;
    } else if folds(key, "volumeNewSize") && !value.is_null() {
        status.new_size = value.as_i64()?;
    } else if folds(key, "capabilities") {
        status.capabilities = match value {
            Value::Null => None,
            value => Some(capabilities(status.capabilities, value.as_object()?)?),
        };
    }
    Some(())
}

fn capabilities(before: Option<[bool; 5]>, object: &Map<String, Value>) -> Option<[bool; 5]> {
    let mut flags = before.unwrap_or_default();
    for (key, value) in object {
        let flag = CAPABILITIES.iter().position(|name| folds(key, name));
        if let (Some(flag), false) = (flag, value.is_null()) {
            flags[flag] = value.as_bool()?;
        }
    }
    Some(flags)
}

/// Whether the model and Go may differ for reasons of the model: `Value` keeps one of two equal or folding keys of an
/// inner object, and takes `-0` for a fraction.
pub fn is_blind(text: &str, members: &Members) -> bool {
    let twice = |object: &Map<String, Value>| {
        CAPABILITIES.iter().any(|name| object.keys().filter(|key| folds(key, name)).count() > 1)
    };
    // Two equal keys in the text are one in the map; they are told by the text's number of such words.
    let words = |name: &str| text.to_lowercase().matches(&name.to_lowercase()).count();
    text.contains("-0")
        || text.contains('\\')
        || CAPABILITIES.iter().any(|name| words(name) > 1)
        || members.0.iter().any(|(_, value)| value.as_object().is_some_and(twice))
}
