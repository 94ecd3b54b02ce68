//! What a target and a node prove to each other that they know (CHAP).
//!
//! `attach` and what follows get no secrets, so the attachable driver reads the file `iscsi-chap.json` of the node's
//! administrator; the one for pods gets the Secret. From here a credential goes into open-iscsi's record and nowhere else.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use flexvolume::{Options, Secret};
use rustix::fs::{Mode, OFlags};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::error::{IscsiError, Result};
use super::target::Name;

/// The keys of a Secret of the type `kubernetes.io/iscsi-chap`, for the session.
const KEYS: [&str; 4] = [
    "node.session.auth.username",
    "node.session.auth.password",
    "node.session.auth.username_in",
    "node.session.auth.password_in",
];

/// What such a Secret also holds, for discovery, which we never do.
const UNUSED: &str = "discovery.sendtargets.auth.";

/// open-iscsi keeps 255 bytes (`include/iscsi_proto.h`, `usr/auth.h`: `AUTH_STR_MAX_LEN`).
const LONGEST: usize = 255;

/// No file of an administrator is longer.
const LIMIT: u64 = 64 << 10;

/// A user and what it proves with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) user: Secret,
    pub(crate) password: Secret,
}

/// How a session is authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chap {
    /// We to the target.
    pub(crate) node: Account,
    /// The target to us.
    pub(crate) target: Option<Account>,
}

impl Chap {
    /// From the Secret of a pod; `None` without one.
    pub(crate) fn of_secrets(options: &Options) -> Result<Option<Self>> {
        if let Some(key) =
            options.secrets.keys().find(|key| !KEYS.contains(&&***key) && !key.starts_with(UNUSED))
        {
            return Err(unusable(
                &format!("the key {key:?} of the Secret"),
                "is none that the driver knows: it knows node.session.auth.username, .password, .username_in and .password_in",
            ));
        }
        Self::of(KEYS.map(|key| Given {
            place: format!("the key {key:?} of the Secret"),
            value: options.secrets.get(key).cloned(),
        }))
    }

    /// User and password of the node, and of the target.
    fn of(given: [Given; 4]) -> Result<Option<Self>> {
        given.iter().try_for_each(Given::check)?;
        let [user, password, user_in, password_in] = given;
        let place = password.place.clone();
        match (account(user, password)?, account(user_in, password_in)?) {
            (Some(node), target) => Ok(Some(Self { node, target })),
            (None, None) => Ok(None),
            (None, Some(_)) => {
                Err(unusable(&place, "is missing: a target proves itself only to a node that does"))
            }
        }
    }

    /// From the administrator's file of this node; `None` when it has nothing for the target.
    pub(crate) fn of_node(target: &Name) -> Result<Option<Self>> {
        let path = directory().join("iscsi-chap.json");
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        match rustix::fs::open(&path, flags, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(_) => Err(unusable(&path.display().to_string(), "cannot be opened")),
            Ok(file) => Self::read(File::from(file), &path, target),
        }
    }

    fn read(file: File, path: &Path, target: &Name) -> Result<Option<Self>> {
        let place = path.display().to_string();
        let about = file.metadata().map_err(|_| unusable(&place, "cannot be read"))?;
        let trusted = [0, rustix::process::geteuid().as_raw()].contains(&about.uid());
        if !about.is_file() || !trusted || about.mode() & 0o077 != 0 {
            return Err(unusable(&place, "must be a file of root that nobody else can read (mode 0600)"));
        }
        let mut text = Zeroizing::new(String::new());
        file.take(LIMIT).read_to_string(&mut text).map_err(|_| unusable(&place, "cannot be read"))?;
        // What is wrong with it is not said: errors of a parser quote what they found.
        let accounts: Accounts = serde_json::from_str(&text)
            .map_err(|_| unusable(&place, "is not JSON as docs/iscsi.md shows it: {\"targets\": {\"iqn...\": {\"username\": ..., \"password\": ...}}}"))?;
        let Some((_, found)) = accounts.targets.into_iter().find(|(name, _)| name == target.as_str()) else {
            return Ok(None);
        };
        let given = [
            ("username", found.username),
            ("password", found.password),
            ("usernameIn", found.username_in),
            ("passwordIn", found.password_in),
        ];
        Self::of(given.map(|(key, text)| Given {
            place: format!("{key} of the target in {place}"),
            value: text.map(|text| Secret::new(text.into_bytes())),
        }))
    }
}

/// A value, if there is one, and where it comes from.
struct Given {
    place: String,
    value: Option<Secret>,
}

impl Given {
    fn check(&self) -> Result<()> {
        let offence = self.value.as_ref().and_then(|value| offence(value.expose()));
        offence.map_or(Ok(()), |why| Err(unusable(&self.place, why)))
    }
}

fn account(user: Given, password: Given) -> Result<Option<Account>> {
    let missing = "is missing, and its counterpart is there";
    match (user.value, password.value) {
        (Some(user), Some(password)) => Ok(Some(Account { user, password })),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(unusable(&user.place, missing)),
        (Some(_), None) => Err(unusable(&password.place, missing)),
    }
}

/// What would not arrive at the target as it is: a record of open-iscsi is lines, `name = value`.
fn offence(value: &[u8]) -> Option<&'static str> {
    if value.is_empty() {
        return Some("is empty");
    }
    if value.len() > LONGEST {
        return Some("has more than 255 bytes, which open-iscsi cannot keep");
    }
    if !value.iter().all(|byte| (b' '..=b'~').contains(byte)) {
        return Some(
            "has a control character, a line break or a byte that is not ASCII, which a record of open-iscsi cannot hold",
        );
    }
    let ends = [value.first(), value.last()];
    ends.contains(&Some(&b' ')).then_some("begins or ends with a space, which open-iscsi would drop")
}

fn unusable(place: &str, why: &'static str) -> IscsiError {
    IscsiError::Credential { place: place.to_owned(), why }
}

/// Where the administrator's files are: `FLEXVOL_CONFIG_DIR`, or `/etc/flexvol`.
fn directory() -> PathBuf {
    std::env::var_os("FLEXVOL_CONFIG_DIR")
        .filter(|directory| !directory.is_empty())
        .map_or_else(|| PathBuf::from("/etc/flexvol"), PathBuf::from)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Accounts {
    targets: BTreeMap<String, FileAccount>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FileAccount {
    username: Option<String>,
    password: Option<String>,
    username_in: Option<String>,
    password_in: Option<String>,
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const MARKER: &str = "swordfish-of-chap";

    fn secrets(pairs: &[(&str, &str)]) -> Result<Option<Chap>> {
        let secrets = pairs.iter().map(|(key, value)| ((*key).to_owned(), Secret::new(*value))).collect();
        Chap::of_secrets(&Options { secrets, ..Options::default() })
    }

    #[test]
    fn a_secret_gives_one_account_or_two() {
        assert_eq!(secrets(&[]).unwrap(), None);
        let chap = secrets(&[
            (KEYS[0], "user"),
            (KEYS[1], "pass word#=\"'"),
            ("discovery.sendtargets.auth.username", "x"),
        ])
        .unwrap()
        .unwrap();
        assert_eq!((chap.node.password.expose(), chap.target), (&b"pass word#=\"'"[..], None));
        let chap =
            secrets(&[(KEYS[0], "a"), (KEYS[1], "b"), (KEYS[2], "c"), (KEYS[3], "d")]).unwrap().unwrap();
        assert_eq!(chap.target.unwrap().user.expose(), b"c");
    }

    #[test]
    fn what_would_not_arrive_is_refused_and_not_shown() {
        let long = "x".repeat(256);
        for bad in ["", "a\nb", "a\0b", " a", "a ", "ü", "a\rb", &long] {
            let value = format!("{bad}{}", if bad.is_empty() { "" } else { bad });
            let error = secrets(&[(KEYS[0], MARKER), (KEYS[1], &value)]).unwrap_err().to_string();
            assert!(error.contains(KEYS[1]) && !error.contains(MARKER), "{error}");
        }
        for half in [0, 1, 2, 3] {
            let error = secrets(&[(KEYS[half], MARKER)]).unwrap_err().to_string();
            assert!(error.contains("missing") && !error.contains(MARKER), "{error}");
        }
        let error = secrets(&[("password", MARKER)]).unwrap_err().to_string();
        assert!(error.contains("\"password\"") && !error.contains(MARKER), "{error}");
        secrets(&[(KEYS[2], "a"), (KEYS[3], MARKER)]).unwrap_err();
    }

    #[test]
    fn the_administrators_file_is_for_root_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("iscsi-chap.json");
        let target = Name::parse("iqn.2026-01.test:a").unwrap();
        let read = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            Chap::read(File::open(&path).unwrap(), &path, &target)
        };
        let good =
            format!(r#"{{"targets":{{"iqn.2026-01.test:a":{{"username":"u","password":"{MARKER}"}}}}}}"#);
        assert_eq!(read(&good, 0o600).unwrap().unwrap().node.password.expose(), MARKER.as_bytes());
        assert_eq!(read(&good.replace("test:a", "test:b"), 0o600).unwrap(), None);
        for (text, mode) in [
            (good.clone(), 0o640),
            (good.replace("username\"", "usrname\""), 0o600),
            (good.replace("\"u\"", "7"), 0o600),
            (good.replace('}', ""), 0o600),
        ] {
            let error = read(&text, mode).unwrap_err().to_string();
            assert!(error.contains("iscsi-chap.json") && !error.contains(MARKER), "{error}");
        }
    }
}
