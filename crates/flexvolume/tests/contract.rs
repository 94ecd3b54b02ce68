//! The examples of `docs/contract.md` are what they claim to be.

use std::ffi::OsString;

use flexvolume::{Call, Encoding, Reply, Verb};

const PAGE: &str = include_str!("../../../docs/contract.md");

/// The words of a command line whose only quotes are single ones.
fn words(line: &str) -> Vec<OsString> {
    let mut words = vec![String::new()];
    for (index, part) in line.split('\'').enumerate() {
        for (nth, word) in part.split(' ').enumerate() {
            if index % 2 == 1 {
                words.last_mut().into_iter().for_each(|last| last.push_str(part));
                break;
            }
            if nth > 0 {
                words.push(String::new());
            }
            words.last_mut().into_iter().for_each(|last| last.push_str(word));
        }
    }
    words.into_iter().map(OsString::from).collect()
}

#[test]
fn every_call_out_has_an_example_in_the_exact_bytes() {
    let mut lines = PAGE.lines();
    let mut seen = Vec::new();
    while let Some(line) = lines.next() {
        let Some(command) = line.strip_prefix("$ ") else { continue };
        let arguments = words(command).split_off(1);
        let call = Call::parse(arguments.clone()).unwrap();
        assert_eq!(call.to_arguments(Encoding::Kubernetes), arguments);
        let answer = lines.next().unwrap();
        let reply: Reply = serde_json::from_str(answer).unwrap();
        assert_eq!(reply.to_json(), answer);
        seen.push(call.verb());
    }
    assert_eq!(seen, Verb::ALL);
}

#[test]
fn every_call_out_has_a_heading_with_its_arguments() {
    for verb in Verb::ALL {
        let heading = format!("## `{}`", format!("{} {}", verb.as_str(), verb.arguments()).trim_end());
        assert!(PAGE.lines().any(|line| line == heading), "{heading}");
    }
}
