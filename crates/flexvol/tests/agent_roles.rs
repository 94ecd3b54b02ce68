//! A controller and a node as processes with state of their own: one attaches, the other mounts.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod node;

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use node::{Agent, Node, in_namespaces, pod_text, program};

const DRIVER: &str = "example.com~disk/disk";

/// Disks are files: what is attached, and what is mounted. A detach of what is mounted is a violation.
const DISK: &str = r#"
init) echo '{"status": "Success", "capabilities": {"attach": true}}' ;;
attach) v=$(name "$2"); tell "$v"; sleep 0.05; : >"$san/$v.attached"; echo '{"status": "Success", "device": "/dev/'$v'"}' ;;
isattached) v=$(name "$2"); if [ -e "$san/$v.attached" ]; then a=true; else a=false; fi; echo '{"status": "Success", "attached": '$a'}' ;;
waitforattach) v=$(name "$3"); tell "$v"; [ "$2" = "/dev/$v" ] && [ -e "$san/$v.attached" ] || { echo "not attached: $2" >>"$san/../violations"; exit 1; }; echo '{"status": "Success", "device": "'$2'"}' ;;
mountdevice) v=$(name "$4"); tell "$v"; : >"$san/$v.mounted"; mkdir -p "$2"; mount -t tmpfs -o size=1m disk "$2" && echo '{"status": "Success"}' ;;
mount) v=$(name "$3"); tell "$v"; echo '{"status": "Not supported"}' ;;
unmountdevice) v=${2##*/}; tell "$v"; umount "$2"; rmdir "$2"; rm -f "$san/$v.mounted"; echo '{"status": "Success"}' ;;
detach) tell "$2"; [ -e "$san/$2.mounted" ] && echo "detached while mounted: $2" >>"$san/../violations"; rm -f "$san/$2.attached"; echo '{"status": "Success"}' ;;
"#;

struct Pair {
    node: Node,
}

impl Pair {
    fn new() -> Self {
        let node = Node::new();
        let place = |name: &str| node.top().join(name);
        for name in ["controller-plugins/example.com~disk", "san"] {
            fs::create_dir_all(place(name)).unwrap();
        }
        node.install(DRIVER, DISK);
        let installed = place("plugins").join(DRIVER);
        let functions = format!(
            "san='{}'\nname() {{ printf '%s' \"$1\" | sed -n 's/.*pvOrVolumeName\":\"\\([^\"]*\\)\".*/\\1/p'; }}\ntell() {{ printf '%s %s\\n' \"$call\" \"$1\" >>\"$san/../order\"; }}\n",
            place("san").display()
        );
        for (side, target) in
            [("controller", place("controller-plugins").join(DRIVER)), ("node", installed.clone())]
        {
            let script = fs::read_to_string(&installed).unwrap();
            let script = script.split_once("case $1 in").unwrap().1;
            let text = format!("#!/bin/sh\ncall=\"{side} $1\"\n{functions}case $1 in{script}");
            // A child writes it: another thread's fork must not hold it open.
            fs::write(place("staging/text"), text).unwrap();
            let staged = place("staging").join(side);
            assert!(program("cp").args([place("staging/text"), staged.clone()]).status().unwrap().success());
            assert!(program("chmod").arg("755").arg(&staged).status().unwrap().success());
            fs::rename(staged, target).unwrap();
        }
        Self { node }
    }

    fn hand_over(&self) -> PathBuf {
        self.node.top().join("hand-over")
    }

    fn start_node(&self) -> Agent {
        let hand_over = self.hand_over();
        self.node.start_with(&["--role", "node", "--node", "n1", "--hand-over", hand_over.to_str().unwrap()])
    }

    fn start_controller(&self) -> Agent {
        let top = self.node.top();
        let log = fs::OpenOptions::new().append(true).create(true).open(top.join("agent.log")).unwrap();
        let mut command = self.node.flexvol();
        command.env("FLEXVOL_ROOT", top.join("controller-root"));
        command.env("FLEXVOL_PLUGIN_DIR", top.join("controller-plugins"));
        command.args(["agent", "-v", "--role", "controller", "--hand-over"]).arg(self.hand_over());
        Agent::of(command.stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    fn pod(&self, pod: &str) {
        self.node.put(&format!("{pod}.yaml"), &pod_text(pod, "example.com/disk", &["data"]));
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.node.top().join(file)).unwrap_or_default()
    }

    /// Files of the hand-over and disks that are attached.
    fn attached(&self) -> Vec<PathBuf> {
        let hand_over = self.hand_over().join("n1");
        let places = [hand_over.join("desired"), hand_over.join("reported"), self.node.top().join("san")];
        let files = places.iter().filter_map(|place| fs::read_dir(place).ok()).flatten().flatten();
        files.map(|file| file.path()).collect()
    }
}

#[test]
fn a_controller_attaches_what_a_node_mounts_and_detaches_it_last() {
    if !in_namespaces("a_controller_attaches_what_a_node_mounts_and_detaches_it_last") {
        return;
    }
    let pair = Pair::new();
    let node_agent = pair.start_node();
    pair.pod("web");
    // Without a controller the node waits, and says for whom.
    pair.node.wait_until("it is told", || pair.node.report().contains("wait for the controller"));
    let controller = pair.start_controller();
    pair.node.wait_for_mounts(&["web/data"]);
    fs::remove_file(pair.node.manifest("web")).unwrap();
    pair.node.wait_until("all is given back", || pair.attached().is_empty());
    let order = pair.text("order");
    let calls: Vec<_> = order.lines().filter(|line| !line.contains(" mount ")).collect();
    let wanted = [
        "controller attach web-data",
        "node waitforattach web-data",
        "node mountdevice web-data",
        "node unmountdevice web-data",
        "controller detach web-data",
    ];
    assert_eq!(calls, wanted, "{order}");
    assert_eq!(pair.text("violations"), "");
    node_agent.stop();
    controller.stop();
}

#[test]
fn both_are_killed_at_any_point_and_nothing_is_detached_that_is_mounted() {
    if !in_namespaces("both_are_killed_at_any_point_and_nothing_is_detached_that_is_mounted") {
        return;
    }
    let pair = Pair::new();
    let mut random = 7_u64;
    let mut below = |bound: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % bound
    };
    for _ in 0..12 {
        let (node_agent, controller) = (pair.start_node(), pair.start_controller());
        for pod in ["a", "b"] {
            match below(3) {
                0 => drop(fs::remove_file(pair.node.manifest(pod))),
                1 => pair.pod(pod),
                _ => {}
            }
            std::thread::sleep(Duration::from_millis(below(400)));
        }
        node_agent.kill();
        std::thread::sleep(Duration::from_millis(below(100)));
        controller.kill();
    }
    let (node_agent, controller) = (pair.start_node(), pair.start_controller());
    pair.pod("a");
    pair.pod("b");
    pair.node.wait_for_mounts(&["a/data", "b/data"]);
    for pod in ["a", "b"] {
        fs::remove_file(pair.node.manifest(pod)).unwrap();
    }
    pair.node.wait_for_mounts(&[]);
    pair.node
        .wait_until("all is given back", || pair.attached().is_empty() && pair.node.leftovers().is_empty());
    assert_eq!(pair.text("violations"), "", "{}", pair.text("order"));
    let order = pair.text("order");
    let strangers = ["node attach", "node detach", "controller mount", "controller waitforattach"];
    assert!(!strangers.iter().any(|stranger| order.contains(stranger)), "{order}");
    node_agent.stop();
    controller.stop();
}

#[test]
fn roles_refuse_what_is_not_theirs() {
    let node = tempfile::tempdir().unwrap();
    let refuse = |words: &[&str]| {
        let mut command = program(env!("CARGO_BIN_EXE_flexvol"));
        command.env("FLEXVOL_ROOT", node.path()).env_remove("FLEXVOL_MANIFESTS");
        let output = command.arg("agent").args(words).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(refuse(&[]).contains("--manifests DIR is missing"));
    assert!(refuse(&["--role", "node"]).contains("--manifests DIR is missing"));
    assert!(refuse(&["--role", "controller", "--drain"]).contains("leave --manifests and --drain out"));
    assert!(refuse(&["--hand-over", "x", "--drain"]).contains("--hand-over is for"));
}
