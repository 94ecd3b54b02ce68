//! The options of a call-out that is made by hand.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flexvolume_host::contract::{Access, Options, PodReference, Secret, Verb};

use crate::args::CallArguments;
use crate::failure::{BAD_INPUT, Failure};

/// The largest file with options or a secret.
const LIMIT: u64 = 1 << 20;

/// The options that the flags describe, on top of those in a file.
///
/// # Errors
/// When a file cannot be read or is wrong; the words hold no value.
pub(crate) fn options(arguments: &CallArguments) -> Result<Options, Failure> {
    let mut options = given(arguments.options_file.as_deref(), &arguments.options)?;
    if options.volume_name.is_empty() {
        options.volume_name.clone_from(&arguments.volume);
    }
    if options.fs_type.is_empty() {
        options.fs_type.clone_from(&arguments.fs_type);
    }
    if arguments.read_only {
        options.access = Access::ReadOnly;
    }
    if Verb::parse(&arguments.verb) == Some(Verb::Mount) {
        add_what_mount_is_told(&mut options, arguments)?;
    }
    Ok(options)
}

/// The options of a file, if there is one, and the pairs `KEY=VALUE`, which win.
///
/// # Errors
/// As [`options`].
pub(crate) fn given(file: Option<&Path>, pairs: &[String]) -> Result<Options, Failure> {
    let mut options = match file {
        Some(file) => parse_file(file)?,
        None => Options::default(),
    };
    for pair in pairs {
        let (key, value) = split(pair, "KEY=VALUE")?;
        options.user.insert(key.to_owned(), value.to_owned());
    }
    Ok(options)
}

/// Adds the secrets of the pairs `KEY=FILE`.
///
/// # Errors
/// As [`options`].
pub(crate) fn add_secrets(options: &mut Options, pairs: &[String]) -> Result<(), Failure> {
    for pair in pairs {
        let (key, file) = split(pair, "KEY=FILE")?;
        options.secrets.insert(key.to_owned(), Secret::new(read(Path::new(file))?));
    }
    Ok(())
}

fn add_what_mount_is_told(options: &mut Options, arguments: &CallArguments) -> Result<(), Failure> {
    add_secrets(options, &arguments.secret)?;
    if options.pod.is_none() {
        let (namespace, name) = arguments.pod.split_once('/').unwrap_or(("default", &arguments.pod));
        options.pod = Some(PodReference {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            uid: arguments.pod_uid.clone(),
            service_account: "default".to_owned(),
        });
    }
    options.fs_group = options.fs_group.or(arguments.fs_group);
    Ok(())
}

/// What must not be shown: each secret as it is and as the driver gets it. Very short ones would strike out half the
/// text and hide nothing.
pub(crate) fn secret_bytes(options: &Options) -> Vec<Vec<u8>> {
    let secrets = options.secrets.values().map(Secret::expose).filter(|secret| secret.len() > 2);
    let mut bytes: Vec<_> =
        secrets.flat_map(|secret| [secret.to_vec(), STANDARD.encode(secret).into_bytes()]).collect();
    // A file ends with a line end that a driver may well leave out.
    let trimmed: Vec<_> = bytes.iter().map(|secret| secret.trim_ascii().to_vec()).collect();
    bytes.extend(trimmed.into_iter().filter(|secret| secret.len() > 2));
    bytes.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    bytes
}

pub(crate) fn split<'a>(pair: &'a str, form: &str) -> Result<(&'a str, &'a str), Failure> {
    // What stands there may be a secret in the wrong place.
    pair.split_once('=')
        .ok_or_else(|| Failure::says(BAD_INPUT, format_args!("an argument is not of the form {form}")))
}

fn parse_file(file: &Path) -> Result<Options, Failure> {
    let wrong = |words: String| Failure::says(BAD_INPUT, format_args!("{}: {words}", file.display()));
    if file.to_string_lossy().contains('=') && !file.exists() {
        let words =
            "there is no such file: --options takes a JSON file, and a KEY=VALUE stands without --options";
        return Err(wrong(words.to_owned()));
    }
    let text = String::from_utf8(read(file)?).map_err(|_| wrong("is not UTF-8 text".to_owned()))?;
    Options::parse(text.trim()).map_err(|error| wrong(error.to_string()))
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(LIMIT).read_to_end(&mut bytes)
    } else {
        File::open(file).and_then(|file| file.take(LIMIT).read_to_end(&mut bytes))
    };
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Failure::says(BAD_INPUT, format_args!("{}: {error}", file.display()))),
    }
}
