//! The options of a manifest that are mount options, under names of their own or in one text.

use flexvolume::{Access, Options};
use flexvolume_os::mount;
use flexvolume_os::network_mount::AccessTimes;

use super::request::refuse;
use super::version::Version;
use crate::error::RequestError;
use crate::network::{Given, Grants, Kind, Vocabulary, Word};

const SECURITY: &[&str] = &["sys", "krb5", "krb5i", "krb5p", "none"];
const VERSIONS: &[&str] = &["3", "4", "4.0", "4.1", "4.2"];

const fn word(name: &'static str, kind: Kind) -> Word {
    Word { name, kind }
}

/// What nfs(5) has, without what belongs to other programs.
const WORDS: [Word; 50] = [
    word("vers", Kind::OneOf(VERSIONS)),
    word("nfsvers", Kind::OneOf(VERSIONS)),
    word("port", Kind::Number(1, 65_535)),
    word("mountport", Kind::Number(1, 65_535)),
    word("proto", Kind::OneOf(&["tcp", "tcp6"])),
    word("tcp", Kind::Ignored),
    word("sec", Kind::OneOf(SECURITY)),
    word("hard", Kind::Flag),
    word("soft", Kind::Flag),
    word("softerr", Kind::Flag),
    word("softreval", Kind::Flag),
    word("nosoftreval", Kind::Flag),
    word("timeo", Kind::Number(1, 6000)),
    word("retrans", Kind::Number(0, 30)),
    word("rsize", Kind::Number(1024, 1 << 20)),
    word("wsize", Kind::Number(1024, 1 << 20)),
    word("nconnect", Kind::Number(1, 16)),
    word("max_connect", Kind::Number(1, 16)),
    word("ac", Kind::Flag),
    word("noac", Kind::Flag),
    word("acregmin", Kind::Number(0, 86_400)),
    word("acregmax", Kind::Number(0, 86_400)),
    word("acdirmin", Kind::Number(0, 86_400)),
    word("acdirmax", Kind::Number(0, 86_400)),
    word("actimeo", Kind::Number(0, 86_400)),
    word("cto", Kind::Flag),
    word("nocto", Kind::Flag),
    word("lock", Kind::Flag),
    word("nolock", Kind::Flag),
    word("local_lock", Kind::OneOf(&["none", "flock", "posix", "all"])),
    word("lookupcache", Kind::OneOf(&["all", "none", "pos", "positive"])),
    word("sharecache", Kind::Flag),
    word("nosharecache", Kind::Flag),
    word("resvport", Kind::Flag),
    word("noresvport", Kind::Flag),
    word("rdirplus", Kind::Flag),
    word("nordirplus", Kind::Flag),
    word("acl", Kind::Flag),
    word("noacl", Kind::Flag),
    word("migration", Kind::Flag),
    word("nomigration", Kind::Flag),
    word("write", Kind::OneOf(&["lazy", "eager", "wait"])),
    word("trunkdiscovery", Kind::Flag),
    word("notrunkdiscovery", Kind::Flag),
    word("context", Kind::Granted),
    word("intr", Kind::Ignored),
    word("nointr", Kind::Ignored),
    word("bg", Kind::Ignored),
    word("fg", Kind::Ignored),
    word("retry", Kind::Ignored),
];

/// The options that are mount options under a name of their own.
pub(super) fn given(options: &Options, grants: &Grants) -> std::result::Result<Given, RequestError> {
    let vocabulary = Vocabulary { words: &WORDS };
    let mut given =
        vocabulary.read("mountOptions", options.get("mountOptions").unwrap_or_default(), grants)?;
    for key in ["vers", "port", "sec", "nconnect", "timeo", "retrans"] {
        let Some(value) = options.get(key) else { continue };
        let one = if value.contains(',') {
            return Err(refuse(key, value, "it is one value, without commas"));
        } else {
            vocabulary.read(key, &format!("{key}={value}"), grants)?
        };
        add(&mut given, key, one)?;
    }
    if let Some(value) = options.get("recovery") {
        if !["hard", "soft", "softerr"].contains(&value) {
            return Err(refuse("recovery", value, "it is \"hard\", \"soft\" or \"softerr\""));
        }
        let others = ["hard", "soft", "softerr"]
            .iter()
            .any(|word| *word != value && given.settings.contains_key(*word));
        if others {
            return Err(refuse("recovery", value, "\"mountOptions\" says something else"));
        }
        given.settings.insert(value.to_owned(), None);
    }
    match options.get("protocol") {
        None | Some("tcp") => {}
        Some(other) => {
            return Err(refuse(
                "protocol",
                other,
                "this driver speaks tcp only: the kernel has no NFS over udp any more",
            ));
        }
    }
    switches(options, &mut given)?;
    Ok(given)
}

fn add(given: &mut Given, key: &'static str, one: Given) -> std::result::Result<(), RequestError> {
    for (name, value) in one.settings {
        match given.settings.get(&name) {
            Some(other) if *other != value => {
                return Err(refuse(key, &value.unwrap_or_default(), "\"mountOptions\" says something else"));
            }
            _ => given.settings.insert(name, value),
        };
    }
    Ok(())
}

/// `atime` and `readonly`, as numbers or words.
fn switches(options: &Options, given: &mut Given) -> std::result::Result<(), RequestError> {
    let switch = |key: &'static str| match options.get(key) {
        None => Ok(None),
        Some("1" | "true") => Ok(Some(true)),
        Some("0" | "false") => Ok(Some(false)),
        Some(other) => Err(refuse(key, other, "it is \"true\" or \"false\"")),
    };
    if switch("atime")? == Some(false) {
        given.attributes.access_times = AccessTimes::Never;
    }
    if switch("readonly")? == Some(true) || options.access == Access::ReadOnly {
        given.attributes.access = mount::Access::ReadOnly;
    }
    Ok(())
}

pub(super) fn versions(given: &mut Given) -> std::result::Result<Vec<Version>, RequestError> {
    let (vers, other) = (given.take("vers").flatten(), given.take("nfsvers").flatten());
    if vers.is_some() && other.is_some() && vers != other {
        return Err(refuse("mountOptions", "nfsvers", "it says another version than vers"));
    }
    match vers.or(other) {
        None => Ok(Version::ALL.to_vec()),
        Some(text) => Version::parse(&text).ok_or_else(|| refuse("vers", &text, "there is no such version")),
    }
}
