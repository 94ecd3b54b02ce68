//! The options of a manifest that are mount options, under names of their own or in one text.

use flexvolume::{Access, Options};
use flexvolume_os::mount;

use super::request::refuse;
use crate::error::RequestError;
use crate::network::{Given, Grants, Kind, Vocabulary, Word};

const VERSIONS: &[&str] = &["2.1", "3", "3.0", "3.02", "3.0.2", "3.11", "3.1.1", "default"];
/// The last one means nobody.
const ID: Kind = Kind::Number(0, 4_294_967_294);
const SECONDS: Kind = Kind::Number(0, 86_400);

const fn word(name: &'static str, kind: Kind) -> Word {
    Word { name, kind }
}

/// What mount.cifs(8) has for versions 2.1 and later, without what belongs to other programs.
const WORDS: [Word; 88] = [
    word("vers", Kind::OneOf(VERSIONS)),
    word("port", Kind::Number(1, 65_535)),
    word("sec", Kind::OneOf(&["ntlmssp", "ntlmsspi", "ntlmv2", "ntlmv2i", "krb5", "krb5i", "none"])),
    word("guest", Kind::Flag),
    word("domain", Kind::Text),
    word("dom", Kind::Text),
    word("workgroup", Kind::Text),
    word("seal", Kind::Flag),
    word("sign", Kind::Flag),
    word("uid", ID),
    word("gid", ID),
    word("forceuid", Kind::Flag),
    word("noforceuid", Kind::Flag),
    word("forcegid", Kind::Flag),
    word("noforcegid", Kind::Flag),
    word("file_mode", Kind::Octal),
    word("dir_mode", Kind::Octal),
    word("perm", Kind::Flag),
    word("noperm", Kind::Flag),
    word("dynperm", Kind::Flag),
    word("nodynperm", Kind::Flag),
    word("setuids", Kind::Flag),
    word("nosetuids", Kind::Flag),
    word("cifsacl", Kind::Flag),
    word("idsfromsid", Kind::Flag),
    word("modefromsid", Kind::Flag),
    word("acl", Kind::Flag),
    word("noacl", Kind::Flag),
    word("user_xattr", Kind::Flag),
    word("nouser_xattr", Kind::Flag),
    word("cruid", ID),
    word("backupuid", ID),
    word("backupgid", ID),
    word("hard", Kind::Flag),
    word("soft", Kind::Flag),
    word("echo_interval", Kind::Number(1, 600)),
    word("handletimeout", Kind::Number(0, 960_000)),
    word("persistenthandles", Kind::Flag),
    word("nopersistenthandles", Kind::Flag),
    word("resilienthandles", Kind::Flag),
    word("noresilienthandles", Kind::Flag),
    word("cache", Kind::OneOf(&["none", "strict", "loose", "singleclient", "ro"])),
    word("actimeo", SECONDS),
    word("acregmax", SECONDS),
    word("acdirmax", SECONDS),
    word("closetimeo", Kind::Number(0, 3600)),
    word("handlecache", Kind::Flag),
    word("nohandlecache", Kind::Flag),
    word("nolease", Kind::Flag),
    word("locallease", Kind::Flag),
    word("fsc", Kind::Flag),
    word("rsize", Kind::Number(4096, 16 << 20)),
    word("wsize", Kind::Number(4096, 16 << 20)),
    word("bsize", Kind::Number(16_384, 16 << 20)),
    word("rasize", Kind::Number(1 << 20, 32 << 20)),
    word("esize", Kind::Number(0, 16 << 20)),
    word("max_credits", Kind::Number(20, 60_000)),
    word("multichannel", Kind::Flag),
    word("nomultichannel", Kind::Flag),
    word("max_channels", Kind::Number(1, 16)),
    word("nosharesock", Kind::Flag),
    word("tcpnodelay", Kind::Flag),
    word("strictsync", Kind::Flag),
    word("nostrictsync", Kind::Flag),
    word("brl", Kind::Flag),
    word("nobrl", Kind::Flag),
    word("forcemandatorylock", Kind::Flag),
    word("serverino", Kind::Flag),
    word("noserverino", Kind::Flag),
    word("mfsymlinks", Kind::Flag),
    word("mapchars", Kind::Flag),
    word("nomapchars", Kind::Flag),
    word("mapposix", Kind::Flag),
    word("nomapposix", Kind::Flag),
    word("nocase", Kind::Flag),
    word("ignorecase", Kind::Flag),
    word("iocharset", Kind::Text),
    word("nodfs", Kind::Flag),
    word("posix", Kind::Flag),
    word("noposix", Kind::Flag),
    word("unix", Kind::Flag),
    word("nounix", Kind::Flag),
    word("snapshot", Kind::Number(0, u64::MAX)),
    word("context", Kind::Granted),
    word("intr", Kind::Ignored),
    word("nointr", Kind::Ignored),
    word("rwpidforward", Kind::Flag),
    word("noblocksend", Kind::Ignored),
];

const VOCABULARY: Vocabulary = Vocabulary { words: &WORDS };

/// What other programs take here and must not stand in a manifest, which anybody may read who may read pods.
const SECRETS: [&str; 9] =
    ["password", "pass", "passwd", "password2", "username", "user", "credentials", "cred", "key"];

/// What would be two truths.
const OURS: [&str; 5] = ["ip", "addr", "unc", "prefixpath", "source"];

/// The text of mount options, under whichever name it is given.
const TEXTS: [&str; 3] = ["mountOptions", "mountoptions", "opts"];

/// Options that are mount options under a name of their own, and that name.
const NAMED: [(&str, &str); 9] = [
    ("vers", "vers"),
    ("port", "port"),
    ("sec", "sec"),
    ("domain", "domain"),
    ("uid", "uid"),
    ("gid", "gid"),
    ("fileMode", "file_mode"),
    ("dirMode", "dir_mode"),
    ("cache", "cache"),
];

/// The modes of a share whose group is the pod's, unless the manifest says otherwise: the kernel's, and the group may do
/// what the owner may.
const GROUP_MODE: &str = "0775";

/// The options that are mount options, as the kernel takes them.
pub(super) fn given(options: &Options, grants: &Grants) -> Result<Given, RequestError> {
    let mut given = text(options, grants)?;
    for (key, name) in NAMED {
        let Some(value) = options.get(key) else { continue };
        if value.contains(',') {
            return Err(refuse(key, value, "it is one value, without commas"));
        }
        let one = VOCABULARY.read(key, &format!("{name}={value}"), grants)?;
        one.settings.into_iter().try_for_each(|(name, value)| add(&mut given, key, (name, value)))?;
    }
    same(&mut given, "domain", &["dom", "workgroup"])?;
    switches(options, &mut given)?;
    group(options, &mut given);
    plain_numbers(&mut given);
    Ok(given)
}

fn text(options: &Options, grants: &Grants) -> Result<Given, RequestError> {
    let mut texts = TEXTS.iter().filter_map(|key| Some((*key, options.get(key)?)));
    let Some((key, text)) = texts.next() else { return Ok(Given::default()) };
    if let Some((other, _)) = texts.next() {
        return Err(RequestError::Unknown {
            key: other.to_owned(),
            remedy: format!("it means the same as {key:?}: leave one of them out"),
        });
    }
    for word in text.split(',').map(str::trim) {
        let name = word.split('=').next().unwrap_or_default().trim().to_ascii_lowercase();
        if SECRETS.contains(&&*name) {
            let why = "user and password belong into the Secret that `secretRef` names, with the keys \"username\" and \"password\"";
            return Err(refuse(key, &name, why));
        }
        if OURS.contains(&&*name) {
            return Err(refuse(key, &name, "the share's own options say it"));
        }
    }
    VOCABULARY.read(key, text, grants)
}

/// Puts a setting to the others, if they do not say something else.
fn add(
    given: &mut Given,
    key: &'static str,
    (name, value): (String, Option<String>),
) -> Result<(), RequestError> {
    match given.settings.get(&name) {
        Some(other) if *other != value => {
            Err(refuse(key, &value.unwrap_or_default(), "\"mountOptions\" says something else"))
        }
        _ => {
            given.settings.insert(name, value);
            Ok(())
        }
    }
}

/// One setting of several names.
fn same(given: &mut Given, name: &'static str, others: &[&str]) -> Result<(), RequestError> {
    for other in others {
        if let Some(value) = given.take(other) {
            add(given, name, (name.to_owned(), value))?;
        }
    }
    Ok(())
}

/// What is `true` or `false`, and how an I/O error comes to be.
fn switches(options: &Options, given: &mut Given) -> Result<(), RequestError> {
    let switch = |key: &'static str| match options.get(key) {
        None | Some("0" | "false") => Ok(false),
        Some("1" | "true") => Ok(true),
        Some(other) => Err(refuse(key, other, "it is \"true\" or \"false\"")),
    };
    for key in ["guest", "seal"] {
        if switch(key)? {
            given.settings.insert(key.to_owned(), None);
        }
    }
    if switch("readonly")? || options.access == Access::ReadOnly {
        given.attributes.access = mount::Access::ReadOnly;
    }
    match options.get("recovery") {
        None => Ok(()),
        Some(word @ ("hard" | "soft")) => {
            let other = if word == "hard" { "soft" } else { "hard" };
            if given.settings.contains_key(other) {
                return Err(refuse("recovery", word, "\"mountOptions\" says something else"));
            }
            given.settings.insert(word.to_owned(), None);
            Ok(())
        }
        Some(other) => Err(refuse("recovery", other, "it is \"hard\" or \"soft\"")),
    }
}

/// The pod's group, where the manifest names none. A server knows nothing of this node's groups: who may do what with
/// its files here is for us to say, once, instead of for a host that would change each of them.
fn group(options: &Options, given: &mut Given) {
    let group = options.fs_group.and_then(|group| u32::try_from(group).ok());
    let Some(group) = group.filter(|_| !given.settings.contains_key("gid")) else { return };
    given.settings.insert("gid".to_owned(), Some(group.to_string()));
    for mode in ["file_mode", "dir_mode"] {
        given.settings.entry(mode.to_owned()).or_insert_with(|| Some(GROUP_MODE.to_owned()));
    }
}

/// The kernel reads a number with a zero in front as octal, and a mode without one as decimal.
fn plain_numbers(given: &mut Given) {
    for word in WORDS {
        let Some(Some(value)) = given.settings.get_mut(word.name) else { continue };
        let digits = value.trim_start_matches('0');
        match word.kind {
            Kind::Number(..) if digits.is_empty() => "0".clone_into(value),
            Kind::Number(..) => *value = digits.to_owned(),
            Kind::Octal => *value = format!("0{digits}"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Given, String> {
        let user = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let options = Options { user, ..Options::default() };
        given(&options, &Grants::default()).map_err(|error| error.to_string())
    }

    fn settings(pairs: &[(&str, &str)]) -> Vec<String> {
        let shown = |(name, value): (String, Option<String>)| match value {
            Some(value) => format!("{name}={value}"),
            None => name,
        };
        read(pairs).unwrap().settings.into_iter().map(shown).collect()
    }

    #[test]
    fn modes_are_octal_and_ids_decimal_however_they_are_written() {
        for text in ["file_mode=755,dir_mode=0755,uid=0100", "dir_mode=755,uid=100,file_mode=00755"] {
            assert_eq!(settings(&[("mountOptions", text)]), ["dir_mode=0755", "file_mode=0755", "uid=100"]);
        }
        assert_eq!(settings(&[("fileMode", "0"), ("uid", "000")]), ["file_mode=0", "uid=0"]);
    }

    #[test]
    fn the_pod_s_group_may_write_unless_the_manifest_says_otherwise() {
        let with = |pairs: &[(&str, &str)]| {
            let user = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            let options = Options { user, fs_group: Some(2000), ..Options::default() };
            given(&options, &Grants::default()).unwrap().settings
        };
        let value = |text: &str| Some(text.to_owned());
        let given = with(&[]);
        assert_eq!((&given["gid"], &given["file_mode"]), (&value("2000"), &value("0775")));
        assert_eq!(with(&[("dirMode", "0700")])["dir_mode"], value("0700"));
        let given = with(&[("mountOptions", "gid=7")]);
        assert_eq!(given["gid"], value("7"));
        assert!(!given.contains_key("file_mode"));
    }

    #[test]
    fn secrets_in_mount_options_are_refused_without_being_told() {
        for text in [
            "vers=3.0,password=hunter2",
            "pass=hunter2",
            "PASSWORD=hunter2,x",
            "username=hunter2",
            " user = hunter2",
            "credentials=/etc/hunter2",
            "password2=a,hunter2",
        ] {
            for key in TEXTS {
                let error = read(&[(key, text)]).unwrap_err();
                assert!(error.contains("Secret") && !error.contains("hunter2"), "{error}");
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (pairs, part) in [
            (&[("mountOptions", "suid")][..], "administrator"),
            (&[("mountOptions", "dev")], "administrator"),
            (&[("mountOptions", "context=system_u:object_r:x_t:s0")], "administrator"),
            (&[("mountOptions", "vers=1.0")], "2.1, 3"),
            (&[("mountOptions", "sec=ntlm")], "ntlmssp"),
            (&[("mountOptions", "uid=root")], "number"),
            (&[("mountOptions", "file_mode=0888")], "octal"),
            (&[("mountOptions", "ip=10.0.0.9")], "own options"),
            (&[("mountOptions", "prefixpath=x")], "own options"),
            (&[("mountOptions", "vres=3.0")], "\"vers\""),
            (&[("mountOptions", "hard,soft")], "twice"),
            (&[("mountOptions", "hard"), ("recovery", "soft")], "something else"),
            (&[("mountOptions", "domain=A,workgroup=B")], "something else"),
            (&[("mountOptions", "vers=3.0"), ("vers", "2.1")], "something else"),
            (&[("mountOptions", "vers=3.0"), ("opts", "seal")], "leave one"),
            (&[("vers", "3.0,suid")], "without commas"),
            (&[("port", "65536")], "from 1"),
            (&[("seal", "yes")], "\"true\""),
            (&[("recovery", "softerr")], "\"hard\" or"),
            (&[("domain", "a\nb")], "control"),
        ] {
            let error = read(pairs).unwrap_err();
            assert!(error.contains(part), "{pairs:?}: {error}");
        }
    }
}
