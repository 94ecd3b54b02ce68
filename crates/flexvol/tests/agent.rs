//! The agent as a process: manifests come and go, the agent dies, people and drivers misbehave.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod node;

use std::fs;

use node::{Node, in_namespaces};

#[test]
fn volumes_live_as_long_as_their_pods() {
    if !in_namespaces("volumes_live_as_long_as_their_pods") {
        return;
    }
    let node = Node::new();
    node.install("example.com~memory/memory", node::MEMORY);
    let agent = node.start();
    node.pod("web", &["data", "logs"]);
    node.wait_for_mounts(&["web/data", "web/logs"]);
    node.pod("db", &["data"]);
    node.wait_for_mounts(&["db/data", "web/data", "web/logs"]);
    node.pod("web", &["logs"]);
    node.wait_for_mounts(&["db/data", "web/logs"]);
    fs::remove_file(node.manifest("web")).unwrap();
    node.wait_for_mounts(&["db/data"]);
    fs::remove_file(node.manifest("db")).unwrap();
    node.wait_for_mounts(&[]);
    node.wait_until("nothing is left", || node.leftovers().is_empty());
    agent.stop();
}

#[test]
fn a_killed_agent_is_followed_by_one_that_knows_what_there_is() {
    if !in_namespaces("a_killed_agent_is_followed_by_one_that_knows_what_there_is") {
        return;
    }
    let node = Node::new();
    node.install("example.com~memory/memory", node::MEMORY);
    let agent = node.start();
    node.pod("stays", &["data"]);
    node.pod("goes", &["data"]);
    node.wait_for_mounts(&["goes/data", "stays/data"]);
    let mark = node.mount_dir("stays", "data").join("mark");
    fs::write(&mark, "kept").unwrap();
    agent.kill();
    fs::remove_file(node.manifest("goes")).unwrap();
    node.pod("comes", &["data"]);
    let before = node.calls("example.com~memory/memory");
    let agent = node.start();
    node.wait_for_mounts(&["comes/data", "stays/data"]);
    assert_eq!(fs::read_to_string(&mark).unwrap(), "kept");
    let calls = node.calls("example.com~memory/memory").split_off(before.len());
    assert!(!calls.iter().any(|call| call.contains("stays")), "{calls:?}");
    agent.stop();
    assert_eq!(node.mounts(), ["comes/data", "stays/data"], "a stop unmounts nothing");
    assert_eq!(fs::read_to_string(&mark).unwrap(), "kept");
}
