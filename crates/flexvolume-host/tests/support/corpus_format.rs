//! The parts of the corpus' format that have several shapes. Each is read by hand, so that an error names the line and
//! what is expected there.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Unexpected, Visitor};
use serde_json::{Map, Value};

/// More than this a case does not unfold to.
const LARGEST: usize = 256 << 20;

/// A string, `{"base64": …}` or `{"parts": […]}`.
#[derive(Debug, Default)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

/// Bytes, or both streams in an order.
#[derive(Debug)]
pub(crate) enum Combined {
    Bytes(Bytes),
    Concat(Vec<String>),
}

/// How a run ended.
#[derive(Debug)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
    TimedOut,
    NotStarted(String),
}

/// 1 to 21.
#[derive(Debug, Deserialize)]
#[serde(try_from = "u8")]
pub(crate) struct RuleNumber(#[expect(dead_code, reason = "checked and not used")] u8);

impl TryFrom<u8> for RuleNumber {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        if (1..=21).contains(&number) {
            Ok(Self(number))
        } else {
            Err(format!("rule {number}: expected 1 to 21"))
        }
    }
}

/// What the strict reader must return.
#[derive(Debug)]
pub(crate) struct Strict(pub(crate) Map<String, Value>);

/// What the tolerant reader must return.
#[derive(Debug)]
pub(crate) struct Tolerant(pub(crate) Map<String, Value>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    text: Option<String>,
    base64: Option<String>,
    times: usize,
}

fn decode<E: Error>(text: &str) -> Result<Vec<u8>, E> {
    STANDARD.decode(text).map_err(|_| E::invalid_value(Unexpected::Str(text), &"base64"))
}

fn unfold<E: Error>(parts: Vec<Part>) -> Result<Bytes, E> {
    let mut bytes = Vec::new();
    for part in parts {
        let once = match (part.text, part.base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(base64)) => decode(&base64)?,
            _ => return Err(E::custom("expected text or base64 in a part")),
        };
        if part.times == 0 || once.len().saturating_mul(part.times) > LARGEST - bytes.len() {
            return Err(E::custom(format!(
                "expected times of at least 1, and less than {LARGEST} bytes in all"
            )));
        }
        bytes.extend(once.repeat(part.times));
    }
    Ok(Bytes(bytes))
}

struct CombinedVisitor;

impl<'de> Visitor<'de> for CombinedVisitor {
    type Value = Combined;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes: a string, {\"base64\": …} or {\"parts\": […]}")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Combined, E> {
        Ok(Combined::Bytes(Bytes(text.into())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Combined, A::Error> {
        let key: Option<String> = map.next_key()?;
        let combined = match key.as_deref() {
            Some("base64") => Combined::Bytes(Bytes(decode(&map.next_value::<String>()?)?)),
            Some("parts") => Combined::Bytes(unfold(map.next_value()?)?),
            Some("concat") => Combined::Concat(map.next_value()?),
            Some(other) => return Err(A::Error::unknown_field(other, &["base64", "parts", "concat"])),
            None => return Err(A::Error::custom("expected base64, parts or concat")),
        };
        match map.next_key::<String>()? {
            Some(other) => Err(A::Error::custom(format!("expected one field, found {other:?} too"))),
            None => Ok(combined),
        }
    }
}

impl<'de> Deserialize<'de> for Combined {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let combined = deserializer.deserialize_any(CombinedVisitor)?;
        if let Combined::Concat(order) = &combined
            && !matches!(
                order.iter().map(String::as_str).collect::<Vec<_>>()[..],
                ["stdout", "stderr"] | ["stderr", "stdout"]
            )
        {
            return Err(D::Error::custom("expected concat of \"stdout\" and \"stderr\""));
        }
        Ok(combined)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Combined::deserialize(deserializer)? {
            Combined::Bytes(bytes) => Ok(bytes),
            Combined::Concat(_) => Err(D::Error::custom("expected bytes; concat is for combined")),
        }
    }
}

struct ExitVisitor;

impl<'de> Visitor<'de> for ExitVisitor {
    type Value = Exit;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0 to 255, {\"signal\": 1 to 64}, {\"timed_out\": true} or {\"not_started\": \"ENOENT\" or \"EACCES\"}")
    }

    fn visit_u64<E: Error>(self, code: u64) -> Result<Exit, E> {
        match u8::try_from(code) {
            Ok(code) => Ok(Exit::Code(code.into())),
            Err(_) => Err(E::invalid_value(Unexpected::Unsigned(code), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Exit, A::Error> {
        let key: Option<String> = map.next_key()?;
        let exit = match key.as_deref() {
            Some("signal") => {
                Some(Exit::Signal(map.next_value()?)).filter(|exit| matches!(exit, Exit::Signal(1..=64)))
            }
            Some("timed_out") => map.next_value::<bool>()?.then_some(Exit::TimedOut),
            Some("not_started") => Some(map.next_value::<String>()?)
                .filter(|errno| matches!(errno.as_str(), "ENOENT" | "EACCES"))
                .map(Exit::NotStarted),
            _ => None,
        };
        match (exit, map.next_key::<String>()?) {
            (Some(exit), None) => Ok(exit),
            _ => Err(A::Error::invalid_value(Unexpected::Map, &self)),
        }
    }
}

impl<'de> Deserialize<'de> for Exit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ExitVisitor)
    }
}

/// An object with these fields and no others; the first says which values `outcome` may have.
struct Expectation {
    outcomes: &'static [&'static str],
    required: &'static [&'static str],
    fields: &'static [&'static str],
}

impl<'de> Visitor<'de> for Expectation {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with outcome ({})", self.outcomes.join(", "))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if !self.fields.contains(&key.as_str()) {
                return Err(A::Error::unknown_field(&key, self.fields));
            }
            object.insert(key, map.next_value()?);
        }
        if let Some(missing) = self.required.iter().find(|field| !object.contains_key(**field)) {
            return Err(A::Error::missing_field(missing));
        }
        match object.get("outcome").and_then(Value::as_str) {
            Some(outcome) if self.outcomes.contains(&outcome) => Ok(object),
            _ => Err(A::Error::invalid_value(Unexpected::Other("outcome"), &self)),
        }
    }
}

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expectation = Expectation {
            outcomes: &["success", "not_supported", "failed", "unreadable", "exec_error", "timeout"],
            required: &["outcome"],
            fields: &[
                "outcome",
                "error",
                "message",
                "device",
                "volumeName",
                "attached",
                "volumeNewSize",
                "capabilities",
                "attachable",
                "panics",
            ],
        };
        deserializer.deserialize_map(expectation).map(Self)
    }
}

impl<'de> Deserialize<'de> for Tolerant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expectation = Expectation {
            outcomes: &["success", "claimed", "not_supported", "failed"],
            required: &["outcome", "reply", "rules"],
            fields: &[
                "outcome",
                "reply",
                "message",
                "device",
                "volumeName",
                "attached",
                "capabilities",
                "rules",
            ],
        };
        deserializer.deserialize_map(expectation).map(Self)
    }
}
