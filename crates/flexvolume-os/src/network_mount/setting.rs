//! Settings of a file system.

use std::ffi::{CString, NulError};
use std::fmt;

use thiserror::Error;
use zeroize::Zeroizing;

use super::codec::{Reader, Writer};

/// What `fsconfig` copies of a value, without the final zero byte (Linux 6.1 `fs/fsopen.c`).
const LONGEST: usize = 255;

/// One setting of a file system: `nconnect=4`, `nolock`.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    key: CString,
    value: Value,
}

#[derive(Clone, PartialEq, Eq)]
enum Value {
    Flag,
    Text(CString),
    /// With a final zero byte; wiped when dropped.
    Secret(Zeroizing<Vec<u8>>),
}

/// A value that the kernel would not take, told without the value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SettingError {
    /// It is longer than the kernel reads.
    #[error("the value of {key:?} has {length} bytes, and the kernel takes at most {LONGEST}")]
    TooLong {
        /// The setting.
        key: String,
        /// Bytes.
        length: usize,
    },
    /// It ends in the middle.
    #[error("the value of {key:?} contains a NUL byte")]
    Nul {
        /// The setting.
        key: String,
    },
}

impl Setting {
    /// A setting without a value.
    ///
    /// # Errors
    /// [`SettingError::Nul`].
    pub fn flag(key: &str) -> Result<Self, SettingError> {
        Ok(Self { key: name(key)?, value: Value::Flag })
    }

    /// A setting with a value of any bytes but NUL.
    ///
    /// # Errors
    /// [`SettingError`].
    pub fn text(key: &str, value: impl Into<Vec<u8>>) -> Result<Self, SettingError> {
        let value = value.into();
        check(key, &value)?;
        let value = CString::new(value).map_err(nul(key))?;
        Ok(Self { key: name(key)?, value: Value::Text(value) })
    }

    /// A setting whose value is never shown.
    ///
    /// # Errors
    /// [`SettingError`], without the value.
    pub fn secret(key: &str, value: &[u8]) -> Result<Self, SettingError> {
        check(key, value)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(value.len() + 1));
        bytes.extend_from_slice(value);
        bytes.push(0);
        Ok(Self { key: name(key)?, value: Value::Secret(bytes) })
    }

    /// Its name.
    #[must_use]
    pub fn key(&self) -> String {
        self.key.to_string_lossy().into_owned()
    }

    pub(super) fn raw_key(&self) -> &std::ffi::CStr {
        &self.key
    }

    /// The value as the kernel reads it, `None` for a flag.
    pub(super) fn raw_value(&self) -> Option<&std::ffi::CStr> {
        match &self.value {
            Value::Flag => None,
            Value::Text(value) => Some(value),
            Value::Secret(bytes) => std::ffi::CStr::from_bytes_with_nul(bytes).ok(),
        }
    }

    pub(super) fn encode(&self, out: Writer) -> Writer {
        let (kind, value): (&str, &[u8]) = match &self.value {
            Value::Flag => ("flag", b""),
            Value::Text(value) => ("text", value.as_bytes()),
            Value::Secret(bytes) => ("secret", bytes.strip_suffix(b"\0").unwrap_or(bytes)),
        };
        out.text(kind).bytes(self.key.as_bytes()).bytes(value)
    }

    pub(super) fn decode(input: &mut Reader<'_>) -> Option<Self> {
        let (kind, key, value) = (input.text()?, input.text()?, input.bytes()?);
        match &*kind {
            "flag" => Self::flag(&key).ok(),
            "text" => Self::text(&key, value).ok(),
            "secret" => Self::secret(&key, value).ok(),
            _ => None,
        }
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.to_string_lossy();
        match &self.value {
            Value::Flag => out.write_str(&key),
            Value::Text(value) => write!(out, "{key}={value:?}"),
            Value::Secret(_) => write!(out, "{key}=<redacted>"),
        }
    }
}

fn name(key: &str) -> Result<CString, SettingError> {
    CString::new(key).map_err(nul(key))
}

fn nul(key: &str) -> impl FnOnce(NulError) -> SettingError {
    move |_| SettingError::Nul { key: key.replace('\0', "␀") }
}

fn check(key: &str, value: &[u8]) -> Result<(), SettingError> {
    let key = key.to_owned();
    match value.len() {
        length if length > LONGEST => Err(SettingError::TooLong { key, length }),
        _ if value.contains(&0) => Err(SettingError::Nul { key }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_the_kernel_would_cut_is_refused_before_and_never_shown() {
        let long = SettingError::TooLong { key: "password".to_owned(), length: 256 };
        assert_eq!(Setting::secret("password", &[b'x'; 256]), Err(long));
        assert_eq!(Setting::text("username", "a\0b"), Err(SettingError::Nul { key: "username".to_owned() }));
        let longest = Setting::secret("password", &[b'x'; 255]).unwrap();
        assert_eq!(longest.raw_value().unwrap().to_bytes().len(), 255);
        assert_eq!(format!("{longest:?}"), "password=<redacted>");
    }

    #[test]
    fn a_setting_survives_the_way_to_the_child() {
        let settings = [
            Setting::flag("nolock").unwrap(),
            Setting::text("username", "u,file_mode=0777\n\\").unwrap(),
            Setting::secret("password", b"p,a\"s`s \xff").unwrap(),
        ];
        for setting in settings {
            let bytes = setting.encode(Writer::default()).done();
            assert_eq!(Setting::decode(&mut Reader::new(&bytes)), Some(setting));
        }
    }
}
