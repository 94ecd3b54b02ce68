//! The capacity of a persistent volume: the manifests' reader of quantities and the contract's say the same.
#![no_main]

use std::path::Path;

use flexvol::manifest::read::{Document, parse};
use flexvol::manifest::resolve::workload;
use flexvolume_host::Reading;
use flexvolume_host::contract::Bytes;
use flexvolume_host::spec::Source;
use serde_json::json;

libfuzzer_sys::fuzz_target!(|quantity: &str| {
    let contract = Bytes::parse(quantity).map(u64::from).ok();
    // Sizes beyond what Kubernetes can express are the contract's matter alone.
    let manifest = capacity(quantity).filter(|bytes| i64::try_from(*bytes).is_ok());
    assert_eq!(manifest, contract, "{quantity:?}");
});

/// The capacity of a volume whose manifest says so; `None` if that is refused.
fn capacity(quantity: &str) -> Option<u64> {
    let flex = json!({"driver": "example.com/disk"});
    let list = json!({"kind": "List", "items": [
        {"kind": "Pod", "metadata": {"name": "pod"}, "spec": {"containers": [], "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": "claim"}}]}},
        {"kind": "PersistentVolumeClaim", "metadata": {"name": "claim"}, "spec": {"volumeName": "disk"}},
        {"kind": "PersistentVolume", "metadata": {"name": "disk"}, "spec": {
            "capacity": {"storage": quantity}, "flexVolume": flex}},
    ]});
    let file = Path::new("pod.json");
    let nodes = parse(file, &list.to_string()).unwrap();
    let documents: Vec<_> = nodes.into_iter().map(|root| Document { file: file.to_owned(), root }).collect();
    let workload = workload(&documents, Reading::Tolerant).ok()?;
    match workload.pods[0].volumes[0].spec.source {
        Source::PersistentVolume { capacity, .. } => capacity,
        Source::Inline => unreachable!("the volume is a persistent one"),
    }
}
