use proptest::prelude::*;

use super::*;
use crate::{Encoding, Reply};

#[test]
fn each_verb_is_read_and_written_with_its_options() {
    let json = r#"{"kubernetes.io/fsType":"xfs","kubernetes.io/pvOrVolumeName":"orders","kubernetes.io/readwrite":"rw","size":"1Gi"}"#;
    for verb in ExtensionVerb::ALL {
        let arguments = [OsString::from(verb.as_str()), json.into()];
        let call = ExtensionCall::parse(arguments.clone()).unwrap();
        assert_eq!((call.verb, call.options.volume_name.as_str()), (verb, "orders"));
        assert_eq!(call.to_arguments(Encoding::Kubernetes), arguments);
        assert_eq!(crate::Verb::parse(verb.as_str()), None);
    }
}

#[test]
fn other_arguments_are_told_apart() {
    let parse = |arguments: &[&str]| ExtensionCall::parse(arguments.iter().map(OsString::from)).unwrap_err();
    for other in [&[][..], &["mount", "/m", "{}"], &["CreateVolume", "{}"], &["provision"]] {
        assert_eq!(parse(other), ExtensionError::AnotherWord, "{other:?}");
    }
    assert_eq!(
        parse(&["createvolume"]).to_string(),
        "arguments of createvolume: takes 1 (<options>) and got 0"
    );
    assert_eq!(
        parse(&["diagnose", "{}", "{}"]).to_string(),
        "arguments of diagnose: takes 1 (<options>) and got 2"
    );
    let error = parse(&["deletevolume", r#"{"a":1}"#]).to_string();
    assert!(error.starts_with("deletevolume: option \"a\": is not a string"), "{error}");
    let error = parse(&["listvolumes", "secret"]).to_string();
    assert!(error.starts_with("listvolumes: the options are not a JSON object"), "{error}");
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn words_of_a_later_version_are_read() {
    let text = r#"{"status":"Success","volumes":[{"id":"a","state":"resting","orphan":"tooSmall","later":[]}],
        "findings":[{"severity":"curious","subject":"s","what":"w"}]}"#;
    let reply: Reply = serde_json::from_str(text).unwrap();
    let volume = &reply.volumes.unwrap()[0];
    assert_eq!((volume.state, volume.orphan), (VolumeState::Unknown, Some(Orphan::Unknown)));
    assert_eq!(reply.findings.unwrap()[0].severity, Severity::Warning);
}

#[test]
fn what_a_volume_cannot_be_is_refused() {
    for text in [
        r#"{"id":7}"#,
        "{}",
        r#"{"id":"a","size":-1}"#,
        r#"{"id":"a","size":1e3}"#,
        r#"{"id":"a","mounts":"/m"}"#,
    ] {
        assert!(serde_json::from_str::<VolumeDescription>(text).is_err(), "{text}");
    }
}

#[test]
fn the_words_are_those_of_the_wire() {
    for state in [VolumeState::Creating, VolumeState::Ready, VolumeState::Removing, VolumeState::Unknown] {
        assert_eq!(serde_json::to_string(&state).unwrap(), format!("{:?}", state.as_str()));
    }
    for reason in Orphan::ALL {
        assert_eq!(serde_json::to_string(&reason).unwrap(), format!("{:?}", reason.as_str()));
        assert_eq!(Orphan::parse(reason.as_str()), Some(reason));
    }
    assert_eq!(Orphan::parse("unknown"), None);
    for severity in [Severity::Good, Severity::Warning, Severity::Problem] {
        assert_eq!(serde_json::to_string(&severity).unwrap(), format!("{:?}", severity.as_str()));
    }
}

proptest! {
    #[test]
    fn a_description_reads_back(id in ".*", size: Option<u64>, note in ".*", mounts: Vec<String>) {
        let volume = VolumeDescription { id, size, note, mounts, orphan: Some(Orphan::PodGone), ..Default::default() };
        let text = serde_json::to_string(&volume).unwrap();
        prop_assert_eq!(serde_json::from_str::<VolumeDescription>(&text).unwrap(), volume);
    }
}
