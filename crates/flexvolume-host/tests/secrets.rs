//! A secret goes through a driver that does everything wrong, and is nowhere to be found afterwards.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod stage;

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flexvolume_host::Reading;
use flexvolume_host::spec::MounterArguments;
use tracing_subscriber::fmt::MakeWriter;

use stage::{Stage, drivers, in_mount_namespace, inline, pod, processes, uid, with_secret};

const MARKER: &str = "Hunter2-marker-8c51";

/// Drivers that give away what they were given; in each the variable `secret` is the decoded password.
const LEAKY: [(&str, &str); 7] = [
    ("in its message", r#"fail "wrong password $secret""#),
    ("in base64 in its message", r#"fail "wrong options $(echo "$3" | tr -d '"{}')""#),
    ("as text", r#"echo "password=$secret"; exit 1"#),
    ("beside a failure", r#"echo "+ mount -o password=$secret" >&2; fail "mount failed""#),
    ("as its options", r#"echo "$3"; exit 3"#),
    ("in an answer cut off", r#"printf '{"status":"Failure","message":"%s' "$secret""#),
    ("in a status of its own", r#"echo "{\"status\":\"$secret\"}""#),
];

/// All that is logged, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn gives_away(text: &[u8]) -> bool {
    let base64 = STANDARD.encode(MARKER);
    let holds = |secret: &str| text.windows(secret.len()).any(|window| window == secret.as_bytes());
    // Half of it is too much as well.
    holds(&MARKER[..10]) || holds(&base64[..12])
}

fn no_file_gives_it_away(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            no_file_gives_it_away(&path);
        } else {
            assert!(!gives_away(&fs::read(&path).unwrap()), "{}", path.display());
        }
    }
}

/// Looks all the time at the command lines of all processes of this test but the drivers.
fn watch_command_lines(stop: Arc<AtomicBool>) -> thread::JoinHandle<usize> {
    thread::spawn(move || {
        let mut drivers_seen = 0;
        while !stop.load(Ordering::Relaxed) {
            for (_, command) in processes() {
                let is_the_driver = command.contains("/leaky");
                drivers_seen += usize::from(is_the_driver);
                assert!(is_the_driver || !gives_away(command.as_bytes()), "{command}");
            }
            thread::sleep(Duration::from_millis(1));
        }
        drivers_seen
    })
}

fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.secret = Some(("example.com/leaky".to_owned(), MARKER.to_owned()));
    stage
}

fn install(stage: &Stage, leak: &str) {
    // The driver takes long enough to be seen; its own children get nothing.
    let decode = r#"encoded=${3#*kubernetes.io/secret/password\":\"}; encoded=${encoded%%\"*}
        secret=$(printf %s "$encoded" | base64 -d); sleep 0.05"#;
    let script = drivers::PLAIN.replacen("mount)\n", &format!("mount) {decode}; {leak} ;;\n never)\n"), 1);
    stage.install("leaky", &script.replace("echo \"$1\" >>", "printf '%s\\n' \"$1\" >>"));
}

fn mount_gives_nothing_away(reading: Reading, test: &str) {
    if !in_mount_namespace(test) {
        return;
    }
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(log.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let watch = watch_command_lines(Arc::clone(&stop));
    for (how, leak) in LEAKY {
        let mut stage = stage();
        stage.reading = reading;
        install(&stage, leak);
        let manager = stage.manager();
        let volumes = [with_secret(inline("leaky", "data"))];
        let error = manager.mount(&pod("uid-1"), &volumes, MounterArguments::default()).unwrap_err();
        let shown = format!("{error} {error:?} {volumes:?} {manager:?}");
        assert!(!gives_away(shown.as_bytes()), "{how}: {shown}");
        assert!(!shown.contains("couldn't get secret"), "{how}: the driver never ran: {shown}");
        let overview = manager.status().unwrap();
        assert!(!gives_away(format!("{overview:?}").as_bytes()), "{how}: {overview:?}");
        if stage.root().exists() {
            no_file_gives_it_away(&stage.root());
        }
    }
    good_driver_gets_it(reading);
    stop.store(true, Ordering::Relaxed);
    assert!(watch.join().unwrap() > 0, "the drivers were seen");
    let log = log.0.lock().unwrap().clone();
    assert!(!gives_away(&log), "{}", String::from_utf8_lossy(&log));
}

/// The record of a mounted volume names the Secret and holds nothing of it; and the secret does arrive.
fn good_driver_gets_it(reading: Reading) {
    let mut stage = stage();
    stage.reading = reading;
    install(&stage, r#"mount -t tmpfs x "$2" && printf %s "$secret" > "$2/password"; ok"#);
    let manager = stage.manager();
    let volumes = [with_secret(inline("leaky", "data"))];
    manager.mount(&pod("uid-1"), &volumes, MounterArguments::default()).unwrap();
    let arrived = fs::read(stage.mount_dir("uid-1", "leaky", "data").join("password")).unwrap();
    assert_eq!(arrived, MARKER.as_bytes());
    no_file_gives_it_away(&stage.root().join("flexvol"));
    let record = stage.root().join("flexvol/publishes/uid-1/example.com~leaky,data.json");
    assert!(fs::read_to_string(record).unwrap().contains(r#""secret":{"namespace":null,"name":"key"}"#));
    manager.unmount(&uid("uid-1")).unwrap();
}

#[test]
fn a_secret_is_seen_by_its_driver_alone() {
    mount_gives_nothing_away(Reading::Tolerant, "a_secret_is_seen_by_its_driver_alone");
}

#[test]
fn a_secret_is_seen_by_its_driver_alone_in_the_strict_reading() {
    mount_gives_nothing_away(Reading::Strict, "a_secret_is_seen_by_its_driver_alone_in_the_strict_reading");
}
