//! A share of the second host, and the calls of a host.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Answer, Program, World, tool};

/// The server, and the directory of its shares.
pub(crate) const SERVER: &str = "10.99.0.2";
pub(crate) const DIRECTORY: &str = "/srv/smb";

/// The password that the user `test` has unless a test changes it.
pub(crate) const PASSWORD: &str = r#"p,a"s s=\x"#;

/// No call may take longer.
pub(crate) const LONGEST: Duration = Duration::from_secs(30);

/// Says why the test `name` cannot run, if it cannot; starts the server.
pub(crate) fn server_is_missing(name: &str) -> bool {
    static STARTED: Once = Once::new();
    if std::env::var_os("FLEXVOL_VM").is_none() {
        eprintln!("skipped: {name}: needs the virtual machine (cargo xtask vm)");
        return true;
    }
    let started = STARTED.is_completed();
    STARTED.call_once(|| server(&["start", "smb"]));
    server(&["password", PASSWORD]);
    if !started {
        // A server that has just been installed takes its time for the first one.
        let first = Share::new();
        eventually("the server answers", || first.mount().status() == "Success");
        first.unmount().success();
    }
    false
}

/// A command of the second host.
pub(crate) fn server(arguments: &[&str]) {
    tool("server", arguments);
}

/// A file on the server that everybody may write.
pub(crate) fn put(name: &str, text: &str) {
    let file = Path::new(DIRECTORY).join(name);
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
}

/// A directory on the server that everybody may write.
pub(crate) fn put_directory(name: &str) {
    let directory = Path::new(DIRECTORY).join(name);
    fs::create_dir_all(&directory).unwrap();
    fs::set_permissions(&directory, Permissions::from_mode(0o777)).unwrap();
}

/// A mount of a share.
pub(crate) struct Share {
    pub(crate) world: World,
    pub(crate) options: Value,
    pub(crate) password: Vec<u8>,
    pub(crate) user: Option<&'static str>,
}

impl Share {
    /// The share `data`, for the user `test`.
    pub(crate) fn new() -> Self {
        Self::of(json!({"networkPath": format!("//{SERVER}/data")}))
    }

    pub(crate) fn of(options: Value) -> Self {
        Self { world: World::new(), options, password: PASSWORD.into(), user: Some("test") }
    }

    pub(crate) fn guest(options: Value) -> Self {
        Self { user: None, ..Self::of(options) }
    }

    /// The options as `mount` gets them.
    pub(crate) fn map(&self) -> Value {
        let mut map = self.options.clone();
        for (key, value) in [("fsType", ""), ("pvOrVolumeName", "data"), ("pod.uid", "1-2-3")] {
            map[format!("kubernetes.io/{key}")] = json!(value);
        }
        if map["kubernetes.io/readwrite"].is_null() {
            map["kubernetes.io/readwrite"] = json!("rw");
        }
        if let Some(user) = self.user {
            map["kubernetes.io/secret/username"] = json!(base64(user.as_bytes()));
            map["kubernetes.io/secret/password"] = json!(base64(&self.password));
        }
        map
    }

    /// Calls the driver, in time.
    #[track_caller]
    pub(crate) fn call(&self, arguments: &[&str]) -> Answer {
        let begun = Instant::now();
        let answer = self.world.call(Program::Cifs, arguments);
        assert!(begun.elapsed() < LONGEST, "{} took {:?}", arguments[0], begun.elapsed());
        let shown = answer.json.to_string();
        let password = String::from_utf8_lossy(&self.password).into_owned();
        assert!(password.len() < 3 || !shown.contains(&password), "the answer has the password: {shown}");
        assert!(!shown.contains(&base64(&self.password)), "the answer has the password: {shown}");
        answer
    }

    pub(crate) fn mount(&self) -> Answer {
        self.call(&["mount", self.world.target().to_str().unwrap(), &self.map().to_string()])
    }

    pub(crate) fn unmount(&self) -> Answer {
        self.call(&["unmount", self.world.target().to_str().unwrap()])
    }

    pub(crate) fn heal(&self) -> Answer {
        let mut map = self.map();
        map["mountDir"] = json!(self.world.target());
        self.call(&["heal", &map.to_string()])
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.world.target().join("file")
    }

    /// What the mount table says of the mount.
    pub(crate) fn line(&self) -> String {
        self.world.mounts_at(&self.world.target()).concat()
    }

    pub(crate) fn is_mounted(&self) -> bool {
        !self.line().is_empty()
    }

    /// The text of all records.
    pub(crate) fn records(&self) -> String {
        let files = self.world.files("cifs");
        let text = files.iter().map(|name| {
            let file = self.world.path("state/cifs").join(name);
            fs::read_to_string(file).unwrap()
        });
        text.collect()
    }

    /// Nothing is mounted, and nothing is remembered.
    #[track_caller]
    pub(crate) fn assert_gone(&self) {
        assert!(!self.is_mounted(), "{}", self.line());
        assert_eq!(self.records(), "");
    }
}

/// As kubelet encodes each value of a Secret.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let three = [chunk[0], *chunk.get(1).unwrap_or(&0), *chunk.get(2).unwrap_or(&0)];
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for position in 0..4 {
            let digit = bits >> (18 - 6 * position) & 63;
            let there = position <= chunk.len();
            text.push(if there { char::from(DIGITS[digit as usize]) } else { '=' });
        }
    }
    text
}

/// Waits for something that takes a moment, also on a machine that has much to do.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(90);
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn encoding() {
    for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
        assert_eq!(base64(bytes.as_bytes()), text);
    }
}
