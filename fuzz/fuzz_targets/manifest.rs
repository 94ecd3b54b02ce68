//! Manifests, YAML and JSON: an answer for every text, and the same pods from both entrances.
#![no_main]

use std::path::Path;

use flexvol::manifest::read::{Document, parse};
use flexvol::manifest::resolve::{pods, workload};
use flexvolume_host::Reading;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let file = Path::new("pod.yaml");
    let nodes = match parse(file, text) {
        Ok(nodes) => nodes,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let documents: Vec<_> = nodes.into_iter().map(|root| Document { file: file.to_owned(), root }).collect();
    let named = pods(&documents);
    for reading in [Reading::Strict, Reading::Tolerant] {
        match workload(&documents, reading) {
            Ok(workload) => {
                let planned: Vec<_> = workload.pods.iter().map(|plan| plan.pod.uid.clone()).collect();
                let named: Vec<_> = named.as_ref().unwrap().iter().map(|(uid, _)| uid.clone()).collect();
                assert_eq!(planned, named);
            }
            Err(errors) => {
                assert!(!errors.is_empty());
                for error in errors {
                    assert!(error.to_string().starts_with("pod.yaml"), "{error}");
                }
            }
        }
    }
});
