//! The strict reader: what it says of an answer is what Go says, as far as that was recorded, and as far as a second
//! reading by other means goes.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flexvol_fuzz::{model, run};
use flexvolume_host::contract::{Capabilities, Verb};
use flexvolume_host::os::runner::Ended;
use flexvolume_host::reply::strict::{self, Outcome};
use flexvolume_host::reply::{Asked, Fields};
use serde_json::Value;
use serde_json::error::Category;

const RECORDED: &str = include_str!("../../crates/flexvolume-host/tests/go-verdicts.jsonl");

libfuzzer_sys::fuzz_target!(init: recorded_verdicts(), |printed: &[u8]| {
    let outcome = strict::reply(Asked::Call(Verb::Init), printed);
    exits(printed, &outcome);
    let is_syntax = matches!(&outcome, Outcome::Unreadable(text) if !text.starts_with("json: cannot unmarshal"));
    let opened = printed.iter().filter(|byte| matches!(byte, b'{' | b'[')).count();
    // Beyond that serde_json gives up, and Go does not yet.
    if opened >= 127 {
        return;
    }
    let parsed = serde_json::from_slice::<serde::de::IgnoredAny>(printed);
    assert_eq!(is_syntax, parsed.is_err(), "{outcome:?} {parsed:?}");
    fields(printed, &outcome);
});

/// Every verdict that Go has given is ours.
fn recorded_verdicts() {
    for line in RECORDED.lines() {
        let verdict: Value = serde_json::from_str(line).unwrap();
        let input = STANDARD.decode(verdict["input"].as_str().unwrap()).unwrap();
        let outcome = strict::reply(Asked::Call(Verb::Init), &input);
        let expected = match verdict["error"].as_str() {
            Some(error) => Outcome::Unreadable(error.to_owned()),
            None => expected(&status_of(&verdict["value"])),
        };
        assert_eq!(outcome, expected, "{:?}", String::from_utf8_lossy(&input));
    }
}

fn status_of(value: &Value) -> model::Status {
    let text = |key: &str| value[key].as_str().unwrap().to_owned();
    let flags = |flags: &Vec<Value>| std::array::from_fn(|at| flags[at].as_bool().unwrap());
    model::Status {
        status: text("status"),
        message: text("message"),
        device: text("device"),
        volume_name: text("volumeName"),
        attached: value["attached"].as_bool().unwrap(),
        new_size: value["volumeNewSize"].as_i64().unwrap(),
        capabilities: value["capabilities"].as_array().map(flags),
    }
}

/// What Kubernetes makes of a decoded answer to `init`.
fn expected(status: &model::Status) -> Outcome {
    match status.status.as_str() {
        "Success" => Outcome::Success(Fields {
            message: status.message.clone(),
            device: status.device.clone(),
            volume_name: status.volume_name.clone(),
            attached: status.attached,
            new_size: status.new_size,
            capabilities: status.capabilities.map(|flags| Capabilities {
                attach: flags[0],
                selinux_relabel: flags[1],
                supports_metrics: flags[2],
                fs_group: flags[3],
                requires_fs_resize: flags[4],
            }),
        }),
        "Not supported" => Outcome::NotSupported,
        other => Outcome::Failed(format!("init command failed, status: {other}, reason: {}", status.message)),
    }
}

/// The exit matters for success only.
fn exits(printed: &[u8], outcome: &Outcome) {
    for ended in [Ended::Exited(0), Ended::Exited(1), Ended::Signaled(15), Ended::TimedOut] {
        let read = strict::read(Asked::Call(Verb::Init), &run(ended, printed, b""));
        match (ended, outcome) {
            (Ended::TimedOut, _) => assert_eq!(read, Outcome::TimedOut),
            (Ended::Exited(0), _) => assert_eq!(&read, outcome),
            (_, Outcome::Success(_)) => assert!(matches!(read, Outcome::ExecError(_)), "{read:?}"),
            _ => assert_eq!(&read, outcome),
        }
    }
}

/// What was read, against the second reading.
fn fields(printed: &[u8], outcome: &Outcome) {
    let Ok(text) = std::str::from_utf8(printed) else { return };
    match serde_json::from_str::<model::Members>(text) {
        Ok(members) if model::is_blind(text, &members) => {}
        Ok(members) => match model::status(&members) {
            Some(status) => assert_eq!(outcome, &expected(&status)),
            None => assert!(matches!(outcome, Outcome::Unreadable(_)), "{outcome:?}"),
        },
        // No object, or something that only serde_json minds, such as half of a surrogate pair.
        Err(error) => assert!(error.classify() != Category::Io, "{error}"),
    }
}
