//! The examples of `docs/contract.md` are what they claim to be.

use std::ffi::OsString;

use flexvolume::{Call, Encoding, ExtensionCall, ExtensionVerb, Orphan, Reply, Verb};

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

/// The arguments of each example, and the answer on the next line.
fn examples() -> impl Iterator<Item = (Vec<OsString>, &'static str)> {
    let commands = PAGE.lines().zip(PAGE.lines().skip(1));
    commands.filter_map(|(line, answer)| Some((words(line.strip_prefix("$ ")?).split_off(1), answer)))
}

#[test]
fn every_call_out_has_an_example_in_the_exact_bytes() {
    let (mut verbs, mut extensions) = (Vec::new(), Vec::new());
    for (arguments, answer) in examples() {
        match ExtensionCall::parse(arguments.clone()) {
            Ok(call) => {
                assert_eq!(call.to_arguments(Encoding::Kubernetes).to_vec(), arguments);
                extensions.push(call.verb);
            }
            Err(_) => {
                let call = Call::parse(arguments.clone()).unwrap();
                assert_eq!(call.to_arguments(Encoding::Kubernetes), arguments);
                verbs.push(call.verb());
            }
        }
        let reply: Reply = serde_json::from_str(answer).unwrap();
        assert_eq!(reply.to_json(), answer);
    }
    assert_eq!(verbs, Verb::ALL);
    assert_eq!(extensions, ExtensionVerb::ALL);
}

#[test]
fn every_call_out_has_a_heading_with_its_arguments() {
    for verb in Verb::ALL {
        let heading = format!("## `{}`", format!("{} {}", verb.as_str(), verb.arguments()).trim_end());
        assert!(PAGE.lines().any(|line| line == heading), "{heading}");
    }
    for verb in ExtensionVerb::ALL {
        let heading = format!("### `{} <options>`", verb.as_str());
        assert!(PAGE.lines().any(|line| line == heading), "{heading}");
    }
}

#[test]
fn every_reason_and_state_is_explained() {
    for word in Orphan::ALL.map(Orphan::as_str) {
        assert!(PAGE.contains(&format!("`{word}`")), "{word}");
    }
}
