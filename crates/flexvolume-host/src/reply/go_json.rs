//! What Go's `encoding/json` (v1, Go 1.26) makes of a reply when it decodes it into Kubernetes' `DriverStatus`
//! (Kubernetes v1.37 `pkg/volume/flexvolume/driver-call.go`).

use std::borrow::Cow;
use std::fmt;

use flexvolume::Capabilities;

use super::json::{self, Members, Value};
use super::syntax::{self, SyntaxError};

/// The decoded reply.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct DriverStatus {
    pub(super) status: String,
    pub(super) message: String,
    pub(super) device: String,
    pub(super) volume_name: String,
    pub(super) attached: bool,
    /// Go's pointer: filled with the defaults beforehand, `None` after a null.
    pub(super) capabilities: Option<Capabilities>,
    pub(super) new_size: i64,
}

/// Why a reply cannot be decoded; its text is Go's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DecodeError {
    /// It is not one JSON value.
    Syntax(SyntaxError),
    /// The first value of a wrong type. Go reads on, but the error rejects the whole reply.
    Type(TypeError),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Syntax(error) => error.fmt(f),
            DecodeError::Type(error) => error.fmt(f),
        }
    }
}

/// A value of a wrong type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TypeError {
    /// What was found.
    found: String,
    /// Go's path of the field; empty for the reply itself.
    field: String,
    /// Go's name of the type that was wanted.
    wanted: &'static str,
}

impl fmt::Display for TypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "json: cannot unmarshal {} into Go ", self.found)?;
        match self.field.as_str() {
            "" => f.write_str("value")?,
            field => write!(f, "struct field {field}")?,
        }
        write!(f, " of type {}", self.wanted)
    }
}

/// Decodes `text` over the defaults, as Kubernetes does.
pub(super) fn decode(text: &[u8]) -> Result<DriverStatus, DecodeError> {
    syntax::check(text).map_err(DecodeError::Syntax)?;
    let mut decoder = Decoder::default();
    decoder.status.capabilities = Some(Capabilities::default());
    match json::value(text) {
        Some((Value::Object(object), _)) => Members::of(object).for_each(|member| decoder.member(member)),
        Some((Value::Null, _)) | None => {}
        Some((other, _)) => decoder.mismatch(other.kind(), "", "flexvolume.DriverStatus"),
    }
    decoder.error.map_or(Ok(decoder.status), |error| Err(DecodeError::Type(error)))
}

#[derive(Default)]
struct Decoder {
    status: DriverStatus,
    error: Option<TypeError>,
}

impl Decoder {
    fn mismatch(&mut self, found: &str, field: &str, wanted: &'static str) {
        self.error.get_or_insert_with(|| TypeError {
            found: found.to_owned(),
            field: field.to_owned(),
            wanted,
        });
    }

    fn member(&mut self, (key, value): (Cow<'_, str>, Value<'_>)) {
        let is = |name| json::folds_to(&key, name);
        if is("status") {
            self.string(value, "status", |status| &mut status.status);
        } else if is("message") {
            self.string(value, "message", |status| &mut status.message);
        } else if is("device") {
            self.string(value, "device", |status| &mut status.device);
        } else if is("volumeName") {
            self.string(value, "volumeName", |status| &mut status.volume_name);
        } else if is("attached") {
            match value {
                Value::Bool(attached) => self.status.attached = attached,
                Value::Null => {}
                other => self.mismatch(other.kind(), "DriverStatus.attached", "bool"),
            }
        } else if is("Capabilities") {
            self.capabilities(value);
        } else if is("volumeNewSize") {
            self.new_size(value);
        }
    }

    fn string(&mut self, value: Value<'_>, name: &str, field: fn(&mut DriverStatus) -> &mut String) {
        match value {
            Value::String(inside) => *field(&mut self.status) = json::unquote(inside).into_owned(),
            Value::Null => {}
            other => self.mismatch(other.kind(), &format!("DriverStatus.{name}"), "string"),
        }
    }

    fn new_size(&mut self, value: Value<'_>) {
        const FIELD: &str = "DriverStatus.volumeNewSize";
        match value {
            Value::Number(digits) => {
                let digits = String::from_utf8_lossy(digits);
                match digits.parse() {
                    Ok(size) => self.status.new_size = size,
                    Err(_) => self.mismatch(&format!("number {digits}"), FIELD, "int64"),
                }
            }
            Value::Null => {}
            other => self.mismatch(other.kind(), FIELD, "int64"),
        }
    }

    fn capabilities(&mut self, value: Value<'_>) {
        match value {
            Value::Null => self.status.capabilities = None,
            Value::Object(object) => {
                let mut capabilities = self.status.capabilities.unwrap_or(NOTHING);
                for (key, value) in Members::of(object) {
                    self.capability(&mut capabilities, &key, value);
                }
                self.status.capabilities = Some(capabilities);
            }
            other => {
                self.mismatch(other.kind(), "DriverStatus.Capabilities", "flexvolume.DriverCapabilities");
            }
        }
    }

    fn capability(&mut self, capabilities: &mut Capabilities, key: &str, value: Value<'_>) {
        let Some((name, flag)) = flag(capabilities, key) else { return };
        match value {
            Value::Bool(set) => *flag = set,
            Value::Null => {}
            other => self.mismatch(other.kind(), &format!("DriverCapabilities.Capabilities.{name}"), "bool"),
        }
    }
}

/// What Go allocates for an object that follows a null: no defaults.
const NOTHING: Capabilities = Capabilities {
    attach: false,
    selinux_relabel: false,
    supports_metrics: false,
    fs_group: false,
    requires_fs_resize: false,
};

/// The capability that `key` names, and its proper spelling.
pub(super) fn flag<'a>(
    capabilities: &'a mut Capabilities,
    key: &str,
) -> Option<(&'static str, &'a mut bool)> {
    let flags = [
        ("attach", &mut capabilities.attach),
        ("selinuxRelabel", &mut capabilities.selinux_relabel),
        ("supportsMetrics", &mut capabilities.supports_metrics),
        ("fsGroup", &mut capabilities.fs_group),
        ("requiresFSResize", &mut capabilities.requires_fs_resize),
    ];
    flags.into_iter().find(|(name, _)| json::folds_to(key, name))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn error(text: &str) -> String {
        decode(text.as_bytes()).map_or_else(|error| error.to_string(), |status| format!("{status:?}"))
    }

    #[test]
    fn the_first_wrong_type_is_reported_and_rejects_everything() {
        assert_eq!(
            error(r#"{"attached":"x","device":7,"status":"Success"}"#),
            "json: cannot unmarshal string into Go struct field DriverStatus.attached of type bool"
        );
        assert_eq!(
            error(r#"{"CAPABILITIES":{"SUPPORTSMETRICS":[]}}"#),
            "json: cannot unmarshal array into Go struct field DriverCapabilities.Capabilities.supportsMetrics of type bool"
        );
        assert_eq!(
            error(r#"{"volumeNewSize":1e3}"#),
            "json: cannot unmarshal number 1e3 into Go struct field DriverStatus.volumeNewSize of type int64"
        );
        assert_eq!(error("7"), "json: cannot unmarshal number into Go value of type flexvolume.DriverStatus");
    }

    #[test]
    fn duplicates_replace_and_objects_merge() {
        let status = decode(
            br#"{"status":"a","STATUS":"b","status":null,"capabilities":{"attach":false},"Capabilities":{"fsGroup":false}}"#,
        )
        .unwrap();
        assert_eq!(status.status, "b");
        let wanted = Capabilities { attach: false, fs_group: false, ..Capabilities::default() };
        assert_eq!(status.capabilities, Some(wanted));
    }

    #[test]
    fn an_object_after_null_has_no_defaults() {
        let status = decode(br#"{"capabilities":null,"capabilities":{"attach":true}}"#).unwrap();
        assert_eq!(status.capabilities, Some(Capabilities { attach: true, ..NOTHING }));
        assert_eq!(decode(br#"{"capabilities":{},"capabilities":null}"#).unwrap().capabilities, None);
    }

    #[test]
    fn sizes_are_64_bits() {
        let size = |text: &str| decode(text.as_bytes()).map(|status| status.new_size);
        assert_eq!(size(r#"{"volumeNewSize":-9223372036854775808}"#), Ok(i64::MIN));
        assert_eq!(size(r#"{"volumeNewSize":-0}"#), Ok(0));
        assert!(size(r#"{"volumeNewSize":9223372036854775808}"#).is_err());
    }

    /// A line of recorded verdicts: what Go's package said of an input (`tests/support/go_verdicts.go`).
    #[derive(serde::Deserialize)]
    struct Verdict {
        input: String,
        error: Option<String>,
        value: Option<serde_json::Value>,
    }

    fn as_recorded(status: &DriverStatus) -> serde_json::Value {
        let flags = status
            .capabilities
            .map(|c| [c.attach, c.selinux_relabel, c.supports_metrics, c.fs_group, c.requires_fs_resize]);
        serde_json::json!({
            "status": status.status, "message": status.message, "device": status.device,
            "volumeName": status.volume_name, "attached": status.attached, "capabilities": flags,
            "volumeNewSize": status.new_size,
        })
    }

    #[test]
    fn recorded_verdicts_of_go_are_ours() {
        let recorded = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/go-verdicts.jsonl");
        let mut count = 0;
        for line in std::fs::read_to_string(recorded).unwrap().lines() {
            let verdict: Verdict = serde_json::from_str(line).unwrap();
            let input = STANDARD.decode(&verdict.input).unwrap();
            let (value, error) = match decode(&input) {
                Ok(status) => (Some(as_recorded(&status)), None),
                Err(error) => (None, Some(error.to_string())),
            };
            let shown = String::from_utf8_lossy(&input);
            assert_eq!((value, error), (verdict.value, verdict.error), "{shown}");
            count += 1;
        }
        assert!(count >= 1000, "only {count} verdicts");
    }
}
