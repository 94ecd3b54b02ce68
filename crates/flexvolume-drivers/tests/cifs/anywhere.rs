//! What needs no kernel with cifs: bad input, servers that are none, and what a server is asked without a name.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use serde_json::{Value, json};

use crate::share::Share;

const MARKER: &str = "hunter2-marker";

/// A port of this machine on which each of these answers is given to a connection of its own, whatever it says.
fn answering(answers: Vec<Vec<u8>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            if answer.is_empty() {
                continue;
            }
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(&answer);
        }
    });
    port
}

/// As a server answers that has chosen this dialect, with its length in front.
fn offer(dialect: u16) -> Vec<u8> {
    let mut message = vec![0; 128];
    message[..6].copy_from_slice(b"\xfeSMB\x40\0");
    message[64] = 65;
    message[66] = 3;
    message[68..70].copy_from_slice(&dialect.to_le_bytes());
    message[88] = 0x40;
    [&[0, 0, 0, 128][..], &message].concat()
}

/// What is found of a server on this machine, as text.
fn told(port: u16) -> String {
    let share = Share::guest(json!({"address": "127.0.0.1", "port": port.to_string()}));
    share.call(&["diagnose", &share.options.to_string()]).success().json["findings"].to_string()
}

#[test]
fn a_doctor_asks_for_each_dialect() {
    // The first connection only shows that somebody listens.
    let mut answers = vec![Vec::new(), offer(0x0302)];
    answers.extend([offer(0x0300), offer(0x0210), b"\0\0\0\x04\xffSMB".to_vec()]);
    let findings = told(answering(answers));
    for part in [
        "it speaks the versions 3.0.2, 3.0, 2.1\"",
        "every message must be signed",
        "it can encrypt",
        "does not tell the time",
    ] {
        assert!(findings.contains(part), "{part:?} is missing in {findings}");
    }
}

#[test]
fn a_doctor_is_not_deceived() {
    for (answer, part) in [
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), "no server of SMB 2 or 3"),
        (b"\0\xff\xff\xff".to_vec(), "too long"),
        (b"\0\0\0\x80\xfeSMB".to_vec(), "no server of SMB 2 or 3"),
        (offer(0x0555), "was not offered"),
    ] {
        let findings = told(answering(vec![Vec::new(), answer]));
        assert!(findings.contains(part) && findings.contains("problem"), "{findings}");
    }
}

#[test]
fn a_server_that_is_not_there_is_told_before_anything_is_mounted() {
    // The lowest port is nobody's.
    let mut share = Share::of(json!({"server": "127.0.0.1", "share": "data", "port": "1"}));
    share.password = MARKER.into();
    share.mount().failure(&["cannot reach the server of //127.0.0.1/data", "refuses connections"]);
    share.assert_gone();
    share.options = json!({"networkPath": "//no-such-host.invalid/data"});
    share.mount().failure(&["the name no-such-host.invalid"]);
    share.assert_gone();
    share.unmount().success();
}

#[test]
fn a_password_is_in_no_answer_wherever_it_stands() {
    let good = json!({"server": "127.0.0.1", "share": "data", "port": "1"});
    let with = |key: &str, value: String| {
        let mut options: Value = good.clone();
        options[key] = json!(value);
        options
    };
    for options in [
        with("password", MARKER.to_owned()),
        with("pasword", MARKER.to_owned()),
        with("mountOptions", format!("password={MARKER}")),
        with("mountOptions", format!("vers=3.0,pass={MARKER},x")),
        with("opts", format!("username=u,password=a,{MARKER}")),
        with("mountoptions", format!("pasword={MARKER}")),
        with("networkPath", format!("//127.0.0.1/other-{MARKER}")),
    ] {
        let mut share = Share::of(options.clone());
        share.password = MARKER.into();
        let answer = share.mount().failure(&[]);
        assert!(!answer.json.to_string().contains(MARKER), "{options}: {answer:?}");
        share.assert_gone();
    }
}
