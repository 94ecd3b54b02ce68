//! What a whole object says: whether it is a reply, with which status, and the fields of it (rules 1, 6, 7, 12).

use flexvolume::{Capabilities, Verb};

use super::failure::Field;
use super::json::{self, Members, Value};
use super::{Asked, go_json};

/// A status, as a host tells it apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// Exactly `Success`.
    Success,
    /// `Not supported`, in any case.
    NotSupported {
        /// Whether the case is the documented one.
        exact: bool,
    },
    /// Anything else: a failure.
    Other(String),
}

impl Word {
    pub(super) fn of(word: &str) -> Self {
        match word {
            "Success" => Word::Success,
            word if word.eq_ignore_ascii_case("Not supported") => {
                Word::NotSupported { exact: word == "Not supported" }
            }
            word => Word::Other(word.to_owned()),
        }
    }
}

/// A reply: an object with a string `status` at its own top level that is no echo of the options.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Answer {
    /// Every status in it; at least one.
    pub(super) words: Vec<Word>,
    /// `message`.
    pub(super) message: String,
    /// `reason`, which some drivers write instead.
    pub(super) reason: String,
    /// The fields that the call uses.
    pub(super) used: Used,
    /// Whether there is a `device`.
    pub(super) device: Device,
    /// Whether keys or types needed rule 12.
    pub(super) shape: Shape,
}

/// Whether an answer names a device, whatever its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Device {
    /// Absent, null or empty.
    #[default]
    Absent,
    /// Something is there.
    Present,
}

/// Whether an answer is written as documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Shape {
    #[default]
    Documented,
    /// Another case, null, or a type that does not matter or is understood.
    Bent,
}

/// What a call uses of a reply; `None` where it is absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Used {
    pub(super) device: Option<String>,
    pub(super) volume_name: Option<String>,
    pub(super) attached: Option<bool>,
    /// In the order of [`FLAGS`].
    pub(super) flags: [Option<bool>; 5],
    /// The first field of a type that cannot be used.
    pub(super) wrong: Option<(Field, &'static str)>,
}

/// The capabilities.
pub(super) const FLAGS: [&str; 5] =
    ["attach", "selinuxRelabel", "supportsMetrics", "fsGroup", "requiresFSResize"];

impl Used {
    /// The capabilities, with the defaults for those that are absent.
    pub(super) fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        for (name, set) in FLAGS.into_iter().zip(self.flags) {
            if let (Some(set), Some((_, flag))) = (set, go_json::flag(&mut capabilities, name)) {
                *flag = set;
            }
        }
        capabilities
    }
}

/// The field of its reply that a call uses.
pub(super) fn used_by(asked: Asked<'_>) -> Option<Field> {
    match asked {
        Asked::Call(Verb::Attach | Verb::WaitForAttach) => Some(Field::Device),
        Asked::Call(Verb::IsAttached) => Some(Field::Attached),
        Asked::Call(Verb::GetVolumeName) => Some(Field::VolumeName),
        Asked::Call(Verb::Init) => Some(Field::Capabilities),
        Asked::Call(_) | Asked::Extension(_) | Asked::Nonsense(_) => None,
    }
}

/// Reads a whole object; `None` if it is no reply but text.
pub(super) fn read(asked: Asked<'_>, object: &[u8]) -> Option<Answer> {
    let mut reader = Reader { field: used_by(asked), answer: Answer::default() };
    for (key, value) in Members::of(object) {
        if key.starts_with("kubernetes.io/") {
            return None;
        }
        reader.member(&key, value);
    }
    Some(reader.answer).filter(|answer| !answer.words.is_empty())
}

struct Reader {
    field: Option<Field>,
    answer: Answer,
}

impl Reader {
    fn member(&mut self, key: &str, value: Value<'_>) {
        let Some(name) = KEYS.into_iter().find(|name| json::folds_to(key, name)) else { return };
        if name != key || value == Value::Null {
            self.answer.shape = Shape::Bent;
        }
        match (name, value) {
            (_, Value::Null) => {}
            ("status", Value::String(word)) => self.answer.words.push(Word::of(&json::unquote(word))),
            ("message", Value::String(text)) => self.answer.message = json::unquote(text).into_owned(),
            ("reason", Value::String(text)) => self.answer.reason = json::unquote(text).into_owned(),
            ("device", value) => self.device(value),
            ("volumeName", Value::String(text)) => self.answer.used.volume_name = filled(text),
            ("volumeName", value) => self.wrong(Field::VolumeName, value),
            ("attached", value) => self.answer.used.attached = self.boolean(Field::Attached, value),
            ("capabilities", Value::Object(object)) => self.capabilities(object),
            ("capabilities", value) => self.wrong(Field::Capabilities, value),
            ("volumeNewSize", Value::Number(digits)) if is_integer(digits) => {}
            _ => self.answer.shape = Shape::Bent,
        }
    }

    fn device(&mut self, value: Value<'_>) {
        match value {
            Value::String(text) => self.answer.used.device = filled(text),
            value => self.wrong(Field::Device, value),
        }
        if value != Value::String(b"") {
            self.answer.device = Device::Present;
        }
    }

    /// A type that cannot be used matters only where the call uses the field.
    fn wrong(&mut self, field: Field, value: Value<'_>) {
        self.answer.shape = Shape::Bent;
        if self.field == Some(field) {
            self.answer.used.wrong.get_or_insert((field, value.kind()));
        }
    }

    /// A boolean, or a string that says one.
    fn boolean(&mut self, field: Field, value: Value<'_>) -> Option<bool> {
        match value {
            Value::Bool(set) => return Some(set),
            Value::String(text) if text.eq_ignore_ascii_case(b"true") => Some(true),
            Value::String(text) if text.eq_ignore_ascii_case(b"false") => Some(false),
            other => {
                self.wrong(field, other);
                None
            }
        }
        .inspect(|_| self.answer.shape = Shape::Bent)
    }

    fn capabilities(&mut self, object: &[u8]) {
        for (key, value) in Members::of(object) {
            let found = FLAGS.into_iter().position(|name| json::folds_to(&key, name));
            let Some(index) = found else { continue };
            if FLAGS.get(index).is_none_or(|name| *name != key) {
                self.answer.shape = Shape::Bent;
            }
            if value == Value::Null {
                continue;
            }
            let set = self.boolean(Field::Capabilities, value);
            if let Some(flag) = self.answer.used.flags.get_mut(index) {
                *flag = set;
            }
        }
    }
}

/// The keys that a reader knows, as documented.
const KEYS: [&str; 8] =
    ["status", "message", "reason", "device", "volumeName", "attached", "capabilities", "volumeNewSize"];

/// An empty string is as good as none.
fn filled(text: &[u8]) -> Option<String> {
    Some(json::unquote(text).into_owned()).filter(|text| !text.is_empty())
}

fn is_integer(digits: &[u8]) -> bool {
    digits.strip_prefix(b"-").unwrap_or(digits).iter().all(u8::is_ascii_digit)
}
