//! A YAML or JSON value that knows its line, and a cursor that knows its field.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::error::{ManifestError, Place, Problem};

/// A value and the line on which it begins (0 when not known).
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub(super) line: u32,
    pub(super) value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Boolean(bool),
    Integer(i64),
    /// A number that is not an `i64`, as it is written in decimal.
    Decimal(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Value {
    /// What it is, for a person.
    fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Boolean(_) => "a boolean",
            Value::Integer(_) | Value::Decimal(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        let line = u32::try_from(spanned.referenced.line()).unwrap_or(0);
        Ok(Node { line, value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("any value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Boolean(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        #[expect(clippy::cast_precision_loss, reason = "beyond i64 only its kind matters")]
        Ok(i64::try_from(value).map_or(Value::Decimal(value as f64), Value::Integer))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Decimal(value))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map: Vec<(String, Node)> = Vec::new();
        while let Some(key) = entries.next_key::<Key>()? {
            map.push((key.0, entries.next_value()?));
        }
        match twice(&map) {
            Some(key) => Err(A::Error::custom(format_args!("the key {key:?} stands twice in one map"))),
            None => Ok(Value::Map(map)),
        }
    }
}

/// A key that a map has twice.
fn twice(map: &[(String, Node)]) -> Option<&str> {
    let mut keys: Vec<&str> = map.iter().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    keys.windows(2).find(|pair| pair.first() == pair.last()).and_then(|pair| pair.first().copied())
}

/// A key of a map. A plain `8080:` or `true:` is its spelling, as the API server takes it.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Key)
    }
}

/// A value in its place: every error that it makes names file, line, object and field.
#[derive(Debug, Clone)]
pub(super) struct At<'a> {
    node: &'a Node,
    place: Place,
}

impl<'a> At<'a> {
    /// The root of a document.
    pub(super) fn document(file: &std::path::Path, node: &'a Node) -> Self {
        let place = Place { file: file.to_owned(), ..Place::default() };
        Self { node, place: at_line(place, node.line) }
    }

    /// The same value, as the root of the named object.
    pub(super) fn in_object(mut self, object: String) -> Self {
        self.place.object = object;
        self
    }

    /// Where this value stands.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// An error about this value.
    pub(super) fn error(&self, problem: impl Into<Problem>) -> ManifestError {
        ManifestError::new(self.place.clone(), problem)
    }

    /// An error about a field that is not there.
    pub(super) fn missing(&self, key: &str) -> ManifestError {
        ManifestError::new(self.place_of(&key_step(&self.place.field, key)), Problem::Missing)
    }

    /// The value of a key; `None` when absent or null.
    ///
    /// # Errors
    /// When this value is no map.
    pub(super) fn get(&self, key: &str) -> Result<Option<At<'a>>, ManifestError> {
        let found = self.map()?.iter().find(|(known, _)| known == key);
        Ok(found.filter(|(_, node)| node.value != Value::Null).map(|(_, node)| self.below(key, node)))
    }

    /// The value of a key that must be there.
    pub(super) fn required(&self, key: &str) -> Result<At<'a>, ManifestError> {
        self.get(key)?.ok_or_else(|| self.missing(key))
    }

    /// The entries of a map that are not null; none when this value is null.
    pub(super) fn entries(&self) -> Result<Vec<(&'a str, At<'a>)>, ManifestError> {
        let present = self.map()?.iter().filter(|(_, node)| node.value != Value::Null);
        Ok(present.map(|(key, node)| (key.as_str(), self.below(key, node))).collect())
    }

    fn map(&self) -> Result<&'a [(String, Node)], ManifestError> {
        match &self.node.value {
            Value::Map(map) => Ok(map),
            Value::Null => Ok(&[]),
            other => Err(self.type_error("a map", other)),
        }
    }

    fn below(&self, key: &str, node: &'a Node) -> At<'a> {
        self.step(&key_step(&self.place.field, key), node)
    }

    /// The items of the list under a key; none when absent.
    pub(super) fn items(&self, key: &str) -> Result<Vec<At<'a>>, ManifestError> {
        let Some(list) = self.get(key)? else { return Ok(Vec::new()) };
        let Value::List(nodes) = &list.node.value else {
            return Err(list.type_error("a list", &list.node.value));
        };
        let item = |(index, node)| list.step(&format!("{}[{index}]", list.place.field), node);
        Ok(nodes.iter().enumerate().map(item).collect())
    }

    /// Text. A bare number or boolean is an error, as the API server would say.
    pub(super) fn text(&self) -> Result<&'a str, ManifestError> {
        match &self.node.value {
            Value::Text(text) => Ok(text),
            scalar @ (Value::Boolean(_) | Value::Integer(_) | Value::Decimal(_)) => {
                Err(self.error(Problem::NotQuoted { found: scalar.kind() }))
            }
            other => Err(self.type_error("text", other)),
        }
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Result<bool, ManifestError> {
        match &self.node.value {
            Value::Boolean(value) => Ok(*value),
            other => Err(self.type_error("true or false", other)),
        }
    }

    /// A whole number.
    pub(super) fn integer(&self) -> Result<i64, ManifestError> {
        match &self.node.value {
            Value::Integer(value) => Ok(*value),
            other => Err(self.type_error("a whole number", other)),
        }
    }

    /// Text or number, as a quantity may be written.
    pub(super) fn quantity_text(&self) -> Result<String, ManifestError> {
        match &self.node.value {
            Value::Text(text) => Ok(text.clone()),
            Value::Integer(value) => Ok(value.to_string()),
            Value::Decimal(value) => Ok(value.to_string()),
            other => Err(self.type_error("a quantity such as 10Gi", other)),
        }
    }

    fn type_error(&self, expected: &'static str, found: &Value) -> ManifestError {
        self.error(Problem::Type { expected, found: found.kind() })
    }

    fn place_of(&self, field: &str) -> Place {
        Place { field: field.to_owned(), ..self.place.clone() }
    }

    fn step(&self, field: &str, node: &'a Node) -> At<'a> {
        At { node, place: at_line(self.place_of(field), node.line) }
    }
}

/// `spec` + `volumes` = `spec.volumes`; a key with dots or slashes goes in brackets.
fn key_step(field: &str, key: &str) -> String {
    let plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    match (plain, field) {
        (true, "") => key.to_owned(),
        (true, _) => format!("{field}.{key}"),
        (false, _) => format!("{field}[{key:?}]"),
    }
}

fn at_line(place: Place, line: u32) -> Place {
    Place { line: (line > 0).then_some(line).or(place.line), ..place }
}
