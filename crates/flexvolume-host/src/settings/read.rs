//! One settings file: TOML into typed values that know their line.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flexvolume::{Secret, Verb};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::words::Word;
use super::{DriverSettings, Origin, Setting, SettingsError};
use crate::nearest::nearest;

/// The longest deadline that can be set.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The text of a settings file.
pub(super) struct Source<'a> {
    file: Arc<Path>,
    text: &'a str,
}

/// A value, with what an error says of it.
struct Entry<'a, 'i> {
    source: &'a Source<'a>,
    key: String,
    value: &'a Spanned<DeValue<'i>>,
}

/// How a key is read.
type Read = fn(&mut DriverSettings, &Entry<'_, '_>) -> Result<(), SettingsError>;

/// The keys of a settings file.
const KEYS: [(&str, Read); 13] = [
    ("attach", |settings, entry| entry.word().map(|value| settings.attach = value)),
    ("protocol", |settings, entry| entry.word().map(|value| settings.protocol = value)),
    ("unmountdevice-argument", |settings, entry| {
        entry.word().map(|value| settings.unmount_device_argument = value)
    }),
    ("options", |settings, entry| entry.word().map(|value| settings.options = value)),
    ("fs-group-key", |settings, entry| entry.word().map(|value| settings.fs_group_keys = value)),
    ("serialize", |settings, entry| entry.word().map(|value| settings.serialisation = value)),
    ("mount-check", |settings, entry| entry.word().map(|value| settings.mount_check = value)),
    ("may-mount-nothing", |settings, entry| entry.flag().map(|value| settings.may_mount_nothing = value)),
    ("may-leave-symlink", |settings, entry| entry.flag().map(|value| settings.may_leave_symlink = value)),
    ("sick-mount", |settings, entry| entry.word().map(|value| settings.sick_mount = value)),
    ("working-directory", |settings, entry| {
        entry.directory().map(|value| settings.working_directory = value)
    }),
    ("environment", read_environment),
    ("deadlines", read_deadlines),
];

impl<'a> Source<'a> {
    pub(super) fn new(file: &Path, text: &'a str) -> Self {
        Self { file: file.into(), text }
    }

    /// Puts what the file sets over what `settings` holds.
    pub(super) fn apply(&self, settings: &mut DriverSettings) -> Result<(), SettingsError> {
        let table = DeTable::parse(self.text).map_err(|error| self.syntax_error(&error))?;
        for (key, value) in table.get_ref() {
            let name = key.get_ref();
            let Some((_, read)) = KEYS.iter().find(|(known, _)| known == name) else {
                return Err(self.unknown(key, KEYS.map(|(known, _)| known)));
            };
            read(settings, &Entry { source: self, key: name.to_string(), value })?;
        }
        Ok(())
    }

    fn syntax_error(&self, error: &toml::de::Error) -> SettingsError {
        let start = error.span().map_or(0, |span| span.start);
        // The parser's words name what it expected, and keys, never values.
        let why = error.message().to_owned();
        SettingsError::Syntax { file: self.file.to_path_buf(), line: self.line(start), why }
    }

    fn unknown<const N: usize>(
        &self,
        key: &Spanned<impl AsRef<str>>,
        known: [&'static str; N],
    ) -> SettingsError {
        SettingsError::UnknownKey {
            file: self.file.to_path_buf(),
            line: self.line(key.span().start),
            key: key.get_ref().as_ref().to_owned(),
            nearest: nearest(key.get_ref().as_ref(), known),
            known: known.join(", "),
        }
    }

    fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().iter().take(offset);
        1 + before.filter(|byte| **byte == b'\n').count()
    }
}

impl<'a, 'i> Entry<'a, 'i> {
    fn word<T: Word>(&self) -> Result<Setting<T>, SettingsError> {
        let expected = || {
            let words: Vec<_> = T::WORDS.iter().map(|(word, _)| format!("{word:?}")).collect();
            match words.split_last() {
                Some((last, others)) => format!("{} or {last}", others.join(", ")),
                None => String::new(),
            }
        };
        let word = self.value.get_ref().as_str().ok_or_else(|| self.wrong(expected()))?;
        T::parse(word).map(|value| self.setting(value)).ok_or_else(|| self.wrong_text(expected()))
    }

    fn flag(&self) -> Result<Setting<bool>, SettingsError> {
        let flag = self.value.get_ref().as_bool().ok_or_else(|| self.wrong("true or false"))?;
        Ok(self.setting(flag))
    }

    fn directory(&self) -> Result<Setting<PathBuf>, SettingsError> {
        const EXPECTED: &str = "an absolute path in quotes";
        let text = self.value.get_ref().as_str().ok_or_else(|| self.wrong(EXPECTED))?;
        if !text.starts_with('/') || text.contains('\0') {
            return Err(self.wrong_text(EXPECTED));
        }
        Ok(self.setting(PathBuf::from(text)))
    }

    fn duration(&self) -> Result<Setting<Duration>, SettingsError> {
        const EXPECTED: &str = "a time such as \"90s\" or \"5m\", more than 0 and at most 24h";
        let text = self.value.get_ref().as_str().ok_or_else(|| self.wrong(EXPECTED))?;
        match humantime::parse_duration(text) {
            Ok(time) if !time.is_zero() && time <= LONGEST => Ok(self.setting(time)),
            _ => Err(self.wrong_text(EXPECTED)),
        }
    }

    fn table(&self, expected: &str) -> Result<&'a DeTable<'i>, SettingsError> {
        self.value.get_ref().as_table().ok_or_else(|| self.wrong(expected))
    }

    /// An entry of this table.
    fn below(&self, name: &str, value: &'a Spanned<DeValue<'i>>) -> Entry<'a, 'i> {
        Entry { source: self.source, key: format!("{}.{name}", self.key), value }
    }

    fn setting<T>(&self, value: T) -> Setting<T> {
        let line = self.source.line(self.value.span().start);
        Setting { value, origin: Origin::File { file: Arc::clone(&self.source.file), line } }
    }

    fn wrong(&self, expected: impl Into<String>) -> SettingsError {
        let found = match self.value.get_ref() {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "a truth value",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.error(expected.into(), found)
    }

    fn wrong_text(&self, expected: impl Into<String>) -> SettingsError {
        self.error(expected.into(), "this text")
    }

    fn error(&self, expected: String, found: &'static str) -> SettingsError {
        SettingsError::Value {
            file: self.source.file.to_path_buf(),
            line: self.source.line(self.value.span().start),
            key: self.key.clone(),
            expected,
            found,
        }
    }
}

fn read_environment(settings: &mut DriverSettings, entry: &Entry<'_, '_>) -> Result<(), SettingsError> {
    for (name, value) in entry.table("a table of texts: { NAME = \"value\" }")? {
        let name = name.get_ref();
        let entry = entry.below(name, value);
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(entry.error("named without = and not empty".to_owned(), "this name"));
        }
        let text = value.get_ref().as_str().ok_or_else(|| entry.wrong("a text in quotes"))?;
        if text.contains('\0') {
            return Err(entry.wrong_text("a text without a zero byte"));
        }
        settings.environment.insert(OsStr::new(name.as_ref()).to_owned(), entry.setting(Secret::new(text)));
    }
    Ok(())
}

fn read_deadlines(settings: &mut DriverSettings, entry: &Entry<'_, '_>) -> Result<(), SettingsError> {
    for (name, value) in entry.table("a table of times: { mount = \"2m\" }")? {
        let Some(verb) = Verb::parse(name.get_ref()) else {
            return Err(entry.source.unknown(name, Verb::ALL.map(Verb::as_str)));
        };
        let deadline = entry.below(name.get_ref(), value).duration()?;
        settings.deadlines.insert(verb, deadline);
    }
    Ok(())
}
