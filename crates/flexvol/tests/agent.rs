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
    // What is mounted but not yet on record as mounted is mounted anew by the next agent.
    assert!(says(&node, &["wait"]).0);
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

/// What `flexvol` prints for these words.
fn says(node: &Node, words: &[&str]) -> (bool, String) {
    let output = node.flexvol().args(words).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn people_can_ask_the_agent_and_have_it_try_again() {
    if !in_namespaces("people_can_ask_the_agent_and_have_it_try_again") {
        return;
    }
    let node = Node::new();
    let (there, words) = says(&node, &["retry"]);
    assert!(!there && words.contains("no agent works below that root"), "{words}");
    let flag = node.top().join("repaired");
    let broken = node::MEMORY.replace("mount) ", &format!("mount) [ -e '{}' ] || {{ echo broken >&2; echo '{{\"status\": \"Failure\", \"message\": \"no space\"}}'; exit 7; }}; ", flag.display()));
    node.install("example.com~memory/memory", &broken);
    let agent = node.start();
    node.pod("web", &["data"]);
    node.wait_until("it failed a few times", || {
        says(&node, &["status", "--output", "json"]).1.contains("\"failures\": 3")
    });
    let (_, status) = says(&node, &["status"]);
    assert!(status.contains("no space") && status.contains("again in"), "{status}");
    let (waited, words) = says(&node, &["wait", "--pod", "web", "--timeout", "100ms"]);
    assert!(!waited && words.contains("no space"), "{words}");
    fs::write(&flag, "").unwrap();
    let (_, words) = says(&node, &["retry", "--pod", "web", "--volume", "data"]);
    assert_eq!(words, "1 volume is tried again now\n");
    let (waited, words) = says(&node, &["wait", "--pod", "web"]);
    assert!(waited, "{words}");
    assert_eq!(node.mounts(), ["web/data"]);
    let (_, events) = says(&node, &["events", "--calls"]);
    for word in ["MountFailed", "mount: exit 7", "broken", "Mounted", "DriverReady"] {
        assert!(events.contains(word), "{word}: {events}");
    }
    fs::remove_file(node.manifest("web")).unwrap();
    node.wait_for_mounts(&[]);
    let (waited, words) = says(&node, &["wait", "--for", "gone", "--pod", "web"]);
    assert!(waited, "{words}");
    agent.stop();
}

#[test]
fn the_socket_is_for_root_alone_and_bears_strange_clients() {
    if !in_namespaces("the_socket_is_for_root_alone_and_bears_strange_clients") {
        return;
    }
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::PermissionsExt as _;
    let node = Node::new();
    let agent = node.start();
    let directory = node.root().join("flexvol/agent");
    let socket = directory.join("agent.sock");
    node.wait_until("the agent listens", || says(&node, &["retry"]).0);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&socket), mode(&directory)), (0o600, 0o700));
    // Even if the way there is opened, another user is not served.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).unwrap();
    for place in [node.top().to_owned(), node.root(), node.root().join("flexvol"), directory] {
        fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let script = "use IO::Socket::UNIX; $) = $> = 65534; my $s = IO::Socket::UNIX->new(Peer => shift) or die; print $s \"GET /healthz HTTP/1.1\\r\\n\\r\\n\"; print <$s>;";
    let asked = |uid: &str| {
        let script = script.replace("65534", uid);
        let output = node::program("perl").args(["-e", &script]).arg(&socket).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(asked("0").contains("200 OK"));
    assert_eq!(asked("65534"), "");
    let raw = |bytes: &[u8]| {
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        text
    };
    assert!(raw(b"GET /readyz HTTP/1.1\r\n\r\n").contains("200 OK"));
    assert!(raw(b"GET /v1/events?after=x HTTP/1.1\r\n\r\n").contains("400"));
    assert!(raw(b"DELETE /v1/status HTTP/1.1\r\n\r\n").contains("405"));
    assert!(raw(b"GET /etc/passwd HTTP/1.1\r\n\r\n").contains("404"));
    assert!(raw(&[b'x'; 100_000]).is_empty() || raw(b"\0\0\n").contains("400"));
    // Many that say nothing hold nobody up for long.
    let silent: Vec<_> =
        (0..40).filter_map(|_| std::os::unix::net::UnixStream::connect(&socket).ok()).collect();
    node.wait_until("somebody else is served again", || says(&node, &["retry"]).0);
    drop(silent);
    assert!(raw(b"GET /metrics HTTP/1.1\r\n\r\n").contains("flexvol_volumes{stage=\"mounted\"} 0"));
    agent.stop();
}
